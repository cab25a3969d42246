//! What is known, and what follows from what is read.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Actor, EngineItem, Error, Event, EventAction, Observation, mailbox::Mailbox,
};
use tokio::time::Instant;

use super::watched::{Reading, Standing, Watched};
use crate::cluster::{
    beat::{Beat, side_by_side},
    diff::{LAG, appeared, contradicts, happenings, other_start, uptime_dropped},
    row::{Doing, Row, Span},
    runs::Runs,
    target::{Found, Target},
};

/// How long after a fruitless one another read is made of a container that a beat contradicts still.
const DOUBT_MIN: Duration = Duration::from_secs(4);
const DOUBT_MAX: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct State {
    pub(super) is_running: bool,
    pub(super) is_closed: bool,
    /// Why the cluster is out of reach, once that was told: for those who begin to watch meanwhile.
    pub(super) outage: Option<Error>,
    /// The last beat that was taken in.
    pub(super) beat: Option<Arc<Beat>>,
    /// What live reads told, of the containers that are watched or were read a moment ago.
    pub(super) known: HashMap<u32, Known>,
    pub(super) runs: Runs,
    pub(super) watched: HashMap<Target, Watched>,
    /// What is watched, by the number under which it was last found.
    pub(super) bound: HashMap<u32, Vec<Target>>,
    /// To be read, in this order. Each at most once.
    pub(super) queue: VecDeque<Target>,
    /// By how many transitions each is held.
    pub(super) held: HashMap<u32, usize>,
    pub(super) all: Vec<Arc<Mailbox<EngineItem>>>,
    pub(super) is_list_wanted: bool,
    /// What beats no longer show and no node has said to be gone: as it was last seen.
    pub(super) unseen: BTreeMap<u32, Unseen>,
    /// Of those, the ones that nobody watches, whose nodes are to be asked.
    pub(super) to_settle: VecDeque<u32>,
}

/// What beats no longer show.
pub(super) struct Unseen {
    /// As it was last seen.
    pub(super) row: Row,
    pub(super) since: Instant,
}

/// What the last live read of a container told.
pub(super) struct Known {
    pub(super) row: Row,
    pub(super) observation: Observation,
    pub(super) span: Span,
    /// Whether high availability manages it. It may not have looked at it yet: then there is no state.
    pub(super) is_ha_managed: bool,
    /// Whether beats say that its node does not tell of it, and it was read there all the same.
    pub(super) is_read_despite: bool,
    /// Whether a read is to tell why a beat contradicts this.
    pub(super) is_doubted: bool,
    /// Such reads in a row that told nothing new.
    pub(super) fruitless: u32,
    /// Until when the beats' contradiction is known.
    pub(super) not_before: Instant,
}

impl State {
    pub(super) fn targets_of(&self, vmid: u32) -> Vec<Target> {
        self.bound.get(&vmid).cloned().unwrap_or_default()
    }

    /// As a container was last seen, by beats.
    pub(super) fn last_seen(&self, vmid: u32) -> Option<&Row> {
        let unseen = || self.unseen.get(&vmid).map(|unseen| &unseen.row);
        self.beat.as_ref().and_then(|beat| beat.find(vmid)).or_else(unseen)
    }

    pub(super) fn must_read(&mut self, target: &Target) {
        let Some(watched) = self.watched.get_mut(target) else { return };
        match watched.reading {
            Reading::Idle => {
                watched.reading = Reading::Queued;
                self.queue.push_back(target.clone());
            }
            Reading::Under => watched.reading = Reading::Outdated,
            Reading::Queued | Reading::Outdated => {}
        }
    }

    /// It could not be read (any more) where beats say that nobody tells of it.
    pub(super) fn doubt_what_is_known(&mut self, target: &Target) {
        let bound = self.watched.get(target).and_then(|watched| watched.bound);
        if let Some(known) = bound.and_then(|vmid| self.known.get_mut(&vmid)) {
            known.is_read_despite = false;
        }
    }

    pub(super) fn end_reading(&mut self, target: &Target) {
        let Some(watched) = self.watched.get_mut(target) else { return };
        if std::mem::replace(&mut watched.reading, Reading::Idle) == Reading::Outdated {
            self.must_read(target);
        }
    }

