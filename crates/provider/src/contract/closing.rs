//! What `close` promises.

use super::{
    Behaviour, Fixture, PATIENCE,
    subject::{Subject, Watching, WatchingAll, assert_refused, patience, within},
};
use crate::{Deadline, ErrorKind, EventAction, Signal, StopOptions};

/// A stop that has begun, of a process that does not end by it, with a timeout far away.
pub(super) async fn close_ends_an_operation_in_flight(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::IgnoresTerm).await;
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;
    let options = StopOptions::new().with_timeout(PATIENCE * 8);
    let stop = subject.provider.stop(&options, Deadline::after(PATIENCE * 10));
    let close = async {
        let was_seen = fixture.sees_stop_begin(&subject.reference).await;
        if !was_seen && fixture.engine().capabilities().signals.is_supported() {
            let is_kill = |action: &EventAction| matches!(action, EventAction::Kill(_));
            watching.event("the stop's signal", is_kill).await;
        }
        within("close", fixture.engine().close()).await;
    };
    let (stopped, ()) = within("the end of both", async { tokio::join!(stop, close) }).await;
    assert_refused!(stopped, ErrorKind::Closed);
}

pub(super) async fn close_ends_watches(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let engine = fixture.engine();
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;
    let mut all = WatchingAll::begin(&engine);
    within("close", engine.close()).await;
    watching.ends().await;
    all.ends().await;
}

pub(super) async fn after_close_everything_says_closed(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let engine = fixture.engine();
    within("close", engine.close()).await;

    let provider = &subject.provider;
    assert_refused!(provider.start(patience()).await, ErrorKind::Closed);
    assert_refused!(provider.stop(&StopOptions::new(), patience()).await, ErrorKind::Closed);
    assert_refused!(provider.kill(Signal::KILL, patience()).await, ErrorKind::Closed);
    if provider.capabilities().pause.is_supported() {
        assert_refused!(provider.pause(patience()).await, ErrorKind::Closed);
        assert_refused!(provider.unpause(patience()).await, ErrorKind::Closed);
    }
    assert_refused!(provider.inspect(patience()).await, ErrorKind::Closed);
    assert_refused!(provider.status(patience()).await, ErrorKind::Closed);
    assert_refused!(engine.list(patience()).await, ErrorKind::Closed);
    assert_refused!(engine.provider(&subject.reference).map(|_| ()), ErrorKind::Closed);
    Watching::begin(provider).ends().await;
    WatchingAll::begin(&engine).ends().await;
}

pub(super) async fn close_is_idempotent(fixture: &dyn Fixture) {
    let engine = fixture.engine();
    let twice = async { tokio::join!(engine.close(), engine.close()) };
    within("two closes at once", twice).await;
    within("a third", engine.close()).await;
}
