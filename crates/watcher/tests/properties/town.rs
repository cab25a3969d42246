//! A workload, its engine and its clients, and what may come to them.

use std::{sync::Arc, time::Duration};

use drowse_provider::{
    Action, ContainerStatus, Deadline, Engine, ErrorKind, Reference, Signal,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use drowse_watcher::{
    Force, Lease, LeaseKind, PhaseName, Policy, ReadyWhenRunning, Workload, WorkloadSpec,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::judge::{Bug, IDLE, Judge, Judged};

/// How long an answer may be late: see `Workload::lease`.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a wake may take that nothing speaks against.
const WAKES_WITHIN: Duration = Duration::from_mins(10);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Ask {
        client: usize,
        patience: Duration,
    },
    /// A passive lease.
    Look {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Drop {
        client: usize,
    },
    Pass(Duration),
    SleepNow,
    UpstreamFails {
        client: usize,
    },
    UserStops,
    UserStarts,
    UserPauses,
    Crash,
    EngineDown,
    EngineUp,
    EventsBreak,
    EventsMend,
    EventsLost(usize),
    EventsTwice(usize),
    NextStart(Fault),
    NextSleep(Fault),
    NextRead(Fault),
    /// drowse ends and begins anew.
    Restart,
}

/// What the engine does with one call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Refused,
    Locked,
    AnswerLost,
    TakenAndHangs,
    Hangs,
    Late(Duration),
}

impl Fault {
    fn step(&self) -> Step {
        let unavailable = || ErrorKind::Unavailable { reason: "connection reset".to_owned() };
        match self {
            Self::Refused => {
                Step::refuse(ErrorKind::Failed { exit: None, message: "no".to_owned() })
            }
            Self::Locked => Step::refuse(ErrorKind::Locked { by: "backup".to_owned() }),
            Self::AnswerLost => Step::lose_answer(unavailable()),
            Self::TakenAndHangs => Step::take_and_hang(),
            Self::Hangs => Step::hang(),
            Self::Late(delay) => Step::ok().late_by(*delay),
        }
    }
}

#[derive(Default)]
struct Client {
    asking: Option<JoinHandle<Option<Lease>>>,
    lease: Option<(Lease, LeaseKind)>,
}

pub(crate) struct Town {
    engine: ScriptedEngine,
    app: ScriptedContainer,
    workload: Workload,
    clients: [Client; 3],
    judge: Arc<Judge>,
    bug: Option<Bug>,
}

impl Town {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let engine = ScriptedEngine::new("home");
        let app = engine.add("app");
        let judge = Arc::new(Judge::default());
        let workload = spawn(&engine, &judge);
        Self { engine, app, workload, clients: Default::default(), judge, bug }
    }

    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.judge.model().wrongs.clone()
    }

    pub(crate) async fn take(&mut self, input: &Input) {
        match input {
            Input::Ask { client, patience } => self.ask(*client, *patience),
            Input::Look { client } => self.look(*client),
            Input::Leave { client } => {
                if let Some(asking) = self.clients[*client].asking.take() {
                    asking.abort();
                }
            }
            Input::Drop { client } => self.drop_lease(*client),
            Input::Pass(time) => sleep(*time).await,
            Input::SleepNow => self.sleep_now(),
            Input::UpstreamFails { client } => {
                if let Some((lease, _)) = &self.clients[*client].lease {
                    self.workload.upstream_failed(&lease.run());
                }
            }
            Input::UserStops if self.runs() => drop(self.app.kill(Signal::TERM)),
            Input::UserPauses if self.runs() => self.app.pause(),
            Input::Crash if self.runs() => self.app.crash(3),
            Input::UserStops | Input::UserPauses | Input::Crash => {}
            Input::UserStarts => match self.app.observation().status {
                ContainerStatus::Stopped => self.app.start(),
                ContainerStatus::Paused => self.app.unpause(),
                _ => {}
            },
            Input::EngineDown => self.engine.go_down("connection refused"),
            Input::EngineUp => self.engine.come_back(),
            Input::EventsBreak => self.engine.break_events(),
            Input::EventsMend => self.engine.mend_events(),
            Input::EventsLost(count) => self.engine.lose_events(*count),
            Input::EventsTwice(count) => self.engine.repeat_events(*count),
            Input::NextStart(fault) => self.app.script(Action::Start, [fault.step()]),
            Input::NextSleep(fault) => self.app.script(Action::Stop, [fault.step()]),
            Input::NextRead(fault) => self.app.script(Action::Inspect, [fault.step()]),
            Input::Restart => self.restart().await,
        }
        // Whoever can go on does, before the next input.
        sleep(Duration::from_millis(1)).await;
        self.collect().await;
    }

    fn runs(&self) -> bool {
        self.app.observation().status == ContainerStatus::Running
    }

    /// The engine is well and nobody wants anything: all comes to rest, and can be woken.
    pub(crate) async fn settle(&mut self, tail: Duration) {
        self.engine.come_back();
        self.engine.mend_events();
        for client in 0..self.clients.len() {
            if let Some(asking) = self.clients[client].asking.take() {
                asking.abort();
            }
            self.drop_lease(client);
        }
        // What a watch has missed for good is made good by a read anew.
        self.engine.resync();
        self.must_be_asleep("after all have gone", tail).await;
        let calls = self.engine.calls().len();
        sleep(tail).await;
        let more = self.engine.calls().len() - calls;
        if more > 0 {
            self.judge.wrong(format!("{more} calls of one that sleeps, in {tail:?}"));
        }
        let woken = timeout(WAKES_WITHIN, self.wake()).await;
        if woken.is_err() {
            self.judge.wrong(format!("it cannot be woken: {:?}", self.workload.snapshot()));
        }
        self.must_be_asleep("after it was woken once more", tail).await;
    }

    /// Invariants 5 and 7. The whole time passes: a wake that nobody waits for any more may have gone on
    /// behind a lock.
    async fn must_be_asleep(&self, when: &str, after: Duration) {
        sleep(after).await;
        let (status, now) = (self.app.observation().status, self.workload.snapshot());
        let sleeps = matches!(status, ContainerStatus::Stopped | ContainerStatus::Paused);
        let leases = self.workload.leases();
        if !sleeps || now.phase != PhaseName::Asleep || leases != 0 {
            self.judge.wrong(format!("{status} with {leases} leases {when}: {now:?}"));
        }
    }

    /// As a client that comes again when it is told to.
    async fn wake(&self) {
        let holder = self.workload.holder("the last");
        loop {
            let deadline = Deadline::after(Duration::from_mins(5));
            match self.workload.lease(&holder, LeaseKind::Active, deadline).await {
                Ok(lease) => {
                    let (real, told) = (self.app.observation().run, lease.run().run.clone());
                    if real != told {
                        self.judge.wrong(format!("a lease of {told:?}, and it is {real:?}"));
                    }
                    self.judge.model().last_use = Instant::now();
                    return;
                }
                Err(error) => sleep(error.retry_after().unwrap_or(MARGIN).max(MARGIN)).await,
            }
        }
    }

    /// Invariant 4: whoever asks is answered in time.
    fn ask(&mut self, client: usize, patience: Duration) {
        if self.clients[client].asking.is_some() || self.clients[client].lease.is_some() {
            return;
        }
        let (workload, judge) = (self.workload.clone(), Arc::clone(&self.judge));
        let kind = match self.bug {
            Some(Bug::UseIsForgotten) => LeaseKind::Dependent,
            None => LeaseKind::Active,
        };
        self.clients[client].asking = Some(tokio::spawn(async move {
            let asked = Instant::now();
            let holder = workload.holder(&format!("client {client}"));
            let deadline = Deadline::after(patience);
            let answer = workload.lease(&holder, kind, deadline).await;
            let waited = asked.elapsed();
            if waited > patience + MARGIN {
                judge.wrong(format!("answered {waited:?} after it asked for {patience:?}"));
            }
            let lease = answer.ok()?;
            judge.model().leases += 1;
            Some(lease)
        }));
    }

    fn look(&mut self, client: usize) {
        let slot = &mut self.clients[client];
        let holder = self.workload.holder("monitor");
        if slot.asking.is_none()
            && slot.lease.is_none()
            && let Some(lease) = self.workload.try_lease(&holder, LeaseKind::Passive)
        {
            self.judge.model().leases += 1;
            slot.lease = Some((lease, LeaseKind::Passive));
        }
    }

    fn drop_lease(&mut self, client: usize) {
        let Some((lease, kind)) = self.clients[client].lease.take() else { return };
        let mut model = self.judge.model();
        model.leases -= 1;
        if kind == LeaseKind::Active {
            model.last_use = Instant::now();
            model.sleep_was_asked_for = false;
        }
        drop(model);
        drop(lease);
    }

    fn sleep_now(&self) {
        let (workload, judge) = (self.workload.clone(), Arc::clone(&self.judge));
        judge.model().sleep_was_asked_for = true;
        judge.model().wait_for_sleep += 1;
        tokio::spawn(async move {
            let deadline = Deadline::after(Duration::from_mins(1));
            drop(workload.sleep_now(deadline, Force::No).await);
            judge.model().wait_for_sleep -= 1;
        });
    }

    /// Invariant 8: nothing is remembered, and what runs has its whole idle time again.
    async fn restart(&mut self) {
        for client in &mut self.clients {
            if let Some(asking) = client.asking.take() {
                asking.abort();
            }
            client.lease = None;
        }
        self.judge.model().leases = 0;
        self.workload.close().await;
        let mut model = self.judge.model();
        model.last_use = Instant::now();
        model.sleep_was_asked_for = false;
        drop(model);
        self.workload = spawn(&self.engine, &self.judge);
    }

    /// Who was given a lease holds it from now on.
    async fn collect(&mut self) {
        for client in &mut self.clients {
            if client.asking.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(asking) = client.asking.take()
                && let Ok(Some(lease)) = asking.await
            {
                client.lease = Some((lease, LeaseKind::Active));
            }
        }
    }
}

fn spawn(engine: &ScriptedEngine, judge: &Arc<Judge>) -> Workload {
    let inner = engine.provider(&Reference::Name("app".to_owned())).unwrap();
    let provider = Arc::new(Judged { inner, judge: Arc::clone(judge) });
    let policy = Policy::new(IDLE).with_start_grace(Duration::from_mins(2));
    Workload::spawn(WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy))
}
