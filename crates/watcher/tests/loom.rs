//! The warm word under every interleaving that its orderings allow, by `loom`.
//!
//! The word's own source, and that of what stands beside it, is compiled here with loom's atomics, so
//! that no build flag is needed.

mod atomics {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}

#[path = "../src/standing.rs"]
mod standing;

#[path = "../src/word.rs"]
#[expect(dead_code, reason = "each model uses a part of it")]
mod word;

use loom::{sync::Arc, thread};
use standing::{Stand, Standing};
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
fn a_passive_lease_and_a_stop_never_both_win() {
    loom::model(|| {
        let word = open_word();
        let monitor = thread::spawn({
            let word = Arc::clone(&word);
            move || word.take_passive()
        });
        let asleep = sleep_if_idle(&word, 5);
        let leased = monitor.join().unwrap();
        assert!(!(leased && asleep), "stopped under a passive lease");
        assert!(leased || asleep, "neither: nothing stood in the way of either");
    });
}

#[test]
fn a_short_lease_beside_a_passive_one_is_not_missed() {
    loom::model(|| {
        let word = open_word();
        let clients = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                let is_watched = word.take_passive();
                let is_used = word.take();
                if is_used {
                    word.drop_active(4);
                }
                if is_watched {
                    word.drop_passive();
                }
                is_used
            }
        });
        let asleep = sleep_if_idle(&word, 5);
        let used = clients.join().unwrap();
        assert!(!(used && asleep), "stopped within the idle time after a use");
    });
}

#[test]
fn a_passive_lease_is_in_the_way_of_a_stop_only_while_it_is_held() {
    loom::model(|| {
        let word = open_word();
        let seen = word.look();
        assert!(word.take_passive());
        assert!(!word.shut_exactly(seen), "stopped under a passive lease");
        word.drop_passive();
        assert!(word.shut_exactly(seen));
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

#[test]
fn a_hold_and_a_stop_never_both_win() {
    loom::model(|| {
        let word = open_word();
        let dependent = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                word.hold();
                // What is found open while it is held stays so.
                word.look().is_open()
            }
        });
        let asleep = sleep_if_idle(&word, 5);
        let found_open = dependent.join().unwrap();
        assert!(!(found_open && asleep), "stopped under a dependent that found it ready");
        assert!(found_open || asleep, "neither: nothing stood in the way of either");
        assert_eq!(word.look().leases(), 1, "it is counted whatever the gate");
    });
}

/// What the watcher does with one that runs and does not answer, whose gate is shut: see
/// `Core::sleep_if_still_idle`.
fn sleep_if_unused(word: &WarmWord, seen: word::Seen) -> bool {
    !seen.is_open() && seen.leases() == 0 && word.shut_exactly(seen)
}

#[test]
fn a_hold_of_what_does_not_answer_comes_before_its_stop_or_sees_that_it_may_end() {
    loom::model(|| {
        let word = Arc::new(WarmWord::new(0));
        let stand = Arc::new(Stand::new());
        stand.set(Standing::Runs, None);
        let dependent = thread::spawn({
            let (word, stand) = (Arc::clone(&word), Arc::clone(&stand));
            move || {
                word.hold();
                stand.get() == Standing::Runs
            }
        });
        // In the order of the watcher: first it is said, then the word is swapped.
        let seen = word.look();
        stand.set(Standing::Unknown, None);
        let asleep = sleep_if_unused(&word, seen);
        let found_running = dependent.join().unwrap();
        assert!(!(found_running && asleep), "stopped under a dependent that found it running");
    });
}

