//! What people want of workloads until they say otherwise: kept awake, or kept asleep. A hold is by
//! name: it outlasts restarts of drowse, and its workload's container.

mod due;

use std::{
    collections::{BTreeMap, btree_map::Entry::Vacant},
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_watcher::{AsleepHold, KeepAwake, Workload};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::info;

use crate::{
    config::Problem,
    listing::{HoldRow, Listing, ProblemRow},
    store::{HoldKind, KEPT_FOR, KeptHold, Store},
    view::{Entry, View},
    wall::Wall,
};

/// The holder of the lease that keeps a workload awake.
pub(crate) const HOLDER: &str = "hold";

/// How often the wall clock is read while a hold may end by it: it may jump, and goes on while the
/// machine is suspended.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// By how much a moment may be off before it is told anew.
const DRIFT: Duration = Duration::from_secs(5);

/// All holds. A cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Holds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// What was done about them, by the names of workloads. Never held while anybody waits for an
    /// engine.
    acting: Mutex<BTreeMap<String, Acting>>,
    /// Those that somebody is about to hold asleep, by name, and since when they are held so.
    tried: StdMutex<BTreeMap<String, Timestamp>>,
    /// Somebody has changed them.
    news: Notify,
}

/// A hold, and what it does to the workload that has its name now.
#[derive(Debug)]
struct Acting {
    hold: KeptHold,
    workload: Workload,
    /// When it ends, as the workload was told.
    until: Option<Instant>,
    _awake: Option<KeepAwake>,
    /// Puts it to sleep, if it was not asleep since it is held.
    _due: Option<AbortOnDropHandle<()>>,
}

