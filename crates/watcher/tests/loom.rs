//! The warm word under every interleaving that its orderings allow, by `loom`.
//!
//! The word's own source is compiled here with loom's atomics, so that no build flag is needed.

mod atomics {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/word.rs"]
#[expect(dead_code, reason = "each model uses a part of it")]
mod word;

use loom::{sync::Arc, thread};
use word::WarmWord;

const IDLE_MS: u64 = 3;

/// What the watcher does when the idle time seems to be over. Returns whether it shut the gate.
fn sleep_if_idle(word: &WarmWord, now_ms: u64) -> bool {
    let seen = word.look();
    seen.is_open()
        && seen.leases() == 0
        && word.last_use() + IDLE_MS <= now_ms
        && word.shut_exactly(seen)
}

fn open_word() -> Arc<WarmWord> {
    let word = WarmWord::new(0);
    word.open(0);
    Arc::new(word)
}

#[test]
fn a_lease_and_a_stop_never_both_win() {
    loom::model(|| {
        let word = open_word();
        let client = thread::spawn({
            let word = Arc::clone(&word);
            move || word.take()
        });
        let asleep = sleep_if_idle(&word, 5);
        let leased = client.join().unwrap();
        assert!(!(leased && asleep), "stopped under a lease");
        assert!(leased || asleep, "neither: nothing stood in the way of either");
    });
}

#[test]
fn a_short_lease_between_the_look_and_the_swap_is_not_missed() {
    loom::model(|| {
        let word = open_word();
        let client = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                let taken = word.take();
                if taken {
                    word.drop_active(4);
                }
                taken
            }
        });
        let asleep = sleep_if_idle(&word, 5);
        let used = client.join().unwrap();
        assert!(!(used && asleep), "stopped within the idle time after a use");
    });
}

#[test]
fn two_short_leases_leave_the_later_moment() {
    loom::model(|| {
        let word = open_word();
        assert!(word.take());
        let client = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                if word.take() {
                    word.drop_active(4);
                }
            }
        });
        word.drop_active(2);
        client.join().unwrap();
        assert_eq!(word.last_use(), 4);
        assert_eq!(word.look().leases(), 0);
    });
}

#[test]
fn ready_is_never_seen_without_the_waiters_leases() {
    loom::model(|| {
        let word = Arc::new(WarmWord::new(0));
        let watcher = thread::spawn({
            let word = Arc::clone(&word);
            move || word.open(1)
        });
        assert!(!sleep_if_idle(&word, u64::MAX / 2), "stopped before the waiter had its lease");
        watcher.join().unwrap();
        assert_eq!(word.look().leases(), 1);
    });
}

#[test]
fn a_rearm_beside_a_drop_sees_the_lease_or_the_moment_of_its_end() {
    loom::model(|| {
        let word = open_word();
        assert!(word.take());
        let client = thread::spawn({
            let word = Arc::clone(&word);
            move || word.drop_active(10)
        });
        let seen = word.look();
        if seen.leases() == 0 {
            assert_eq!(word.last_use(), 10);
        }
        assert!(!sleep_if_idle(&word, 11));
        client.join().unwrap();
        assert!(sleep_if_idle(&word, 13));
    });
}

#[test]
fn what_was_published_before_the_opening_is_seen_by_whoever_takes_a_lease() {
    use loom::sync::atomic::{AtomicU64, Ordering};
    loom::model(|| {
        let word = Arc::new(WarmWord::new(0));
        let address = Arc::new(AtomicU64::new(0));
        let watcher = thread::spawn({
            let (word, address) = (Arc::clone(&word), Arc::clone(&address));
            move || {
                address.store(7, Ordering::Relaxed);
                word.open(0);
            }
        });
        if word.take() {
            assert_eq!(address.load(Ordering::Relaxed), 7);
        }
        watcher.join().unwrap();
    });
}

#[test]
fn a_swap_fails_after_a_reopening_that_left_the_same_count() {
    loom::model(|| {
        let word = open_word();
        let seen = word.look();
        word.shut();
        word.open(0);
        assert!(!word.shut_exactly(seen), "a word from before the reopening was swapped");
    });
}
