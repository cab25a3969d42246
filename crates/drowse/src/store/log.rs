//! The event log, read in pieces: whoever reads it has one of them at a time, however long it is, and
//! holds up whoever writes for no longer than that.

use tokio::{task::spawn_blocking, time::Instant};

use super::{Event, Failure, Filed, Kept, Numbered, Store, TRY_AGAIN, disk::Side};
use crate::folder::OwnFolder;

/// How many events are read at once.
pub(crate) const PIECE: usize = 256;
/// How many pieces are read to find those of one workload.
const DEEPEST: usize = 8;

/// A place right behind an event. It stays where it is when the numbers of all events grow, by those
/// of a file that could be read only later: it is the number, less what that has grown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(i64);

/// Some events in a row, the oldest first.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) events: Vec<Numbered>,
    grown_by: u64,
}

/// What is read.
#[derive(Clone, Copy)]
enum Wanted {
    /// What comes right after a place.
    After(Place),
    /// What comes right before it.
    Before(Place),
}

impl Place {
    /// Behind the event of this number, as numbers are once they have grown so much.
    fn behind(number: u64, grown_by: u64) -> Self {
        let [number, grown_by] = [number, grown_by].map(|it| i64::try_from(it).unwrap_or(i64::MAX));
        Self(number - grown_by)
    }

    /// The number of the event before it.
    fn number(self, grown_by: u64) -> u64 {
        let grown_by = i64::try_from(grown_by).unwrap_or(i64::MAX);
        u64::try_from(self.0.saturating_add(grown_by)).unwrap_or(0)
    }

    /// How many events there were between an earlier place and this one.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl Piece {
    /// The place behind one of its events.
    pub(crate) fn behind(&self, event: &Numbered) -> Place {
        Place::behind(event.number, self.grown_by)
    }

    /// The place before one of its events.
    pub(crate) fn before(&self, event: &Numbered) -> Place {
        Place::behind(event.number.saturating_sub(1), self.grown_by)
    }
}

impl Store {
    /// Behind the event of this number, as numbers are now.
    pub(crate) fn place_behind(&self, number: u64) -> Place {
        Place::behind(number, self.kept().renumbered_by)
    }

    /// Behind the last event.
    pub(crate) fn end_of_log(&self) -> Place {
        let kept = self.kept();
        Place::behind(kept.last_event, kept.renumbered_by)
    }

    /// The first events after a place, at most [`PIECE`]: none if there are no more. Cancel safe.
    ///
    /// # Errors
    /// Why the file cannot be read: a lower-case fragment.
    pub(crate) async fn events_after(&self, place: Place) -> Result<Piece, String> {
        self.events(Wanted::After(place)).await
    }

    /// The last events before a place, at most [`PIECE`]: none if there are no more. Cancel safe.
    ///
    /// # Errors
    /// Why the file cannot be read: a lower-case fragment.
    pub(crate) async fn events_before(&self, place: Place) -> Result<Piece, String> {
        self.events(Wanted::Before(place)).await
    }

    /// The last events of a workload, at most so many, oldest first: of those that are not buried under more
    /// than some two thousand of others. Cancel safe.
    ///
    /// # Errors
    /// Why the file cannot be read: a lower-case fragment.
    pub(crate) async fn last_events_of(
        &self,
        workload: &str,
        most: usize,
    ) -> Result<Vec<Event>, String> {
        let (mut place, mut found) = (self.end_of_log(), Vec::new());
        for _ in 0..DEEPEST {
            let piece = self.events_before(place).await?;
            let Some(first) = piece.events.first() else { break };
            place = piece.before(first);
            let its = piece.events.into_iter().rev().map(|numbered| numbered.event);
            let its = its.filter(|event| event.workload == workload);
            found.extend(its.take(most - found.len()));
            if found.len() == most {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    async fn events(&self, wanted: Wanted) -> Result<Piece, String> {
        let this = self.clone();
        let read = spawn_blocking(move || this.read_events(wanted)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn read_events(&self, wanted: Wanted) -> Result<Piece, String> {
        // The lock is held until the pending ones are added: what is written meanwhile would be in
        // neither. Nor do numbers grow meanwhile.
        let mut file = self.file();
        let grown_by = self.kept().renumbered_by;
        let read = |numbers, side, most| match &*file {
            Filed::In(_, disk) => disk.events(numbers, side, most),
            Filed::Nowhere | Filed::Out { .. } => Ok(Vec::new()),
        };
        let events = match wanted {
            Wanted::After(place) => {
                let after = place.number(grown_by);
                read(after.saturating_add(1)..=u64::MAX, Side::First, PIECE).map(|mut events| {
                    let after = events.last().map_or(after, |last| last.number);
                    let more = PIECE - events.len();
                    events.extend(self.kept().pending_after(after).take(more).cloned());
                    events
                })
            }
            Wanted::Before(place) => {
                let up_to = place.number(grown_by);
                let pending = self.kept().last_pending(up_to, PIECE);
                let up_to = pending.first().map_or(up_to, |first| first.number.saturating_sub(1));
                read(1..=up_to, Side::Last, PIECE - pending.len()).map(|mut events| {
                    events.extend(pending);
                    events
                })
            }
        };
        match events {
            Ok(events) => Ok(Piece { events, grown_by }),
            Err(failure) => {
                let is_damaged = matches!(failure, Failure::Damaged(_));
                let why = format!("the event log cannot be read: {}", failure.into_words());
                if let Filed::In(folder, _) = &*file
                    && is_damaged
                {
                    *file = self.doubted(folder.clone(), &why);
                }
                Err(why)
            }
        }
    }

    /// A file that reading has shown to be damaged: the next flush opens it anew, and puts it aside.
    fn doubted(&self, folder: OwnFolder, why: &str) -> Filed {
        self.kept().hindrance = Some(why.to_owned());
        self.0.news.notify_one();
        let now = Instant::now();
        let tried = now.checked_sub(TRY_AGAIN).unwrap_or(now);
        Filed::Out { folder, tried, is_read: true }
    }
}

impl Kept {
    /// The events above this number that the file does not have yet.
    fn pending_after(&self, number: u64) -> impl Iterator<Item = &Numbered> {
        self.new_events.iter().filter(move |event| event.number > number)
    }

    /// The last of them, up to this number and at most so many.
    fn last_pending(&self, up_to: u64, most: usize) -> Vec<Numbered> {
        let up_to = self.new_events.partition_point(|event| event.number <= up_to);
        self.new_events.range(up_to.saturating_sub(most)..up_to).cloned().collect()
    }
}
