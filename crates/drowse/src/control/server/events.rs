//! `events`: what happened, and what happens, told to whoever follows at their own pace.

use std::{mem, sync::Arc};

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Control, find, lines, refused};
use crate::{
    control::{Class, Refusal},
    events::Line,
    store::{Numbered, Store},
};

/// More than anybody follows at once: the other connections are for those who give orders.
pub(super) const FOLLOWERS: usize = 32;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// At most so many of those that are past, the latest.
    last: usize,
    /// Only those with a greater number.
    #[serde(default)]
    after: u64,
    workload: Option<String>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn events(
    State(control): State<Control>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let place = if wanted.follow {
        let Ok(place) = Arc::clone(&control.followers).try_acquire_owned() else {
            let error = format!("{FOLLOWERS} others follow the events already");
            return refused(Refusal { error, class: Class::InUse });
        };
        Some(place)
    } else {
        None
    };
    let renumbered_by = control.store.renumbered_by();
    let (past, up_to) = match past(&control.store, &wanted).await {
        Ok(past) => past,
        Err(error) => return refused(Refusal { error, class: Class::Failed }),
    };
    if past.is_empty()
        && let Some(name) = &wanted.workload
        && let Err(unknown) = find(&control.view, name)
        && unknown.class == Class::UnknownWorkload
    {
        return refused(unknown);
    }
    let Control { store, end, .. } = control;
    lines::telling(move |told| async move {
        for line in past {
            if told.send(line).await.is_err() {
                return;
            }
        }
        if let Some(place) = place {
            let following =
                Following { store, workload: wanted.workload, up_to, renumbered_by, _place: place };
            following.tell(&told, &end).await;
        }
    })
}

/// What is wanted of those that are past, and the number of the last that is kept.
async fn past(store: &Store, wanted: &Wanted) -> Result<(Vec<Line>, u64), String> {
    let newest = *store.last_event().borrow();
    let mut told = Vec::new();
    let mut after = wanted.after;
    if after > newest {
        told.push(Line::BegunAnew);
        after = 0;
    }
    let events = store.events(after).await?;
    let up_to = events.last().map_or(after, |last| last.number);
    if let Some(missed) = missed(after, &events).filter(|_| wanted.after > 0) {
        told.push(missed);
    }
    let wanted_ones: Vec<_> =
        events.into_iter().filter(|one| is_of(one, wanted.workload.as_deref())).collect();
    let too_many = wanted_ones.len().saturating_sub(wanted.last);
    told.extend(wanted_ones.into_iter().skip(too_many).map(Line::from));
    Ok((told, up_to))
}

/// Somebody who follows.
struct Following {
    store: Store,
    workload: Option<String>,
    /// The last event that was read for them.
    up_to: u64,
    /// By how much the numbers had grown then.
    renumbered_by: u64,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// Tells what happens until the end. One who reads slowly makes nobody wait but themselves: what is
    /// told is read from the store when the last has been taken, and what it does not keep for so long
    /// is told to be missed.
    async fn tell(mut self, told: &mpsc::Sender<Line>, end: &CancellationToken) {
        let mut newest = self.store.last_event();
        loop {
            newest.mark_unchanged();
            let renumbered_by = self.store.renumbered_by();
            self.up_to += renumbered_by - mem::replace(&mut self.renumbered_by, renumbered_by);
            // What cannot be read now is told with the next, or to be missed.
            let events = self.store.events(self.up_to).await.unwrap_or_else(|why| {
                warn!("{why}");
                Vec::new()
            });
            let missed = missed(self.up_to, &events);
            self.up_to = events.last().map_or(self.up_to, |last| last.number);
            let wanted = events.into_iter().filter(|one| is_of(one, self.workload.as_deref()));
            for line in missed.into_iter().chain(wanted.map(Line::from)) {
                if told.send(line).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = end.cancelled() => return,
            }
        }
    }
}

fn is_of(one: &Numbered, workload: Option<&str>) -> bool {
    workload.is_none_or(|name| one.event.workload == name)
}

/// Numbers have no gaps: what lacks between the last that was told and the first that is kept is gone.
fn missed(after: u64, events: &[Numbered]) -> Option<Line> {
    let gone = events.first()?.number - after - 1;
    (gone > 0).then_some(Line::Missed { events: gone })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio::{sync::Semaphore, time::timeout};

    use super::*;
    use crate::{clock::WallClock, store::Event};

    /// More than a store without a file keeps.
    const MANY: u64 = 3_000;
    const PATIENCE: Duration = Duration::from_mins(1);

    fn happen(store: &Store, workload: &str) {
        store.append_event(Event {
            at: Timestamp::UNIX_EPOCH,
            workload: workload.to_owned(),
            engine: "docker".to_owned(),
            container: workload.to_owned(),
            from: "asleep".to_owned(),
            to: "starting".to_owned(),
            reason: "asked for".to_owned(),
            took_ms: 1,
        });
    }

    fn wanted(last: usize, after: u64, workload: Option<&str>) -> Wanted {
        Wanted { last, after, workload: workload.map(str::to_owned), follow: true }
    }

    fn numbers(lines: &[Line]) -> Vec<u64> {
        let number = |line: &Line| match line {
            Line::Change { number, .. } => Some(*number),
            _ => None,
        };
        lines.iter().filter_map(number).collect()
    }

    #[tokio::test]
    async fn of_those_that_are_past_the_last_are_told() {
        let store = Store::in_memory(WallClock::system());
        for workload in ["a", "b", "a", "b"] {
            happen(&store, workload);
        }
        let (lines, up_to) = past(&store, &wanted(3, 0, None)).await.unwrap();
        assert_eq!((numbers(&lines), up_to), (vec![2, 3, 4], 4));
        let (lines, up_to) = past(&store, &wanted(9, 1, Some("b"))).await.unwrap();
        assert_eq!((numbers(&lines), up_to), (vec![2, 4], 4));
        // It had more than there are now.
        let (lines, _) = past(&store, &wanted(9, 77, None)).await.unwrap();
        assert_eq!((&lines[0], numbers(&lines)), (&Line::BegunAnew, vec![1, 2, 3, 4]));
    }

    #[tokio::test]
    async fn who_reads_slowly_makes_nobody_wait_and_is_told_what_was_missed() {
        let store = Store::in_memory(WallClock::system());
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let following = Following {
            store: store.clone(),
            workload: None,
            up_to: 0,
            renumbered_by: 0,
            _place: place,
        };
        let (told, mut lines) = mpsc::channel(1);
        let end = CancellationToken::new();
        let ended = end.clone();
        let telling = tokio::spawn(async move { following.tell(&told, &ended).await });
        happen(&store, "app");
        let mut read = async || timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
        assert_eq!(numbers(&[read().await]), [1]);
        // Nobody reads now, and this goes on all the same.
        for _ in 0..MANY {
            happen(&store, "app");
        }
        let (mut seen, mut missed) = (1, 0);
        while seen + missed < MANY + 1 {
            match read().await {
                Line::Change { number, .. } => {
                    seen += 1;
                    assert_eq!(number, seen + missed, "in their order, each once");
                }
                Line::Missed { events } => missed += events,
                other => panic!("{other:?}"),
            }
        }
        assert!(missed > 0);
        end.cancel();
        timeout(PATIENCE, telling).await.unwrap().unwrap();
    }
}
