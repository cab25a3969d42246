//! The demo's workload, in sentences.

use std::{sync::Arc, time::Duration};

use drowse_watcher::{PhaseName, Snapshot};
use tokio::sync::watch;

use super::{Peers, memory};
use crate::{config::show_duration, output::say, view::View};

/// Tells what happens to the workload until it is managed no more.
pub(super) async fn tell(
    mut view: watch::Receiver<Arc<View>>,
    name: &str,
    idle: Duration,
    peers: &Peers,
) -> anyhow::Result<()> {
    let workload = loop {
        let entry = view.borrow_and_update().find(name).cloned();
        if let Some(entry) = entry {
            break entry.workload;
        }
        if view.changed().await.is_err() {
            return Ok(());
        }
    };
    let mut narrator = Narrator { idle, said: None, memory: None };
    let mut snapshots = workload.watch();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(sentence) = narrator.sentence(&snapshot, peers) {
            say(format_args!("{}  {sentence}", jiff::ZonedDateTime::now().strftime("%H:%M:%S")))?;
        }
        if snapshots.changed().await.is_err() {
            return Ok(());
        }
    }
}

struct Narrator {
    idle: Duration,
    /// The phase that was told last.
    said: Option<PhaseName>,
    /// What the application used when it was last looked at.
    memory: Option<u64>,
}

impl Narrator {
    fn sentence(&mut self, snapshot: &Snapshot, peers: &Peers) -> Option<String> {
        let before = self.said.replace(snapshot.phase);
        if before == Some(snapshot.phase) {
            return None;
        }
        if snapshot.phase == PhaseName::Ready {
            self.memory = memory::of_children(std::process::id(), "demo-app");
        }
        let asleep = before.is_some_and(|phase| phase != PhaseName::Unread);
        match snapshot.phase {
            PhaseName::Asleep if asleep => Some(match self.memory.take() {
                Some(bytes) => format!("asleep: {} given back", megabytes(bytes)),
                None => "asleep".to_owned(),
            }),
            PhaseName::Asleep => {
                Some("asleep: no process runs, no memory is used; waiting for a request".to_owned())
            }
            PhaseName::Starting => Some(match &*peers.borrow() {
                Some(peer) => format!("a request from {peer}: waking it"),
                None => "a request: waking it".to_owned(),
            }),
            PhaseName::Ready => {
                let took = snapshot
                    .last_wake_took
                    .map(|took| format!(" after {:.1} s", took.as_secs_f64()));
                let uses = self.memory.map(|bytes| format!(", using {}", megabytes(bytes)));
                Some(format!("ready{}{}", took.unwrap_or_default(), uses.unwrap_or_default()))
            }
            PhaseName::Stopping => {
                let idle = show_duration(self.idle);
                Some(format!("idle for {idle}: putting it to sleep"))
            }
            PhaseName::Failed | PhaseName::Gone => {
                Some(format!("{}: {}", snapshot.phase, snapshot.reason))
            }
            _ => None,
        }
    }
}

/// In the unit that people count memory in.
fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}
