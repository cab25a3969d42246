//! A cluster with one container, as a test scripts it. Its clock is tokio's, which stands still.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::{
    Action, ContainerStatus, Deadline, Error, ErrorKind, Observation, Reference, RunId,
};
use tokio::time::Instant;

use super::super::{Call, Carrier, Site};
use crate::{
    ClientError, TaskOutcome, Upid,
    client::Sent,
    cluster::{Live, Located, live_of},
    provider::{
        goal::Goal,
        orders::{Entry, Orders, Waiter},
    },
};

pub(super) const VMID: u32 = 201;

/// The container, as a live read has it.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) node: &'static str,
    pub(super) status: ContainerStatus,
    pub(super) pid: u64,
    pub(super) lock: Option<&'static str>,
    pub(super) ha_state: Option<&'static str>,
}

type Change = Arc<dyn Fn(&mut Option<Container>) + Send + Sync>;

/// What the API makes of an order.
#[derive(Clone)]
pub(super) enum Answer {
    /// It is a task.
    Task(Task),
    /// It is a task, and the answer is lost.
    Lost(Option<Task>),
    /// It is refused, since this is how the container has become.
    Refused(ClientError, Change),
}

#[derive(Clone)]
pub(super) struct Task {
    kind: &'static str,
    takes: Duration,
    exit: Result<TaskOutcome, &'static str>,
    then: Vec<(Duration, Change)>,
}

impl Task {
    /// One of this kind that ends well after a second.
    pub(super) fn ok(kind: &'static str) -> Self {
        let takes = Duration::from_secs(1);
        Self { kind, takes, exit: Ok(TaskOutcome::Ok), then: Vec::new() }
    }

    pub(super) fn failing(kind: &'static str, exit: &'static str) -> Self {
        Self { exit: Err(exit), ..Self::ok(kind) }
    }

    pub(super) fn taking(mut self, seconds: u64) -> Self {
        self.takes = Duration::from_secs(seconds);
        self
    }

    pub(super) fn ending_as(mut self, outcome: TaskOutcome) -> Self {
        self.exit = Ok(outcome);
        self
    }

    /// Changes the container when it ends.
    pub(super) fn then(self, change: impl Fn(&mut Container) + Send + Sync + 'static) -> Self {
        let takes = self.takes;
        self.after(takes, change)
    }

    /// Changes the container so long after the task began.
    pub(super) fn after(
        mut self,
        after: Duration,
        change: impl Fn(&mut Container) + Send + Sync + 'static,
    ) -> Self {
        self.then.push((after, changing(change)));
        self
    }

    pub(super) fn then_gone(mut self) -> Self {
        self.then.push((self.takes, Arc::new(|container| *container = None)));
        self
    }
}

/// Of `start`.
pub(super) fn runs(container: &mut Container) {
    container.status = ContainerStatus::Running;
    container.pid += 1;
}

/// Of `stop` and `shutdown`.
pub(super) fn ends(container: &mut Container) {
    container.status = ContainerStatus::Stopped;
}

struct State {
    container: Option<Container>,
    answers: VecDeque<Answer>,
    tasks: HashMap<String, (Instant, Task)>,
    changes: Vec<(Instant, Change)>,
    given: Vec<String>,
    read: Option<ContainerStatus>,
    forgotten: usize,
    open_transitions: usize,
    failing_reads: VecDeque<ErrorKind>,
    read_takes: Duration,
    unsent_for: Duration,
    answer_takes: Duration,
    failing_tasks: VecDeque<ClientError>,
    shows_tasks: bool,
    can_overrule: bool,
}

#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    pub(super) orders: Orders,
}

impl World {
    /// With a container on `pve1` that is `status`, in its seventh run.
    pub(super) fn new(status: ContainerStatus) -> Self {
        super::log::listen();
        let container = Container { node: "pve1", status, pid: 7, lock: None, ha_state: None };
        let state = State {
            container: Some(container),
            answers: VecDeque::new(),
            tasks: HashMap::new(),
            changes: Vec::new(),
            given: Vec::new(),
            read: None,
            forgotten: 0,
            open_transitions: 0,
            failing_reads: VecDeque::new(),
            read_takes: Duration::ZERO,
            unsent_for: Duration::ZERO,
            answer_takes: Duration::ZERO,
            failing_tasks: VecDeque::new(),
            shows_tasks: true,
            can_overrule: true,
        };
        Self { state: Arc::new(Mutex::new(state)), orders: Orders::default() }
    }

