//! What is shown of an engine: once it is known whole, or at least how much of it is.

use std::collections::BTreeMap;

use super::{Failing, Follower, SHOWN_WITHIN, ourselves::Sight};
use crate::{
    config::Problem,
    plan::{EngineView, UnreadContainer},
};

impl Follower {
    /// Shows what is known, once it is known whole, or at least how much of it is.
    pub(super) fn publish(&mut self) {
        let (Some(listed_at), Some(here)) = (self.listed_at, self.here.clone()) else { return };
        let is_each_tried = self.is_each_tried();
        self.is_tried |= is_each_tried;
        // Reads end, and so this is looked at often enough. Where none fails it only takes long.
        let is_late = !self.failing.is_empty() && listed_at.elapsed() >= SHOWN_WITHIN;
        // An empty list of a cluster may have a reason, which makes nobody's host unknown.
        let may_be_blind =
            self.is_empty && self.rights.is_some() && matches!(self.sight, Sight::NotAsked);
        if !self.is_shown && (may_be_blind || !self.is_tried && !is_late) {
            return;
        }
        let containers: Vec<_> = self.known.values().cloned().collect();
        let (unreadable, blindness) = (self.unreadable(), self.blindness());
        self.show(|view| {
            if is_each_tried {
                view.entrances.clone_from(&self.entrances);
            }
            view.here = here.clone();
            view.crowds = self.crowds.clone();
            view.own_addresses = self.own_addresses.clone();
            view.containers = Some(containers.clone());
            view.unread.clone_from(&unreadable);
            view.blindness.clone_from(&blindness);
        });
        self.is_shown = true;
    }

    /// Changes our part of the inventory; nobody is woken if it is as before.
    pub(super) fn show(&self, change: impl Fn(&mut EngineView)) {
        self.inventory.send_if_modified(|inventory| {
            let view = inventory.entry(self.engine.name().to_owned()).or_insert_with(|| {
                EngineView::unread(self.engine.capabilities(), self.engine.reach())
            });
            let before = view.clone();
            view.dialect = self.wanted.dialect.clone();
            // These are learnt when the engine answers.
            view.capabilities = self.engine.capabilities();
            view.reach = self.engine.reach();
            view.machine = self.engine.machine();
            change(view);
            *view != before
        });
    }

    /// What it is called, as far as that is known.
    pub(super) fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        let known = self.known.get(id).map(|known| &known.name);
        let listed = || self.unread.get(id).map(|listed| &listed.name);
        known.or_else(listed).map_or(id, String::as_str)
    }

    /// Those that were never read: nobody knows what they say.
    fn unreadable(&self) -> BTreeMap<String, UnreadContainer> {
        let told = |id: &String, problem: Problem| {
            let name = self.name_of(id).to_owned();
            let subject = format!("container `{name}` on engine `{}`", self.engine.name());
            let needs = self.census.needs_of(id);
            (id.clone(), UnreadContainer { name, problem: problem.about(subject), needs })
        };
        let is_untried = |id: &&String| !self.is_tried && !self.failing.contains_key(*id);
        let untried = self.unread.keys().filter(is_untried).map(|id| {
            let why = "it is not read yet: others of its engine cannot be read, which takes long";
            told(id, Problem::error(why))
        });
        let never_read = self.failing.iter().filter(|(id, _)| !self.known.contains_key(*id));
        let failing = never_read.map(|(id, Failing { why, .. })| {
            let until = "until then requests for hosts that nobody has are told to come again";
            let problem = if self.unread.get(id).is_some_and(|listed| listed.is_in_file) {
                Problem::warning(format!(
                    "it cannot be read, and is managed by what the file says alone until it can be: \
                     {why} ({until})"
                ))
            } else {
                Problem::error(format!(
                    "it cannot be read, and is not managed until it can be: {why} ({until})"
                ))
            };
            told(id, problem)
        });
        untried.chain(failing).collect()
    }

    /// Why none can be seen, if that is so.
    fn blindness(&self) -> Option<Problem> {
        let Sight::Blind(why) = &self.sight else { return None };
        Some(Problem::error(&**why).about(format!("engine `{}`", self.engine.name())))
    }
}
