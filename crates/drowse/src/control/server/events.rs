//! `events`: what happened, and what happens, told to whoever reads it at their own pace.

use std::sync::Arc;

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
    store::{Numbered, Piece, Place, Store},
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
    let begin = match Begin::find(&control.store, &wanted).await {
        Ok(begin) => begin,
        Err(error) => return refused(Refusal { error, class: Class::Failed }),
    };
    if begin.is_nothing_past()
        && let Some(name) = &wanted.workload
        && let Err(unknown) = find(&control.view, name)
        && unknown.class == Class::UnknownWorkload
    {
        return refused(unknown);
    }
    let Control { store, end, .. } = control;
    lines::telling(|told| begin.reader(store, wanted, place).tell(told, end))
}

/// From where on it is told.
#[derive(Clone, Copy, Debug)]
struct Begin {
    place: Place,
    /// Where the log ended then.
    end: Place,
    /// Whether any of those that are past are wanted.
    any_past: bool,
    /// Whether whoever asks has seen more than there is.
    is_anew: bool,
}

impl Begin {
    /// Looks for it from the end of the log backwards.
    async fn find(store: &Store, wanted: &Wanted) -> Result<Self, String> {
        let end = store.end_of_log();
        let asked = store.place_behind(wanted.after);
        let is_anew = asked > end;
        let after = (wanted.after > 0 && !is_anew).then_some(asked);
        let begin = |place, any_past| Self { place, end, any_past, is_anew };
        let (mut place, mut left) = (end, wanted.last);
        while left > 0 && after.is_none_or(|after| place > after) {
            let piece = store.events_before(place).await?;
            if piece.events.is_empty() {
                break;
            }
            for event in piece.events.iter().rev() {
                if after.is_some_and(|after| piece.behind(event) <= after) {
                    place = piece.behind(event);
                    break;
                }
                place = piece.before(event);
                if is_of(event, wanted.workload.as_deref()) {
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        let any_past = left < wanted.last;
        Ok(match after {
            // What is not kept any more between what they have seen and the rest is told to be missed.
            Some(after) if left > 0 => begin(after, any_past),
            _ => begin(place, any_past),
        })
    }

    fn is_nothing_past(self) -> bool {
        !self.any_past && !self.is_anew
    }

    fn reader(self, store: Store, wanted: Wanted, place: Option<OwnedSemaphorePermit>) -> Reader {
        Reader {
            store,
            workload: wanted.workload,
            is_anew: self.is_anew,
            up_to: self.place,
            until: (!wanted.follow).then_some(self.end),
            _place: place,
        }
    }
}

/// Somebody who is told, and perhaps follows.
struct Reader {
    store: Store,
    workload: Option<String>,
    is_anew: bool,
    /// Behind the last event that was read for them.
    up_to: Place,
    /// Where it ends, if they do not follow.
    until: Option<Place>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Reader {
    /// Tells what happened, and what happens until the end. One who reads slowly makes nobody wait but
    /// themselves: the next piece is read from the store when the last has been taken, and what it does
    /// not keep for so long is told to be missed.
    async fn tell(mut self, told: mpsc::Sender<Line>, end: CancellationToken) {
        if self.is_anew && told.send(Line::BegunAnew).await.is_err() {
            return;
        }
        let mut newest = self.store.last_event();
        while self.until.is_none_or(|until| self.up_to < until) {
            newest.mark_unchanged();
            let piece = self.store.events_after(self.up_to).await.inspect_err(|why| warn!("{why}"));
            // What cannot be read now is told with the next, or to be missed.
            let piece = piece.ok().filter(|piece| !piece.events.is_empty());
            match (piece, self.until) {
                (Some(piece), _) => {
                    for event in &piece.events {
                        for line in self.lines(&piece, event) {
                            if told.send(line).await.is_err() {
                                return;
                            }
                        }
                    }
                }
                (None, Some(until)) => {
                    // If nobody reads it, nobody misses it.
                    _ = told.send(Line::Missed { events: until.since(self.up_to) }).await;
                    return;
                }
                (None, None) => tokio::select! {
                    changed = newest.changed() => if changed.is_err() { return },
                    () = end.cancelled() => return,
                },
            }
        }
    }

    /// What is told of an event. Numbers have no gaps: what lacks between two of them is gone.
    fn lines(&mut self, piece: &Piece, event: &Numbered) -> impl Iterator<Item = Line> + use<> {
        let is_wanted = self.until.is_none_or(|until| piece.behind(event) <= until)
            && is_of(event, self.workload.as_deref());
        let gone = piece.before(event).since(self.up_to);
        self.up_to = piece.behind(event);
        let missed = (gone > 0).then_some(Line::Missed { events: gone });
        missed.into_iter().chain(is_wanted.then(|| Line::from(event.clone())))
    }
}

fn is_of(one: &Numbered, workload: Option<&str>) -> bool {
    workload.is_none_or(|name| one.event.workload == name)
}

#[cfg(test)]
mod tests;
