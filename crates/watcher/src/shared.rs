//! What the handle, the leases and the task of one workload share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{sync::Notify, time::Instant};

use crate::{
    Memory, Need, Policy, ReadyRun, core::Moment, record::Record, reports::Reports,
    standing::Stand, word::WarmWord,
};

pub(crate) use crate::standing::Standing;

/// Later than any program runs.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) word: WarmWord,
    /// Moments are counted from here.
    anchor: Instant,
    ready: ArcSwapOption<ReadyRun>,
    /// How often it became ready. Here, not in the core: it never goes back, not even when the
    /// core begins anew.
    epoch: AtomicU64,
    /// That upstreams failed.
    pub(crate) reports: Reports,
    /// Whether the end of a dependent's lease counts as use.
    lingers: AtomicBool,
    /// How many of the leases are those of dependents: never more than are counted in the word.
    pub(crate) dependents: AtomicU32,
    /// And how many are passive, likewise.
    pub(crate) passive: AtomicU32,
    /// Its idle time, in milliseconds.
    idle: AtomicU64,
    /// Somebody waits for it to be ready.
    is_awaited: AtomicBool,
    /// Another of its group wakes.
    mate_wakes: AtomicBool,
    /// A dependent has let go of it, or another of its group wakes.
    pub(crate) let_go: Notify,
    stand: Stand,
    /// Milliseconds since the anchor, and one more: when something that it needs was ended by somebody
    /// else, and stays so until it is used. 0: nothing was.
    awaits_use_since: AtomicU64,
    /// How many leases were taken that count as use, over and over again from 0.
    uses: AtomicU32,
    /// When it was last used through others, or a use of its own that goes on was seen to have begun, in
    /// milliseconds since the anchor. The word knows nothing of it.
    used_through: AtomicU64,
    /// Until when it is kept awake for what needs it and is about to be managed anew, in milliseconds
    /// since the anchor: no use at all.
    kept_until: AtomicU64,
    /// What it needs, for those who look on. Nothing while its task does not run.
    pub(crate) needs: ArcSwapOption<Vec<Need>>,
    /// When its management began: what the word says since then is no use of it.
    began: AtomicU64,
    plan: SleepPlan,
    pub(crate) record: Record,
}

/// When it will sleep, as far as the core knows; leases, and the moment of last use, come to that. In
/// milliseconds.
#[derive(Debug)]
struct SleepPlan {
    /// Not before this; [`NEVER`] while something beside leases keeps it awake, or it sleeps.
    not_before: AtomicU64,
    /// Nor before this has passed since its last use.
    idle: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl SleepPlan {
    fn none() -> Self {
        Self { not_before: AtomicU64::new(NEVER), idle: AtomicU64::new(0) }
    }
}

impl Shared {
    pub(crate) fn new(anchor: Instant) -> Self {
        Self {
            word: WarmWord::new(0),
            anchor,
            ready: ArcSwapOption::empty(),
            epoch: AtomicU64::new(0),
            reports: Reports::default(),
            lingers: AtomicBool::new(false),
            dependents: AtomicU32::new(0),
            passive: AtomicU32::new(0),
            idle: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
            mate_wakes: AtomicBool::new(false),
            let_go: Notify::new(),
            stand: Stand::new(),
            awaits_use_since: AtomicU64::new(0),
            uses: AtomicU32::new(0),
            used_through: AtomicU64::new(0),
            kept_until: AtomicU64::new(0),
            needs: ArcSwapOption::empty(),
            began: AtomicU64::new(NEVER),
            plan: SleepPlan::none(),
            record: Record::default(),
        }
    }

    /// The same, knowing what an earlier management knew.
    pub(crate) fn remembering(mut self, memory: Memory) -> Self {
        self.record = Record::remembering(memory, Moment::at(self.elapsed()));
        self
    }

    /// Its management begins, perhaps anew.
    pub(crate) fn begin(&self, now: Moment) {
        self.word.shut();
        self.word.touch(now.as_millis());
        self.began.fetch_min(now.as_millis(), Ordering::Relaxed);
    }

