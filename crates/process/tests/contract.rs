//! The process engine passes the suite that every engine passes.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_process::{Output, ProcessEngine, ProcessSpec};
use drowse_provider::{
    Deadline, Engine, Provider, Reference, Signal,
    contract::{Behaviour, Fixture, Outside, PATIENCE},
};
use rustix::process::{Pid, kill_process, kill_process_group};

/// Its own pid goes into `$READY` once its traps stand.
const SERVES: &str = "trap 'exit 0' TERM; trap : HUP";
const IGNORES_TERM: &str = "trap 'exit 0' INT; trap '' TERM; trap : HUP";
const FOR_EVER: &str = "sleep 100000 & echo $$ > \"$READY\"; while :; do wait $!; done";

struct Processes {
    engine: ProcessEngine,
    folder: tempfile::TempDir,
    made: AtomicUsize,
}

impl Processes {
    fn new() -> Self {
        Self {
            engine: ProcessEngine::new("processes").unwrap(),
            folder: tempfile::tempdir().unwrap(),
            made: AtomicUsize::new(0),
        }
    }

    fn ready_file(&self, reference: &Reference) -> PathBuf {
        self.folder.path().join(reference.to_string())
    }

    fn define(&self, name: &Reference, behaviour: Behaviour) {
        let script = match behaviour {
            Behaviour::Serves => format!("{SERVES}; {FOR_EVER}"),
            Behaviour::IgnoresTerm => format!("{IGNORES_TERM}; {FOR_EVER}"),
            Behaviour::Exits(code) => format!("exit {code}"),
            other => panic!("unknown behaviour {other:?}"),
        };
        let mut spec = ProcessSpec::new(name.to_string(), "sh")
            .args(["-c", &script])
            .env("READY", self.ready_file(name))
            .output(Output::Inherit);
        if behaviour == Behaviour::IgnoresTerm {
            // For the end of the row, when the engine is closed.
            spec = spec.stop_timeout(Duration::from_secs(1));
        }
        self.engine.define(spec).unwrap();
    }

    fn provider(&self, reference: &Reference) -> Arc<dyn Provider> {
        self.engine.provider(reference).unwrap()
    }

    /// The leader's pid, of which its run's id is made.
    async fn leader(&self, reference: &Reference) -> Pid {
        let seen = self.provider(reference).observe(Deadline::after(PATIENCE)).await.unwrap();
        let run = seen.run.unwrap().to_string();
        Pid::from_raw(run.split('@').next().unwrap().parse().unwrap()).unwrap()
    }
}

#[async_trait]
impl Fixture for Processes {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    async fn create(&self, behaviour: Behaviour) -> Reference {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = Reference::Name(format!("p{number}"));
        self.define(&name, behaviour);
        name
    }

    async fn serving(&self, reference: &Reference) {
        let expected = format!("{}\n", self.leader(reference).await);
        let ready = async {
            while fs::read_to_string(self.ready_file(reference)).unwrap_or_default() != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
    }

    async fn remove(&self, reference: &Reference) {
        self.engine.remove(reference, Deadline::after(PATIENCE)).await.unwrap();
    }

    async fn outside(&self, reference: &Reference, act: Outside) -> bool {
        let leader = match act {
            Outside::Start => return false,
            _ => self.leader(reference).await,
        };
        let native = |signal: Signal| {
            rustix::process::Signal::from_named_raw(signal.number().into()).unwrap()
        };
        match act {
            Outside::Kill(signal) => kill_process(leader, native(signal)).unwrap(),
            Outside::Pause => kill_process_group(leader, rustix::process::Signal::STOP).unwrap(),
            Outside::Unpause => kill_process_group(leader, rustix::process::Signal::CONT).unwrap(),
            other => panic!("unknown act {other:?}"),
        }
        true
    }

    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        self.define(name, behaviour);
        true
    }

    async fn tear_down(&self) {
        self.engine.close().await;
    }
}

mod contract {
    use super::*;
    drowse_provider::contract_tests!(async { Processes::new() });
}
