//! What happens by itself on the engine's thread: runs end, are stopped and continued.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Signal};
use tokio::signal::unix;

use crate::{
    engine::Core,
    group,
    pidfd::Pidfd,
    run::{Run, Turn},
};

/// How long the rest of a killed group is waited for. Only a process that hangs in the kernel takes
/// longer; its run is then told as ended all the same.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Sees a run to its end: its leader exits, whatever is left of its group is killed, the leader is
/// reaped, and the end is told.
pub(crate) async fn to_the_end(core: Arc<Core>, id: String, run: Arc<Run>) {
    if run.leader_exited().await.is_err() {
        // The engine's runtime ends, and `orders::end_all` came before.
        return;
    }
    log_failure(&core, &id, "kill the group", run.signal_group(Signal::KILL));
    // The leader, still unreaped, keeps the group's number from being given to others.
    if tokio::time::timeout(LEFTOVERS, group_gone(run.leader)).await.is_err() {
        tracing::warn!(
            engine = core.name(),
            container = id,
            "a process of the group hangs in the kernel: it has been killed and goes when it can"
        );
    }
    core.guard().forget(run.token, || core.groups_but(&run));
    let exit_code = run.reap();
    core.world().ended(&id, &run, exit_code);
}

/// Waits until no member of a killed group but its leader is left: the ports and files that they
/// hold are free then. No new ones come, since a process with a KILL pending cannot fork.
async fn group_gone(leader: Pid) {
    let Ok(Ok(members)) = tokio::task::spawn_blocking(move || group::members(leader)).await else {
        return;
    };
    for (pid, _) in members {
        if pid != leader
            && let Ok(pidfd) = Pidfd::open(pid)
        {
            // An error means that the runtime ends.
            _ = pidfd.exited().await;
        }
    }
}

/// After each SIGCHLD, asks every run whether it was stopped or continued: no pidfd tells that.
pub(crate) async fn turns(core: Arc<Core>, mut children: unix::Signal) {
    while children.recv().await.is_some() {
        let alive = core.world().alive();
        for (id, run) in alive {
            take_turns(&core, &id, &run);
        }
    }
}

/// Tells of what the kernel has to say of a run, short of its end.
pub(crate) fn take_turns(core: &Core, id: &str, run: &Run) {
    while let Some(turn) = run.next_turn() {
        match turn {
            Turn::Stopped => core.world().froze(id, run),
            Turn::Continued => core.world().thawed(id, run),
        }
    }
}

/// A signal that cannot be sent to one's own child is a surprise, and nothing more can be done.
fn log_failure(core: &Core, id: &str, what: &str, outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::error!(engine = core.name(), container = id, %error, "cannot {what}");
    }
}