impl Holds {
    /// Those that the store has.
    pub(crate) fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            acting: Mutex::default(),
            tried: StdMutex::default(),
            news: Notify::new(),
        }))
    }

    /// The hold of a workload, if somebody holds it.
    pub(crate) fn of(&self, workload: &str) -> Option<KeptHold> {
        let now = self.now();
        self.0.store.hold_of(workload).filter(|hold| !hold.is_over(now))
    }

    /// All holds that are not over.
    pub(crate) fn all(&self) -> BTreeMap<String, KeptHold> {
        let now = self.now();
        let mut holds = self.0.store.holds();
        holds.retain(|_, hold| !hold.is_over(now));
        holds
    }

    /// What a workload of that name is to know from the first moment on.
    pub(crate) fn asleep(&self, workload: &str) -> Option<AsleepHold> {
        let hold = self.of(workload).filter(|hold| hold.kind == HoldKind::Asleep)?;
        let until = self.instant(&hold);
        Some(asleep(&hold, until))
    }

    /// A hold that begins now.
    pub(crate) fn made_now(
        &self,
        kind: HoldKind,
        reason: Option<String>,
        length: Option<Duration>,
    ) -> KeptHold {
        let since = self.now();
        let end = |length| since.checked_add(SignedDuration::try_from(length).ok()?).ok();
        let is_due = kind == HoldKind::Asleep;
        KeptHold { kind, reason, until: length.and_then(end), since, seen: since, is_due }
    }

    /// Keeps a hold instead of whatever held the workload before, and lets it act; whether it outlasts
    /// drowse. Cancel safe but for that: it may be kept all the same.
    pub(crate) async fn hold(&self, entry: &Entry, hold: KeptHold) -> bool {
        self.put(&entry.planned.name, hold);
        self.settle([entry]).await;
        self.0.store.flush().await
    }

    /// The same of a workload that is not managed yet: it acts from when it is.
    pub(crate) async fn hold_unread(&self, workload: &str, hold: KeptHold) -> bool {
        self.put(workload, hold);
        self.0.store.flush().await
    }

    fn put(&self, workload: &str, hold: KeptHold) {
        self.0.store.change_holds(|holds| holds.insert(workload.to_owned(), hold));
        self.0.news.notify_one();
    }

    /// What is held asleep was asleep: whoever starts it from now on wants it so.
    pub(crate) fn was_asleep(&self, workload: &str) {
        self.0.store.change_holds(|holds| {
            if let Some(hold) = holds.get_mut(workload) {
                hold.is_due = false;
            }
        });
    }

    /// Says that a workload is about to be held asleep, for as long as what is returned lives; `None` if
    /// it is so already: of two who take back what came to nothing, one would bring back the other's.
    pub(crate) fn try_asleep(&self, workload: &str, hold: &KeptHold) -> Option<Trial> {
        let mut tried = self.tried();
        let Vacant(first) = tried.entry(workload.to_owned()) else { return None };
        first.insert(hold.since);
        Some(Trial { holds: self.clone(), workload: workload.to_owned() })
    }

    fn tried(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.0.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets what was before a hold be again, unless another command has put something else in its place.
    pub(crate) async fn take_back(&self, entry: &Entry, hold: &KeptHold, before: Option<KeptHold>) {
        let name = &entry.planned.name;
        self.0.store.change_holds(|holds| {
            let is_there =
                holds.get(name).is_some_and(|it| it.is_like(hold) && it.since == hold.since);
            match before {
                Some(before) if is_there => drop(holds.insert(name.clone(), before)),
                None if is_there => drop(holds.remove(name)),
                _ => {}
            }
        });
        self.0.news.notify_one();
        self.settle([entry]).await;
        self.0.store.flush().await;
    }

    /// Ends the hold of a workload, or of what was one; `None` if nobody holds it, but then nothing acts
    /// any more either.
    pub(crate) async fn unhold(&self, workload: &str) -> Option<KeptHold> {
        let held = self.of(workload);
        let removed = self.0.store.change_holds(|holds| holds.remove(workload));
        self.0.news.notify_one();
        let mut acting = self.0.acting.lock().await;
        if let Some(over) = acting.remove(workload) {
            over.end().await;
        }
        drop(acting);
        if removed.is_some() {
            // What cannot be written now is written later.
            self.0.store.flush().await;
        }
        held
    }

    /// Lets all of them act anew: the store has others than it had.
    pub(crate) fn look_again(&self) {
        self.0.news.notify_one();
    }

    /// Lets each hold act upon the workload of its name.
    pub(crate) async fn settle(&self, entries: impl IntoIterator<Item = &Entry>) {
        let mut acting = self.0.acting.lock().await;
        // Not before it is our turn: whoever ended one meanwhile has ended what it did.
        let holds = self.all();
        for Entry { planned, workload, .. } in entries {
            let Some(hold) = holds.get(&planned.name) else {
                if let Some(over) = acting.remove(&planned.name) {
                    over.end().await;
                }
                continue;
            };
            let until = self.instant(hold);
            let is_done = acting.get(&planned.name).is_some_and(|acting| {
                acting.workload.is(workload)
                    && acting.hold.is_like(hold)
                    && is_near(acting.until, until)
            });
            if is_done {
                continue;
            }
            // What held it before ends after what holds it now has begun, unless it was the other way.
            let awake = match hold.kind {
                HoldKind::Awake => {
                    workload.hold_asleep(None).await;
                    Some(KeepAwake::new(workload.clone(), HOLDER))
                }
                HoldKind::Asleep => {
                    workload.hold_asleep(Some(asleep(hold, until))).await;
                    None
                }
            };
            // Whoever has just held it puts it to sleep.
            let is_tried = self.tried().get(&planned.name) == Some(&hold.since);
            let is_due = hold.is_due && !is_tried;
            let due = is_due.then(|| {
                let work = due::carry_out(self.clone(), planned.name.clone(), workload.clone());
                AbortOnDropHandle::new(tokio::spawn(work))
            });
            let now = Acting {
                hold: hold.clone(),
                workload: workload.clone(),
                until,
                _awake: awake,
                _due: due,
            };
            acting.insert(planned.name.clone(), now);
        }
    }

    /// Ends holds when their time is over. Runs until `end`.
    pub(crate) async fn follow(self, mut view: watch::Receiver<Arc<View>>, end: CancellationToken) {
        loop {
            let now_managed = view.borrow_and_update().clone();
            self.end_what_is_over();
            self.settle(now_managed.entries.iter().map(Arc::as_ref)).await;
            let any_ends = self.all().values().any(|hold| hold.until.is_some());
            tokio::select! {
                () = end.cancelled() => return,
                changed = view.changed() => if changed.is_err() { return },
                () = self.0.news.notified() => {}
                () = tokio::time::sleep(self.next_look()), if any_ends => {}
            }
        }
    }

    /// Until the first of them ends, or the clock is to be read again.
    fn next_look(&self) -> Duration {
        let now = self.now();
        let ends = self.all().into_values().filter_map(|hold| hold.until);
        let left = |until: Timestamp| Duration::try_from(until.duration_since(now));
        ends.map(|until| left(until).unwrap_or_default())
            .chain([LOOK_AGAIN])
            .min()
            .unwrap_or_default()
    }

    fn end_what_is_over(&self) {
        let now = self.now();
        self.0.store.change_holds(|holds| {
            holds.retain(|name, hold| {
                if hold.is_over(now) {
                    info!(workload = name, hold = hold.kind.as_str(), "its hold is over");
                }
                !hold.is_over(now)
            });
        });
    }

    /// Takes note of whom there is now, and forgets the holds of those that are gone for long.
    pub(crate) fn forget_the_gone(&self, view: &View) {
        let now = self.now();
        self.0.store.change_holds(|holds| {
            holds.retain(|name, hold| {
                if view.knows(name) {
                    hold.seen = now;
                }
                let is_gone = hold.seen < now - KEPT_FOR;
                if is_gone {
                    info!(workload = name, "its hold is forgotten: it has been gone for 30 days");
                }
                !is_gone
            });
        });
    }

    /// Shows holds with their workloads, and those of what is not there.
    pub(crate) fn show_in(&self, listing: &mut Listing, view: &View) {
        let holds = self.all();
        for row in &mut listing.workloads {
            row.hold = holds.get(&row.workload).map(HoldRow::of);
        }
        listing.problems.extend(self.problems(view).iter().map(ProblemRow::of));
    }

    fn problems(&self, view: &View) -> Vec<Problem> {
        let lost = self.all().into_iter().filter(|(name, _)| !view.knows(name));
        lost.map(|(name, hold)| {
            let words = hold.words();
            Problem::warning(format!(
                "workload `{name}`: there is none of that name now, and it is {words} when there is one \
                 again; `drowse unhold {name}` ends that"
            ))
        })
        .collect()
    }

    fn now(&self) -> Timestamp {
        self.0.store.clock().now()
    }

    /// When a hold ends by tokio's clock, as the wall clock goes now.
    fn instant(&self, hold: &KeptHold) -> Option<Instant> {
        let left = Duration::try_from(hold.until?.duration_since(self.now())).unwrap_or_default();
        Instant::now().checked_add(left)
    }
}