    /// Takes in a live read, and tells what happened since the last one.
    pub(super) fn learn(
        &mut self,
        row: &Row,
        observation: Observation,
        is_ha_managed: bool,
        span: Span,
    ) {
        let vmid = row.vmid;
        let before = self.known.remove(&vmid);
        let is_news = before.as_ref().is_none_or(|before| before.observation != observation);
        let run = &observation.run;
        let (happened, told) = if let Some(before) = &before {
            let is_restarted = before.observation.run != *run;
            let happened = happenings(&before.row, row, is_restarted);
            let events = events(Some(&before.row), row, &happened, &observation);
            (!happened.is_empty(), (events.clone(), events))
        } else {
            // Whoever follows all containers knows what beats said.
            let seen = self.last_seen(vmid);
            let happened = match seen {
                Some(seen) => happenings(seen, row, uptime_dropped(seen, row)),
                None if self.beat.is_some() => appeared(row),
                None => Vec::new(),
            };
            (false, (Vec::new(), events(seen, row, &happened, &observation)))
        };
        let (to_watches, to_all) = told;
        let now = Instant::now();
        let (fruitless, not_before) = match &before {
            Some(before) if before.is_doubted && !is_news && !happened => {
                let pause = DOUBT_MIN.saturating_mul(1 << before.fruitless.min(16)).min(DOUBT_MAX);
                (before.fruitless.saturating_add(1), now + pause)
            }
            Some(before) if !is_news && !happened => (before.fruitless, before.not_before),
            _ => (0, now),
        };
        for target in self.targets_of(vmid) {
            let Some(watched) = self.watched.get_mut(&target) else { continue };
            // Its name is another one's now, and beats are late to tell.
            if !target.is_named_by(row) {
                continue;
            }
            if watched.standing == Standing::Absent {
                let appeared = events(None, row, &appeared(row), &observation);
                watched.is(&appeared, &observation, true);
            } else {
                watched.is(&to_watches, &observation, is_news);
            }
        }
        for event in to_all {
            self.tell_all(&event);
        }
        self.unseen.remove(&vmid);
        let by_beat = self.beat.as_ref().and_then(|beat| beat.find(vmid));
        let is_read_despite = by_beat.is_some_and(|row| row.doing == Doing::Unknown);
        let row = row.clone();
        let known = Known {
            row,
            observation,
            span,
            is_ha_managed,
            is_read_despite,
            is_doubted: false,
            fruitless,
            not_before,
        };
        self.known.insert(vmid, known);
    }

