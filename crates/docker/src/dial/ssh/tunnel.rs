//! The life of one `ssh`.

use std::{
    convert::Infallible,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::UnixStream, sync::watch, time::Instant};

use super::{
    Shared, command,
    explain::{self, Failure},
    process::Process,
    said::Said,
};

/// How long it may take until it is connected: jump hosts and slow machines included.
const START_MAX: Duration = Duration::from_secs(30);
/// How often it is asked whether its socket is there.
const ASK: Duration = Duration::from_millis(20);
/// How long `ssh -G` may take: it reads files, and may run what the user's configuration says.
const ASK_MAX: Duration = Duration::from_secs(10);

/// How far one `ssh` is.
#[derive(Clone)]
pub(super) enum Phase {
    Starting,
    Up(Arc<Tunnel>),
    Ended(Arc<Failure>),
}

/// A connected `ssh`, as dials use it.
pub(super) struct Tunnel {
    /// Removed with this.
    _folder: TempDir,
    socket: PathBuf,
    said: Said,
}

impl Tunnel {
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the other side has just refused to open the engine's socket.
    pub(super) fn was_just_refused(&self) -> bool {
        self.said.was_just_refused()
    }
}

/// Starts one, and sees it to its end. Whatever ends it, it is reaped and its folder removed when
/// this returns.
pub(super) async fn live(shared: Arc<Shared>, phase: watch::Sender<Phase>) {
    let mut up_since: Option<Instant> = None;
    let Err(failure) = shared.hold(&phase, &mut up_since).await;
    tracing::debug!(
        engine = shared.surroundings.engine,
        reason = failure.reason,
        said = %failure.source,
        "ssh has ended"
    );
    shared.note_end(up_since.map(|since| since.elapsed()));
    phase.send_replace(Phase::Ended(Arc::new(failure)));
}

impl Shared {
    async fn hold(
        &self,
        phase: &watch::Sender<Phase>,
        up_since: &mut Option<Instant>,
    ) -> Result<Infallible, Failure> {
        let closing = &self.surroundings.closing;
        let asked = closing.run_until_cancelled(self.ask_host()).await;
        asked.ok_or_else(Failure::closed)??;
        let (folder, socket) = private_socket()?;
        tracing::debug!(
            engine = self.surroundings.engine,
            destination = %self.command.destination(),
            "starting ssh"
        );
        let started = Process::start(self.command.forward(&socket)).await;
        let (mut process, stderr) = started.map_err(Failure::not_started)?;
        let said = Said::by(stderr).map_err(Failure::not_started)?;
        let tunnel = Arc::new(Tunnel { _folder: folder, socket, said });
        let failure = tokio::select! {
            biased;
            () = closing.cancelled() => Failure::closed(),
            status = process.ended() => {
                explain::ended(&self.command, &tunnel.said.lines(), status)
            }
            never = tunnel.said.listen() => match never {},
            () = self.serve(&tunnel, phase, up_since) => {
                explain::stuck(&self.command, &tunnel.said.lines())
            }
        };
        process.kill().await;
        Err(failure)
    }

    /// Waits until it is connected, and then for ever; returns if it takes too long.
    async fn serve(
        &self,
        tunnel: &Arc<Tunnel>,
        phase: &watch::Sender<Phase>,
        up_since: &mut Option<Instant>,
    ) {
        let listening = async {
            // Connecting is the only question whose answer is certain. The engine sees one
            // connection more.
            while UnixStream::connect(&tunnel.socket).await.is_err() {
                tokio::time::sleep(ASK).await;
            }
        };
        if tokio::time::timeout(START_MAX, listening).await.is_err() {
            return;
        }
        *up_since = Some(Instant::now());
        phase.send_replace(Phase::Up(Arc::clone(tunnel)));
        std::future::pending::<()>().await;
    }

    /// Learns which host ssh connects to: the URL's may be an alias of its configuration.
    async fn ask_host(&self) -> Result<(), Failure> {
        let mut command = tokio::process::Command::from(self.command.explain());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let Ok(answer) = tokio::time::timeout(ASK_MAX, command.output()).await else {
            return Err(explain::stuck(&self.command, &[]));
        };
        let answer = answer.map_err(Failure::not_started)?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let host = text.lines().find_map(|line| line.strip_prefix("hostname "));
        match host {
            Some(host) if answer.status.success() => {
                *self.host() = Some(host.trim().to_owned());
                Ok(())
            }
            _ => {
                let said = String::from_utf8_lossy(&answer.stderr);
                let lines: Vec<_> = said.lines().map(str::to_owned).collect();
                Err(explain::ended(&self.command, &lines, answer.status))
            }
        }
    }
}

/// A path for a socket in a new folder that nobody else may enter.
fn private_socket() -> Result<(TempDir, PathBuf), Failure> {
    /// What a socket's address holds, less the end that ssh's own temporary names may need.
    const PATH_MAX: usize = 90;
    let in_folder = |parent: &Path| {
        let private = Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix("drowse-ssh-").permissions(private).tempdir_in(parent)
    };
    let suits = |path: &Path| {
        path.as_os_str().len() <= PATH_MAX
            && command::checked(path).is_ok_and(|text| !text.contains([':', '[', ']', ' ']))
    };
    let usual = std::env::temp_dir();
    let parent = if suits(&usual.join("drowse-ssh-XXXXXX/engine.sock")) {
        usual
    } else {
        PathBuf::from("/tmp")
    };
    let folder = in_folder(&parent).map_err(|error| Failure::no_folder(&parent, error))?;
    let socket = folder.path().join("engine.sock");
    Ok((folder, socket))
}
