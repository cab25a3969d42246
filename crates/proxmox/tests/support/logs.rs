//! What is logged by one test.

use std::{cell::RefCell, io, sync::Once};

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// What this thread has logged, if somebody collects it. A test has its runtime on its own
    /// thread.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Collects what this thread logs, until it is dropped.
pub(crate) struct Logs(());

impl Logs {
    pub(crate) fn collect() -> Self {
        // One subscriber for all tests: those of single threads switch each other's lines off.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_writer(ThisThread)
                .with_max_level(tracing::Level::DEBUG)
                .with_ansi(false)
                .without_time()
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LOGGED.set(Some(Vec::new()));
        Self(())
    }

    /// The client's own lines.
    #[expect(clippy::unused_self, reason = "there are lines only while somebody collects")]
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(LOGGED.with_borrow(|text| text.clone().unwrap())).unwrap();
        text.lines().filter(|line| line.contains(" drowse_proxmox::")).map(str::to_owned).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        LOGGED.set(None);
    }
}

#[derive(Clone, Copy)]
struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|text| {
            if let Some(text) = text {
                text.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ThisThread {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
