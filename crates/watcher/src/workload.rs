//! The handle of a workload: what the gateway and the program hold.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use drowse_provider::{Deadline, Provider};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    AsleepHold, Change, Force, Hold, Holder, Lease, LeaseKind, Memory, Need, NeedState, Needs,
    Policy, ReadyRun, Report, SleepError, Snapshot, WakeError, WorkloadSpec,
    core::{AskId, Moment},
    group::Membership,
    holders::Holders,
    runtime::{
        Ask, Command, LeaseRequest, Runtime, Sender, Set, SetNeeds, Setting, SleepNow, Withdrawn,
        needs::Kept, queue,
    },
    sabotage::sabotaged,
    shared::Shared,
};

/// A workload: what sleeps and wakes as one. A cheap handle; clones are the same workload.
///
/// Its task ends with [`close`](Self::close) or when the last handle is dropped; the container is
/// left as it is.
#[derive(Clone)]
pub struct Workload(Arc<Inner>);

struct Inner {
    name: String,
    shared: Arc<Shared>,
    provider: Arc<dyn Provider>,
    holders: Arc<Holders>,
    snapshot: watch::Receiver<Snapshot>,
    /// Bounded: when it is full, whoever asks waits for a place, at most to their deadline.
    commands: Sender,
    withdrawn: Arc<Withdrawn>,
    closing: CancellationToken,
    last_ask: AtomicU64,
}

/// Commands on their way to the task of one workload.
const COMMANDS: usize = 16;

/// What a request waits beyond its own deadline for its answer, which the task gives at the
/// deadline.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// How long after a run was first found ready what it refuses may be still to come: another port, say.
const YOUTH: Duration = Duration::from_secs(10);

impl Workload {
    /// Starts to manage a container: reads its state, adopts it if it runs (as in use, for one idle
    /// time), and follows what happens to it. Must be called within a tokio runtime.
    ///
    /// What it needs is held when this returns: it may run.
    pub fn spawn(spec: WorkloadSpec) -> Self {
        let (workload, runtime) = Self::prepare(spec);
        tokio::spawn(runtime.run());
        workload
    }

    /// The same, held from before its task begins: for whoever does not know yet what needs it. While
    /// the hold is there it is not put to sleep, and its end does not count as use.
    pub fn spawn_held(spec: WorkloadSpec, holder: &str) -> (Self, Hold) {
        let (workload, runtime) = Self::prepare(spec);
        let hold = workload.hold(&workload.holder(holder), LeaseKind::Passive);
        tokio::spawn(runtime.run());
        (workload, hold)
    }

    fn prepare(spec: WorkloadSpec) -> (Self, Box<Runtime>) {
        let shared = Arc::new(Shared::new(Instant::now()).remembering(spec.memory));
        let (commands, received) = queue(COMMANDS);
        let (snapshots, snapshot) = watch::channel(Snapshot::unread(Instant::now()));
        let holders = Arc::new(Holders::default());
        let withdrawn = Arc::new(Withdrawn::default());
        let closing = CancellationToken::new();
        let mut holds = spec.needs.hold(&spec.name);
        if sabotaged!(HoldNothingAtAdoption) {
            holds.clear();
        }
        let needs = Kept::new(spec.needs, holds);
        let membership = spec.group.map(|group| group.join(&spec.name, &shared));
        let gates = membership.iter().map(Membership::gate).chain(spec.gates).collect();
        shared.needs.store(needs.as_ref().map(|kept| Arc::clone(kept.needs())));
        let runtime = Box::new(Runtime {
            name: spec.name.clone(),
            shared: Arc::clone(&shared),
            provider: Arc::clone(&spec.provider),
            readiness: spec.readiness,
            policy: spec.policy,
            slots: spec.slots,
            needs,
            membership,
            gates,
            observer: spec.observer,
            held_asleep: spec.held_asleep.map(Box::new),
            commands: received,
            withdrawn: Arc::clone(&withdrawn),
            snapshots,
            holders: Box::new({
                let holders = Arc::clone(&holders);
                move || holders.by(Holder::held)
            }),
            closing: closing.clone(),
        });
        let workload = Self(Arc::new(Inner {
            name: spec.name,
            shared,
            provider: spec.provider,
            holders,
            snapshot,
            commands,
            withdrawn,
            closing,
            last_ask: AtomicU64::new(0),
        }));
        (workload, runtime)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether both are handles of one workload.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Its container.
    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.0.provider
    }

