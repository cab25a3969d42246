//! Which containers there are, and what they say: followed for as long as drowse runs.

mod concern;
mod news;
mod once;
mod ourselves;
mod reads;
mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use drowse_provider::{Details, Engine, EngineItem};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

pub(crate) use self::once::read_once;
use self::{
    concern::{Census, Wanted},
    ourselves::{Located, Sight},
};
use crate::{
    engines::{Claim, Configured, Rights},
    entrance::{self, Entrance},
    plan::{Crowds, Inventory},
    whereabouts::{Here, Whereabouts},
};

/// A container that went is believed gone after this time: updaters remove one and make it again,
/// and requests that come meanwhile shall wait instead of being told that there is no such host. Longer
/// than the watcher's own: a sleeper that was removed for good is told of by whoever knew it.
const QUIET: Duration = Duration::from_secs(12);

/// What one read of one container may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// What one list may take. Of a cluster it reads the notes of each container that is ours, too: some
/// 12 s for a thousand, where nothing else goes on.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);
const LIST_TIMEOUT_WITH_NOTES: Duration = Duration::from_mins(3);

/// When a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The longest wait between reads that fail: a node may be away for days. When it is back its engine
/// says so, and nobody waits for this.
const READ_AGAIN_MAX: Duration = Duration::from_mins(1);

/// When it is asked again for what the credential may not see: somebody has to give the right back
/// first.
const ASK_AGAIN_WHAT_IS_FORBIDDEN: Duration = Duration::from_mins(1);

/// Reads under way at once, per engine.
const READS_AT_ONCE: usize = 8;

/// Of those, how many may be of containers whose last read failed: a node that is away answers late or
/// never, and nobody else shall wait for that.
const FAILING_READS_AT_ONCE: usize = READS_AT_ONCE / 2;

/// When an engine some of whose containers cannot be read is shown at the latest, from its first list
/// on, with the rest of them as not read yet.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);