    pub(super) fn compare(&mut self, before: &Beat, after: &Beat) {
        for pair in side_by_side(before, after) {
            match pair {
                (Some(was), Some(is)) => self.compare_one(was, is, after.span),
                (None, Some(is)) => match self.unseen.remove(&is.vmid) {
                    Some(was) => self.compare_one(&was.row, is, after.span),
                    // A live read may have told of it before.
                    None if self.known.contains_key(&is.vmid) => {}
                    None => self.tell(None, is, &appeared(is)),
                },
                (Some(was), None) => {
                    let known = self.known.get(&was.vmid).map(|known| &known.row);
                    let row = known.unwrap_or(was).clone();
                    self.unseen.insert(was.vmid, Unseen { row, since: Instant::now() });
                    if !self.bound.contains_key(&was.vmid) {
                        self.to_settle.push_back(was.vmid);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn compare_one(&mut self, was: &Row, is: &Row, beat: Span) {
        let is_watched = self.bound.contains_key(&is.vmid);
        let Some(known) = self.known.get_mut(&is.vmid) else {
            return self.tell(Some(was), is, &happenings(was, is, uptime_dropped(was, is)));
        };
        if *was != (Row { uptime: was.uptime, ..is.clone() }) || uptime_dropped(was, is) {
            (known.fruitless, known.not_before) = (0, Instant::now());
        }
        // Of what is watched only live reads tell; of anything else as long as beats lag.
        if is_watched || beat.began < known.span.ended + LAG {
            return;
        }
        if let Some(known) = self.known.remove(&is.vmid)
            && contradicts(&known.row, known.span, is, beat)
        {
            let is_restarted = other_start(&known.row, known.span, is, beat);
            self.tell(Some(&known.row), is, &happenings(&known.row, is, is_restarted));
        }
    }

    /// Whether a watched container has to be read, since it is not as it was last read.
    pub(super) fn is_read_needed(&mut self, target: &Target, beat: &Beat, now: Instant) -> bool {
        let Some(watched) = self.watched.get_mut(target) else { return false };
        if watched.reading != Reading::Idle {
            return false;
        }
        let found = target.find(beat);
        if let Some(trouble) = &mut watched.trouble {
            let is_passing = trouble.error.is_retryable();
            return match found {
                // Its node tells of it again: no need to wait for the next attempt.
                Found::One(row) if is_passing => row.doing != Doing::Unknown,
                Found::One(_) => trouble.retry_at <= now,
                Found::None | Found::Several(_) if is_passing => false,
                // Whatever was refused: when it can be seen again, it is read at once.
                Found::None | Found::Several(_) => {
                    trouble.retry_at = now;
                    false
                }
            };
        }
        match (found, watched.standing) {
            (Found::None, Standing::Absent) => false,
            (Found::None | Found::Several(_), _) | (_, Standing::Unread | Standing::Absent) => true,
            (Found::One(row), Standing::Present) => {
                if watched.bound != Some(row.vmid) {
                    return true;
                }
                let Some(known) = self.known.get_mut(&row.vmid) else { return true };
                // Of a run that was younger than beats lag, another one may have taken the place.
                let is_young = known.row.runs()
                    && Duration::from_secs(known.row.uptime.into()) < LAG
                    && known.span.ended + LAG <= beat.span.began;
                let is_doubted = is_young || contradicts(&known.row, known.span, row, beat.span);
                known.is_doubted = is_doubted && known.not_before <= now;
                known.is_doubted
            }
        }
    }

    /// The containers of a beat by VMID, with what is known better of those that are watched or were
    /// read a moment ago, and those that are not to be seen as they last were.
    pub(super) fn rows<'a>(&'a self, beat: &'a Beat) -> Vec<&'a Row> {
        let is_fresh = |known: &Known| {
            self.bound.contains_key(&known.row.vmid) || beat.span.began < known.span.ended + LAG
        };
        let better = |row: &'a Row| match self.known.get(&row.vmid) {
            Some(known)
                if is_fresh(known) && (row.doing != Doing::Unknown || known.is_read_despite) =>
            {
                &known.row
            }
            _ => row,
        };
        let mut rows: Vec<&Row> = beat.rows().iter().map(better).collect();
        let unseen = self.unseen.values().map(|unseen| &unseen.row);
        rows.extend(unseen.filter(|row| beat.find(row.vmid).is_none()));
        rows.sort_by_key(|row| row.vmid);
        rows
    }

    fn tell(&self, before: Option<&Row>, after: &Row, happened: &[EventAction]) {
        let observation = after.observation(None);
        for event in events(before, after, happened, &observation) {
            self.tell_all(&event);
        }
    }

    pub(super) fn tell_all(&self, event: &Event) {
        for mailbox in &self.all {
            mailbox.hint(EngineItem::Event(event.clone()));
        }
    }

    /// Remembers under which number a target was found.
    pub(super) fn bind(&mut self, target: &Target, vmid: Option<u32>) {
        let Some(watched) = self.watched.get_mut(target) else { return };
        let before = std::mem::replace(&mut watched.bound, vmid);
        if before == vmid {
            return;
        }
        watched.is_another = vmid.is_some();
        if let Some(before) = before
            && let Some(targets) = self.bound.get_mut(&before)
        {
            targets.retain(|other| other != target);
            if targets.is_empty() {
                self.bound.remove(&before);
            }
        }
        if let Some(vmid) = vmid {
            self.bound.entry(vmid).or_default().push(target.clone());
        }
    }

    /// What was bound to one container ends with it.
    pub(super) fn end_if_over(&mut self, target: &Target) {
        if let Some(watched) = self.watched.get(target)
            && matches!(target, Target::Id(_))
            && watched.standing == Standing::Absent
        {
            watched.watches.iter().for_each(|mailbox| mailbox.end());
            self.forget(target);
        }
    }

    pub(super) fn forget(&mut self, target: &Target) {
        self.bind(target, None);
        self.watched.remove(target);
        self.queue.retain(|queued| queued != target);
    }
}

fn events(
    before: Option<&Row>,
    after: &Row,
    happened: &[EventAction],
    observation: &Observation,
) -> Vec<Event> {
    let event = |action: &EventAction| {
        let event = event(after, action.clone()).of_run(observation.run.clone());
        match before {
            Some(before) => event.from_to(before.status(), after.status()),
            None => event,
        }
    };
    happened.iter().map(event).collect()
}

/// With the tags as labels, and the node.
pub(super) fn event(row: &Row, action: EventAction) -> Event {
    let mut attributes: BTreeMap<String, String> =
        row.tags.iter().map(|tag| (tag.clone(), String::new())).collect();
    attributes.insert("node".to_owned(), row.node.to_string());
    let actor = Actor::new(row.vmid.to_string(), row.shown_name(), attributes);
    Event::container(actor, action, SystemTime::now())
}
