//! What a workload needs, as its task sees to it: held, looked at and woken as the core says.

use std::{sync::Arc, time::Duration};

use drowse_provider::Deadline;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    Hold, LeaseKind, Need, Needs, WakeError,
    core::{EffectId, Input, Moment, NeedOf, NeedsNow},
    need::{NeedSeen, hold_all, holder_name},
};

use super::{Life, Runtime};

/// How long what was held is kept awake after the end of the management that held it.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// What a workload needs, with the holds of it. It outlives a panic of the loop, so that nothing is
/// let go of under a container that runs.
#[derive(Debug)]
pub(crate) struct Kept {
    needs: Arc<Vec<Need>>,
    /// What is said of it is in error, for this reason.
    error: Option<String>,
    /// Of all of them that are managed, or of none.
    holds: Vec<Hold>,
}

/// What is under way for what a workload needs, while it holds it. Dropping it cancels all of it: a
/// wake that has begun belongs to the one that wakes.
#[derive(Default)]
pub(super) struct Work {
    /// How each of them looked last; empty if nobody has looked yet.
    seen: Vec<NeedSeen>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
}

enum Done {
    /// It may look different by now.
    Changed {
        need: usize,
    },
    /// Its management has ended.
    Ended,
    Answered(Input),
}

impl Kept {
    /// What is needed, with holds of it that were taken before.
    pub(crate) fn new(needs: Needs, holds: Vec<Hold>) -> Option<Box<Self>> {
        match needs {
            Needs::Of(needs) if needs.is_empty() => None,
            Needs::Of(needs) => Some(Box::new(Self { needs: Arc::new(needs), error: None, holds })),
            Needs::InError(reason) => {
                Some(Box::new(Self { needs: Arc::default(), error: Some(reason), holds }))
            }
        }
    }

    /// What is said of it is in error from now on: it keeps what it needed before.
    pub(super) fn in_error(before: Option<Box<Self>>, reason: String) -> Option<Box<Self>> {
        let mut kept = before.or_else(|| Self::new(Needs::InError(String::new()), Vec::new()))?;
        kept.error = Some(reason);
        Some(kept)
    }

    pub(crate) fn needs(&self) -> &Arc<Vec<Need>> {
        &self.needs
    }

    /// As the core is told of it.
    pub(super) fn now(&self) -> impl Iterator<Item = NeedsNow> + use<> {
        let of = |need: &Need| NeedOf { name: (*need.name).into(), condition: need.condition };
        let needs = NeedsNow::Of(self.needs.iter().map(of).collect());
        let error = self.error.as_deref().map(|error| NeedsNow::InError(error.into()));
        [needs].into_iter().chain(error)
    }

    /// Holds all of it, if it is not held.
    pub(super) fn hold(&mut self, dependent: &str) {
        if self.holds.is_empty() {
            self.holds = hold_all(&self.needs, dependent);
        }
    }

    pub(super) fn use_through(&self, need: usize) {
        if let Some(workload) = self.needs.get(need).and_then(Need::managed) {
            workload.shared().use_through();
        }
    }

    pub(super) fn let_go(&mut self) {
        self.holds.clear();
    }
}

/// Nobody manages any more what needs them, and it may run: they are kept for as long as it takes to
/// manage it anew, or to end the management of all.
impl Drop for Kept {
    fn drop(&mut self) {
        self.holds.drain(..).for_each(|hold| hold.end_in(KEPT_FOR));
    }
}

impl Work {
    /// Looks at what is held; the input for the core, if anything has changed.
    pub(super) fn look(&mut self, kept: &Kept) -> Option<Input> {
        if self.seen.is_empty() {
            for number in 0..kept.needs.len() {
                self.watch(kept, number);
            }
        }
        self.has_changed(kept).then(|| {
            self.seen = kept.needs.iter().map(Need::look).collect();
            Input::NeedsSeen(self.seen.clone())
        })
    }

    fn has_changed(&self, kept: &Kept) -> bool {
        !kept.needs.iter().map(Need::look).eq(self.seen.iter().copied())
    }

    /// Waits for anything to change about one of them from now on.
    fn watch(&mut self, kept: &Kept, number: usize) {
        let Some(workload) = kept.needs[number].managed() else { return };
        let mut snapshots = workload.watch();
        snapshots.mark_unchanged();
        let watching = async move {
            match snapshots.changed().await {
                Ok(()) => Done::Changed { need: number },
                Err(_) => Done::Ended,
            }
        };
        self.running.push(watching.boxed());
    }

    /// Wakes one of them. The lease is dropped as soon as it is given, since it is held already.
    pub(super) fn wake(
        &mut self,
        kept: &Kept,
        dependent: &str,
        number: usize,
        id: EffectId,
        deadline: Instant,
    ) {
        let Some(workload) = kept.needs.get(number).and_then(Need::managed).cloned() else {
            // Its management has just ended.
            let result = Err(WakeError::Closed);
            let answer = async move { Done::Answered(Input::NeedAnswered { id, result }) };
            return self.running.push(answer.boxed());
        };
        let holder = workload.holder(&holder_name(dependent));
        let waking = async move {
            let deadline = Deadline::after(deadline.saturating_duration_since(Instant::now()));
            let lease = workload.lease(&holder, LeaseKind::Dependent, deadline).await;
            Done::Answered(Input::NeedAnswered { id, result: lease.map(drop) })
        };
        self.running.push(waking.boxed());
    }

    /// The next news of what is needed: a step begins with a look. Cancel safe.
    async fn next(&mut self, kept: &Kept) -> Input {
        loop {
            match self.running.next().await {
                Some(Done::Answered(input)) => return input,
                Some(Done::Changed { need }) => self.watch(kept, need),
                Some(Done::Ended) => {}
                None => std::future::pending().await,
            }
            if self.has_changed(kept) {
                return Input::Tick;
            }
        }
    }
}

/// The next news, if anything is under way. Cancel safe.
pub(super) async fn next(work: Option<&mut Box<Work>>, kept: Option<&Kept>) -> Input {
    match (work, kept) {
        (Some(work), Some(kept)) => work.next(kept).await,
        _ => std::future::pending().await,
    }
}

impl Runtime {
    pub(super) fn hold_needs(&mut self) -> Option<Box<Work>> {
        let kept = self.needs.as_mut()?;
        kept.hold(&self.name);
        Some(Box::default())
    }

    pub(super) fn let_needs_go(&mut self, life: &mut Life) {
        life.needs = None;
        if let Some(kept) = &mut self.needs {
            kept.let_go();
        }
    }

    pub(super) fn wake_need(&self, life: &mut Life, id: EffectId, need: usize, deadline: Moment) {
        if let (Some(work), Some(kept)) = (&mut life.needs, &self.needs) {
            work.wake(kept, &self.name, need, id, self.instant(deadline));
        }
    }

    pub(super) fn look_at_needs(&mut self, life: &mut Life) {
        let news = match (&mut life.needs, &self.needs) {
            (Some(work), Some(kept)) => work.look(kept),
            _ => None,
        };
        if let Some(news) = news {
            self.take(life, news);
        }
    }
}