    /// When it was last used, if that was since its management began. A use that goes on is now.
    pub(crate) fn last_use(&self) -> Option<Moment> {
        if self.word.look().leases() > 0 {
            return Some(Moment::at(self.elapsed()));
        }
        self.was_used().then(|| Moment::from_millis(self.word.last_use()))
    }

    /// Whether it was used since its management began.
    pub(crate) fn was_used(&self) -> bool {
        self.word.last_use() > self.began.load(Ordering::Relaxed)
    }

    /// It will sleep at this moment, if it is not used for `idle` until then; or there is no such plan.
    pub(crate) fn plan_sleep(&self, plan: Option<(Moment, Duration)>) {
        let (not_before, idle) = plan.map_or((NEVER, 0), |(not_before, idle)| {
            (not_before.as_millis(), u64::try_from(idle.as_millis()).unwrap_or(u64::MAX))
        });
        self.plan.not_before.store(not_before, Ordering::Relaxed);
        self.plan.idle.store(idle, Ordering::Relaxed);
    }

    /// When it will sleep if nothing uses it until then.
    pub(crate) fn next_sleep(&self) -> Option<Instant> {
        if self.word.look().leases() > 0 {
            return None;
        }
        let not_before = self.plan.not_before.load(Ordering::Relaxed);
        let idle = self.word.last_use().checked_add(self.plan.idle.load(Ordering::Relaxed))?;
        let at = Duration::from_millis(not_before.max(idle));
        (at < FAR).then(|| self.instant(at))
    }

    /// Milliseconds since the anchor.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time since the anchor.
    pub(crate) fn elapsed(&self) -> Duration {
        self.anchor.elapsed()
    }

    /// The instant that lies `elapsed` after the anchor; one that is far away, if that is later than
    /// an instant can be.
    pub(crate) fn instant(&self, elapsed: Duration) -> Instant {
        self.anchor + elapsed.min(FAR)
    }

    /// The time from the anchor to `instant`.
    pub(crate) fn since_anchor(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.anchor)
    }

    /// The same, as the core counts.
    pub(crate) fn moment(&self, instant: Instant) -> Moment {
        Moment::at(self.since_anchor(instant))
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Keeps what others ask of its policy.
    pub(crate) fn follow(&self, policy: &Policy) {
        let idle = u64::try_from(policy.idle.as_millis()).unwrap_or(u64::MAX);
        self.idle.store(idle, Ordering::Relaxed);
        self.lingers.store(policy.lingers, Ordering::Relaxed);
    }

    /// Whether others than dependents hold leases: they do not say when they let go of it.
    pub(crate) fn is_leased(&self) -> bool {
        let dependents = self.dependents.load(Ordering::Acquire);
        self.word.look().leases() > dependents
    }

    /// Whether leases are held that count as use, of it or of what needs it: passive ones do not.
    pub(crate) fn is_used(&self) -> bool {
        let passive = self.passive.load(Ordering::Acquire);
        self.word.look().leases() > passive
    }

    /// The same, but for those of dependents: what they are used for is their affair.
    pub(crate) fn is_used_itself(&self) -> bool {
        let dependents = self.dependents.load(Ordering::Acquire);
        let passive = self.passive.load(Ordering::Acquire);
        self.word.look().leases() > dependents.saturating_add(passive)
    }

    /// Says whether somebody waits for it.
    pub(crate) fn set_awaited(&self, is_so: bool) {
        self.is_awaited.store(is_so, Ordering::Relaxed);
    }

    /// Whether it is used itself, or about to be, or its idle time is not over.
    pub(crate) fn is_in_use(&self) -> bool {
        let idle = self.idle.load(Ordering::Relaxed);
        self.is_used_itself()
            || self.is_awaited.load(Ordering::Relaxed)
            || self.word.last_use().saturating_add(idle) > self.now_ms()
    }

    /// The same, while it is known to be awake: a management that begins counts as use, whatever its state.
    pub(crate) fn is_awake_and_in_use(&self) -> bool {
        let is_awake = self.word.look().is_open() || self.standing() == Standing::Runs;
        is_awake && self.is_in_use()
    }

    /// Tells its task that another of its group wakes.
    pub(crate) fn wake_with_mate(&self) {
        self.mate_wakes.store(true, Ordering::Relaxed);
        self.let_go.notify_one();
    }

    /// Whether another of its group wakes, since this was last asked.
    pub(crate) fn take_mate_wakes(&self) -> bool {
        self.mate_wakes.swap(false, Ordering::Relaxed)
    }

    /// Gives back a passive lease.
    pub(crate) fn drop_passive(&self) {
        // Before the word: in between it looks used, and never unused while it is not.
        self.passive.fetch_sub(1, Ordering::Relaxed);
        self.word.drop_passive();
    }

    /// Gives back a dependent's lease. It is the last one, perhaps, and the workload may sleep at once.
    pub(crate) fn drop_dependent(&self) {
        // Before the word: in between it looks used, and not asleep under somebody.
        self.dependents.fetch_sub(1, Ordering::Relaxed);
        if self.lingers.load(Ordering::Relaxed) {
            // Its idle time counts, and still that is no use: to its group, for one.
            self.keep_for(Duration::from_millis(self.idle.load(Ordering::Relaxed)));
        }
        self.word.drop_passive();
        self.let_go.notify_one();
    }

    /// Says how it stands: see [`Stand::set`].
    pub(crate) fn stand(&self, standing: Standing, ended_at: Option<Moment>) {
        self.stand.set(standing, ended_at.map(Moment::as_millis));
    }

    /// How it stands. Look after a lease has been counted.
    pub(crate) fn standing(&self) -> Standing {
        self.stand.get()
    }

    pub(crate) fn instant_at_ms(&self, millis: u64) -> Instant {
        self.instant(Duration::from_millis(millis))
    }

    /// When somebody else ended what is down.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.stand.ended_at_ms().map(|at| self.instant_at_ms(at))
    }

