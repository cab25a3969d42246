//! What is worth keeping over a restart and no engine tells: holds, when each workload was last used
//! and how its starts went, and what happened. Never what the state of anything is: that is read from
//! the engines, and without a store drowse decides the same.
//!
//! A store always works. Where its file is missing, damaged or cannot be written, that is told once, in
//! the log and by `list`, and what it is told lives as long as drowse does. A damaged file is put aside
//! and begun anew; one that cannot be used now is tried again, and read at once if that is possible.

mod disk;
mod event;
pub(crate) mod keeper;
mod log;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_watcher::Memory;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::Instant,
};
use tracing::{debug, info, warn};

use self::{
    disk::{Batch, Disk, Failure, Loaded, put_aside},
    rows::MemoryRow,
};
pub(crate) use self::{
    event::{Event, Numbered},
    log::{Piece, Place},
    rows::{HoldKind, KeptHold},
};
use crate::{clock::WallClock, config::Problem, folder::OwnFolder};

/// The file in the data folder.
const FILE: &str = "drowse.redb";
/// How many events wait for the file. While it cannot be written the oldest of them are lost.
const MOST_PENDING: usize = 1_000;
/// How often a file that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// What is known of a workload that is gone is kept so long.
pub(crate) const KEPT_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Where the store is: `--data-dir`, else `$STATE_DIRECTORY` (systemd's `StateDirectory=drowse`), else
/// `/var/lib/drowse` for root, else `drowse` in `$XDG_STATE_HOME` or in `~/.local/state`. `None` if
/// there is no such folder: whoever runs drowse has no home.
pub(crate) fn data_folder(asked: Option<&Path>) -> Option<OwnFolder> {
    let from = |variable| env::var_os(variable).filter(|value| !value.is_empty());
    // Of several, as systemd may name them, the first.
    let of_systemd = || env::split_paths(&from("STATE_DIRECTORY")?).next();
    let of_home = || from("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = asked
        .map(Path::to_owned)
        .or_else(of_systemd)
        .or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from("/var/lib/drowse")))
        .or_else(|| {
            let above = from("XDG_STATE_HOME").map(PathBuf::from).or_else(of_home)?;
            // Nobody's home is the root of the system.
            Some(above.join("drowse")).filter(|_| above != Path::new("/.local/state"))
        })?;
    Some(OwnFolder::new(&folder, "data folder", "--data-dir"))
}

/// What is kept. A cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: WallClock,
    kept: Mutex<Kept>,
    /// Whoever writes or reads the file holds this, in a thread that may block.
    file: Mutex<Filed>,
    news: Notify,
    last_event: watch::Sender<u64>,
}

/// What is known, and what of it the file does not have yet.
#[derive(Debug, Default)]
struct Kept {
    holds: BTreeMap<String, KeptHold>,
    are_holds_new: bool,
    /// What earlier managements knew, until it is asked for.
    remembered: BTreeMap<String, MemoryRow>,
    new_memories: BTreeMap<String, MemoryRow>,
    /// Workloads that have changed since they were last asked what they know.
    changed: BTreeSet<String>,
    new_events: VecDeque<Numbered>,
    last_event: u64,
    /// By how much the numbers of events have grown when the file's own came before them.
    renumbered_by: u64,
    /// What the file has was taken in, and nobody has asked for it since.
    is_taken_in: bool,
    forget_before: Option<Timestamp>,
    /// What was lost, and why nothing is kept.
    damage: Option<String>,
    hindrance: Option<String>,
}

/// The file of a store.
#[derive(Debug)]
enum Filed {
    /// There is none, and will be none.
    Nowhere,
    In(OwnFolder, Disk),
    /// It cannot be used now, and is tried again.
    Out {
        folder: OwnFolder,
        /// When that was tried last.
        tried: Instant,
        /// Whether it is known what is in it.
        is_read: bool,
    },
}

