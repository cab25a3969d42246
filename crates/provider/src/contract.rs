//! The suite that every engine passes: the table of [`Provider`](crate::Provider) and the promises
//! of [`watch`](crate::Provider::watch), [`close`](crate::Engine::close), deadlines and dropped
//! futures, as named tests.
//!
//! A crate that brings an engine implements [`Fixture`] in its tests and writes one line:
//!
//! ```text
//! mod contract {
//!     drowse_provider::contract_tests!(MyFixture::new());
//! }
//! ```
//!
//! The expression is a future of a fixture (an `async fn new() -> MyFixture`). It is evaluated once
//! for each row, and each row is a `#[tokio::test]` of its own, so that a failure names its row.
//! Further arguments go to that attribute: `contract_tests!(MyFixture::new(), flavor =
//! "multi_thread")`. The calling crate needs tokio with `macros` and `rt`.
//!
//! What an engine cannot do by its [`Capabilities`](crate::Capabilities) turns the rows about it
//! into the assertion that it says `Unsupported`. What a *fixture* cannot do (its optional methods)
//! makes the rows that need it pass at once.
//!
//! The suite waits for levels under a generous bound ([`PATIENCE`]) and asserts no times.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt as _, future::LocalBoxFuture};

use crate::{Engine, Reference, Signal};

mod closing;
mod deadlines;
mod events;
mod runs;
mod subject;
mod table;
mod watching;

/// How long a row waits for anything before it fails: far longer than an engine ever needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a container does once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Runs for ever. Ends with code 0 at TERM, or at what its engine stops it with. Handles HUP and
    /// goes on.
    Serves,
    /// Runs for ever. Ignores TERM, or what its engine stops it with; ends with code 0 at INT. Handles
    /// HUP and goes on.
    IgnoresTerm,
    /// Ends by itself with this code as soon as it is started.
    Exits(u8),
}

/// Something done to a container by somebody else: not through the engine handle under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outside {
    /// Starts it.
    Start,
    /// Sends a signal.
    Kill(Signal),
    /// Freezes it.
    Pause,
    /// Thaws it.
    Unpause,
}

/// What the suite needs from the crate under test.
///
/// Methods panic when their engine refuses: that is a failed test. Each row has a fixture of its
/// own; several may live at once on one engine, so names must not collide.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The engine under test: the same handle at each call. Rows close it.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Makes a stopped container, and says how it is named. A [`Reference::Name`] where the engine
    /// knows names.
    async fn create(&self, behaviour: Behaviour) -> Reference;

    /// Returns when a container that was just started has come so far that it does what its
    /// behaviour says about signals.
    async fn serving(&self, reference: &Reference);

    /// Returns `true` when a stop of a container that ignores it is seen to be under way; `false`
    /// where the engine tells that as an event ([`EventAction::Kill`](crate::EventAction::Kill)).
    async fn sees_stop_begin(&self, reference: &Reference) -> bool {
        _ = reference;
        false
    }

    /// Removes a container, whatever its state, and returns when it is gone.
    async fn remove(&self, reference: &Reference);

    /// Acts on a container as another client of its runtime would; returns when it is done, and
    /// `false` if nobody but this engine could do so. Works while the events are broken.
    async fn outside(&self, reference: &Reference, act: Outside) -> bool;

    /// Makes a stopped container under the name of one that was removed; `false` if the engine has
    /// no names or cannot.
    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        _ = (name, behaviour);
        false
    }

    /// Makes a container that cannot be used ([`ContainerStatus::Error`](crate::ContainerStatus),
    /// not restarting), if that can be done.
    async fn create_unusable(&self) -> Option<Reference> {
        None
    }

    /// Cuts the engine's connection for events in mid-stream and keeps it cut: what happens from
    /// here on is not told until [`mend_events`](Self::mend_events). `false` if there is no such
    /// connection.
    async fn break_events(&self) -> bool {
        false
    }

    /// Lets the engine connect for events again.
    async fn mend_events(&self) {}

    /// How many signals, sent in a row, surely overrun a watch that nobody reads.
    fn overrun(&self) -> usize {
        1_500
    }

    /// Takes away whatever the row left. Called after each row, also after a failed one.
    async fn tear_down(&self) {}
}

