//! What operations do over the life of a run.

use std::time::Duration;

use futures::future::join_all;

use super::{
    Behaviour, Fixture, PATIENCE,
    subject::{Subject, Watching, assert_refused, ok, patience},
};
use crate::{
    ContainerStatus, Deadline, ErrorKind, EventAction, KillOutcome, Signal, StopOptions, WatchItem,
};

/// Asking for the state that already holds succeeds.
pub(super) async fn what_is_asked_for_twice_succeeds_twice(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let provider = &subject.provider;
    for _ in 0..2 {
        ok("start", provider.start(patience()).await);
    }
    fixture.serving(&subject.reference).await;
    if provider.capabilities().pause.is_supported() {
        for _ in 0..2 {
            ok("pause", provider.pause(patience()).await);
        }
        for _ in 0..2 {
            ok("unpause", provider.unpause(patience()).await);
        }
    }
    for _ in 0..2 {
        ok("stop", provider.stop(&StopOptions::new(), patience()).await);
    }
    subject.start().await;
    for _ in 0..2 {
        let outcome = ok("kill", provider.kill(Signal::KILL, patience()).await);
        assert!(matches!(outcome, KillOutcome::Exited(_)), "{outcome:?}");
    }
}

/// Callers need not know of one another.
pub(super) async fn many_starts_at_once_make_one_run(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let tells_exit_codes = fixture.engine().capabilities().exit_code.is_supported();
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;

    let starts = (0..20).map(|_| subject.provider.start(patience()));
    for outcome in join_all(starts).await {
        ok("one of many starts", outcome);
    }
    fixture.serving(&subject.reference).await;
    ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);

    let mut starts_told = 0;
    let mut ran = false;
    watching
        .find("the end", |item| match item {
            WatchItem::Event(event) => {
                starts_told += usize::from(event.action == EventAction::Start);
                None
            }
            WatchItem::Synced(seen) => {
                ran |= seen.status == ContainerStatus::Running;
                let ended = if tells_exit_codes { seen.exit_code.is_some() } else { ran };
                (seen.status == ContainerStatus::Stopped && ended).then_some(())
            }
            WatchItem::Removed => None,
        })
        .await;
    assert!(starts_told <= 1, "twenty starts at once made {starts_told} runs");
}

/// The deadline leaves room, so the engine's own KILL does the work and the caller hears of it.
pub(super) async fn a_process_that_ignores_the_stop_signal_is_killed_after_the_timeout(
    fixture: &dyn Fixture,
) {
    let subject = Subject::running(fixture, Behaviour::IgnoresTerm).await;
    let options = StopOptions::new().with_timeout(Duration::from_secs(1));
    ok("stop of one that ignores TERM", subject.provider.stop(&options, patience()).await);
    subject.assert_status(&ContainerStatus::Stopped).await;
}

/// The process ignores TERM and ends at INT; its timeout lies beyond the deadline, so that only the
/// right signal can end it in time.
pub(super) async fn the_callers_stop_signal_is_the_one_that_is_sent(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::IgnoresTerm).await;
    let options = StopOptions::new().with_signal(Signal::INT).with_timeout(PATIENCE * 4);
    let answer = subject.provider.stop(&options, patience()).await;
    if fixture.engine().capabilities().stop_signal.is_supported() {
        ok("stop with INT", answer);
    } else if answer.is_err() {
        // The provider may accept a signal that this very container makes harmless.
        assert_refused!(answer, ErrorKind::Unsupported { .. });
        subject.assert_status(&ContainerStatus::Running).await;
        return;
    }
    subject.assert_status(&ContainerStatus::Stopped).await;
}

pub(super) async fn a_handled_signal_leaves_the_run_as_it_is(fixture: &dyn Fixture) {
    if !fixture.engine().capabilities().signals.is_supported() {
        return; // `signal_to_running` asserts the refusal.
    }
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let run = subject.run().await;
    for _ in 0..3 {
        let outcome = ok("HUP", subject.provider.kill(Signal::HUP, patience()).await);
        assert_eq!(outcome, KillOutcome::StillRunning);
    }
    subject.assert_status(&ContainerStatus::Running).await;
    assert_eq!(subject.run().await, run, "a handled signal ends no run");
}

/// Either answer is right; the watch tells the end.
pub(super) async fn a_signal_may_end_a_run(fixture: &dyn Fixture) {
    if !fixture.engine().capabilities().signals.is_supported() {
        return;
    }
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    ok("TERM", subject.provider.kill(Signal::TERM, patience()).await);
    subject.becomes(&ContainerStatus::Stopped).await;
}

/// Where exit codes cannot be told: none is made up, and the end is seen all the same.
pub(super) async fn an_exit_code_is_seen(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Exits(7)).await;
    if !fixture.engine().capabilities().exit_code.is_supported() {
        if let Err(error) = subject.provider.start(patience()).await {
            assert!(matches!(error.kind(), ErrorKind::Failed { exit: None, .. }), "{error:?}");
        }
        let seen = subject.becomes(&ContainerStatus::Stopped).await;
        assert_eq!(seen.exit_code, None);
        return;
    }
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;

    // It ran, if only for a moment: an engine that notices the end first may say so.
    if let Err(error) = subject.provider.start(patience()).await {
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Failed { exit: Some(7), .. }), "{error:?}");
    }
    let told = watching.event("the end", |action| matches!(action, EventAction::Die(_))).await;
    assert!(
        matches!(told.action, EventAction::Die(None | Some(7))),
        "the event has another exit code: {told:?}"
    );
    let ended = |status: &ContainerStatus| *status == ContainerStatus::Stopped;
    let seen = watching.synced("the end", |seen| ended(&seen.status)).await;
    assert_eq!(seen.exit_code, Some(7));
    assert_eq!(subject.observe().await.exit_code, Some(7));
}

pub(super) async fn a_run_has_one_id_and_the_next_run_another(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let first = subject.run().await;
    if fixture.engine().capabilities().pause.is_supported() {
        ok("pause", subject.provider.pause(patience()).await);
        assert_eq!(subject.run().await, first, "a pause ends no run");
        ok("unpause", subject.provider.unpause(patience()).await);
        assert_eq!(subject.run().await, first, "nor does its end");
    }
    ok("stop", subject.provider.stop(&StopOptions::new(), Deadline::after(PATIENCE)).await);
    let stopped = subject.observe().await;
    assert!(stopped.run.is_none_or(|run| run == first), "a stopped one tells its last run");

    subject.start().await;
    assert_ne!(subject.run().await, first, "a start begins a new run");
}

pub(super) async fn list_and_inspect_agree(fixture: &dyn Fixture) {
    let running = Subject::running(fixture, Behaviour::Serves).await;
    let created = Subject::created(fixture, Behaviour::Serves).await;
    let list = ok("list", fixture.engine().list(patience()).await);
    for subject in [&running, &created] {
        let details = subject.details().await;
        let Some(line) = list.iter().find(|line| line.id == details.id) else {
            panic!("`list` lacks {details:?}");
        };
        assert_eq!(line.name, details.name);
        assert_eq!(line.labels, details.labels);
        assert_eq!(line.status, details.observation.status);
    }
}
