//! The store's file: a `redb` database of three tables, whose rows are JSON.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    ops::RangeInclusive,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use redb::{
    AccessGuard, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _,
    StorageBackend, StorageError, TableDefinition, TableError,
    backends::{FileBackend, InMemoryBackend},
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use super::{
    Event, Numbered,
    rows::{KeptHold, MemoryRow},
};

const HOLDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("holds");
const MEMORIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("memories");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// How many events are kept.
pub(super) const MOST_EVENTS: u64 = 10_000;
/// How many files are kept that were put aside.
const MOST_PUT_ASIDE: u32 = 3;
/// Far more than the store's own bounds come to: such a file is something else.
const LARGEST_FILE: u64 = 256 << 20;
/// What is read twice within seconds, which is little.
const CACHE_BYTES: usize = 256 << 10;

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

/// Why the file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// What is in it is not what was written: it is of no use any more.
    Damaged(String),
    /// It may be good, and can neither be read nor written now.
    Unusable(String),
    /// It is not to be touched: another drowse has it, or others may write to its folder.
    Refused(String),
}

/// What the file had when it was opened.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) holds: BTreeMap<String, KeptHold>,
    pub(super) memories: BTreeMap<String, MemoryRow>,
    pub(super) last_event: u64,
}

/// Of which end of a range events are read, where it has more than are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    First,
    Last,
}

/// What is written at once, or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// All that there are, if any has changed.
    pub(super) holds: Option<BTreeMap<String, KeptHold>>,
    pub(super) memories: BTreeMap<String, MemoryRow>,
    pub(super) events: Vec<Numbered>,
    /// Memories of before this moment go.
    pub(super) forget_before: Option<Timestamp>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_none()
            && self.memories.is_empty()
            && self.events.is_empty()
            && self.forget_before.is_none()
    }
}

impl Disk {
    /// Opens the file, or makes it, and checks every page of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded), Failure> {
        let file = open_file(path, OpenOptions::new().write(true).create(true))?;
        guarded(|| Self::in_backend(FileBackend::new(file)?))
    }

    /// What is in a file that cannot be written. What its last writer left half done is mended in a copy
    /// in memory.
    pub(super) fn read(path: &Path) -> Result<Loaded, Failure> {
        let file = open_file(path, &mut OpenOptions::new())?;
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(StorageError::Io)?;
        guarded(|| {
            let copy = InMemoryBackend::new();
            copy.set_len(bytes.len() as u64).map_err(StorageError::Io)?;
            copy.write(0, &bytes).map_err(StorageError::Io)?;
            drop(bytes);
            Ok(Self::in_backend(copy)?.1)
        })
    }

    fn in_backend(backend: impl StorageBackend) -> Result<(Self, Loaded), Failure> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)?;
        let disk = Self { database };
        let loaded = disk.load()?;
        Ok((disk, loaded))
    }

    fn load(&self) -> Result<Loaded, Failure> {
        // Also tells whether the tables are ours, and makes those that lack.
        let transaction = self.database.begin_write()?;
        let mut loaded = Loaded::default();
        {
            let holds = transaction.open_table(HOLDS)?;
            for row in holds.iter()? {
                let (name, hold) = row?;
                let name = name.value();
                loaded
                    .holds
                    .extend(read_row(name, hold.value()).map(|hold| (name.to_owned(), hold)));
            }
            let memories = transaction.open_table(MEMORIES)?;
            for row in memories.iter()? {
                let (name, memory) = row?;
                let name = name.value();
                let memory = read_row(name, memory.value());
                loaded.memories.extend(memory.map(|memory| (name.to_owned(), memory)));
            }
            let events = transaction.open_table(EVENTS)?;
            loaded.last_event = events.last()?.map_or(0, |(number, _)| number.value());
        }
        transaction.commit()?;
        Ok(loaded)
    }

    /// Writes all of it, durably.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), Failure> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            if let Some(all) = &batch.holds {
                let mut holds = transaction.open_table(HOLDS)?;
                holds.retain(|name, _| all.contains_key(name))?;
                for (name, hold) in all {
                    holds.insert(name.as_str(), write_row(hold)?.as_slice())?;
                }
            }
            if !batch.memories.is_empty() || batch.forget_before.is_some() {
                let mut memories = transaction.open_table(MEMORIES)?;
                for (name, memory) in &batch.memories {
                    memories.insert(name.as_str(), write_row(memory)?.as_slice())?;
                }
                if let Some(moment) = batch.forget_before {
                    memories.retain(|name, row| {
                        read_row(name, row).is_some_and(|row: MemoryRow| row.seen >= moment)
                    })?;
                }
            }
            if let Some(last) = batch.events.last() {
                let mut events = transaction.open_table(EVENTS)?;
                for Numbered { number, event } in &batch.events {
                    events.insert(number, write_row(event)?.as_slice())?;
                }
                let first_kept = (last.number + 1).saturating_sub(MOST_EVENTS);
                events.retain_in(..first_kept, |_, _| false)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// The events of these numbers, the oldest first: at most so many, of one side.
    pub(super) fn events(
        &self,
        numbers: RangeInclusive<u64>,
        side: Side,
        most: usize,
    ) -> Result<Vec<Numbered>, Failure> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        guarded(|| {
            let table = self.database.begin_read()?.open_table(EVENTS)?;
            let rows = table.range(numbers)?;
            match side {
                Side::First => read_events(rows, most),
                Side::Last => {
                    let mut events = read_events(rows.rev(), most)?;
                    events.reverse();
                    Ok(events)
                }
            }
        })
    }
}

