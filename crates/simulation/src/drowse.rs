//! Drowse in small: what the program does to its workloads, and nothing more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_provider::{Deadline, Engine as _, Reference};
use drowse_watcher::{
    AsleepHold, Force, Group, Hold, KeepAwake, LeaseKind, Need, Needs, OrderSlots, StopGate,
    Workload, WorkloadSpec,
};

use crate::{
    client,
    plan::{GROUPS, Request},
    provider::{Gate, Serves, SimulatedEngine},
    world::{Held, Shared, World},
};

/// How often it is looked at whether the requests of an earlier management are through.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long it takes to tell one of what it needs, where many are told: longer than a read.
const BETWEEN_TWO: Duration = Duration::from_millis(20);

/// One life of drowse.
#[derive(Clone, Debug)]
pub(crate) struct Drowse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    world: Shared,
    slots: Vec<OrderSlots>,
    groups: Vec<Group>,
    workloads: Mutex<BTreeMap<usize, Workload>>,
    holds: Mutex<BTreeMap<usize, Holds>>,
}

/// What was made of people's holds of one workload.
#[derive(Debug, Default)]
struct Holds {
    awake: Option<(Held, KeepAwake)>,
    asleep: Option<Held>,
}

/// How much a workload is told of what it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Who that is: it is waited for.
    Names,
    Handles,
}

impl Drowse {
    /// Begins to manage all that there is.
    pub(crate) async fn begin(world: &Shared) -> Self {
        let plan = world.lock().plan.clone();
        let slots = plan.engines.iter().map(|engine| OrderSlots::new(engine.slots)).collect();
        let groups = (0..GROUPS).map(|group| Group::new(format!("g{group}"))).collect();
        let (workloads, holds) = (Mutex::default(), Mutex::default());
        let inner = Inner { world: world.clone(), slots, groups, workloads, holds };
        let drowse = Self(Arc::new(inner));
        // Nothing that others may need sleeps before it is known what they need.
        let holds: Vec<Option<Hold>> = plan.present().map(|index| drowse.manage(index)).collect();
        // The harder order: whatever is wanted awake before it is told of what it needs waits for that.
        drowse.look_at_holds();
        for index in plan.present() {
            tokio::time::sleep(BETWEEN_TWO).await;
            drowse.tell(index).await;
        }
        drop(holds);
        drowse
    }

    fn workloads(&self) -> MutexGuard<'_, BTreeMap<usize, Workload>> {
        self.0.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn workload(&self, index: usize) -> Option<Workload> {
        self.workloads().get(&index).cloned()
    }

    /// It is held until the caller has wired those who need it.
    fn manage(&self, index: usize) -> Option<Hold> {
        let world = &self.0.world;
        let plan = world.lock().plan.clone();
        let planned = &plan.workloads[index];
        let name = World::name(index);
        let engine = SimulatedEngine::new(world, planned.engine);
        let provider = match engine.provider(&Reference::Name(name.clone())) {
            Ok(provider) => provider,
            Err(error) => {
                world.lock().step(format_args!("w{index}: {error}"));
                return None;
            }
        };
        let readiness = Arc::new(Serves { world: world.clone(), container: index });
        let policy = world.lock().records[index].policy.clone();
        let gates: Vec<Arc<dyn StopGate>> = if planned.has_gate {
            vec![Arc::new(Gate { world: world.clone(), container: index })]
        } else {
            Vec::new()
        };
        let memory = world.lock().memory(index);
        let mut spec = WorkloadSpec::new(name, provider, readiness, policy)
            .with_slots(self.0.slots[planned.engine].clone())
            .with_memory(memory)
            .with_needs(self.needs(index, Told::Names))
            .with_gates(gates);
        if let Some(group) = planned.group {
            spec = spec.with_group(self.0.groups[group].clone());
        }
        world.lock().managed(index);
        let (workload, hold) = Workload::spawn_held(spec, "being wired");
        self.workloads().insert(index, workload);
        self.holds().remove(&index);
        Some(hold)
    }

    /// What it needs: as it is managed now, or by name alone.
    fn needs(&self, index: usize, told: Told) -> Needs {
        let world = self.0.world.lock();
        if world.is_misconfigured(index) {
            return Needs::InError("it needs what is not there".to_owned());
        }
        let need = |(needed, condition): &(usize, _)| {
            let workload = self.workload(*needed).filter(|_| told == Told::Handles);
            Need::new(World::name(*needed), workload, *condition)
        };
        let needs = world.plan.workloads[index].needs.iter();
        Needs::Of(needs.filter(|(needed, _)| world.is_needed(index, *needed)).map(need).collect())
    }

    /// Tells it what it needs, as it is now, and waits until that is told.
    async fn tell(&self, index: usize) {
        if let Some(workload) = self.workload(index) {
            workload.set_needs(self.needs(index, Told::Handles)).await;
        }
    }

    /// Tells it what it needs, as it will be when it is told.
    pub(crate) fn wire(&self, index: usize) {
        let drowse = self.clone();
        tokio::spawn(async move { drowse.tell(index).await });
    }

