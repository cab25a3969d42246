//! drowse itself, as an engine has it, and what its credential can see there.

use drowse_gateway::Vantage;
use drowse_provider::{Deadline, Error, Reach, Summary};
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{Follower, READ_AGAIN, READ_TIMEOUT};
use crate::whereabouts::{Here, NAME_VARIABLE};

/// What an engine says of drowse itself.
pub(super) enum Located {
    /// There.
    At(Here, Sight),
    /// Nothing of it may be managed, and why: another engine is the same one.
    Elsewhere(String),
}

/// What the credential can see of an engine that has no container in its list.
#[derive(Clone)]
pub(super) enum Sight {
    /// That was not asked: there was no list, or it was not empty.
    NotAsked,
    /// Whatever there is, as far as anybody knows.
    Clear,
    /// Nothing, and why.
    Blind(String),
}

type Locating = BoxFuture<'static, Result<Located, Error>>;

impl Follower {
    pub(super) fn begin_to_locate(&mut self, locating: &mut Option<Locating>) {
        if locating.is_some() || self.locate_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.locate_at = None;
        let (engine, whereabouts) = (self.engine.clone(), self.whereabouts.clone());
        let claim = self.claim.clone();
        // What cannot be seen is not in a list: an empty one may have a reason.
        let rights = self.rights.clone().filter(|_| self.is_empty);
        let before = self.sight.clone();
        *locating = Some(Box::pin(async move {
            let deadline = Deadline::after(READ_TIMEOUT);
            if let Some(claim) = claim
                && let Some(why) = claim.make(deadline).await?
            {
                return Ok(Located::Elsewhere(why));
            }
            let here = whereabouts.seen_by(engine.as_ref(), deadline).await?;
            let sight = match rights {
                Some(rights) => match (rights.blindness(deadline).await, before) {
                    (Ok(Some(why)), _) | (Err(_), Sight::Blind(why)) => Sight::Blind(why),
                    (Ok(None) | Err(_), _) => Sight::Clear,
                },
                None => Sight::NotAsked,
            };
            Ok(Located::At(here, sight))
        }));
    }

    pub(super) fn located(&mut self, here: Here, sight: Sight) {
        match (&self.sight, &sight) {
            (Sight::Blind(_), Sight::Blind(_)) => {}
            (_, Sight::Blind(why)) => error!(engine = self.engine.name(), "{why}"),
            (Sight::Blind(_), _) => {
                info!(engine = self.engine.name(), "its containers can be seen now");
            }
            _ => {}
        }
        self.sight = sight;
        if self.here.as_ref() != Some(&here) {
            self.tell_where(&here);
        }
        self.here = Some(here);
        self.claim = None;
    }

    pub(super) fn cannot_locate(&mut self, error: &Error) {
        let error: &(dyn std::error::Error + 'static) = error;
        debug!(engine = self.engine.name(), error, "cannot find drowse's own container");
        self.locate_at = Some(Instant::now() + READ_AGAIN);
    }

    /// Nothing of it was shown, and nothing will be.
    pub(super) fn is_of_another_engine(&self, why: &str) {
        error!(engine = self.engine.name(), "not managed: {why}");
        self.show(|view| {
            view.is_refused = true;
            view.trouble = Some(why.to_owned());
        });
    }

    fn tell_where(&self, here: &Here) {
        match (&here.own, &here.vantage) {
            (Some(own), _) => info!(
                engine = self.engine.name(),
                container = own.name,
                networks = own.networks.join(", "),
                "drowse runs in this container"
            ),
            (None, Vantage::Apart) if !matches!(self.engine.reach(), Reach::Remote(_)) => warn!(
                engine = self.engine.name(),
                "drowse runs in a container that this engine does not know, from where none of its \
                 containers can be reached; if it is one of this engine's, set `{NAME_VARIABLE}` to \
                 its name"
            ),
            (None, _) => {}
        }
    }

    pub(super) fn own_id(&self) -> Option<&str> {
        Some(&self.here.as_ref()?.own.as_ref()?.id)
    }

    /// Whether this is drowse's own container, on other networks than it was.
    pub(super) fn is_ours_and_elsewhere(&self, one: &Summary) -> bool {
        let own = self.here.as_ref().and_then(|here| here.own.as_ref());
        own.is_some_and(|own| own.id == one.id && own.networks != one.networks)
    }
}
