//! Who watches what, what is known of it, and what the poller has to read for them.

mod state;
mod watched;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_provider::{
    EngineItem, Error, EventAction, Observation, Summary, WatchItem, mailbox::Mailbox,
};
use tokio::{sync::Notify, time::Instant};

pub(super) use self::watched::Later;
use self::{
    state::{Known, State, event},
    watched::{Reading, Standing, Watched},
};
use super::{
    beat::Beat,
    diff::contradicts,
    reads::Urgency,
    row::{Doing, Row, Span},
    target::Target,
};
use crate::CurrentStatus;

/// Whatever vanished within this time may have vanished for one reason.
const LATELY: Duration = Duration::from_secs(30);
/// For how long a container that nobody watches is listed as it was last seen.
const GIVEN_UP: Duration = Duration::from_mins(10);

/// What the watches and the poller share. Its lock is held for moments only, never over a wait.
pub(super) struct Registry {
    state: Mutex<State>,
    /// From when moments are counted.
    epoch: Instant,
    /// Told when there is something new for the poller to do.
    pub(super) changed: Notify,
}

impl Default for Registry {
    fn default() -> Self {
        Self { state: Mutex::default(), epoch: Instant::now(), changed: Notify::new() }
    }
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === From the watches ===

    /// Whether the caller must start the poller.
    pub(super) fn subscribe(&self, target: &Target, mailbox: Arc<Mailbox<WatchItem>>) -> bool {
        let mut state = self.state();
        if state.is_closed {
            mailbox.end();
            return false;
        }
        let outage = state.outage.clone().map(|outage| outage.with_container(target.word()));
        let watched = state.watched.entry(target.clone()).or_default();
        if let Some(trouble) = outage.as_ref().or(watched.told_trouble()) {
            mailbox.fail(trouble.clone());
        }
        watched.watches.push(mailbox);
        if let Some(vmid) = target.vmid() {
            state.bind(target, Some(vmid));
        }
        state.must_read(target);
        self.changed.notify_one();
        !std::mem::replace(&mut state.is_running, true)
    }

    /// Whether the caller must start the poller.
    pub(super) fn subscribe_to_all(&self, mailbox: Arc<Mailbox<EngineItem>>) -> bool {
        let mut state = self.state();
        if state.is_closed {
            mailbox.end();
            return false;
        }
        if let Some(outage) = &state.outage {
            mailbox.fail(outage.clone());
        }
        state.all.push(mailbox);
        state.is_list_wanted = true;
        self.changed.notify_one();
        !std::mem::replace(&mut state.is_running, true)
    }

    pub(super) fn unsubscribe(&self, target: &Target, mailbox: &Arc<Mailbox<WatchItem>>) {
        let mut state = self.state();
        if let Some(watched) = state.watched.get_mut(target) {
            watched.watches.retain(|other| !Arc::ptr_eq(other, mailbox));
            if watched.watches.is_empty() {
                state.forget(target);
            }
        }
        self.changed.notify_one();
    }

    pub(super) fn unsubscribe_from_all(&self, mailbox: &Arc<Mailbox<EngineItem>>) {
        self.state().all.retain(|other| !Arc::ptr_eq(other, mailbox));
        self.changed.notify_one();
    }

    /// A consumer that lagged reads again, and needs to know the truth.
    pub(super) fn want(&self, target: &Target) {
        self.state().must_read(target);
        self.changed.notify_one();
    }

    pub(super) fn want_list(&self) {
        self.state().is_list_wanted = true;
        self.changed.notify_one();
    }

    // === From transitions ===

    pub(super) fn hold(&self, vmid: u32) {
        *self.state().held.entry(vmid).or_default() += 1;
        self.changed.notify_one();
    }

    pub(super) fn release(&self, vmid: u32) {
        let mut state = self.state();
        if let Some(holders) = state.held.get_mut(&vmid) {
            *holders -= 1;
            if *holders == 0 {
                state.held.remove(&vmid);
            }
        }
    }

    /// Whether a container that is watched is in transition.
    pub(super) fn is_any_held(&self) -> bool {
        let state = self.state();
        state.held.keys().any(|vmid| state.bound.contains_key(vmid))
    }

    /// Has every watched container read that is in transition.
    pub(super) fn read_held(&self) {
        let mut state = self.state();
        let held: Vec<u32> = state.held.keys().copied().collect();
        for vmid in held {
            for target in state.targets_of(vmid) {
                // A read under way is as good.
                if state.watched.get(&target).is_some_and(|one| one.reading == Reading::Idle) {
                    state.must_read(&target);
                }
            }
        }
    }

    // === From the reads ===

    /// A container was read live: names its run, and tells whoever watches it what happened.
    pub(super) fn took(&self, row: &Row, status: &CurrentStatus, span: Span) -> Observation {
        let mut state = self.state();
        // Of two nodes that one answers late which no longer has it.
        if let Some(known) = state.known.get(&row.vmid)
            && span.began < known.span.began
        {
            return row.observation(known.observation.run.clone());
        }
        let observation = row.observation(state.runs.of(row, status.pid, span));
        state.learn(row, observation.clone(), status.is_ha_managed, span);
        self.changed.notify_one();
        observation
    }