/// Follows one engine and keeps its part of the inventory true. Ends when the engine is closed.
pub(crate) async fn follow(
    configured: Configured,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
) {
    let mut entrances = configured.entrances.clone();
    let mut in_file = configured.in_file.clone();
    in_file.mark_unchanged();
    let mut follower = Follower::new(configured, whereabouts, inventory);
    let mut events = follower.engine.events();
    let mut reads = FuturesUnordered::new();
    let mut look_ups = FuturesUnordered::new();
    let mut locating = None;
    loop {
        follower.begin_reads(&mut reads);
        follower.begin_to_locate(&mut locating);
        follower.publish();
        let timer = follower.next_timer();
        tokio::select! {
            item = events.next() => match item {
                Some(item) => {
                    // A socket proxy that was made anew has another address.
                    if matches!(item, Ok(EngineItem::Synced(_))) && look_ups.is_empty() {
                        look_ups.push(entrance::look_up_all(entrances.clone()));
                    }
                    follower.item(item);
                }
                None => return,
            },
            Some(found) = look_ups.next(), if !look_ups.is_empty() => {
                follower.entered_by(&found);
                entrances = found;
            }
            Some((id, outcome)) = reads.next(), if !reads.is_empty() => follower.read(id, outcome),
            Some(outcome) = async { Some(locating.as_mut()?.await) } => {
                locating = None;
                match outcome {
                    Ok(Located::Elsewhere(why)) => return follower.is_of_another_engine(&why),
                    Ok(Located::At(here, sight)) => follower.located(here, sight),
                    Err(error) => follower.cannot_locate(&error),
                }
            }
            () = sleep_until(timer) => follower.timers(Instant::now()),
            Ok(()) = in_file.changed() => {
                follower.wanted.in_file = in_file.borrow_and_update().clone();
                // It begins with the whole list, in which others concern us now.
                events = follower.engine.events();
            }
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How it goes with the reads of a container that cannot be read.
struct Failing {
    /// How many have failed, one after the other.
    reads: u32,
    /// Why the last one did.
    why: String,
}

/// What is known of a container that was never read.
struct Listed {
    name: String,
    /// Whether the file names it: then it is managed all the same.
    is_in_file: bool,
}

struct Follower {
    engine: Arc<dyn Engine>,
    wanted: Wanted,
    census: Census,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
    /// What is to be claimed before anything is shown.
    claim: Option<Claim>,
    /// What drowse may do on it, if it gives rights container by container.
    rights: Option<Rights>,
    /// Whether its last list had no container at all, of whatever kind.
    is_empty: bool,
    /// Whether that is so for want of rights.
    sight: Sight,
    /// drowse itself, as this engine has it; `None` before it was asked.
    here: Option<Here>,
    /// When the engine is to be asked for that (again).
    locate_at: Option<Instant>,
    crowds: Arc<Crowds>,
    own_addresses: Arc<BTreeSet<IpAddr>>,
    /// By id.
    known: BTreeMap<String, Arc<Details>>,
    /// Of those, the ones that went, and until when they are still shown.
    leaving: BTreeMap<String, Instant>,
    /// The ways to engines that may lead through one of them.
    entrances: Vec<Entrance>,
    /// Those that went by being given this name, while they did not run.
    put_aside: BTreeMap<String, String>,
    to_read: BTreeSet<String>,
    /// Reads under way, and whether something has happened since they began: what they find may be
    /// older than that.
    reading: BTreeMap<String, bool>,
    read_again: BTreeMap<String, Instant>,
    /// Those that concern us and were never read, by id.
    unread: BTreeMap<String, Listed>,
    /// Those whose last reads failed.
    failing: BTreeMap<String, Failing>,
    /// Those that looked half made when they were read: what the next read shows is believed.
    half_made: BTreeSet<String>,
    /// When the first whole list was taken in.
    listed_at: Option<Instant>,
    /// Whether each container of the first list was read, or could not be.
    is_tried: bool,
    /// Whether anything was shown: only from then on is "there is no such container" true.
    is_shown: bool,
}

impl Follower {
    fn new(
        configured: Configured,
        whereabouts: Arc<Whereabouts>,
        inventory: Arc<watch::Sender<Inventory>>,
    ) -> Self {
        let Configured { engine, in_file, dialect, entrances, claim, rights, .. } = configured;
        // In no container there is nothing to ask.
        let must_ask = whereabouts.matters_to(engine.as_ref());
        Self {
            engine,
            wanted: Wanted { in_file: in_file.borrow().clone(), dialect },
            census: Census::default(),
            whereabouts,
            inventory,
            claim,
            rights,
            is_empty: false,
            sight: Sight::NotAsked,
            here: (!must_ask).then(Here::default),
            locate_at: must_ask.then(Instant::now),
            crowds: Arc::default(),
            own_addresses: Arc::default(),
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
            entrances,
            put_aside: BTreeMap::new(),
            to_read: BTreeSet::new(),
            reading: BTreeMap::new(),
            read_again: BTreeMap::new(),
            unread: BTreeMap::new(),
            failing: BTreeMap::new(),
            half_made: BTreeSet::new(),
            listed_at: None,
            is_tried: false,
            is_shown: false,
        }
    }

    fn leaves(&mut self, id: &str) {
        self.to_read.remove(id);
        self.read_again.remove(id);
        self.half_made.remove(id);
        self.unread.remove(id);
        self.failing.remove(id);
        if self.known.contains_key(id) {
            self.leaving.entry(id.to_owned()).or_insert_with(|| Instant::now() + QUIET);
        }
    }

    fn forget(&mut self, id: &str) {
        self.leaving.remove(id);
        self.known.remove(id);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.leaving.values().chain(self.read_again.values()).chain(&self.locate_at).min().copied()
    }

    fn timers(&mut self, now: Instant) {
        let due = |timers: &BTreeMap<String, Instant>| -> Vec<String> {
            timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect()
        };
        for id in due(&self.leaving) {
            if self.put_aside.contains_key(&id) {
                // Nothing has come of it: from its next read on it is what it is called.
                self.leaving.remove(&id);
                self.to_read.insert(id);
            } else {
                self.forget(&id);
            }
        }
        for id in due(&self.read_again) {
            self.read_again.remove(&id);
            self.to_read.insert(id);
        }
    }
}

#[cfg(test)]
mod tests;
