//! What an engine tells: its lists, and its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drowse_provider::{
    Actor, Details, EngineItem, Error, Event, EventAction, NetworkMode, Reach, Summary, compose,
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    Follower, Listed,
    concern::{Census, crowds},
};
use crate::{entrance::Entrance, whereabouts::own_addresses};

impl Follower {
    pub(super) fn item(&mut self, item: Result<EngineItem, Error>) {
        match item {
            Ok(EngineItem::Synced(list)) => self.synced(list),
            Ok(EngineItem::Event(event)) => self.event(&event),
            Ok(_) => {}
            Err(error) => {
                let words = error.to_string();
                let error: &(dyn std::error::Error + 'static) = &error;
                warn!(
                    engine = self.engine.name(),
                    error, "the engine is out of reach; trying again"
                );
                self.show(|view| view.trouble = Some(words.clone()));
            }
        }
    }

    pub(super) fn synced(&mut self, list: Vec<Summary>) {
        debug!(engine = self.engine.name(), containers = list.len(), "read the engine's list");
        self.own_addresses = Arc::new(own_addresses());
        let gone: Vec<String> = {
            let listed: BTreeSet<&str> = list.iter().map(|one| one.id.as_str()).collect();
            self.known.keys().filter(|id| !listed.contains(id.as_str())).cloned().collect()
        };
        for id in gone {
            if self.wanted.has_notes() && !self.leaving.contains_key(&id) {
                // What the credential may no longer see is absent, too: the read tells which it is.
                self.to_read.insert(id);
            } else {
                self.leaves(&id);
            }
        }
        self.is_empty = list.is_empty();
        self.census = Census::of(&self.wanted, &list);
        self.unread = self.never_read();
        let is_gone =
            |id: &&String| !self.known.contains_key(*id) && !self.unread.contains_key(*id);
        for id in self.failing.keys().filter(is_gone).cloned().collect::<Vec<_>>() {
            self.leaves(&id);
        }
        self.crowds = Arc::new(crowds(&list, &self.census, &self.whereabouts));
        if self.engine.reach() == Reach::Routed
            || list.iter().any(|one| self.is_ours_and_elsewhere(one))
        {
            self.locate_at = Some(Instant::now());
        }
        let was_out_of_reach = self
            .inventory
            .borrow()
            .get(self.engine.name())
            .is_some_and(|view| view.trouble.is_some());
        for one in list {
            // A list tells nothing new of it: a node that is away has its containers listed, too.
            let is_tried_later = self.failing.contains_key(&one.id)
                && self.read_again.contains_key(&one.id)
                && !self.known.contains_key(&one.id);
            if is_tried_later && !was_out_of_reach {
                continue;
            }
            // One that is known may have lost what made it ours.
            if !self.census.concerns_us(&one.id) && !self.known.contains_key(&one.id) {
                continue;
            }
            let is_as_known = self.known.get(&one.id).is_some_and(|known| {
                known.name == one.name
                    && known.node == one.node
                    && self.wanted.are_same(&known.labels, &one.labels)
                    && is_where(known, &one)
                    // Who owns it decides whether it may sleep.
                    && (!self.wanted.has_notes() || known.owner.is_some() == one.owner.is_some())
            });
            if !is_as_known && !self.is_put_aside(&one.id, &one.name)
                || self.leaving.contains_key(&one.id) && !self.put_aside.contains_key(&one.id)
            {
                self.to_read.insert(one.id);
            }
        }
        if was_out_of_reach {
            info!(engine = self.engine.name(), "the engine is in reach");
        }
        self.listed_at.get_or_insert_with(Instant::now);
        self.show(|view| view.trouble = None);
    }

    pub(super) fn event(&mut self, event: &Event) {
        let actor = &event.actor;
        let is_known = self.known.contains_key(&actor.id);
        let is_ours = is_known || self.unread.contains_key(&actor.id);
        if self.own_id() == Some(&actor.id)
            && matches!(event.action, EventAction::Network | EventAction::Rename(_))
        {
            self.locate_at = Some(Instant::now());
        }
        match event.action {
            EventAction::Destroy => self.census.forget(&actor.id),
            // An engine that tells no labels in its events is caught up with by its next list.
            EventAction::Create
            | EventAction::Start
            | EventAction::Rename(_)
            | EventAction::Update
                if !is_known =>
            {
                let Actor { id, name, attributes, .. } = actor;
                self.census.heard_of(&self.wanted, id, name, attributes);
                self.read_whom_it_concerns();
            }
            _ => {}
        }
        let makes_older = match event.action {
            EventAction::Destroy
            | EventAction::Rename(_)
            | EventAction::Update
            | EventAction::Migrate(_)
            | EventAction::Lock(_) => true,
            EventAction::Other(_) => self.wanted.has_notes(),
            _ => false,
        };
        if makes_older && let Some(is_superseded) = self.reading.get_mut(&actor.id) {
            *is_superseded = true;
        }
        match event.action {
            EventAction::Destroy => {
                self.put_aside.remove(&actor.id);
                self.leaves(&actor.id);
            }
            EventAction::Rename(_)
            | EventAction::Update
            | EventAction::Migrate(_)
            | EventAction::Lock(_)
                if is_ours =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // Its node tells of it again, or high availability has come or gone. A number is given again, by
            // a restore for one; and only what runs shows the addresses that it was given from elsewhere.
            EventAction::Other(_) | EventAction::Create | EventAction::Start
                if is_ours && self.wanted.has_notes() =>
            {
                self.to_read.insert(actor.id.clone());
            }
            EventAction::Start | EventAction::Die(_)
                if is_known && self.has_sibling(&actor.id, &self.known[&actor.id].labels) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // Told with each start and each end, too: then of a network that is known.
            EventAction::Network
                if self.known.get(&actor.id).is_some_and(|known| !is_on(known, actor)) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // Whatever it was before.
            EventAction::Create
            | EventAction::Start
            | EventAction::Rename(_)
            | EventAction::Update
                if self.unread.contains_key(&actor.id) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            _ => {}
        }
    }

    /// What concerns us and was never read.
    fn never_read(&self) -> BTreeMap<String, Listed> {
        let concerned = self.census.concerned();
        concerned
            .filter(|(id, ..)| !self.known.contains_key(*id))
            .map(|(id, name, is_in_file)| {
                (id.clone(), Listed { name: name.to_owned(), is_in_file })
            })
            .collect()
    }

    /// Reads those that concern us only now, for the sake of one that came or changed.
    pub(super) fn read_whom_it_concerns(&mut self) {
        for (id, listed) in self.never_read() {
            // Of one that gave its name to a successor it is seen later what becomes of it.
            if !self.unread.contains_key(&id) && !self.put_aside.contains_key(&id) {
                self.unread.insert(id.clone(), listed);
                self.to_read.insert(id);
            }
        }
    }

    /// Shows where engines are entered, once it is known anew who has the addresses that were found
    /// there: what sleeps has none, and is known by the ones that it had.
    pub(super) fn entered_by(&mut self, entrances: &[Entrance]) {
        if self.entrances == entrances {
            return;
        }
        let is_concerned = |known: &Details| entrances.iter().any(|it| it.has_address_of(known));
        let concerned = self.known.iter().filter(|(_, known)| is_concerned(known));
        self.to_read.extend(concerned.map(|(id, _)| id.clone()));
        self.entrances = entrances.to_vec();
    }

    /// Whether another container is known of its compose service: then it matters which of them runs.
    pub(super) fn has_sibling(&self, id: &str, labels: &BTreeMap<String, String>) -> bool {
        let Some(service) = compose::service_of(labels) else { return false };
        self.known.iter().any(|(other, known)| {
            other != id && compose::service_of(&known.labels) == Some(service)
        })
    }
}

/// Whether a container is on the networks that a list says.
fn is_where(known: &Details, listed: &Summary) -> bool {
    listed.network_mode != NetworkMode::Networks
        || known.network_mode != NetworkMode::Networks
        || listed.networks.is_empty()
        || known.networks.iter().map(|network| &network.name).eq(&listed.networks)
}

/// Whether a container is known to be on the network that an event names.
fn is_on(known: &Details, told: &Actor) -> bool {
    let name = told.attributes.get("name");
    name.is_none_or(|name| known.networks.iter().any(|network| network.name == *name))
}
