use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio_util::sync::CancellationToken;

use super::{log::PIECE, *};
use crate::{clock::testing::SetClock, holds::Holds};

const NOW: &str = "2026-11-26T12:00:00Z";

struct Place {
    folder: tempfile::TempDir,
    clock: SetClock,
}

impl Place {
    fn new() -> Self {
        // In memory, if it can be: each write waits for its disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { folder: folder.unwrap(), clock: SetClock::at(NOW) }
    }

    fn data(&self) -> OwnFolder {
        data_folder(Some(&self.folder.path().join("data"))).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.data().path().join(FILE)
    }

    fn open(&self) -> Store {
        Store::open(Some(&self.data()), self.clock.clock())
    }

    /// What is wrong with a store, without the test's own folder.
    fn problems(&self, store: &Store) -> String {
        let lines: Vec<_> = store.problems().iter().map(Problem::line).collect();
        lines.join("\n").replace(&self.folder.path().display().to_string(), "")
    }

    /// A file with a hold, a memory and some events in it.
    async fn filled(&self) -> Vec<u8> {
        let store = self.open();
        fill(&store, 40).await;
        drop(store);
        fs::read(self.file()).unwrap()
    }
}

/// From now on the modes of files count for this thread and those that it makes, though it is root's.
fn no_right_beyond_modes() {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::DAC_OVERRIDE);
    set_capabilities(None, sets).unwrap();
}

fn event(number: u64) -> Event {
    Event {
        at: NOW.parse().unwrap(),
        workload: "wiki".to_owned(),
        engine: "docker".to_owned(),
        container: "wiki-1".to_owned(),
        from: "ready".to_owned(),
        to: "stopping".to_owned(),
        reason: format!("idle for 15m, {number}"),
        took_ms: number,
    }
}

fn hold(kind: HoldKind) -> KeptHold {
    let now = NOW.parse().unwrap();
    KeptHold {
        kind,
        reason: Some("restore".to_owned()),
        until: None,
        since: now,
        seen: now,
        is_due: false,
    }
}

fn memory() -> Memory {
    let mut memory = Memory::default();
    memory.last_use_ago = Some(Duration::from_mins(5));
    memory.failures = 3;
    memory.blocked_for = Some(Duration::from_mins(4));
    memory.failure = Some("exit code 1".to_owned());
    memory.container = Some("0123".to_owned());
    memory.wakes = vec![Duration::from_millis(900), Duration::from_millis(1_100)];
    memory
}

/// The events with a number above `after`, read one piece after the other.
async fn read_on(store: &Store, after: u64) -> Result<Vec<Numbered>, String> {
    let (mut place, mut events) = (store.place_behind(after), Vec::new());
    loop {
        let piece = store.events_after(place).await?;
        assert!(piece.events.len() <= PIECE);
        let Some(last) = piece.events.last() else { return Ok(events) };
        place = piece.behind(last);
        events.extend(piece.events);
    }
}

