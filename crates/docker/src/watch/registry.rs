//! Who watches what, and what the hub has to read for them.

mod watched;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use drowse_provider::{
    EngineItem, Error, Event, EventAction, Observation, Reference, RunId, Summary, WatchItem,
    compose, mailbox::Mailbox,
};
use tokio::sync::Notify;

pub(super) use self::watched::After;
use self::watched::{Reading, Verdict, Watched, Word};
use super::event::{changes_state, implied_stop};
use crate::{
    client::member,
    details::network_mode_of,
    state::status_of,
    target::Target,
    wire::{Inspected, Listed},
};

/// Events held back from an engine's watches while a list is read; more, and the list is read
/// again.
const HELD_MAX: usize = 256;

/// What the watches and the hub share. Its lock is held for moments only, never over a wait.
#[derive(Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// Told when there is something new for the hub to do.
    pub(crate) changed: Notify,
    /// Told when an end may have been told.
    ended: Notify,
}

#[derive(Default)]
struct State {
    is_running: bool,
    is_closed: bool,
    /// Why the engine is out of reach, once that was told: for those who begin to watch meanwhile.
    outage: Option<Error>,
    /// Boxed: a map has room for up to twice as many as there are.
    watched: HashMap<Target, Box<Watched>>,
    /// Names (and short ids) by the id that they were last found under.
    by_id: HashMap<Arc<str>, Vec<Target>>,
    /// To be read, in this order. Each at most once.
    queue: VecDeque<Target>,
    all: Vec<Arc<Mailbox<EngineItem>>>,
    is_list_wanted: bool,
    /// Events that came while a list was read, to be told after it.
    held: Option<Vec<Event>>,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === From the watches ===

    /// Whether the caller must start the hub.
    pub(super) fn subscribe(&self, target: &Target, mailbox: Arc<Mailbox<WatchItem>>) -> bool {
        let mut state = self.state();
        if state.is_closed {
            mailbox.end();
            return false;
        }
        if let Some(outage) = &state.outage {
            mailbox.fail(outage.clone().with_container(target.word()));
        }
        let watched = state.watched.entry(target.clone()).or_default();
        watched.watches.push(mailbox);
        state.want(target);
        self.changed.notify_one();
        !std::mem::replace(&mut state.is_running, true)
    }