    /// The same of all.
    pub(crate) fn wire_all(&self) {
        let managed: Vec<usize> = self.workloads().keys().copied().collect();
        for index in managed {
            self.wire(index);
        }
    }

    fn holds(&self) -> MutexGuard<'_, BTreeMap<usize, Holds>> {
        self.0.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what people hold so, from now on.
    pub(crate) fn look_at_holds(&self) {
        let managed: Vec<usize> = self.workloads().keys().copied().collect();
        for index in managed {
            self.look_at_hold(index);
        }
    }

    fn look_at_hold(&self, index: usize) {
        let Some(workload) = self.workload(index) else { return };
        let (awake, asleep, until) = {
            let world = self.0.world.lock();
            let asleep = world.held(index, false);
            let until = asleep.filter(|held| held.ends_by_itself);
            (world.held(index, true), asleep, until.map(|held| world.instant(held.until)))
        };
        let mut all = self.holds();
        let holds = all.entry(index).or_default();
        if holds.awake.as_ref().map(|(held, _)| *held) != awake {
            let keep = |held| (held, KeepAwake::new(workload.clone(), "hold"));
            holds.awake = awake.map(keep);
        }
        if holds.asleep != asleep {
            holds.asleep = asleep;
            let hold = asleep.map(|_| AsleepHold::new("a restore"));
            let hold = hold.map(|hold| match until {
                Some(until) => hold.until(until),
                None => hold,
            });
            tokio::spawn(async move { workload.hold_asleep(hold).await });
        }
    }

    /// Somebody wants its failures forgotten.
    pub(crate) fn close_circuit(&self, index: usize) {
        if let Some(workload) = self.workload(index) {
            tokio::spawn(async move { workload.close_circuit().await });
        }
    }

    /// Writes down what is worth keeping.
    pub(crate) fn store(&self) {
        for (index, workload) in &*self.workloads() {
            let memory = workload.memory();
            let mut world = self.0.world.lock();
            let now = world.now();
            world.store.memories.insert(*index, (now, memory));
        }
    }

    /// Ends its management, and begins it anew. Requests that were let in before keep it awake.
    pub(crate) fn manage_anew(&self, index: usize) {
        let Some(former) = self.workloads().remove(&index) else { return };
        let drowse = self.clone();
        let name = World::name(index);
        // What it needs stays held in between.
        let in_between = self.needs(index, Told::Handles).hold(&name);
        self.0.world.lock().managed_no_more(index);
        tokio::spawn(async move {
            former.close().await;
            let hold = drowse.manage(index);
            drowse.tell(index).await;
            drop(in_between);
            for dependent in drowse.dependents(index) {
                drowse.tell(dependent).await;
            }
            drop(hold);
            drowse.look_at_hold(index);
            if let Some(now) = drowse.workload(index)
                && former.leases() > 0
            {
                let holder = now.holder("requests of before");
                let hold = now.hold(&holder, LeaseKind::Active);
                while former.leases() > 0 {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                drop(hold);
            }
        });
    }

    fn dependents(&self, index: usize) -> Vec<usize> {
        let plan = self.0.world.lock().plan.clone();
        let needs_it =
            |other: &usize| plan.workloads[*other].needs.iter().any(|(one, _)| *one == index);
        plan.present().filter(needs_it).collect()
    }

    /// Somebody uses it.
    pub(crate) fn request(&self, number: u64, request: Request) {
        let world = &self.0.world;
        let index = request.workload;
        match self.workload(index) {
            Some(workload) => {
                tokio::spawn(client::request(world.clone(), workload, number, request));
            }
            None => world.lock().step(format_args!("client {number}: nobody manages w{index}")),
        }
    }

    /// Somebody wants it asleep.
    pub(crate) fn sleep_now(&self, index: usize, patience: Duration, force: Force) {
        let Some(workload) = self.workload(index) else { return };
        let world = self.0.world.clone();
        tokio::spawn(async move {
            world.lock().sleep_wanted(index, force);
            let answer = workload.sleep_now(Deadline::after(patience), force).await;
            let mut world = world.lock();
            world.sleep_answered(index, force);
            match answer {
                Ok(()) => world.step(format_args!("w{index} was put to sleep on request")),
                Err(error) => world.step(format_args!("w{index} is not put to sleep: {error}")),
            }
        });
    }

    /// Its idle time is another from now on.
    pub(crate) fn set_idle(&self, index: usize, idle: Duration) {
        let (policy, change) = {
            let mut world = self.0.world.lock();
            let change = world.number();
            let record = &mut world.records[index];
            record.last_change = change;
            // Until it is known to count, the shorter one may.
            record.least_idle = idle.min(record.least_idle);
            record.policy.idle = idle;
            (record.policy.clone(), change)
        };
        let workload = self.workload(index);
        let world = self.0.world.clone();
        tokio::spawn(async move {
            if let Some(workload) = workload {
                workload.set_policy(policy).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let record = &mut world.lock().records[index];
            if record.last_change == change {
                record.least_idle = idle;
            }
        });
    }
}
