//! The scripted engine passes the suite that real engines pass.
#![cfg(all(feature = "contract", feature = "testing"))]

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use drowse_provider::{
    Capabilities, Engine, Reach, Reference, Signal, Support, Unusable,
    contract::{Behaviour, Fixture, Outside},
    testing::{ScriptedContainer, ScriptedEngine},
};

struct Scripted {
    engine: ScriptedEngine,
    made: AtomicUsize,
}

impl Scripted {
    fn new() -> Self {
        Self { engine: ScriptedEngine::new("scripted"), made: AtomicUsize::new(0) }
    }

    /// An engine like an LXC host: it cannot freeze, send signals or measure.
    fn of_few_capabilities() -> Self {
        let no = || Support::No("the test says so".into());
        let mut capabilities = Capabilities::all();
        capabilities.pause = no();
        capabilities.signals = no();
        capabilities.stop_signal = no();
        capabilities.stats = no();
        let engine = ScriptedEngine::with("scripted", capabilities, Reach::Local);
        Self { engine, made: AtomicUsize::new(0) }
    }

    fn container(&self, reference: &Reference) -> ScriptedContainer {
        match self.engine.container(&reference.to_string()) {
            Some(container) => container,
            None => panic!("no row made a container `{reference}`"),
        }
    }

    fn add(&self, name: &str, behaviour: Behaviour) {
        let container = self.engine.add(name);
        match behaviour {
            Behaviour::Serves => container.end_at([(Signal::TERM, 0)]),
            Behaviour::IgnoresTerm => container.end_at([(Signal::INT, 0)]),
            Behaviour::Exits(code) => container.exit_with(Some(code.into())),
            other => panic!("unknown behaviour {other:?}"),
        }
    }
}

#[async_trait]
impl Fixture for Scripted {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    async fn create(&self, behaviour: Behaviour) -> Reference {
        let name = format!("c{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.add(&name, behaviour);
        Reference::Name(name)
    }

    async fn serving(&self, _: &Reference) {}

    async fn remove(&self, reference: &Reference) {
        self.container(reference).remove();
    }

    async fn outside(&self, reference: &Reference, act: Outside) -> bool {
        let container = self.container(reference);
        match act {
            Outside::Start => container.start(),
            Outside::Kill(signal) => _ = container.kill(signal),
            Outside::Pause => container.pause(),
            Outside::Unpause => container.unpause(),
            other => panic!("unknown act {other:?}"),
        }
        true
    }

    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        self.add(&name.to_string(), behaviour);
        true
    }

    async fn create_unusable(&self) -> Option<Reference> {
        let reference = self.create(Behaviour::Serves).await;
        self.container(&reference).fail(Unusable::Dead);
        Some(reference)
    }

    async fn break_events(&self) -> bool {
        self.engine.break_events();
        true
    }

    async fn mend_events(&self) {
        self.engine.mend_events();
    }
}

mod contract {
    use super::*;
    drowse_provider::contract_tests!(ready(Scripted::new()), start_paused = true);
}

mod contract_of_few_capabilities {
    use super::*;
    drowse_provider::contract_tests!(ready(Scripted::of_few_capabilities()), start_paused = true);
}