/// What came of trying a file.
struct Tried {
    disk: Result<Disk, String>,
    /// What is in it, which may be known although it cannot be written.
    loaded: Option<Loaded>,
    damage: Option<String>,
}

impl Store {
    /// A store that lives as long as drowse does: for the demo and for tests.
    pub(crate) fn in_memory(clock: WallClock) -> Self {
        Self::with(clock, Kept::default(), Filed::Nowhere)
    }

    /// Opens the store in this folder. Reads the whole of it: call it where that may take a moment.
    pub(crate) fn open(folder: Option<&OwnFolder>, clock: WallClock) -> Self {
        let Some(folder) = folder else {
            let store = Self::in_memory(clock);
            store.is_not_kept("there is no folder for them: name one with `--data-dir`");
            return store;
        };
        let (folder, tried) = (folder.clone(), Instant::now());
        let store = Self::with(clock, Kept::default(), Filed::Nowhere);
        let mut file = Filed::Out { folder, tried, is_read: false };
        if let Err(why) = store.try_file(&mut file) {
            store.is_not_kept(&why);
        }
        *store.file() = file;
        store
    }

    fn with(clock: WallClock, kept: Kept, filed: Filed) -> Self {
        let last_event = watch::Sender::new(kept.last_event);
        let (kept, file) = (Mutex::new(kept), Mutex::new(filed));
        Self(Arc::new(Inner { clock, kept, file, news: Notify::new(), last_event }))
    }

    fn is_not_kept(&self, why: &str) {
        let why =
            format!("holds, last uses and events are not kept over a restart of drowse: {why}");
        warn!("{why}");
        self.kept().hindrance = Some(why);
    }

    /// Tries to use a file that is out, and takes in what is in it if that is not known yet.
    fn try_file(&self, file: &mut Filed) -> Result<(), String> {
        let Filed::Out { folder, tried, is_read } = file else { return Ok(()) };
        let Tried { disk, loaded, damage } = Tried::in_folder(folder);
        let mut kept = self.kept();
        if damage.is_some() {
            kept.damage = damage;
            // The new file has none.
            kept.are_holds_new = true;
        }
        if let Some(loaded) = loaded.filter(|_| !*is_read) {
            kept.take_in(loaded);
            self.0.last_event.send_replace(kept.last_event);
            *is_read = true;
        }
        *tried = Instant::now();
        *file = Filed::In(folder.clone(), disk?);
        Ok(())
    }

    /// The clock that it goes by.
    pub(crate) fn clock(&self) -> &WallClock {
        &self.0.clock
    }

