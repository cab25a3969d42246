//! The provider of one process container.

use std::{fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, Deadline, Details, Error, ErrorKind, KillOutcome, Observation, Provider,
    Reference, Signal, Stats, StopOptions, Support, Watch, feed,
};
use tokio::time::Instant;

use crate::{
    engine::{Core, Handle, capabilities},
    orders,
    run::native,
};

/// The lifecycle API of one container of a [`ProcessEngine`](crate::ProcessEngine).
///
/// An order that the engine's thread has taken is carried out, whether or not anybody waits for it.
#[derive(Clone)]
pub struct ProcessProvider {
    handle: Arc<Handle>,
    reference: Reference,
}

impl fmt::Debug for ProcessProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessProvider")
            .field("engine", &self.handle.core.name())
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl ProcessProvider {
    pub(crate) fn new(handle: Arc<Handle>, reference: Reference) -> Self {
        Self { handle, reference }
    }

    fn error(&self, action: Action, kind: ErrorKind) -> Error {
        self.handle.core.error(action, kind).with_container(self.reference.to_string())
    }

    /// Gives an order about this container to the engine's thread.
    async fn order<T, F>(
        &self,
        action: Action,
        deadline: Deadline,
        order: impl FnOnce(Arc<Core>, String) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ErrorKind>> + Send + 'static,
    {
        let core = &self.handle.core;
        let asked = Instant::now();
        let outcome = async {
            core.admit(deadline)?;
            let id = core.world().find(&self.reference).map(ToOwned::to_owned);
            let id = id.ok_or(ErrorKind::NotFound)?;
            core.carry_out(order(Arc::clone(core), id), deadline).await
        };
        let outcome = outcome.await.map_err(|kind| self.error(action, kind));
        tracing::debug!(
            engine = core.name(),
            container = %self.reference,
            %action,
            elapsed = ?asked.elapsed(),
            error = outcome.as_ref().err().map(tracing::field::display),
            "engine call"
        );
        outcome
    }

    /// Refuses what cannot be sent before anything is done.
    fn require_native(&self, action: Action, signal: Signal) -> Result<(), Error> {
        match native(signal) {
            Some(_) => Ok(()),
            None => Err(self.error(action, orders::no_real_time(signal))),
        }
    }
}

#[async_trait]
impl Provider for ProcessProvider {
    fn engine(&self) -> &str {
        self.handle.core.name()
    }

    fn reference(&self) -> &Reference {
        &self.reference
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Start, deadline, orders::start).await
    }

    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        if let Some(signal) = options.signal {
            self.require_native(Action::Stop, signal)?;
        }
        let options = options.clone();
        self.order(Action::Stop, deadline, |core, id| orders::stop(core, id, options)).await
    }

    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        self.require_native(Action::Kill, signal)?;
        self.order(Action::Kill, deadline, |core, id| orders::kill(core, id, signal)).await
    }

    async fn pause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Pause, deadline, orders::pause).await
    }

    async fn unpause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Unpause, deadline, orders::unpause).await
    }

    async fn observe(&self, deadline: Deadline) -> Result<Observation, Error> {
        let details = self.order(Action::Status, deadline, orders::inspect).await?;
        Ok(details.observation)
    }

    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        self.order(Action::Inspect, deadline, orders::inspect).await
    }

    async fn stats(&self, _: Deadline) -> Result<Stats, Error> {
        let why = match capabilities().stats {
            Support::No(why) => why.into_owned(),
            Support::Yes => String::new(),
        };
        Err(self.error(Action::Stats, ErrorKind::Unsupported { why }))
    }

    fn watch(&self) -> Watch {
        feed::watch(Arc::clone(&self.handle), self.reference.clone())
    }
}