    /// Whether the caller must start the hub.
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
        self.state().want(target);
        self.changed.notify_one();
    }

    pub(super) fn want_list(&self) {
        self.state().is_list_wanted = true;
        self.changed.notify_one();
    }

    // === From the reads ===

    /// Waits until the end of this run is told to whoever watches. Whether they may still have to
    /// take it in.
    pub(crate) async fn end_told(&self, target: &Target, run: &RunId) -> bool {
        let mut is_fresh = false;
        loop {
            let ended = self.ended.notified();
            let word = self.state().watched.get(target).map(|watched| watched.word_of_end(run));
            match word {
                Some(Word::Awaited) => ended.await,
                Some(Word::Fresh) => return true,
                Some(Word::Old) | None => return is_fresh,
            }
            is_fresh = true;
        }
    }

    // === From the hub ===

    /// Whether nobody watches any more; the hub that asks must then end.
    pub(super) fn stop_if_unwatched(&self) -> bool {
        let mut state = self.state();
        let is_unwatched = state.watched.is_empty() && state.all.is_empty();
        if is_unwatched {
            state.is_running = false;
            state.outage = None;
        }
        is_unwatched
    }

    /// Ends every watch, and those that begin from now on.
    pub(crate) fn close(&self) {
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
        state.by_id.clear();
        state.queue.clear();
        state.all.clear();
    }

    /// What is to be read next.
    pub(super) fn next_read(&self) -> Option<Target> {
        let mut state = self.state();
        while let Some(target) = state.queue.pop_front() {
            if let Some(watched) = state.watched.get_mut(&target) {
                watched.reading = Reading::Under;
                return Some(target);
            }
        }
        None
    }

    /// Subscribed anew: everything is to be read, for everybody.
    pub(super) fn up(&self) {
        let mut state = self.state();
        state.outage = None;
        state.is_list_wanted = true;
        let targets: Vec<Target> = state.watched.keys().cloned().collect();
        for target in targets {
            state.must_read(&target, true);
        }
    }

    /// Tells everybody that the engine is out of reach.
    pub(super) fn down(&self, error: &Error) {
        let mut state = self.state();
        state.outage = Some(error.clone());
        for (target, watched) in &state.watched {
            let error = error.clone().with_container(target.word());
            watched.watches.iter().for_each(|mailbox| mailbox.fail(error.clone()));
        }
        state.all.iter().for_each(|mailbox| mailbox.fail(error.clone()));
    }

    /// Tells a hint. Returns what is to be read for it, once it has [`settled`](Self::settled).
    pub(super) fn event(&self, event: &Event, nanoseconds: i64) -> Vec<Target> {
        let mut state = self.state();
        let mut settling = Vec::new();
        // Whoever watches one container is told of its runs; its networks come and go with them.
        let is_of_a_run = event.action != EventAction::Network;
        let concerned = if is_of_a_run { state.concerned(event) } else { HashSet::new() };
        for target in concerned {
            let Some(watched) = state.watched.get(&target) else { continue };
            let run = watched.run_at(&event.actor.id, i128::from(nanoseconds));
            let told = event.clone().of_run(run);
            let ended = watched.running_at(&event.actor.id, i128::from(nanoseconds));
            let implied = implied_stop(event).and_then(|stop| Some(stop.of_run(Some(ended?))));
            for mailbox in &watched.watches {
                mailbox.hint(WatchItem::Event(told.clone()));
                if let Some(stop) = &implied {
                    mailbox.hint(WatchItem::Event(stop.clone()));
                }
            }
            if let Some(watched) = state.watched.get_mut(&target) {
                watched.end_told |=
                    matches!(event.action, EventAction::Die(_) | EventAction::Destroy);
            }
            if changes_state(&event.action) && state.must_settle(&target) {
                settling.push(target);
            }
        }
        state.tell_guests(event);
        self.ended.notify_waiters();
        match &mut state.held {
            Some(held) if held.len() < HELD_MAX => held.push(event.clone()),
            Some(_) => state.is_list_wanted = true,
            None => state.tell_all(event),
        }
        settling
    }

    /// It is time to read what something happened to.
    pub(super) fn settled(&self, target: &Target) {
        let mut state = self.state();
        if state.watched.get(target).is_some_and(|watched| watched.reading == Reading::Settling) {
            state.must_read(target, true);
        }
    }

    /// One container was read. `engine_time`: when, in nanoseconds on the engine's clock.
    pub(super) fn read(
        &self,
        target: &Target,
        found: Option<(&Inspected, Observation)>,
        engine_time: Option<i128>,
    ) -> After {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(target) else { return After::Nothing };
        if watched.reading == Reading::Outdated {
            watched.reading = Reading::Queued;
            state.queue.push_back(target.clone());
            return After::Nothing;
        }
        watched.reading = Reading::Idle;
        let observation = found.as_ref().map(|(_, observation)| observation);
        if watched.is_end_untold(observation) && !std::mem::replace(&mut watched.has_waited, true) {
            return After::ReadAgainSoon;
        }
        (watched.end_told, watched.has_waited) = (false, false);
        self.ended.notify_waiters();
        let to_all = std::mem::take(&mut watched.tell_all);
        if let Some((inspected, observation)) = found {
            let is_news = watched.found(inspected, &observation, engine_time);
            for mailbox in &watched.watches {
                let to_all = to_all || is_news;
                mailbox.snapshot(WatchItem::Synced(observation.clone()), to_all);
            }
            let id = watched.id();
            state.rebind(target, id);
        } else {
            let is_news = watched.not_found();
            for mailbox in &watched.watches {
                mailbox.snapshot(WatchItem::Removed, to_all && is_news);
            }
            state.rebind(target, None);
            if matches!(target, Target::Id(_)) {
                state.end(target);
            }
        }
        After::Nothing
    }

    /// A read failed, and is not repeated at once. `error`: what the watches are told of it.
    pub(super) fn read_failed(&self, target: &Target, error: Option<&Error>) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(target) else { return };
        watched.reading = Reading::Idle;
        if let Some(error) = error {
            watched.watches.iter().for_each(|mailbox| mailbox.fail(error.clone()));
        }
    }

    /// Lets one container be read again.
    pub(super) fn read_again(&self, target: &Target) {
        self.state().must_read(target, false);
    }

    /// Whether somebody needs a list, who is served by the one that begins now.
    pub(super) fn take_list_wanted(&self) -> bool {
        std::mem::take(&mut self.state().is_list_wanted)
    }

    /// A list begins to be read: what happens meanwhile is told after it.
    pub(super) fn listing(&self) {
        let mut state = self.state();
        if !state.all.is_empty() {
            state.held.get_or_insert_default();
        }
    }

    /// A list could not be read.
    pub(super) fn list_failed(&self, error: Option<&Error>) {
        let mut state = self.state();
        state.release();
        if let Some(error) = error {
            state.all.iter().for_each(|mailbox| mailbox.fail(error.clone()));
        }
    }

    /// A list was read. Lets everything be read that is not as expected, and says how many were
    /// found changed that nobody had been going to read.
    pub(super) fn listed(&self, lines: &[Listed]) -> usize {
        let mut state = self.state();
        if !state.all.is_empty() && !state.is_list_wanted {
            let summaries: Vec<Summary> = lines.iter().map(summary_of).collect();
            for mailbox in &state.all {
                mailbox.snapshot(EngineItem::Synced(summaries.clone()), true);
            }
        }
        state.release();

        let by_id: HashMap<&str, &Listed> =
            lines.iter().map(|line| (line.id.as_str(), line)).collect();
        let by_name: HashMap<&str, &Listed> =
            lines.iter().map(|line| (line.names[0].as_str(), line)).collect();
        // Once for all, since each line may be many services' and each service many lines'.
        let mut by_service: HashMap<(&str, &str), Vec<&Listed>> = HashMap::new();
        if state.watched.keys().any(|target| matches!(target, Target::Service { .. })) {
            for line in lines {
                if let Some(service) = compose::service_of(&line.labels) {
                    by_service.entry(service).or_default().push(line);
                }
            }
        }
        let mut changed = Vec::new();
        let mut unsure = Vec::new();
        for (target, watched) in &mut state.watched {
            let line = match target {
                Target::Name(name) => by_name.get(&**name).copied(),
                Target::Id(id) => by_id.get(&**id).copied().or_else(|| {
                    (!target.is_unmistakable())
                        .then(|| lines.iter().find(|line| line.id.starts_with(&**id)))
                        .flatten()
                }),
                Target::Service { project, service, .. } => {
                    let service = (&**project, &**service);
                    let members = by_service.get(&service).into_iter().flatten();
                    let Ok(chosen) = compose::choose(members.map(|line| member(line))) else {
                        // A read tells that it is refused, and why.
                        changed.push(target.clone());
                        continue;
                    };
                    chosen.and_then(|chosen| by_id.get(chosen.id).copied())
                }
            };
            match watched.compare(line) {
                Verdict::AsExpected => {}
                Verdict::Changed => changed.push(target.clone()),
                Verdict::Unsure => unsure.push(target.clone()),
            }
        }
        let is_idle = |target: &&Target| {
            state.watched.get(*target).is_some_and(|watched| watched.reading == Reading::Idle)
        };
        let unforeseen = changed.iter().filter(is_idle).count();
        for target in &changed {
            state.must_read(target, true);
        }
        for target in &unsure {
            // For nobody: only if the run turns out to be another one is it news.
            state.must_read(target, false);
        }
        unforeseen
    }
}