    /// What is wrong with it, for `list`.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let kept = self.kept();
        [&kept.damage, &kept.hindrance].into_iter().flatten().map(Problem::warning).collect()
    }

    /// Whether what it is told is not kept now.
    pub(crate) fn is_hindered(&self) -> bool {
        self.kept().hindrance.is_some()
    }

    /// Whether what is in the file was taken in since this was last asked.
    pub(crate) fn has_taken_in(&self) -> bool {
        mem::take(&mut self.kept().is_taken_in)
    }

    /// Takes in what happened. Never waits and never fails; of a workload that something happened to
    /// the memory is written, too.
    pub(crate) fn append_event(&self, mut event: Event) {
        event.reason = rows::cut(event.reason);
        let mut kept = self.kept();
        kept.changed.insert(event.workload.clone());
        kept.last_event += 1;
        let number = kept.last_event;
        kept.new_events.push_back(Numbered { number, event });
        if kept.new_events.len() > MOST_PENDING {
            kept.new_events.pop_front();
        }
        // Under the lock, so that the numbers come in order.
        self.0.last_event.send_replace(number);
        drop(kept);
        self.0.news.notify_one();
    }

    /// The number of the last event: it changes with each.
    pub(crate) fn last_event(&self) -> watch::Receiver<u64> {
        self.0.last_event.subscribe()
    }

    /// What was known of a workload when it was managed before, which is told once.
    pub(crate) fn recall(&self, workload: &str) -> Memory {
        let row = self.kept().remembered.remove(workload);
        row.map_or_else(Memory::default, |row| row.memory(self.0.clock.now()))
    }

    /// Keeps what a workload knows.
    pub(crate) fn remember(&self, workload: &str, memory: &Memory) {
        let row = MemoryRow::of(memory, self.0.clock.now());
        self.kept().new_memories.insert(workload.to_owned(), row);
    }

    /// Keeps what a workload knew whose management has ended, for whoever manages it next.
    pub(crate) fn hand_on(&self, workload: &str, memory: &Memory) {
        self.remember(workload, memory);
        let row = MemoryRow::of(memory, self.0.clock.now());
        self.kept().remembered.insert(workload.to_owned(), row);
    }

    /// Whose memory may have changed since this was last asked.
    pub(crate) fn take_changed(&self) -> BTreeSet<String> {
        mem::take(&mut self.kept().changed)
    }

    /// Forgets what is known of workloads that were not seen for [`KEPT_FOR`].
    pub(crate) fn forget_the_gone(&self) {
        let before = self.0.clock.now() - KEPT_FOR;
        let mut kept = self.kept();
        kept.remembered.retain(|_, row| row.seen >= before);
        kept.forget_before = Some(before);
    }

    /// All holds, by the names of their workloads.
    pub(crate) fn holds(&self) -> BTreeMap<String, KeptHold> {
        self.kept().holds.clone()
    }

    /// The hold of one workload, be it over or not.
    pub(crate) fn hold_of(&self, workload: &str) -> Option<KeptHold> {
        self.kept().holds.get(workload).cloned()
    }

    /// Changes the holds. They are written with the next [`flush`](Self::flush).
    pub(crate) fn change_holds<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, KeptHold>) -> T,
    ) -> T {
        let mut kept = self.kept();
        let before = kept.holds.clone();
        let changed = change(&mut kept.holds);
        let are_new = kept.holds != before;
        kept.are_holds_new |= are_new;
        drop(kept);
        if are_new {
            self.0.news.notify_one();
        }
        changed
    }

    /// Returns when there is something to write. Cancel safe.
    pub(crate) async fn has_news(&self) {
        self.0.news.notified().await;
    }

    /// Writes what is new, durably; whether there is a file that has it now. What could not be written is
    /// kept for the next time. Cancel safe: what has begun is done.
    pub(crate) async fn flush(&self) -> bool {
        let this = self.clone();
        spawn_blocking(move || this.write()).await.unwrap_or(false)
    }

    fn write(&self) -> bool {
        let mut file = self.file();
        if let Filed::Out { tried, .. } = &*file
            && tried.elapsed() >= TRY_AGAIN
            && let Err(why) = self.try_file(&mut file)
        {
            debug!(why, "the store still cannot be used");
        }
        let mut batch = self.kept().batch();
        let (folder, disk) = match &*file {
            Filed::In(folder, disk) => (folder.clone(), disk),
            Filed::Out { .. } => {
                self.kept().take_back(batch);
                return false;
            }
            Filed::Nowhere => return false,
        };
        // What could not be written before is tried even if nothing is new.
        if batch.is_empty() && !self.is_hindered() {
            return true;
        }
        let written = match disk.write(&batch) {
            Err(Failure::Damaged(why)) => {
                *file = Filed::Nowhere;
                batch.holds = Some(self.holds());
                self.write_anew(&folder, &why, &batch, &mut file)
            }
            written => written.map_err(Failure::into_words),
        };
        let mut kept = self.kept();
        match written {
            Ok(()) => {
                kept.written(&batch);
                if kept.hindrance.take().is_some() {
                    info!("the store can be written again");
                }
                true
            }
            Err(why) => {
                kept.take_back(batch);
                *file = Filed::Out { folder, tried: Instant::now(), is_read: true };
                let why = format!(
                    "the store cannot be written, and what is new in it lasts no longer than drowse \
                     does: {why}"
                );
                if kept.hindrance.is_none() {
                    warn!("{why}");
                }
                kept.hindrance = Some(why);
                false
            }
        }
    }

    /// Puts the file aside, and writes all that is known into a new one.
    fn write_anew(
        &self,
        folder: &OwnFolder,
        why: &str,
        batch: &Batch,
        file: &mut Filed,
    ) -> Result<(), String> {
        let path = folder.path().join(FILE);
        let damage = begin_anew(&path, why)?;
        self.kept().damage = Some(damage);
        let (disk, _) = Disk::open(&path).map_err(Failure::into_words)?;
        disk.write(batch).map_err(Failure::into_words)?;
        *file = Filed::In(folder.clone(), disk);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, Filed> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tried {
    /// Opens the file in this folder. A damaged one is put aside and begun anew; one that can be read
    /// and not written is read.
    fn in_folder(folder: &OwnFolder) -> Self {
        let path = folder.path().join(FILE);
        let mut damage = None;
        let opened = folder
            .create()
            .map_err(|error| Failure::Refused(format!("{error:#}")))
            .and_then(|()| Disk::open(&path))
            .or_else(|failure| match failure {
                Failure::Damaged(why) => {
                    damage = Some(begin_anew(&path, &why).map_err(Failure::Damaged)?);
                    Disk::open(&path)
                }
                failure => Err(failure),
            });
        let (disk, loaded) = match opened {
            Ok((disk, loaded)) => (Ok(disk), Some(loaded)),
            Err(failure) => {
                let loaded = match &failure {
                    Failure::Unusable(_) => Disk::read(&path).ok(),
                    Failure::Damaged(_) | Failure::Refused(_) => None,
                };
                (Err(failure.into_words()), loaded)
            }
        };
        Self { disk, loaded, damage }
    }
}

impl Kept {
    /// Takes in what the file has. What is known already is newer.
    fn take_in(&mut self, Loaded { mut holds, mut memories, last_event }: Loaded) {
        holds.append(&mut self.holds);
        self.holds = holds;
        memories.retain(|name, _| !self.new_memories.contains_key(name));
        memories.append(&mut self.remembered);
        self.remembered = memories;
        for event in &mut self.new_events {
            event.number += last_event;
        }
        self.last_event += last_event;
        self.renumbered_by += last_event;
        self.is_taken_in = true;
    }

    /// What is new. Events stay until they are written: whoever asks for them finds them here.
    fn batch(&mut self) -> Batch {
        let are_holds_new = mem::take(&mut self.are_holds_new);
        Batch {
            holds: are_holds_new.then(|| self.holds.clone()),
            memories: mem::take(&mut self.new_memories),
            events: self.new_events.iter().cloned().collect(),
            forget_before: self.forget_before.take(),
        }
    }

    /// The batch was written.
    fn written(&mut self, batch: &Batch) {
        if let Some(last) = batch.events.last() {
            self.new_events.retain(|event| event.number > last.number);
        }
    }

    /// The batch was not written.
    fn take_back(&mut self, batch: Batch) {
        self.are_holds_new |= batch.holds.is_some();
        for (name, row) in batch.memories {
            self.new_memories.entry(name).or_insert(row);
        }
        self.forget_before = self.forget_before.or(batch.forget_before);
    }
}

impl Failure {
    fn into_words(self) -> String {
        match self {
            Self::Damaged(why) | Self::Unusable(why) | Self::Refused(why) => why,
        }
    }
}

/// Puts a damaged file aside; what to say about it.
fn begin_anew(path: &Path, why: &str) -> Result<String, String> {
    let shown = path.display();
    let aside = put_aside(path).map_err(|error| {
        format!("`{shown}` is damaged ({why}) and cannot be put aside: {error}")
    })?;
    let damage = format!(
        "the store `{shown}` was damaged ({why}): it was put aside as `{}` and begun anew; holds, last \
         uses and events of before are lost",
        aside.display()
    );
    warn!("{damage}");
    Ok(damage)
}

#[cfg(test)]
mod tests;
