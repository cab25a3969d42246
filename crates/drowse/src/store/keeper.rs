//! Writes the store: in batches, since what happens together is written together, and never on the way
//! of a request.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Store, TRY_AGAIN};
use crate::{holds::Holds, view::View};

/// How long it is waited for more to write.
const BATCH: Duration = Duration::from_secs(2);
/// When it is looked at first who is gone for long: each engine was read by then, if it can be.
const LOOK_FIRST: Duration = Duration::from_hours(1);
/// And then how often.
const LOOK_AGAIN: Duration = Duration::from_hours(24);

/// Writes what the store is told, and what workloads know that have changed. Runs until `end`, then
/// writes what all of them know.
pub(crate) async fn keep(
    store: Store,
    holds: Holds,
    view: watch::Receiver<Arc<View>>,
    end: CancellationToken,
) {
    let mut look_at = Instant::now() + LOOK_FIRST;
    loop {
        tokio::select! {
            () = end.cancelled() => break,
            () = store.has_news() => {
                tokio::select! {
                    () = end.cancelled() => break,
                    () = sleep(BATCH) => {}
                }
                let changed = store.take_changed();
                remember(&store, &view, |name| changed.contains(name));
            }
            // It may be usable again, whether anything happens meanwhile or not.
            () = sleep(TRY_AGAIN), if store.is_hindered() => {}
            () = sleep_until(look_at) => {
                look_at = Instant::now() + LOOK_AGAIN;
                // Whoever is there is not gone, whether anything happened to it or not.
                remember(&store, &view, |_| true);
                holds.forget_the_gone(&view.borrow());
                store.forget_the_gone();
            }
        }
        store.flush().await;
        if store.has_taken_in() {
            holds.look_again();
        }
    }
    remember(&store, &view, |_| true);
    store.flush().await;
}

fn remember(store: &Store, view: &watch::Receiver<Arc<View>>, is_wanted: impl Fn(&String) -> bool) {
    let view = view.borrow().clone();
    let wanted = view.entries.iter().filter(|entry| is_wanted(&entry.planned.name));
    for entry in wanted {
        store.remember(&entry.planned.name, &entry.workload.memory());
    }
}