async fn fill(store: &Store, events: u64) {
    store.change_holds(|holds| holds.insert("wiki".to_owned(), hold(HoldKind::Asleep)));
    store.remember("wiki", &memory());
    for number in 0..events {
        store.append_event(event(number));
    }
    assert!(store.flush().await, "{:?}", store.problems());
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_there_after_a_restart() {
    let place = Place::new();
    place.filled().await;
    assert_eq!(fs::metadata(place.data().path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(place.file()).unwrap().mode() & 0o777, 0o600);

    place.clock.jumps_to("2026-11-26T12:03:00Z");
    let store = place.open();
    assert_eq!(store.holds()["wiki"], hold(HoldKind::Asleep));
    let mut later = memory();
    later.last_use_ago = Some(Duration::from_mins(8));
    later.blocked_for = Some(Duration::from_mins(1));
    assert_eq!(store.recall("wiki"), later);
    assert_eq!(store.recall("wiki"), Memory::default(), "told once");
    store.append_event(event(40));
    let events = read_on(&store, 38).await.unwrap();
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [39, 40, 41]);
    assert_eq!(events[2].event, event(40));
    assert_eq!(*store.last_event().borrow(), 41);
    assert_eq!(place.problems(&store), "");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_blocked_for_longer_because_the_clock_was_set_back() {
    let place = Place::new();
    place.filled().await;
    place.clock.jumps_to("2016-01-01T00:00:00Z");
    let recalled = place.open().recall("wiki");
    assert_eq!(recalled.blocked_for, memory().blocked_for);
    assert_eq!(recalled.last_use_ago, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_an_ended_management_knew_is_told_to_the_next_though_it_is_written() {
    let place = Place::new();
    let store = place.open();
    store.hand_on("wiki", &memory());
    assert!(store.flush().await);
    assert_eq!(store.recall("wiki"), memory());
    assert_eq!(store.recall("wiki"), Memory::default(), "told once");
    drop(store);
    assert_eq!(place.open().recall("wiki"), memory());
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_for_thirty_days_is_forgotten() {
    let place = Place::new();
    place.filled().await;
    place.clock.jumps_to("2026-12-25T12:00:00Z");
    let store = place.open();
    store.remember("db", &memory());
    store.forget_the_gone();
    assert!(store.flush().await);
    drop(store);
    place.clock.jumps_to("2026-12-27T12:00:00Z");
    let store = place.open();
    store.forget_the_gone();
    assert!(store.flush().await);
    drop(store);
    let store = place.open();
    assert_eq!(store.recall("wiki"), Memory::default());
    assert_eq!(store.recall("db").failures, 3);
}

#[tokio::test(start_paused = true)]
async fn it_stays_small_whatever_happens() {
    let place = Place::new();
    let store = place.open();
    for round in 0..12 {
        for number in 0..1_000 {
            store
                .append_event(Event { reason: "x".repeat(5_000), ..event(round * 1_000 + number) });
        }
        assert!(store.flush().await);
    }
    let events = read_on(&store, 0).await.unwrap();
    assert_eq!(events.len(), 10_000);
    assert_eq!(events.last().unwrap().number, 12_000);
    assert!(events[0].event.reason.len() < 1_100);
    let size = fs::metadata(place.file()).unwrap().len();
    assert!(size < 64 << 20, "{size}");
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_in_pieces_from_either_end() {
    let place = Place::new();
    let store = place.open();
    fill(&store, 700).await;
    // These wait to be written.
    for number in 700..1_000 {
        store.append_event(event(number));
    }
    let numbers = |events: &[Numbered]| events.iter().map(|event| event.number).collect::<Vec<_>>();
    let all: Vec<u64> = (1..=1_000).collect();
    assert_eq!(numbers(&read_on(&store, 0).await.unwrap()), all);
    let (mut at, mut pieces) = (store.end_of_log(), Vec::new());
    loop {
        let piece = store.events_before(at).await.unwrap();
        let Some(first) = piece.events.first() else { break };
        at = piece.before(first);
        pieces.push(numbers(&piece.events));
    }
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 256, 232]);
    assert_eq!(pieces.into_iter().rev().flatten().collect::<Vec<_>>(), all);
    assert_eq!(store.place_behind(1_000).since(at), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ends_anywhere_costs_history_and_nothing_else() {
    let place = Place::new();
    let whole = place.filled().await;
    let (mut begun_anew, mut read) = (0, 0);
    for length in (0..whole.len()).step_by(512) {
        fs::write(place.file(), &whole[..length]).unwrap();
        let store = place.open();
        match store.problems().len() {
            // What cannot be told from a new one, or where nothing lacks.
            0 => read += 1,
            _ => begun_anew += 1,
        }
        fill(&store, 2).await;
        let again = read_on(&store, 0).await.unwrap();
        assert!(again.len() >= 2, "{length}");
        drop(store);
        let store = place.open();
        assert_eq!(store.holds().len(), 1, "{length}");
        assert_eq!(store.recall("wiki").failures, 3, "{length}");
        assert_eq!(place.problems(&store), "", "{length}");
    }
    assert!(begun_anew > whole.len() / 1_024, "{begun_anew} {read}");
}

#[tokio::test(start_paused = true)]
async fn a_store_of_random_bytes_costs_history_and_nothing_else() {
    let place = Place::new();
    let whole = place.filled().await;
    // Numbers that look like chance and are the same each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..100 {
        let mut bytes = whole.clone();
        // All of it; or a stretch, often in the header, where it hurts most.
        let (from, length) = match round % 4 {
            0 => (0, bytes.len()),
            1 => {
                (usize::try_from(next() % 512).unwrap(), 1 + usize::try_from(next() % 16).unwrap())
            }
            _ => (usize::try_from(next()).unwrap() % bytes.len(), 64),
        };
        for byte in bytes.iter_mut().skip(from).take(length) {
            *byte = next().to_le_bytes()[0];
        }
        fs::write(place.file(), &bytes).unwrap();
        let store = place.open();
        fill(&store, 2).await;
        drop(store);
        let store = place.open();
        assert_eq!(store.holds()["wiki"], hold(HoldKind::Asleep), "{round}");
        assert_eq!(place.problems(&store), "", "{round}");
    }
    let files = fs::read_dir(place.data().path()).unwrap().count();
    assert_eq!(files, 4, "the store, and the last three that were put aside");
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_is_put_aside_and_told() {
    let place = Place::new();
    place.data().create().unwrap();
    fs::write(place.file(), "no database").unwrap();
    let told = place.problems(&place.open());
    insta::assert_snapshot!(told, @"the store `/data/drowse.redb` was damaged (I/O error: Not a redb database: magic number mismatch): it was put aside as `/data/drowse.redb.corrupt-1` and begun anew; holds, last uses and events of before are lost");
    assert_eq!(
        fs::read_to_string(place.file().with_extension("redb.corrupt-1")).unwrap(),
        "no database"
    );

    fs::remove_file(place.file()).unwrap();
    fs::write(place.folder.path().join("precious"), "precious").unwrap();
    symlink(place.folder.path().join("precious"), place.file()).unwrap();
    insta::assert_snapshot!(place.problems(&place.open()), @"the store `/data/drowse.redb` was damaged (it is no regular file): it was put aside as `/data/drowse.redb.corrupt-1` and begun anew; holds, last uses and events of before are lost");
    assert_eq!(fs::read_to_string(place.folder.path().join("precious")).unwrap(), "precious");
}

#[tokio::test(start_paused = true)]
async fn without_a_folder_it_lasts_as_long_as_drowse() {
    let place = Place::new();
    let store = Store::open(None, place.clock.clock());
    insta::assert_snapshot!(place.problems(&store), @"holds, last uses and events are not kept over a restart of drowse: there is no folder for them: name one with `--data-dir`");

    fs::create_dir(place.data().path()).unwrap();
    fs::set_permissions(place.data().path(), fs::Permissions::from_mode(0o777)).unwrap();
    let store = place.open();
    insta::assert_snapshot!(place.problems(&store), @"holds, last uses and events are not kept over a restart of drowse: others may write to the data folder `/data` (mode 0777): close it with `chmod 0700 /data`, or choose another with `--data-dir`");
    store.change_holds(|holds| holds.insert("wiki".to_owned(), hold(HoldKind::Awake)));
    store.append_event(event(7));
    assert!(!store.flush().await);
    assert_eq!(store.holds().len(), 1);
    assert_eq!(read_on(&store, 0).await.unwrap().len(), 1);
    for number in 0..5_000 {
        store.append_event(event(number));
    }
    assert_eq!(read_on(&store, 0).await.unwrap().len(), MOST_PENDING);
}

#[tokio::test(start_paused = true)]
async fn where_no_file_can_be_made_it_lasts_as_long_as_drowse() {
    let place = Place::new();
    let folder = if rustix::process::geteuid().is_root() {
        // Root may write wherever anybody can.
        data_folder(Some(Path::new("/sys/kernel"))).unwrap()
    } else {
        place.data().create().unwrap();
        fs::set_permissions(place.data().path(), fs::Permissions::from_mode(0o500)).unwrap();
        place.data()
    };
    let store = Store::open(Some(&folder), place.clock.clock());
    let told = place.problems(&store);
    assert!(told.contains("are not kept over a restart of drowse: cannot open `"), "{told}");
    assert!(!store.flush().await);
}

#[tokio::test(start_paused = true)]
async fn a_second_drowse_leaves_the_file_alone() {
    let place = Place::new();
    let store = place.open();
    insta::assert_snapshot!(place.problems(&place.open()), @"holds, last uses and events are not kept over a restart of drowse: another drowse uses it");
    fill(&store, 1).await;
    drop(store);
    assert_eq!(place.open().holds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_opened_at_first_is_taken_in_later() {
    let place = Place::new();
    let first = place.open();
    fill(&first, 3).await;
    let store = place.open();
    assert!(store.is_hindered());
    store.append_event(event(77));
    store.change_holds(|holds| holds.insert("db".to_owned(), hold(HoldKind::Awake)));
    let before = store.end_of_log();
    drop(first);
    assert!(!store.flush().await, "not before its minute is over");
    assert_eq!(store.holds().len(), 1);
    tokio::time::advance(TRY_AGAIN).await;
    assert!(store.flush().await);
    assert!(store.has_taken_in());
    assert_eq!(place.problems(&store), "");
    assert_eq!(store.holds().into_keys().collect::<Vec<_>>(), ["db", "wiki"]);
    assert_eq!(store.recall("wiki").failures, 3);
    let numbers: Vec<_> =
        read_on(&store, 0).await.unwrap().iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(store.end_of_log(), before, "a place is the same, whatever numbers are");
    assert_eq!(store.events_before(before).await.unwrap().events.len(), 4);
    assert_eq!(read_on(&store, 3).await.unwrap()[0].event, event(77));
    drop(store);
    assert_eq!(place.open().holds().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_tried_again_and_is_damaged_is_begun_anew() {
    let place = Place::new();
    let first = place.open();
    let store = place.open();
    store.change_holds(|holds| holds.insert("db".to_owned(), hold(HoldKind::Awake)));
    drop(first);
    fs::write(place.file(), "no database").unwrap();
    tokio::time::advance(TRY_AGAIN).await;
    assert!(store.flush().await);
    insta::assert_snapshot!(place.problems(&store), @"the store `/data/drowse.redb` was damaged (I/O error: Not a redb database: magic number mismatch): it was put aside as `/data/drowse.redb.corrupt-1` and begun anew; holds, last uses and events of before are lost");
    drop(store);
    assert_eq!(place.open().holds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_used_is_tried_once_a_minute() {
    let place = Place::new();
    let first = place.open();
    let store = place.open();
    tokio::time::advance(TRY_AGAIN).await;
    assert!(!store.flush().await);
    drop(first);
    tokio::time::advance(TRY_AGAIN / 2).await;
    assert!(!store.flush().await, "it was tried half a minute ago");
    tokio::time::advance(TRY_AGAIN / 2).await;
    assert!(store.flush().await);
}

#[tokio::test(start_paused = true)]
async fn its_keeper_tries_it_again_though_nothing_happens() {
    let place = Place::new();
    let first = place.open();
    fill(&first, 1).await;
    let store = place.open();
    let holds = Holds::new(store.clone());
    let (_views, view) = watch::channel(Arc::default());
    let end = CancellationToken::new();
    let keeping = tokio::spawn(keeper::keep(store.clone(), holds.clone(), view, end.clone()));
    tokio::time::sleep(TRY_AGAIN * 3).await;
    assert!(store.is_hindered() && holds.of("wiki").is_none());
    drop(first);
    let is_used = async {
        while store.is_hindered() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(10), is_used).await.unwrap();
    assert_eq!(holds.of("wiki"), Some(hold(HoldKind::Asleep)));
    end.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_told_and_its_file_put_aside() {
    let place = Place::new();
    let store = place.open();
    fill(&store, 900).await;
    drop(store);
    let store = place.open();
    let length = usize::try_from(fs::metadata(place.file()).unwrap().len()).unwrap();
    fs::write(place.file(), vec![0x5a; length]).unwrap();
    let why = read_on(&store, 0).await.unwrap_err();
    assert!(why.starts_with("the event log cannot be read: "), "{why}");
    assert!(store.flush().await);
    assert!(place.problems(&store).contains("was damaged"), "{}", place.problems(&store));
    assert_eq!(read_on(&store, 0).await.unwrap().len(), 0);
    drop(store);
    assert_eq!(place.open().holds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_read_all_the_same() {
    let place = Place::new();
    place.filled().await;
    // Root may write to it whatever its mode says.
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o400)).unwrap();
    no_right_beyond_modes();
    let store = place.open();
    assert!(place.problems(&store).contains("cannot open `/data/drowse.redb`"));
    assert_eq!(store.holds()["wiki"], hold(HoldKind::Asleep));
    assert_eq!(store.recall("wiki").failures, 3);
    assert_eq!(*store.last_event().borrow(), 40);
    assert!(!store.flush().await);

    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    store.change_holds(BTreeMap::clear);
    tokio::time::advance(TRY_AGAIN).await;
    assert!(store.flush().await);
    assert_eq!(place.problems(&store), "");
    drop(store);
    assert_eq!(place.open().holds().len(), 0, "what was released meanwhile stays so");
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_drowse_left_can_be_read_without_writing() {
    let place = Place::new();
    let store = place.open();
    fill(&store, 2).await;
    let copy = place.file().with_extension("copy");
    fs::copy(place.file(), &copy).unwrap();
    let Loaded { holds, memories, last_event } = Disk::read(&copy).unwrap();
    assert_eq!((holds.len(), memories.len(), last_event), (1, 1, 2));
}

#[test]
fn the_folder_is_the_one_that_was_asked_for() {
    let asked = data_folder(Some(Path::new("/srv/drowse/"))).unwrap();
    assert_eq!(asked.path(), Path::new("/srv/drowse"));
}
