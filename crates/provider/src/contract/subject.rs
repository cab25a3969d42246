//! The container of one row, and how rows wait for things.

use std::{future::Future, sync::Arc};

use futures::StreamExt as _;

use super::{Behaviour, Fixture, PATIENCE};
use crate::{
    ContainerStatus, Deadline, Details, Engine, EngineItem, EngineWatch, Error, ErrorKind, Event,
    EventAction, Observation, Provider, Reference, RunId, StopOptions, Watch, WatchItem,
};

/// A deadline that no healthy engine comes near.
pub(super) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// The output of `future`, or a failed test that says what was waited for.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} for {what}");
    };
    output
}

/// The value, or a failed test that says what failed and with which error.
#[track_caller]
pub(super) fn ok<T>(what: &str, result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error} ({error:?})"),
    }
}

/// Asserts that an operation was refused with an error of this class.
macro_rules! assert_refused {
    ($result:expr, $class:pat) => {
        match $result {
            Err(error) if matches!(error.kind(), $class) => error,
            other => panic!(
                "`{}` must be refused as {}, and was {other:?}",
                stringify!($result),
                stringify!($class)
            ),
        }
    };
}
pub(super) use assert_refused;

/// The container of a row.
pub(super) struct Subject<'a> {
    pub(super) fixture: &'a dyn Fixture,
    pub(super) reference: Reference,
    pub(super) provider: Arc<dyn Provider>,
}

impl<'a> Subject<'a> {
    /// One that was never started.
    pub(super) async fn created(fixture: &'a dyn Fixture, behaviour: Behaviour) -> Self {
        let reference = fixture.create(behaviour).await;
        Self::of(fixture, reference)
    }

    /// The container of this reference.
    pub(super) fn of(fixture: &'a dyn Fixture, reference: Reference) -> Self {
        let provider = ok("a provider", fixture.engine().provider(&reference));
        assert_eq!(provider.reference(), &reference);
        assert_eq!(provider.engine(), fixture.engine().name());
        Self { fixture, reference, provider }
    }

    /// One that runs and takes signals as its behaviour says.
    pub(super) async fn running(fixture: &'a dyn Fixture, behaviour: Behaviour) -> Self {
        let subject = Self::created(fixture, behaviour).await;
        subject.start().await;
        subject
    }

    /// One that ran and was stopped.
    pub(super) async fn stopped(fixture: &'a dyn Fixture) -> Self {
        let subject = Self::running(fixture, Behaviour::Serves).await;
        ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);
        subject.assert_status(&ContainerStatus::Stopped).await;
        subject
    }

    /// One that is frozen; `None`, after checking that it says so, where the engine cannot freeze.
    pub(super) async fn paused(fixture: &'a dyn Fixture, behaviour: Behaviour) -> Option<Self> {
        let subject = Self::running(fixture, behaviour).await;
        if !fixture.engine().capabilities().pause.is_supported() {
            let provider = &subject.provider;
            assert_refused!(provider.pause(patience()).await, ErrorKind::Unsupported { .. });
            assert_refused!(provider.unpause(patience()).await, ErrorKind::Unsupported { .. });
            subject.assert_status(&ContainerStatus::Running).await;
            return None;
        }
        ok("pause", subject.provider.pause(patience()).await);
        subject.assert_status(&ContainerStatus::Paused).await;
        Some(subject)
    }

    /// One that cannot be used, where the fixture can make it.
    pub(super) async fn unusable(fixture: &'a dyn Fixture) -> Option<Self> {
        Some(Self::of(fixture, fixture.create_unusable().await?))
    }

    /// One that is no longer there.
    pub(super) async fn absent(fixture: &'a dyn Fixture) -> Self {
        let subject = Self::created(fixture, Behaviour::Serves).await;
        fixture.remove(&subject.reference).await;
        subject
    }

    /// Starts it and waits until it takes signals.
    pub(super) async fn start(&self) {
        ok("start", self.provider.start(patience()).await);
        self.assert_status(&ContainerStatus::Running).await;
        self.fixture.serving(&self.reference).await;
    }

    pub(super) async fn observe(&self) -> Observation {
        ok("observe", self.provider.observe(patience()).await)
    }

    pub(super) async fn details(&self) -> Details {
        ok("inspect", self.provider.inspect(patience()).await)
    }

    /// The present run, which an engine under test must be able to name.
    pub(super) async fn run(&self) -> RunId {
        match self.observe().await.run {
            Some(run) => run,
            None => panic!("a started container has a run"),
        }
    }

    /// Asserts what it is doing *now*: for states that an operation has just promised.
    pub(super) async fn assert_status(&self, expected: &ContainerStatus) {
        let observation = self.observe().await;
        assert_eq!(&observation.status, expected, "{observation:?}");
    }

    /// Waits until a read says `expected`. Its own watch tells when to read again.
    pub(super) async fn becomes(&self, expected: &ContainerStatus) -> Observation {
        let mut watching = Watching::begin(&self.provider);
        watching
            .synced(&format!("the container to be {expected}"), |seen| &seen.status == expected)
            .await
    }

    /// The same container by its engine's own id; `None` where the engine has no such references.
    pub(super) async fn by_id(&self) -> Option<Arc<dyn Provider>> {
        let id = self.details().await.id;
        self.fixture.engine().provider(&Reference::Id(id)).ok()
    }
}

