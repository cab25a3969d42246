//! `wake --all` and `release`: everything that is managed, at once.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    response::Response,
};
use drowse_provider::Deadline;
use drowse_watcher::{Lease, Role, SleepMethod, Workload};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::{Control, Forced, Wait, Woken, engine_was_never_read, lines, wake_one};
use crate::{
    config::Severity,
    control::{Class, Refusal, Told},
    plan::PlannedContainer,
    view::{Entry, View},
};

/// The names of the leases that these commands take.
const WAKER: &str = "wake command";
const RELEASER: &str = "release command";

/// Keeps everything awake that `release` has woken, until drowse has ended.
#[derive(Debug)]
pub(crate) struct Released {
    _leases: Vec<(Workload, Option<Lease>)>,
}

pub(super) async fn wake_all(State(control): State<Control>, wait: Query<Wait>) -> Response {
    info!("everything is woken by a command");
    lines::telling(|told| async move {
        let rouse = Rouse { holder: WAKER, is_release: false, told: &told };
        // All are awake at one moment; from then on each has its idle time.
        drop(rouse.everything(&control.view, wait.duration()).await);
    })
}

pub(super) async fn release(
    State(control): State<Control>,
    wait: Query<Wait>,
    Query(Forced { force }): Query<Forced>,
) -> Response {
    info!("everything is woken by a command, to be released");
    lines::telling(move |told| async move {
        let rouse = Rouse { holder: RELEASER, is_release: true, told: &told };
        let roused = rouse.everything(&control.view, wait.duration()).await;
        if roused.failures > 0 && !force {
            warn!(failures = roused.failures, "not released: not everything could be woken");
            return;
        }
        let grace_ms = u64::try_from(control.grace.as_millis()).unwrap_or(u64::MAX);
        let released = Released { _leases: roused.leases };
        if control.released.send(released).await.is_ok() {
            tell(&told, Told::Ending { grace_ms }).await;
            control.end.cancelled().await;
        }
    })
}

/// A client that has gone away is nobody to tell: [`lines::telling`] ends for that reason.
async fn tell(to: &mpsc::Sender<Told>, told: Told) {
    _ = to.send(told).await;
}

/// One waking of everything.
struct Rouse<'a> {
    holder: &'static str,
    /// Drowse ends after it, and undoes what it did: so what its user stopped stays so; and its own
    /// processes end with it, so that there is no use in waking them.
    is_release: bool,
    told: &'a mpsc::Sender<Told>,
}

/// What came of it.
struct Roused {
    /// Of each workload that was tried; `None` if it is not awake.
    leases: Vec<(Workload, Option<Lease>)>,
    failures: usize,
}

impl Rouse<'_> {
    /// Wakes whatever is managed, and whatever is managed anew meanwhile, and keeps it awake. All at
    /// once: it is each engine's own bound on orders that makes them wait for each other.
    ///
    /// Cancel safe: what has been ordered goes on, and nothing is kept awake.
    async fn everything(&self, view: &watch::Receiver<Arc<View>>, wait: Duration) -> Roused {
        let deadline = Deadline::after(wait);
        let mut roused = Roused { leases: Vec::new(), failures: 0 };
        loop {
            let now = view.borrow().clone();
            let mut waking = FuturesUnordered::new();
            for entry in &now.entries {
                let is_tried = roused.leases.iter().any(|(tried, _)| tried.is(&entry.workload));
                if !is_tried && is_put_to_sleep(entry) && !(self.is_release && is_left(entry)) {
                    let woken = wake_one(entry, self.holder, deadline);
                    waking.push(async move { (entry, woken.await) });
                }
            }
            if waking.is_empty() {
                self.tell_what_is_not_managed(&now, &mut roused).await;
                return roused;
            }
            while let Some((entry, woken)) = waking.next().await {
                let lease = match woken {
                    Woken::Awake(lease, done) => {
                        tell(self.told, Told::Awake(done)).await;
                        Some(lease)
                    }
                    // Whoever manages its container now, if anybody does, comes next.
                    Woken::NoLongerManaged => None,
                    Woken::Refused(refusal) => {
                        let workload = Some(entry.planned.name.clone());
                        self.refuse(workload, refusal, &mut roused).await;
                        None
                    }
                };
                roused.leases.push((entry.workload.clone(), lease));
            }
        }
    }

    /// Of what is in error, and of what an engine has that was never read, nobody can say that it is
    /// awake.
    async fn tell_what_is_not_managed(&self, view: &View, roused: &mut Roused) {
        for unread in &view.waiting {
            let refusal = engine_was_never_read(unread);
            self.refuse(Some(unread.planned.name.clone()), refusal, roused).await;
        }
        for (engine, trouble) in &view.unread_engines {
            let why = trouble.as_deref().unwrap_or("it is being read");
            let error =
                format!("engine `{engine}` was never read, and what it has may sleep: {why}");
            let refusal = Refusal { error, class: Class::EngineUnavailable };
            self.refuse(None, refusal, roused).await;
        }
        let errors = view.problems.iter().filter(|problem| problem.severity == Severity::Error);
        for problem in errors {
            let error = format!("not managed, and left as it is: {}", problem.line());
            self.refuse(None, Refusal { error, class: Class::NotManaged }, roused).await;
        }
    }

    async fn refuse(&self, workload: Option<String>, refusal: Refusal, roused: &mut Roused) {
        roused.failures += 1;
        tell(self.told, Told::Refused { workload, refusal }).await;
    }
}

/// What a release leaves as it is.
fn is_left(entry: &Entry) -> bool {
    let is_process = matches!(entry.planned.container, PlannedContainer::Process(_));
    is_process || entry.workload.snapshot().is_ended_from_outside
}

/// What ends by itself, and what drowse never puts to sleep, is as its user wants it; whatever else needs
/// it wakes it.
fn is_put_to_sleep(entry: &Entry) -> bool {
    let policy = &entry.planned.policy;
    policy.role == Role::Service && policy.sleep != SleepMethod::Never
}
