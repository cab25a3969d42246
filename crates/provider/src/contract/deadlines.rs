//! Deadlines, and futures that nobody waits for any more.

use std::{future::Future, time::Duration};

use futures::FutureExt as _;

use super::{
    Behaviour, Fixture,
    subject::{Subject, Watching, ok, patience, within},
};
use crate::{ContainerStatus, Deadline, Error, ErrorKind, Signal, StopOptions};

#[track_caller]
fn assert_timeout<T: std::fmt::Debug>(what: &str, answer: Result<T, Error>, expected: Duration) {
    match answer {
        Err(error) => match error.kind() {
            ErrorKind::Timeout { after, .. } => assert_eq!(*after, expected, "{what}"),
            other => panic!("{what} must time out, and says {other:?}"),
        },
        Ok(value) => panic!("{what} must time out, and gave {value:?}"),
    }
}

pub(super) async fn a_deadline_of_zero_is_a_timeout_at_once(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let run = subject.run().await;
    let provider = &subject.provider;
    let zero = || Deadline::after(Duration::ZERO);
    let stop = StopOptions::new();
    assert_timeout("start", provider.start(zero()).await, Duration::ZERO);
    assert_timeout("stop", provider.stop(&stop, zero()).await, Duration::ZERO);
    assert_timeout("kill", provider.kill(Signal::KILL, zero()).await, Duration::ZERO);
    if provider.capabilities().pause.is_supported() {
        assert_timeout("pause", provider.pause(zero()).await, Duration::ZERO);
        assert_timeout("unpause", provider.unpause(zero()).await, Duration::ZERO);
    }
    assert_timeout("inspect", provider.inspect(zero()).await, Duration::ZERO);
    assert_timeout("observe", provider.observe(zero()).await, Duration::ZERO);
    assert_timeout("list", fixture.engine().list(zero()).await, Duration::ZERO);

    subject.assert_status(&ContainerStatus::Running).await;
    assert_eq!(subject.run().await, run, "what had no time was not ordered");
}

/// The engine completes what it has taken, whether or not anybody still waits.
pub(super) async fn a_stop_that_outlasts_its_deadline_settles_later(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::IgnoresTerm).await;
    let options = StopOptions::new().with_timeout(Duration::from_secs(2));
    let deadline = Duration::from_millis(500);
    let answer = subject.provider.stop(&options, Deadline::after(deadline)).await;
    assert_timeout("stop", answer, deadline);
    subject.becomes(&ContainerStatus::Stopped).await;
    subject.start().await;
}

/// Lets an operation come `polls` steps far, then drops it. `Some` if it had ended by then.
async fn abandon<T>(operation: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut operation = Box::pin(operation);
    for _ in 0..polls {
        if let Some(output) = operation.as_mut().now_or_never() {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(super) async fn a_dropped_start_corrupts_nothing(fixture: &dyn Fixture) {
    for polls in [1, 2, 5] {
        let subject = Subject::created(fixture, Behaviour::Serves).await;
        if let Some(ended) = abandon(subject.provider.start(patience()), polls).await {
            ok("start", ended);
        }
        // Whatever became of the first order, the second one finds or makes the state it asks for.
        subject.start().await;
        subject.becomes(&ContainerStatus::Running).await;
    }
}

pub(super) async fn a_dropped_stop_corrupts_nothing(fixture: &dyn Fixture) {
    for polls in [1, 2, 5] {
        let subject = Subject::running(fixture, Behaviour::Serves).await;
        let options = StopOptions::new();
        if let Some(ended) = abandon(subject.provider.stop(&options, patience()), polls).await {
            ok("stop", ended);
        }
        ok("stop", subject.provider.stop(&options, patience()).await);
        subject.assert_status(&ContainerStatus::Stopped).await;
        subject.start().await;
    }
}

pub(super) async fn a_dropped_watch_leaves_the_others(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let mut kept = Watching::begin(&subject.provider);
    let mut dropped = Watching::begin(&subject.provider);
    kept.first().await;
    dropped.first().await;
    drop(dropped);
    drop(Watching::begin(&subject.provider));
    subject.start().await;
    within("the other watch", kept.synced("the start", |seen| seen.status.is_alive())).await;
}