#[test]
fn a_hold_of_what_is_ready_comes_before_its_stop_or_sees_that_it_may_end() {
    loom::model(|| {
        let word = open_word();
        let stand = Arc::new(Stand::new());
        stand.set(Standing::Runs, None);
        let dependent = thread::spawn({
            let (word, stand) = (Arc::clone(&word), Arc::clone(&stand));
            move || {
                word.hold();
                stand.get() == Standing::Runs
            }
        });
        let seen = word.look();
        stand.set(Standing::Unknown, None);
        let asleep = seen.leases() == 0 && word.shut_exactly(seen);
        let found_running = dependent.join().unwrap();
        assert!(!(found_running && asleep), "stopped under a dependent that found it running");
    });
}

#[test]
#[should_panic(expected = "stopped under a dependent")]
fn said_after_the_swap_it_would_be_too_late() {
    loom::model(|| {
        let word = open_word();
        let stand = Arc::new(Stand::new());
        stand.set(Standing::Runs, None);
        let dependent = thread::spawn({
            let (word, stand) = (Arc::clone(&word), Arc::clone(&stand));
            move || {
                word.hold();
                stand.get() == Standing::Runs
            }
        });
        let asleep = sleep_if_idle(&word, 5);
        stand.set(Standing::Unknown, None);
        let found_running = dependent.join().unwrap();
        assert!(!(found_running && asleep), "stopped under a dependent that found it running");
    });
}

#[test]
fn a_hold_that_is_given_back_makes_the_swap_fail_or_comes_after_it() {
    loom::model(|| {
        let word = open_word();
        let dependent = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                word.hold();
                let found_open = word.look().is_open();
                word.drop_passive();
                found_open
            }
        });
        let asleep = sleep_if_idle(&word, 5);
        let found_open = dependent.join().unwrap();
        assert!(!(found_open && asleep), "stopped on a word that was swapped since");
        assert_eq!(word.look().leases(), 0);
    });
}

/// A use of what does not answer ends while `sleep` decides whether it is stopped.
fn stop_beside_a_use(sleep: impl Fn(&WarmWord) -> bool + Sync + Send + 'static) {
    let sleep = std::sync::Arc::new(sleep);
    loom::model(move || {
        let word = Arc::new(WarmWord::new(0));
        word.hold();
        let user = thread::spawn({
            let word = Arc::clone(&word);
            move || word.drop_active(4)
        });
        assert!(!sleep(&word), "stopped within the idle time after a use");
        assert!(user.join().is_ok());
    });
}

#[test]
fn a_use_of_what_does_not_answer_is_seen_in_the_word_or_by_the_moment_of_its_end() {
    stop_beside_a_use(|word| {
        let seen = word.look();
        word.last_use() + IDLE_MS <= 5 && sleep_if_unused(word, seen)
    });
}

#[test]
#[should_panic(expected = "stopped within the idle time")]
fn looked_at_after_its_last_use_the_word_would_tell_nothing_of_it() {
    stop_beside_a_use(|word| word.last_use() + IDLE_MS <= 5 && sleep_if_unused(word, word.look()));
}

#[test]
fn a_hold_a_request_and_an_opening_are_all_counted() {
    loom::model(|| {
        let word = Arc::new(WarmWord::new(0));
        let dependent = thread::spawn({
            let word = Arc::clone(&word);
            move || word.hold()
        });
        let client = thread::spawn({
            let word = Arc::clone(&word);
            move || word.take()
        });
        word.open(1);
        assert!(!sleep_if_idle(&word, u64::MAX / 2), "stopped before the waiter had its lease");
        dependent.join().unwrap();
        let taken = client.join().unwrap();
        assert_eq!(word.look().leases(), 2 + u32::from(taken));
        assert!(word.look().is_open());
    });
}

#[test]
fn who_sees_that_it_is_down_sees_since_when() {
    loom::model(|| {
        let stand = Arc::new(Stand::new());
        let watcher = thread::spawn({
            let stand = Arc::clone(&stand);
            move || stand.set(Standing::Down, Some(7))
        });
        if stand.get() == Standing::Down {
            assert_eq!(stand.ended_at_ms(), Some(7));
        }
        watcher.join().unwrap();
    });
}