    /// A holder of leases on this workload. Holders of the same name are the same.
    pub fn holder(&self, name: &str) -> Holder {
        self.0.holders.get(name)
    }

    /// A lease, if the workload is ready: the warm path. One atomic operation and the holder's
    /// counter.
    pub fn try_lease(&self, holder: &Holder, kind: LeaseKind) -> Option<Lease> {
        let word = &self.0.shared.word;
        let is_taken = match kind {
            LeaseKind::Passive => word.take_passive(),
            LeaseKind::Active | LeaseKind::Dependent => word.take(),
        };
        is_taken.then(|| Lease::counted(Arc::clone(&self.0.shared), holder.clone(), kind))
    }

    /// A lease that is no proof that it is ready, whatever its state: see [`Hold`]. For what knows that
    /// it is needed and not yet whether it is to be woken: a dependent whose state is unknown.
    pub fn hold(&self, holder: &Holder, kind: LeaseKind) -> Hold {
        Hold::take(Arc::clone(&self.0.shared), holder.clone(), kind)
    }

    /// A lease, waking the workload if it sleeps. Joins the wake in flight if there is one: any
    /// number of callers cost one start. Answers by `deadline`.
    ///
    /// Cancel safe: dropping the future withdraws this request and not the wake, which belongs to
    /// the workload.
    ///
    /// # Errors
    /// [`WakeError`]: each variant says when. A passive request of a workload that is not ready gets
    /// `Asleep` at once.
    pub async fn lease(
        &self,
        holder: &Holder,
        kind: LeaseKind,
        deadline: Deadline,
    ) -> Result<Lease, WakeError> {
        loop {
            if let Some(lease) = self.try_lease(holder, kind) {
                return Ok(lease);
            }
            if kind == LeaseKind::Passive && !sabotaged!(PassiveRequestsWake) {
                return Err(WakeError::Asleep);
            }
            let _waiting = holder.waits();
            let (answer, answered) = oneshot::channel();
            let id = self.next_ask();
            let request = LeaseRequest { holder: holder.clone(), kind, answer };
            let ask = Command::Ask(Box::new(Ask { id, deadline: deadline.at(), request }));
            let mut withdrawal = Withdrawal { to: Some(&self.0.withdrawn), id };
            let asked = async {
                self.0.commands.send(ask).await.map_err(|_| WakeError::Closed)?;
                Ok(answered.await)
            };
            let answer = timeout_at(deadline.at() + ANSWER_MARGIN, asked).await;
            match answer {
                Ok(Ok(Ok(answer))) => {
                    withdrawal.to = None;
                    return answer;
                }
                Ok(Err(closed)) => {
                    withdrawal.to = None;
                    return Err(closed);
                }
                // The task began anew: ask it again, within the same deadline.
                Ok(Ok(Err(_))) if !deadline.has_passed() => {
                    withdrawal.to = None;
                    if self.0.closing.is_cancelled() {
                        return Err(WakeError::Closed);
                    }
                }
                Ok(Ok(Err(_))) | Err(_) => {
                    return Err(WakeError::Timeout {
                        after: deadline.duration(),
                        phase: self.snapshot().phase,
                        reason: "its task did not answer".to_owned(),
                    });
                }
            }
        }
    }

    /// Whether anything speaks against `run` since it was observed ready: its end, a failed upstream, a
    /// later run. Then its addresses may be another container's by now. After [`close`](Self::close)
    /// nothing is observed any more, and nothing is in doubt.
    pub fn is_in_doubt(&self, run: &ReadyRun) -> bool {
        // Closing comes before the gate is shut for it.
        let is_closed = self.0.closing.is_cancelled();
        !(self.serves(run.epoch) || is_closed)
    }

    fn serves(&self, epoch: u64) -> bool {
        self.0.shared.word.look().is_open() && self.0.shared.ready_run().epoch == epoch
    }

