use std::time::Duration;

use jiff::Timestamp;
use tokio::{sync::Semaphore, time::timeout};

use super::*;
use crate::{
    clock::WallClock,
    store::{Event, data_folder},
};

/// More than a store without a file keeps.
const MANY: u64 = 3_000;
const PATIENCE: Duration = Duration::from_mins(1);

fn happen(store: &Store, workload: &str) {
    store.append_event(Event {
        at: Timestamp::UNIX_EPOCH,
        workload: workload.to_owned(),
        engine: "docker".to_owned(),
        container: workload.to_owned(),
        from: "asleep".to_owned(),
        to: "starting".to_owned(),
        reason: "asked for".to_owned(),
        took_ms: 1,
    });
}

fn wanted(last: usize, after: u64, workload: Option<&str>) -> Wanted {
    Wanted { last, after, workload: workload.map(str::to_owned), follow: false }
}

/// What whoever does not follow is told.
async fn told(store: &Store, wanted: Wanted) -> Vec<Line> {
    let begin = Begin::find(store, &wanted).await.unwrap();
    let reader = begin.reader(store.clone(), wanted, None);
    let (teller, mut lines) = mpsc::channel(1);
    let telling = tokio::spawn(reader.tell(teller, CancellationToken::new()));
    let mut told = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.recv()).await.unwrap() {
        told.push(line);
    }
    telling.await.unwrap();
    told
}

fn numbers(lines: &[Line]) -> Vec<u64> {
    let number = |line: &Line| match line {
        Line::Change { number, .. } => Some(*number),
        _ => None,
    };
    lines.iter().filter_map(number).collect()
}

#[tokio::test]
async fn of_those_that_are_past_the_last_are_told() {
    let store = Store::in_memory(WallClock::system());
    for workload in ["a", "b", "a", "b"] {
        happen(&store, workload);
    }
    assert_eq!(numbers(&told(&store, wanted(3, 0, None)).await), [2, 3, 4]);
    assert_eq!(numbers(&told(&store, wanted(9, 1, Some("b"))).await), [2, 4]);
    assert_eq!(numbers(&told(&store, wanted(1, 0, Some("a"))).await), [3]);
    assert_eq!(told(&store, wanted(0, 0, None)).await, []);
    // It had more than there are now.
    let lines = told(&store, wanted(9, 77, None)).await;
    assert_eq!((&lines[0], numbers(&lines)), (&Line::BegunAnew, vec![1, 2, 3, 4]));
    let nobodys = Begin::find(&store, &wanted(9, 0, Some("c"))).await.unwrap();
    assert!(nobodys.is_nothing_past());
}

#[tokio::test]
async fn of_a_long_log_the_last_of_one_workload_are_found() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(data_folder(Some(folder.path())).as_ref(), WallClock::system());
    for number in 1..=MANY {
        happen(&store, if matches!(number, 3 | 700 | 2_999) { "rare" } else { "busy" });
        // The last of them wait to be written.
        if number % 600 == 0 && number < MANY {
            assert!(store.flush().await, "{:?}", store.problems());
        }
    }
    assert_eq!(numbers(&told(&store, wanted(2, 0, Some("rare"))).await), [700, 2_999]);
    assert_eq!(numbers(&told(&store, wanted(9, 0, Some("rare"))).await), [3, 700, 2_999]);
    assert_eq!(numbers(&told(&store, wanted(9, 3, Some("rare"))).await), [700, 2_999]);
    let all: Vec<u64> = (1..=MANY).collect();
    let lines = told(&store, wanted(usize::MAX, 0, None)).await;
    assert_eq!((lines.len(), numbers(&lines)), (all.len(), all));
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_to_whoever_goes_on_from_before_it() {
    let store = Store::in_memory(WallClock::system());
    for _ in 0..MANY {
        happen(&store, "app");
    }
    let lines = told(&store, wanted(usize::MAX, 5, None)).await;
    let Line::Missed { events } = lines[0] else { panic!("{:?}", lines[0]) };
    assert_eq!((lines.len() as u64 - 1 + events, numbers(&lines).last()), (MANY - 5, Some(&MANY)));
    // Whoever has seen nothing misses nothing.
    let lines = told(&store, wanted(usize::MAX, 0, None)).await;
    assert_eq!(lines.len(), numbers(&lines).len());
}

#[tokio::test]
async fn who_reads_slowly_makes_nobody_wait_and_is_told_what_was_missed() {
    let store = Store::in_memory(WallClock::system());
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let following = Wanted { follow: true, ..wanted(9, 0, None) };
    let begin = Begin::find(&store, &following).await.unwrap();
    let reader = begin.reader(store.clone(), following, Some(place));
    let (told, mut lines) = mpsc::channel(1);
    let end = CancellationToken::new();
    let telling = tokio::spawn(reader.tell(told, end.clone()));
    happen(&store, "app");
    let mut read = async || timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
    assert_eq!(numbers(&[read().await]), [1]);
    // Nobody reads now, and this goes on all the same.
    for _ in 0..MANY {
        happen(&store, "app");
    }
    let (mut seen, mut missed) = (1, 0);
    while seen + missed < MANY + 1 {
        match read().await {
            Line::Change { number, .. } => {
                seen += 1;
                assert_eq!(number, seen + missed, "in their order, each once");
            }
            Line::Missed { events } => missed += events,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0);
    end.cancel();
    timeout(PATIENCE, telling).await.unwrap().unwrap();
}