    /// What is known of a container's high availability where a read does not tell: whether it is
    /// managed, and its state. `beat`: what the last one shows, and when it was read.
    pub(super) fn high_availability(
        &self,
        vmid: u32,
        beat: Option<(Option<Arc<str>>, Span)>,
    ) -> (bool, Option<Arc<str>>) {
        let state = self.state();
        let known = state.known.get(&vmid);
        let is_older = |beat: Span| known.is_some_and(|known| beat.ended <= known.span.began);
        match (beat, known) {
            (Some((Some(shown), span)), _) if !is_older(span) => (true, Some(shown)),
            // Beats show nothing of what management has not looked at yet.
            (Some((None, span)), Some(known)) if !is_older(span) => {
                (known.is_ha_managed && known.row.ha_state.is_none(), None)
            }
            (_, Some(known)) => (known.is_ha_managed, known.row.ha_state.clone()),
            (_, None) => (false, None),
        }
    }

    /// A target is about to be read under this number.
    pub(super) fn bind(&self, target: &Target, vmid: u32) {
        self.state().bind(target, Some(vmid));
    }

    /// The number that a target was last found under.
    pub(super) fn bound(&self, target: &Target) -> Option<u32> {
        self.state().watched.get(target)?.bound
    }

    /// The node that a container was last seen on.
    pub(super) fn last_node(&self, vmid: u32) -> Option<Arc<str>> {
        let state = self.state();
        let known = state.known.get(&vmid).map(|known| &known.row);
        let row = known.or_else(|| state.last_seen(vmid))?;
        Some(Arc::clone(&row.node))
    }

    /// How many vanished a moment ago and nobody knows why.
    pub(super) fn vanished_lately(&self) -> usize {
        let state = self.state();
        state.unseen.values().filter(|unseen| unseen.since.elapsed() < LATELY).count()
    }

    /// A container is gone: its node says so.
    pub(super) fn gone(&self, vmid: u32) {
        let mut state = self.state();
        let known = state.known.remove(&vmid).map(|known| known.row);
        let last = known.or_else(|| state.last_seen(vmid).cloned());
        state.unseen.remove(&vmid);
        state.runs.forget(vmid);
        let destroyed = last.map(|row| event(&row, EventAction::Destroy));
        for target in state.targets_of(vmid) {
            if let Some(watched) = state.watched.get_mut(&target) {
                let was_there = watched.standing == Standing::Present;
                watched.is_gone(destroyed.as_ref().filter(|_| was_there));
            }
            state.end_if_over(&target);
        }
        if let Some(destroyed) = destroyed {
            state.tell_all(&destroyed);
        }
    }

    // === From the poller ===

    /// Whether nobody watches any more; the poller that asks must then end.
    pub(super) fn stop_if_unwatched(&self) -> bool {
        let mut state = self.state();
        let is_unwatched = state.watched.is_empty() && state.all.is_empty();
        if is_unwatched {
            state.is_running = false;
            state.outage = None;
            state.beat = None;
            state.unseen.clear();
            state.to_settle.clear();
        }
        is_unwatched
    }