/// A watch that is read.
pub(super) struct Watching(Watch);

impl Watching {
    pub(super) fn begin(provider: &Arc<dyn Provider>) -> Self {
        Self(provider.watch())
    }

    /// The next item, also an error item; `None` at the end.
    pub(super) async fn next(&mut self, what: &str) -> Option<Result<WatchItem, Error>> {
        within(what, self.0.next()).await
    }

    /// The first item, which must be a read of the truth.
    pub(super) async fn first(&mut self) -> Observation {
        match self.next("a watch's first item").await {
            Some(Ok(WatchItem::Synced(observation))) => observation,
            other => panic!("a watch begins with `Synced`, this one with {other:?}"),
        }
    }

    /// The next item that `wanted` takes. Error items are passed over: a watch heals itself.
    pub(super) async fn find<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&WatchItem) -> Option<T>,
    ) -> T {
        within(what, async {
            loop {
                match self.0.next().await {
                    Some(Ok(item)) => {
                        if let Some(found) = wanted(&item) {
                            return found;
                        }
                    }
                    Some(Err(_)) => {}
                    None => panic!("the watch ended before {what}"),
                }
            }
        })
        .await
    }

    /// The next read of the truth that satisfies `wanted`.
    pub(super) async fn synced(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Observation) -> bool,
    ) -> Observation {
        self.find(what, |item| match item {
            WatchItem::Synced(observation) if wanted(observation) => Some(observation.clone()),
            _ => None,
        })
        .await
    }

    /// The next event whose action satisfies `wanted`.
    pub(super) async fn event(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&EventAction) -> bool,
    ) -> Event {
        self.find(what, |item| match item {
            WatchItem::Event(event) if wanted(&event.action) => Some(event.clone()),
            _ => None,
        })
        .await
    }

    pub(super) async fn removed(&mut self) {
        self.find("`Removed`", |item| matches!(item, WatchItem::Removed).then_some(())).await;
    }

    /// Reads until the watch ends.
    pub(super) async fn ends(&mut self) {
        within("the end of a watch", async { while self.0.next().await.is_some() {} }).await;
    }
}

/// An engine's events, read.
pub(super) struct WatchingAll(EngineWatch);

impl WatchingAll {
    pub(super) fn begin(engine: &Arc<dyn Engine>) -> Self {
        Self(engine.events())
    }

    /// The next item that `wanted` takes, passing over error items.
    pub(super) async fn find<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&EngineItem) -> Option<T>,
    ) -> T {
        within(what, async {
            loop {
                match self.0.next().await {
                    Some(Ok(item)) => {
                        if let Some(found) = wanted(&item) {
                            return found;
                        }
                    }
                    Some(Err(_)) => {}
                    None => panic!("the events ended before {what}"),
                }
            }
        })
        .await
    }

    /// Reads until the events end.
    pub(super) async fn ends(&mut self) {
        within("the end of the events", async { while self.0.next().await.is_some() {} }).await;
    }
}