    /// Says that the upstream of `run` refused, was unreachable or closed early: takes the workload
    /// out of ready at once, until one read and one probe have shown how it is. Of an earlier run:
    /// ignored.
    ///
    /// If that probe passes, the report is refuted. Others of the same run within the next minute, and
    /// within a minute of the last that was refuted, are looked into while the workload stays ready: it is
    /// probed, and taken out of ready only if it does not answer. What fails again within a second of
    /// having passed its probe is probed after a pause, which grows to a second: any number of reports
    /// cost few probes, and fewer engine calls.
    pub fn upstream_failed(&self, run: &ReadyRun) -> Report {
        let number = self.0.shared.reports.make(run.epoch);
        Report { epoch: run.epoch, number, first_ready: run.first_ready }
    }

    /// Whether what was reported is the affair of whoever met it: `true` as soon as a probe that was made
    /// after the report has passed while the run stayed ready. `false` as soon as the run has left ready
    /// (whoever asks for a lease waits until it is known how it is), at the deadline, after
    /// [`close`](Self::close), and of a run that was first found ready less than 10 s ago: more of it may
    /// be still to come.
    ///
    /// Cancel safe: what was reported is looked into whoever waits for that.
    pub async fn is_refuted(&self, report: Report, deadline: Deadline) -> bool {
        let mut news = self.watch();
        let leaves_ready = news.wait_for(|_| !self.serves(report.epoch));
        tokio::select! {
            // In this order: of a run that is not ready any more nothing is refuted.
            biased;
            () = self.0.closing.cancelled() => false,
            _ = leaves_ready => false,
            () = self.0.shared.reports.settled(report.number) => {
                let now = Moment::at(self.0.shared.elapsed());
                self.serves(report.epoch) && now.since(report.first_ready) >= YOUTH
            }
            () = sleep_until(deadline.at()) => false,
        }
    }

    /// Puts it to sleep without waiting for its idle time; returns when it is asleep. Cancel safe:
    /// dropping the future does not withdraw an order.
    ///
    /// # Errors
    /// `InUse` while leases are held or waited for, or a stop gate says that it is busy, unless it is
    /// forced; `Timeout` at the deadline, after which nothing new is ordered for this request.
    pub async fn sleep_now(&self, deadline: Deadline, force: Force) -> Result<(), SleepError> {
        loop {
            let (answer, answered) = oneshot::channel();
            let id = self.next_ask();
            let sleep = SleepNow { id, deadline: deadline.at(), force, answer };
            let command = Command::SleepNow(Box::new(sleep));
            let mut withdrawal = Withdrawal { to: Some(&self.0.withdrawn), id };
            let asked = async {
                self.0.commands.send(command).await.map_err(|_| SleepError::Closed)?;
                Ok(answered.await)
            };
            let answer = timeout_at(deadline.at() + ANSWER_MARGIN, asked).await;
            if answer.is_ok() {
                withdrawal.to = None;
            }
            match answer {
                Ok(Ok(Ok(answer))) => return answer,
                Ok(Err(closed)) => return Err(closed),
                Ok(Ok(Err(_))) if self.is_closed() => return Err(SleepError::Closed),
                // The task began anew: ask it again, within the same deadline.
                Ok(Ok(Err(_))) if !deadline.has_passed() => {}
                Ok(Ok(Err(_))) | Err(_) => {
                    let reason = "its task did not answer".to_owned();
                    return Err(SleepError::Timeout { after: deadline.duration(), reason });
                }
            }
        }
    }

    /// Changes its policy; returns when it is so.
    ///
    /// Cancel safe, as of all that is set: the future that is dropped leaves it as it was, or as it was
    /// to be.
    pub async fn set_policy(&self, policy: Policy) {
        self.set(Setting::Policy(policy)).await;
    }

    /// Changes what it needs; returns when it is so. What it needs now is held when the returned future is
    /// first polled, and what it does not need any more is let go of by its task, after that. Cancel
    /// safe.
    pub async fn set_needs(&self, needs: Needs) {
        let holds =
            if sabotaged!(HoldNothingAtAdoption) { Vec::new() } else { needs.hold(self.name()) };
        self.set(Setting::Needs(SetNeeds { needs, holds })).await;
    }

    /// What it needs, and whether each of it is there: in the order in which it was told. A look.
    pub fn needs(&self) -> Vec<NeedState> {
        let needs = self.0.shared.needs.load();
        needs.iter().flat_map(|needs| needs.iter()).map(Need::state).collect()
    }