type EventRow<'a> = (AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>);

fn read_events<'a>(
    rows: impl Iterator<Item = Result<EventRow<'a>, StorageError>>,
    most: usize,
) -> Result<Vec<Numbered>, Failure> {
    let mut events = Vec::new();
    for row in rows {
        if events.len() == most {
            break;
        }
        let (number, event) = row?;
        let event: Option<Event> = read_row("an event", event.value());
        events.extend(event.map(|event| Numbered { number: number.value(), event }));
    }
    Ok(events)
}

/// Opens a file that is ours, and no link to anybody else's.
fn open_file(path: &Path, options: &mut OpenOptions) -> Result<File, Failure> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => {
            return Err(Failure::Damaged("it is no regular file".to_owned()));
        }
        Ok(there) if there.uid() != rustix::process::geteuid().as_raw() => {
            let why = format!("it belongs to another user (uid {})", there.uid());
            return Err(Failure::Damaged(why));
        }
        Ok(there) if there.len() > LARGEST_FILE => {
            return Err(Failure::Damaged("it is larger than drowse ever makes it".to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::Unusable(format!("cannot read `{shown}`: {error}"))),
    }
    options
        .read(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| Failure::Unusable(format!("cannot open `{shown}`: {error}")))
}

/// Puts a file out of the way, and keeps the last three of them; where it is now.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |number: u32| path.with_extension(format!("redb.corrupt-{number}"));
    // A folder of that name is nothing that drowse has made.
    match fs::remove_file(aside(MOST_PUT_ASIDE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for number in (1..MOST_PUT_ASIDE).rev() {
        match fs::rename(aside(number), aside(number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, aside(1))?;
    Ok(aside(1))
}

/// A row that cannot be read is lost, and no other with it.
fn read_row<T: DeserializeOwned>(name: &str, row: &[u8]) -> Option<T> {
    serde_json::from_slice(row)
        .inspect_err(|error| debug!(row = name, %error, "a row of the store makes no sense"))
        .ok()
}

fn write_row(row: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(row).map_err(|error| Failure::Unusable(error.to_string()))
}

/// Runs what may meet a damaged file. `redb` promises errors for most damage, and panics at the rest.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves half done is dropped with the database.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Damaged("reading it failed in the middle".to_owned())))
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let damaged = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        };
        match &error {
            StorageError::Corrupted(_) | StorageError::LockPoisoned(_) => {
                Self::Damaged(error.to_string())
            }
            StorageError::Io(cause) if damaged(cause) => Self::Damaged(error.to_string()),
            _ => Self::Unusable(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::Refused("another drowse uses it".to_owned())
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Failure {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            error => Self::Unusable(error.to_string()),
        }
    }
}

impl From<redb::CommitError> for Failure {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            error => Self::Unusable(error.to_string()),
        }
    }
}
