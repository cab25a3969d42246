//! What a workload is made of.

use std::sync::Arc;

use drowse_provider::Provider;

use crate::{AsleepHold, Group, Memory, Needs, Observer, OrderSlots, Policy, Readiness, StopGate};

/// What a workload is made of.
#[derive(Debug)]
#[non_exhaustive]
pub struct WorkloadSpec {
    /// Its name in logs, lists and commands.
    pub name: String,
    /// Its container.
    pub provider: Arc<dyn Provider>,
    /// How it is found out that it serves.
    pub readiness: Arc<dyn Readiness>,
    /// How it sleeps and wakes.
    pub policy: Policy,
    /// The engine's bound on orders.
    pub slots: OrderSlots,
    /// What it needs.
    pub needs: Needs,
    /// What it is used together with.
    pub group: Option<Group>,
    /// What is asked before it is put to sleep.
    pub gates: Vec<Arc<dyn StopGate>>,
    /// Who is told of its changes.
    pub observer: Option<Arc<dyn Observer>>,
    /// What an earlier management of it knew.
    pub memory: Memory,
    /// Whether it is held asleep from the first moment on.
    pub held_asleep: Option<AsleepHold>,
}

impl WorkloadSpec {
    /// A workload with the default bound on orders, of its own.
    pub fn new(
        name: impl Into<String>,
        provider: Arc<dyn Provider>,
        readiness: Arc<dyn Readiness>,
        policy: Policy,
    ) -> Self {
        Self {
            name: name.into(),
            provider,
            readiness,
            policy,
            slots: OrderSlots::default(),
            needs: Needs::default(),
            group: None,
            gates: Vec::new(),
            observer: None,
            memory: Memory::default(),
            held_asleep: None,
        }
    }

    /// Needing these.
    #[must_use]
    pub fn with_needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// Used together with the others of this group, for as long as it is managed.
    #[must_use]
    pub fn with_group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    /// Asking these before each sleep.
    #[must_use]
    pub fn with_gates(mut self, gates: Vec<Arc<dyn StopGate>>) -> Self {
        self.gates = gates;
        self
    }

    /// Telling `observer` of its changes.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Knowing what an earlier management knew.
    #[must_use]
    pub fn with_memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Held asleep from the first moment on: see [`Workload::hold_asleep`](crate::Workload::hold_asleep).
    #[must_use]
    pub fn with_hold_asleep(mut self, hold: Option<AsleepHold>) -> Self {
        self.held_asleep = hold;
        self
    }

    /// Sharing its engine's bound on orders.
    #[must_use]
    pub fn with_slots(mut self, slots: OrderSlots) -> Self {
        self.slots = slots;
        self
    }
}