impl State {
    /// A watch awaits a read: one that begins from now on.
    fn want(&mut self, target: &Target) {
        self.must_read(target, false);
    }

    /// Something happened to it: whether a read is to be planned for that.
    fn must_settle(&mut self, target: &Target) -> bool {
        let Some(watched) = self.watched.get_mut(target) else { return false };
        watched.tell_all = true;
        match watched.reading {
            Reading::Idle => {
                watched.reading = Reading::Settling;
                return true;
            }
            Reading::Under => watched.reading = Reading::Outdated,
            Reading::Settling | Reading::Queued | Reading::Outdated => {}
        }
        false
    }

    fn must_read(&mut self, target: &Target, tell_all: bool) {
        let Some(watched) = self.watched.get_mut(target) else { return };
        watched.tell_all |= tell_all;
        match watched.reading {
            Reading::Idle | Reading::Settling => {
                watched.reading = Reading::Queued;
                self.queue.push_back(target.clone());
            }
            Reading::Under => watched.reading = Reading::Outdated,
            Reading::Queued | Reading::Outdated => {}
        }
    }

    /// What an event is about, of what is watched. Never by the beginning of a name or an id: the
    /// engine's own filters would match that.
    fn concerned(&self, event: &Event) -> HashSet<Target> {
        let id = Target::Id(event.actor.id.as_str().into());
        let name = Target::Name(event.actor.name.as_str().into());
        let mut concerned: HashSet<Target> =
            self.by_id.get(event.actor.id.as_str()).into_iter().flatten().cloned().collect();
        let service =
            compose::service_of(&event.actor.attributes).and_then(|(project, service)| {
                Target::of(&Reference::Service { project: project.into(), service: service.into() })
            });
        for target in [Some(id), Some(name), service].into_iter().flatten() {
            if self.watched.contains_key(&target) {
                concerned.insert(target);
            }
        }
        concerned
    }