/// Runs one row on one fixture and tears it down, whether or not the row fails. The macro calls it.
#[doc(hidden)]
pub async fn run<F: Fixture>(
    fixture: impl Future<Output = F>,
    row: impl for<'a> FnOnce(&'a dyn Fixture) -> LocalBoxFuture<'a, ()>,
) {
    let fixture = fixture.await;
    let outcome = AssertUnwindSafe(row(&fixture)).catch_unwind().await;
    fixture.tear_down().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// From one list of rows: the public functions and the macro that makes tests of them. A row that
/// is missing here is dead code, and the compiler says so.
macro_rules! rows {
    ($dollar:tt $($module:ident { $($row:ident)* })*) => {
        /// The rows, each callable by itself.
        #[allow(missing_docs, reason = "each row is documented where it is written")]
        pub mod rows {
            $($(
                pub async fn $row(fixture: &dyn super::Fixture) {
                    super::$module::$row(fixture).await;
                }
            )*)*
        }

        /// Expands to one test per row of the [contract suite](mod@crate::contract).
        ///
        /// Takes an expression that is a future of a [`Fixture`](crate::contract::Fixture), and
        /// optionally arguments for `#[tokio::test]`.
        #[macro_export]
        macro_rules! contract_tests {
            ($dollar fixture:expr $dollar(, $dollar($dollar option:tt)*)?) => {
                $($(
                    #[::tokio::test($dollar($dollar($dollar option)*)?)]
                    async fn $row() {
                        $dollar crate::contract::run($dollar fixture, |fixture| {
                            ::std::boxed::Box::pin($dollar crate::contract::rows::$row(fixture))
                        })
                        .await;
                    }
                )*)*
            };
        }
    };
}

rows! { $
    table {
        start_of_running start_of_stopped start_of_paused start_of_unusable start_of_absent
        stop_of_running stop_of_stopped stop_of_paused stop_of_unusable stop_of_absent
        kill_of_running kill_of_stopped kill_of_paused kill_of_unusable kill_of_absent
        signal_to_running signal_to_stopped signal_to_paused signal_to_unusable signal_to_absent
        pause_of_running pause_of_stopped pause_of_paused pause_of_unusable pause_of_absent
        unpause_of_running unpause_of_stopped unpause_of_paused unpause_of_unusable
        unpause_of_absent
        read_of_running read_of_stopped read_of_paused read_of_unusable read_of_absent
        stats_of_running stats_of_stopped stats_of_absent
    }
    runs {
        what_is_asked_for_twice_succeeds_twice
        many_starts_at_once_make_one_run
        a_process_that_ignores_the_stop_signal_is_killed_after_the_timeout
        the_callers_stop_signal_is_the_one_that_is_sent
        a_handled_signal_leaves_the_run_as_it_is
        a_signal_may_end_a_run
        an_exit_code_is_seen
        a_run_has_one_id_and_the_next_run_another
        list_and_inspect_agree
    }
    watching {
        a_watch_of_a_running_one_begins_with_its_state
        a_watch_of_a_stopped_one_begins_with_its_state
        a_watch_of_an_absent_id_says_removed_and_ends
        a_watch_of_an_absent_name_says_removed_and_goes_on
        a_start_and_an_end_are_told_in_order
        pausing_is_told
        a_hup_is_never_told_as_an_end
        what_others_do_is_told
        removal_ends_the_watch_of_an_id
        a_watch_of_a_name_goes_on_with_the_next_container
        a_stop_during_a_break_is_not_lost
        a_restart_during_a_break_is_not_lost
        a_slow_consumer_gets_the_truth_and_blocks_nobody
        a_slow_consumer_hears_of_what_it_missed
        two_hundred_watchers_see_a_change
    }
    events {
        an_engines_events_begin_with_a_list
        an_engines_events_tell_of_each_container
        an_engines_events_are_whole_after_a_break
    }
    deadlines {
        a_deadline_of_zero_is_a_timeout_at_once
        a_stop_that_outlasts_its_deadline_settles_later
        a_dropped_start_corrupts_nothing
        a_dropped_stop_corrupts_nothing
        a_dropped_watch_leaves_the_others
    }
    closing {
        close_ends_an_operation_in_flight
        close_ends_watches
        after_close_everything_says_closed
        close_is_idempotent
    }
}