/// Somebody is about to hold a workload asleep.
#[derive(Debug)]
pub(crate) struct Trial {
    holds: Holds,
    workload: String,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.holds.tried().remove(&self.workload);
    }
}

impl Acting {
    async fn end(self) {
        if self.hold.kind == HoldKind::Asleep {
            self.workload.hold_asleep(None).await;
        }
    }
}

impl HoldKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Asleep => "asleep",
        }
    }
}

impl KeptHold {
    /// Whether another one asks for the same.
    fn is_like(&self, other: &Self) -> bool {
        (self.kind, &self.reason, self.until) == (other.kind, &other.reason, other.until)
    }

    /// Until when, for programs; `None`: until somebody ends it.
    pub(crate) fn until_the_second(&self) -> Option<String> {
        self.until.map(|until| Wall::from(until).to_the_second())
    }

    /// For people: "held asleep until 2026-11-26T12:00:00Z: restore".
    pub(crate) fn words(&self) -> String {
        let until = self.until_the_second();
        let until = until.as_deref().unwrap_or("`drowse unhold`");
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}"));
        format!("held {} until {until}{}", self.kind.as_str(), reason.unwrap_or_default())
    }
}

fn asleep(hold: &KeptHold, until: Option<Instant>) -> AsleepHold {
    let reason = hold.reason.clone().unwrap_or_else(|| "by hand".to_owned());
    let held = AsleepHold::new(reason);
    match until {
        Some(until) => held.until(until),
        None => held,
    }
}

fn is_near(one: Option<Instant>, other: Option<Instant>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.saturating_duration_since(other).max(other.saturating_duration_since(one)) < DRIFT
        }
        (one, other) => one == other,
    }
}