    pub(super) fn stopped() -> Self {
        Self::new(ContainerStatus::Stopped)
    }

    pub(super) fn running() -> Self {
        Self::new(ContainerStatus::Running)
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Container)) -> Self {
        self.change(change);
        self
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Container)) {
        change(self.state().container.as_mut().unwrap());
    }

    /// The answers to orders, in turn.
    pub(super) fn answers(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.state().answers.extend(answers);
        self
    }

    pub(super) fn slow_reads(self, each: Duration) -> Self {
        self.state().read_takes = each;
        self
    }

    /// Each order waits so long for its turn, say, before it is sent.
    pub(super) fn unsent_for(self, each: Duration) -> Self {
        self.state().unsent_for = each;
        self
    }

    /// The answer to an order that was sent comes so late.
    pub(super) fn slow_answers(self, each: Duration) -> Self {
        self.state().answer_takes = each;
        self
    }

    pub(super) fn failing_reads(self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.state().failing_reads.extend(kinds);
        self
    }

    pub(super) fn failing_tasks(self, errors: impl IntoIterator<Item = ClientError>) -> Self {
        self.state().failing_tasks.extend(errors);
        self
    }

    pub(super) fn without_audit(self) -> Self {
        self.state().shows_tasks = false;
        self
    }

    pub(super) fn before_8_2(self) -> Self {
        self.state().can_overrule = false;
        self
    }

    /// What was ordered.
    pub(super) fn given(&self) -> Vec<String> {
        self.state().given.clone()
    }

    /// What was read last.
    pub(super) fn read(&self) -> Option<ContainerStatus> {
        self.state().read.clone()
    }

    pub(super) fn has_open_transition(&self) -> bool {
        self.state().open_transitions > 0
    }

    pub(super) fn forgot_config(&self) -> bool {
        self.state().forgotten > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let due = state.changes.partition_point(|(at, _)| *at <= now);
        let due: Vec<_> = state.changes.drain(..due).collect();
        for (_, change) in due {
            change(&mut state.container);
        }
        state
    }

    /// Begins an order, or joins one.
    pub(super) fn begin(&self, goal: Goal, within: Duration) -> Waiter {
        let action = match goal {
            Goal::Start => Action::Start,
            Goal::Shutdown { .. } => Action::Stop,
            Goal::Kill => Action::Kill,
        };
        let (turn, order) = match self.orders.enter(VMID, goal, Deadline::after(within)) {
            Entry::Begin(turn, order) => (turn, order),
            Entry::Join(order) => return order,
            Entry::After(_) => panic!("something else is under way"),
        };
        let carrier = Carrier {
            site: Arc::new(self.clone()),
            vmid: VMID,
            found_on: "pve1".into(),
            reference: Reference::Name("web".to_owned()),
            action,
            goal,
            deadline: Deadline::after(goal.within()),
            turn,
        };
        tokio::spawn(carrier.run());
        order
    }

    /// An order from its beginning to its end.
    pub(super) async fn carry_out(&self, goal: Goal) -> Result<(), Error> {
        self.begin(goal, Duration::from_mins(5)).ended().await.unwrap()
    }

    fn begin_task(&self, task: Task, node: &str) -> Upid {
        let mut state = self.state();
        let now = Instant::now();
        let number = state.tasks.len();
        let kind = task.kind;
        let upid: Upid =
            format!("UPID:{node}:{number:08X}:0005A638:6B046D02:{kind}:{VMID}:root@pam!test:")
                .parse()
                .unwrap();
        state
            .changes
            .extend(task.then.iter().map(|(after, change)| (now + *after, change.clone())));
        state.changes.sort_by_key(|(at, _)| *at);
        state.tasks.insert(upid.to_string(), (now + task.takes, task));
        upid
    }
}

/// Refused in these words, since this is how the container has become.
pub(super) fn refused(
    message: &str,
    since: impl Fn(&mut Container) + Send + Sync + 'static,
) -> Answer {
    let error = ClientError::Refused { status: 500, message: message.to_owned() };
    Answer::Refused(error, changing(since))
}

/// Fails like this, whatever the container does.
pub(super) fn failing(error: ClientError) -> Answer {
    Answer::Refused(error, changing(|_| {}))
}