    /// Something that it needs was ended by others then, and is not woken before it is used after that.
    pub(crate) fn await_use(&self, since: Option<Instant>) {
        let since = since.map_or(0, |at| self.moment(at).as_millis() + 1);
        self.awaits_use_since.store(since, Ordering::Relaxed);
    }

    pub(crate) fn awaits_use_since(&self) -> Option<Instant> {
        let since = self.awaits_use_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.instant_at_ms(since))
    }

    /// A lease was taken that counts as use.
    pub(crate) fn count_use(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// As long as this does not change, no use of it has begun.
    pub(crate) fn uses(&self) -> u32 {
        self.uses.load(Ordering::Relaxed)
    }

    /// What needs it is used, and with that it is; or it is itself, and goes on to be.
    pub(crate) fn use_through(&self) {
        self.used_through.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    /// Keeps it awake for `time` from now on, whoever holds it. Say so before the hold is given back that
    /// it follows: whoever sees the lower count sees this.
    pub(crate) fn keep_for(&self, time: Duration) {
        self.keep_until(Moment::at(self.elapsed().saturating_add(time)));
    }

    /// The same, until this moment.
    pub(crate) fn keep_until(&self, until: Moment) {
        self.kept_until.fetch_max(until.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn kept_until(&self) -> Moment {
        Moment::from_millis(self.kept_until.load(Ordering::Relaxed))
    }

    pub(crate) fn last_use_also_through_others(&self) -> Instant {
        let through = self.used_through.load(Ordering::Relaxed);
        self.instant_at_ms(self.word.last_use().max(through))
    }

    /// Makes a run known without opening the gate: that of a job which is complete.
    pub(crate) fn show(&self, run: Arc<ReadyRun>) {
        self.ready.store(Some(run));
    }

    /// Publishes the run, then opens the gate with the waiters' leases counted: in this order, so
    /// that whoever gets a lease finds the run.
    pub(crate) fn open(&self, run: Arc<ReadyRun>, waiters: u32) {
        self.ready.store(Some(run));
        self.word.open(waiters);
    }

    pub(crate) fn ready_run(&self) -> Arc<ReadyRun> {
        #[expect(clippy::expect_used, reason = "see the message")]
        self.ready
            .load_full()
            .expect("a lease exists only after `open`, which stores the run first")
    }
}