    /// Tells those who watch a container that lives in the network of another one what becomes of
    /// that one's: it can no longer be reached where it was, or elsewhere from now on. What runs in it
    /// goes on all the same: only a read tells.
    fn tell_guests(&self, event: &Event) {
        let action = match event.action {
            EventAction::Die(_) => EventAction::Die(None),
            EventAction::Start => EventAction::Update,
            _ => return,
        };
        let lives_there =
            |watched: &&Watched| watched.holder.as_deref() == Some(event.actor.id.as_str());
        for guest in self.watched.values().map(Box::as_ref).filter(lives_there) {
            let told = Event::container(event.actor.clone(), action.clone(), event.time);
            guest.watches.iter().for_each(|mailbox| mailbox.hint(WatchItem::Event(told.clone())));
        }
    }

    fn tell_all(&self, event: &Event) {
        for mailbox in &self.all {
            mailbox.hint(EngineItem::Event(event.clone()));
        }
    }

    fn release(&mut self) {
        for event in self.held.take().unwrap_or_default() {
            self.tell_all(&event);
        }
    }

    /// Remembers under which id a target was found.
    fn rebind(&mut self, target: &Target, id: Option<Arc<str>>) {
        let Some(watched) = self.watched.get_mut(target) else { return };
        let before = std::mem::replace(&mut watched.bound, id.clone());
        if before == id {
            return;
        }
        if let Some(before) = before
            && let Some(targets) = self.by_id.get_mut(&before)
        {
            targets.retain(|other| other != target);
            if targets.is_empty() {
                self.by_id.remove(&before);
            }
        }
        if let Some(id) = id {
            // Of nearly all there is one.
            let others = self.by_id.entry(id).or_insert_with(|| Vec::with_capacity(1));
            others.push(target.clone());
        }
    }

    fn end(&mut self, target: &Target) {
        if let Some(watched) = self.watched.get(target) {
            watched.watches.iter().for_each(|mailbox| mailbox.end());
        }
        self.forget(target);
    }

    fn forget(&mut self, target: &Target) {
        self.rebind(target, None);
        self.watched.remove(target);
        self.queue.retain(|queued| queued != target);
    }
}

pub(crate) fn summary_of(line: &Listed) -> Summary {
    let name = line.names[0].as_str();
    let mode = network_mode_of(&line.host_config.network_mode);
    let networks = line.network_settings.networks.keys().cloned().collect();
    Summary::new(line.id.as_str(), name, line.labels.clone(), status_of(&line.state))
        .with_networks(mode, networks)
}