fn changing(change: impl Fn(&mut Container) + Send + Sync + 'static) -> Change {
    Arc::new(move |container| {
        if let Some(container) = container {
            change(container);
        }
    })
}

pub(super) fn broken(was_sent: bool) -> ClientError {
    ClientError::Unreachable {
        endpoint: "https://pve1:8006".to_owned(),
        reason: "the connection broke".to_owned(),
        was_sent,
        source: None,
    }
}

struct OpenTransition(World);

impl Drop for OpenTransition {
    fn drop(&mut self) {
        self.0.state().open_transitions -= 1;
    }
}

#[async_trait]
impl Site for World {
    fn engine(&self) -> &'static str {
        "pve"
    }

    async fn live(&self, vmid: u32, action: Action, _: Deadline) -> Result<Live, Error> {
        assert_eq!(vmid, VMID);
        let takes = self.state().read_takes;
        tokio::time::sleep(takes).await;
        let mut state = self.state();
        let error = |kind| Error::new("pve", action, kind).with_container(vmid.to_string());
        if let Some(kind) = state.failing_reads.pop_front() {
            return Err(error(kind));
        }
        let container = state.container.clone().ok_or_else(|| error(ErrorKind::NotFound))?;
        state.read = Some(container.status.clone());
        let run = container.status.is_alive().then(|| RunId::new(container.pid.to_string()));
        let observation =
            Observation::new(container.status, run).with_lock(container.lock.map(str::to_owned));
        Ok(live_of(vmid, container.node, container.ha_state, observation))
    }

    fn forget_config(&self, _: u32) {
        self.state().forgotten += 1;
    }

    fn transition(&self, _: u32) -> Box<dyn Send + Sync> {
        self.state().open_transitions += 1;
        Box::new(OpenTransition(self.clone()))
    }

    async fn give(
        &self,
        at: &Located,
        call: Call,
        sent: &Sent,
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        let (unsent_for, answer_takes) = {
            let state = self.state();
            (state.unsent_for, state.answer_takes)
        };
        let turn = tokio::time::sleep(unsent_for);
        if tokio::time::timeout_at(deadline.at(), turn).await.is_err() {
            let (after, last) = (deadline.duration(), Some(Box::new(broken(false))));
            return Err(ClientError::TimedOut { after, last, was_sent: false });
        }
        sent.tell(true);
        let answer = {
            let mut state = self.state();
            state.given.push(format!("{call:?} on {}", at.node));
            state.answers.pop_front().expect("an order that the test did not expect")
        };
        tokio::time::sleep(answer_takes).await;
        match answer {
            Answer::Task(task) => Ok(self.begin_task(task, &at.node)),
            Answer::Lost(task) => {
                if let Some(task) = task {
                    self.begin_task(task, &at.node);
                }
                Err(broken(true))
            }
            Answer::Refused(error, change) => {
                change(&mut self.state().container);
                Err(error)
            }
        }
    }

    async fn finished(&self, upid: &Upid, deadline: Deadline) -> Result<TaskOutcome, ClientError> {
        let (ends, task) = {
            let mut state = self.state();
            if let Some(error) = state.failing_tasks.pop_front() {
                return Err(error);
            }
            state.tasks[&upid.to_string()].clone()
        };
        if tokio::time::timeout_at(deadline.at(), tokio::time::sleep_until(ends)).await.is_err() {
            let after = deadline.duration();
            return Err(ClientError::TimedOut { after, last: None, was_sent: false });
        }
        task.exit.map_err(|exit| ClientError::TaskFailed {
            upid: upid.clone(),
            exit: exit.to_owned(),
            log: vec![format!("TASK ERROR: {exit}")],
        })
    }

    async fn log(&self, _: &Upid, _: usize, _: Deadline) -> Result<Vec<String>, ClientError> {
        Ok(vec!["WARN: old systemd".to_owned(), "TASK WARNINGS: 1".to_owned()])
    }

    async fn active_tasks(&self, _: &Located, _: Deadline) -> Result<Vec<Upid>, ClientError> {
        let state = self.state();
        let now = Instant::now();
        let active = state.tasks.iter().filter(|(_, (ends, _))| *ends > now);
        let active: Vec<Upid> = active.map(|(upid, _)| upid.parse().unwrap()).collect();
        Ok(if state.shows_tasks { active } else { Vec::new() })
    }

    async fn can_overrule(&self, _: Deadline) -> bool {
        self.state().can_overrule
    }
}
