//! Waiting, with deadlines; and small things that every test needs.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// For whatever should take no time worth mentioning. Generous, since machines are slow at times.
pub const DEADLINE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(20);

/// Waits for a future.
///
/// # Panics
/// After `deadline`, with `what` was waited for.
pub async fn within<F: Future>(deadline: Duration, what: &str, future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(deadline, future).await else {
        panic!("not within {deadline:?}: {what}");
    };
    output
}

/// Looks again and again, until `look` finds what it looks for. For levels that cannot be
/// subscribed to.
///
/// # Panics
/// After `deadline`, with `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    within(deadline, what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
}

/// A TCP port of the loopback that nobody uses, and that nobody is given by chance before it is used.
///
/// # Panics
/// Never: ports are numbers.
pub fn free_port() -> u16 {
    // The ports that the system gives to whoever asks for any, and to clients, begin at 32768.
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run at once begin at different ones.
        let next =
            std::process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).expect("it is below 30,000");
        // Asked, not taken: another test's child would hold a socket of ours from its fork to its
        // exec, and the port with it.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            return port;
        }
    }
}

/// A folder of this test alone, removed on drop. Its path is short enough for a socket's.
pub fn scratch_folder() -> TempDir {
    let parent = std::env::var_os("DROWSE_TEST_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("t").tempdir_in(parent).expect("a temporary folder")
}

/// The path of the test application on this machine.
///
/// # Panics
/// If it was not built.
pub fn testapp() -> PathBuf {
    built("DROWSE_TESTAPP", "drowse-testapp")
}

/// The path of the program under test.
///
/// # Panics
/// If it was not built.
pub fn program() -> PathBuf {
    built("DROWSE_BIN", "drowse")
}

/// The path of the runner, which can give a test an engine of its own: `with-engines -- COMMAND`.
///
/// # Panics
/// If it was not built.
pub fn runner() -> PathBuf {
    built("DROWSE_XTASK", "xtask")
}

/// A program of this workspace: where the runner says, or beside the test's own.
pub(crate) fn built(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    // target/debug/deps/test-hash
    let path = test.ancestors().nth(2).expect("a target folder").join(name);
    assert!(path.exists(), "no {}: `cargo build -p {name}`, or set {variable}", path.display());
    path
}

/// A variable that the runner sets.
pub(crate) fn required(variable: &str) -> String {
    let Ok(value) = std::env::var(variable) else {
        panic!("{variable} is not set: run this by `cargo xtask test` or `with-engines`");
    };
    value
}