    /// Holds it asleep, or with `None` releases it; returns when it is so. While it is held nothing wakes
    /// it, nor is a start given that its engine had no slot for yet: requests are refused with [`WakeError::HeldAsleep`], and drowse neither starts nor stops it,
    /// whatever others do with it. Leases that are held stay so, and it is not put to sleep by this:
    /// that is [`sleep_now`](Self::sleep_now)'s, best asked for right after it. It outlasts a change of
    /// policy and a panic of its task, and not its management. Cancel safe.
    pub async fn hold_asleep(&self, hold: Option<AsleepHold>) {
        self.set(Setting::HeldAsleep(hold)).await;
    }

    /// Forgets that its starts failed: whoever asks after this has returned is not told so, but tries. For
    /// a wake by hand. Cancel safe.
    pub async fn close_circuit(&self) {
        self.set(Setting::FailuresForgotten).await;
    }

    /// Errors say that it is closed, or began anew with what was set: nothing is left to be done.
    async fn set(&self, what: Setting) {
        let (is_so, told) = oneshot::channel();
        let set = Command::Set(Box::new(Set { what, is_so }));
        if self.0.commands.send(set).await.is_ok() {
            drop(told.await);
        }
    }

    /// Its last ten changes, the oldest first.
    pub fn history(&self) -> Vec<Change> {
        self.0.shared.record.changes(&self.0.shared)
    }

    /// What is worth keeping of it over a restart: see [`WorkloadSpec::with_memory`].
    pub fn memory(&self) -> Memory {
        self.0.shared.record.memory(&self.0.shared)
    }

    /// The run that serves now, with what was read in it; `None` while it is not ready. A look, no
    /// proof of use: it may sleep in the next moment.
    pub fn ready_run(&self) -> Option<Arc<ReadyRun>> {
        self.0.shared.word.look().is_open().then(|| self.0.shared.ready_run())
    }

    /// What it is doing, and each change of that. A level: a slow reader sees the latest.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.0.snapshot.clone()
    }

    /// What it is doing.
    pub fn snapshot(&self) -> Snapshot {
        let told = self.0.snapshot.borrow().clone();
        // Leases send nothing when they come and go.
        let shared = &self.0.shared;
        let last_use = shared.instant_at_ms(shared.word.last_use());
        let is_for_others = told.is_for_others && last_use <= told.since;
        Snapshot { next_sleep: shared.next_sleep(), is_for_others, ..told }
    }

    /// How many leases are held.
    pub fn leases(&self) -> u32 {
        self.0.shared.word.look().leases()
    }

    /// The holders that hold leases now, with how many.
    pub fn held_by(&self) -> Vec<(String, u32)> {
        self.0.holders.by(Holder::held)
    }

    /// The holders that wait for a lease now, with how many.
    pub fn waited_for_by(&self) -> Vec<(String, u32)> {
        self.0.holders.by(Holder::waiting)
    }

    /// Since when the holder of this name has had a [`Hold`] of this management, without a gap. `None`
    /// if it has none: leases of requests are not dated.
    pub fn held_since(&self, holder: &str) -> Option<Instant> {
        let since = self.0.holders.holds_since(holder)?;
        Some(self.0.shared.instant_at_ms(since))
    }

    /// Ends the management: waiters get `Closed`, an order in flight is waited for (its engine has
    /// taken it), the container is left as it is. Idempotent: each of several calls returns when it has
    /// ended.
    ///
    /// Cancel safe: dropping the future ends the waiting, and not the end of the management.
    pub async fn close(&self) {
        self.0.closing.cancel();
        // Its task has the sender, to the last.
        let mut told = self.0.snapshot.clone();
        while told.changed().await.is_ok() {}
    }

    /// Whether its management has ended, or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    fn next_ask(&self) -> AskId {
        AskId(self.0.last_ask.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Workload").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Tells the task, when it is dropped, that nobody waits any longer. Drop the way to be answered
/// before: the task may see this before it sees the request.
struct Withdrawal<'a> {
    to: Option<&'a Withdrawn>,
    id: AskId,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(withdrawn) = self.to {
            withdrawn.add(self.id);
        }
    }
}