    /// Ends every watch, and those that begin from now on.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.end_all();
    }

    /// Ends every watch.
    pub(super) fn end_all(&self) {
        let mut state = self.state();
        state.is_running = false;
        for watched in state.watched.values() {
            watched.watches.iter().for_each(|mailbox| mailbox.end());
        }
        state.all.iter().for_each(|mailbox| mailbox.end());
        state.watched.clear();
        state.bound.clear();
        state.queue.clear();
        state.all.clear();
    }

    /// What is to be read next. An order waits for what is in transition.
    pub(super) fn next_read(&self) -> Option<(Target, Urgency)> {
        let mut state = self.state();
        while let Some(target) = state.queue.pop_front() {
            if let Some(watched) = state.watched.get_mut(&target) {
                watched.reading = Reading::Under;
                let is_held = watched.bound.is_some_and(|vmid| state.held.contains_key(&vmid));
                let urgency = if is_held { Urgency::ForOrder } else { Urgency::Usual };
                return Some((target, urgency));
            }
        }
        None
    }

    /// In reach (again): everything is to be read, for everybody.
    pub(super) fn up(&self) {
        let mut state = self.state();
        state.outage = None;
        state.is_list_wanted = true;
        let targets: Vec<Target> = state.watched.keys().cloned().collect();
        for target in targets {
            state.must_read(&target);
        }
    }

    /// Tells everybody that the cluster is out of reach.
    pub(super) fn down(&self, error: &Error) {
        let mut state = self.state();
        state.outage = Some(error.clone());
        for (target, watched) in &mut state.watched {
            watched.trouble = None;
            let error = error.clone().with_container(target.word());
            watched.watches.iter().for_each(|mailbox| mailbox.fail(error.clone()));
        }
        state.all.iter().for_each(|mailbox| mailbox.fail(error.clone()));
    }

    /// A read that was for a target has ended, and whoever watches was told what it found.
    pub(super) fn was_read(&self, target: &Target) {
        self.state().end_reading(target);
    }

    /// There is no such container.
    pub(super) fn was_absent(&self, target: &Target) {
        let mut state = self.state();
        state.bind(target, target.vmid());
        if let Some(watched) = state.watched.get_mut(target) {
            watched.is_gone(None);
        }
        state.end_reading(target);
        state.end_if_over(target);
    }

    /// A read failed. What is to be done about it later.
    pub(super) fn read_failed(&self, target: &Target, error: Error) -> Option<Later> {
        let mut state = self.state();
        state.end_reading(target);
        state.doubt_what_is_known(target);
        Some(state.watched.get_mut(target)?.failed(error, Instant::now(), self.epoch))
    }

    /// The API cannot be reached: what is to be told of that is not about this container.
    pub(super) fn read_later(&self, target: &Target) {
        let mut state = self.state();
        state.end_reading(target);
        state.must_read(target);
    }

    /// It is time to read again what could not be read.
    pub(super) fn retry(&self, target: &Target) {
        let mut state = self.state();
        let now = Instant::now();
        let is_due = |watched: &Watched| {
            watched.trouble.as_ref().is_some_and(|trouble| trouble.retry_at <= now)
        };
        if state.watched.get(target).is_some_and(is_due) {
            state.must_read(target);
        }
    }

    /// It is time to tell what has lasted.
    pub(super) fn lasts(&self, target: &Target) {
        if let Some(watched) = self.state().watched.get_mut(target) {
            watched.lasts(Instant::now());
        }
    }

    /// What vanished and has to be settled.
    pub(super) fn take_to_settle(&self) -> Vec<u32> {
        let mut state = self.state();
        let vmids = std::mem::take(&mut state.to_settle);
        vmids.into_iter().filter(|vmid| state.unseen.contains_key(vmid)).collect()
    }

    /// Has everything looked for again that is not to be seen and that nobody watches: it may be gone
    /// meanwhile.
    ///
    /// What has not been seen for long is given up: with a container its rights go, so nobody can tell
    /// whether one that was deleted may only not be seen.
    pub(super) fn settle_again(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        let bound = &state.bound;
        state
            .unseen
            .retain(|vmid, unseen| bound.contains_key(vmid) || unseen.since.elapsed() < GIVEN_UP);
        let unwatched = state.unseen.keys().filter(|vmid| !state.bound.contains_key(vmid));
        state.to_settle = unwatched.copied().collect();
    }

    /// It could not be settled, and is to be tried again after the next beat.
    pub(super) fn settle_later(&self, vmid: u32) {
        self.state().to_settle.push_back(vmid);
    }

    /// Takes in a beat: tells what happened to containers that nobody watches, and has those read that
    /// are watched and not as they were last read.
    pub(super) fn beat(&self, beat: &Arc<Beat>) {
        let mut state = self.state();
        if let Some(before) = state.beat.replace(Arc::clone(beat)) {
            state.compare(&before, beat);
        }
        let now = Instant::now();
        let targets: Vec<Target> = state.watched.keys().cloned().collect();
        for target in targets {
            if state.is_read_needed(&target, beat, now) {
                state.must_read(&target);
            }
        }
    }

    // === Lists ===

    /// Whether somebody needs a list, who is served by the one that is made now.
    pub(super) fn take_list_wanted(&self) -> bool {
        let mut state = self.state();
        let has_beat = state.beat.is_some();
        has_beat && std::mem::take(&mut state.is_list_wanted) && !state.all.is_empty()
    }

    /// Those of which a beat says something else than a live read did: it may lag behind that read,
    /// or be right. Only what is watched and what was read a moment ago.
    pub(super) fn contradicted(&self, beat: &Beat) -> Vec<u32> {
        let state = self.state();
        let is_contradicted = |vmid: &u32, known: &Known| {
            beat.find(*vmid).is_some_and(|row| {
                row.doing != Doing::Unknown && contradicts(&known.row, known.span, row, beat.span)
            })
        };
        let known = state.known.iter().filter(|(vmid, known)| is_contradicted(vmid, known));
        known.map(|(vmid, _)| *vmid).collect()
    }

    /// Tells whoever follows all containers of all of them, as of now.
    pub(super) fn tell_list(&self, summary_of: impl Fn(&Row) -> Summary) {
        let state = self.state();
        let Some(beat) = &state.beat else { return };
        let list: Vec<Summary> = state.rows(beat).into_iter().map(summary_of).collect();
        for mailbox in &state.all {
            mailbox.snapshot(EngineItem::Synced(list.clone()), true);
        }
    }

    /// The containers of a beat, with what is known better.
    pub(super) fn list<T>(&self, beat: &Beat, line: impl Fn(&Row) -> T) -> Vec<T> {
        self.state().rows(beat).into_iter().map(line).collect()
    }
}
