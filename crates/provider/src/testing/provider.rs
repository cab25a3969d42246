//! The provider of one scripted container, and how a call runs.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{
    Core, Handle,
    script::{Answer, Step},
    world::StopBegun,
};
use crate::{
    Action, Capabilities, Deadline, Details, Error, ErrorKind, KillOutcome, Observation, Provider,
    Reference, Signal, Stats, StopOptions, Support, Watch, feed,
};

/// How long a stop waits before it kills, unless the container or the caller says otherwise.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The provider of one container of a [`ScriptedEngine`](super::ScriptedEngine).
#[derive(Clone)]
pub struct ScriptedProvider {
    handle: Arc<Handle>,
    reference: Reference,
}

impl fmt::Debug for ScriptedProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScriptedProvider")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// Whether a call goes out at all.
pub(super) fn admit(core: &Core, deadline: Deadline) -> Result<(), ErrorKind> {
    if core.is_closed() {
        Err(ErrorKind::Closed)
    } else if deadline.has_passed() {
        Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
    } else {
        Ok(())
    }
}

/// Hands an order to the engine and waits for the answer. The engine carries it out in a task of
/// its own: a deadline that passes or a caller that goes away does not take it back.
pub(super) async fn carry_out<T, F>(
    core: &Arc<Core>,
    step: Step,
    deadline: Deadline,
    order: impl FnOnce(Arc<Core>) -> F,
) -> Result<T, ErrorKind>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ErrorKind>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let order = order(Arc::clone(core));
    let work = async move {
        tokio::time::sleep(step.late_by).await;
        let outcome = if step.is_taken { Some(order.await) } else { None };
        let told = match (step.answer, outcome) {
            (Answer::Error(kind), _) => Err(kind),
            (Answer::Outcome, Some(outcome)) => outcome,
            (Answer::Silence, _) | (Answer::Outcome, None) => return,
        };
        // Nobody may be waiting any more.
        _ = answer.send(told);
    };
    {
        let mut orders = core.orders();
        while orders.try_join_next().is_some() {}
        orders.spawn(work);
    }
    let answered = async {
        match answered.await {
            Ok(told) => told,
            // Silence.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = core.closing() => Err(ErrorKind::Closed),
        told = answered => told,
        () = tokio::time::sleep_until(deadline.at()) => {
            Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
        }
    }
}

impl ScriptedProvider {
    pub(super) fn new(handle: Arc<Handle>, reference: Reference) -> Self {
        Self { handle, reference }
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    fn require(&self, action: Action, support: &Support) -> Result<(), Error> {
        match support {
            Support::Yes => Ok(()),
            Support::No(why) => {
                Err(self.error(action, ErrorKind::Unsupported { why: why.to_string() }))
            }
        }
    }

    fn error(&self, action: Action, kind: ErrorKind) -> Error {
        self.core().error(action, kind).with_container(self.reference.to_string())
    }

    async fn call<T, F>(
        &self,
        action: Action,
        deadline: Deadline,
        order: impl FnOnce(Arc<Core>, String) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ErrorKind>> + Send + 'static,
    {
        let core = self.core();
        let fail = |kind| self.error(action, kind);
        admit(core, deadline).map_err(fail)?;
        let (id, step) = core.change(|world| world.admit(&self.reference, action)).map_err(fail)?;
        carry_out(core, step, deadline, |core| order(core, id)).await.map_err(fail)
    }

    async fn read<T: Send + 'static>(
        &self,
        action: Action,
        deadline: Deadline,
        read: impl FnOnce(Details) -> Result<T, ErrorKind> + Send + 'static,
    ) -> Result<T, Error> {
        self.call(action, deadline, |core, id| async move {
            let details = core.read().get(&id).ok_or(ErrorKind::NotFound)?.shown();
            read(details)
        })
        .await
    }
}

#[async_trait]
impl Provider for ScriptedProvider {
    fn engine(&self) -> &str {
        &self.core().name
    }

    fn reference(&self) -> &Reference {
        &self.reference
    }

    fn capabilities(&self) -> Capabilities {
        self.core().capabilities.clone()
    }

    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        self.call(Action::Start, deadline, |core, id| async move {
            core.change(|world| world.start(&id))
        })
        .await
    }

    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        if options.signal.is_some() {
            self.require(Action::Stop, &self.core().capabilities.stop_signal)?;
        }
        let options = options.clone();
        self.call(Action::Stop, deadline, |core, id| stop(core, id, options)).await
    }

    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        if signal != Signal::KILL {
            self.require(Action::Kill, &self.core().capabilities.signals)?;
        }
        self.call(Action::Kill, deadline, move |core, id| async move {
            core.change(|world| world.kill(&id, signal))
        })
        .await
    }

    async fn pause(&self, deadline: Deadline) -> Result<(), Error> {
        self.require(Action::Pause, &self.core().capabilities.pause)?;
        self.call(Action::Pause, deadline, |core, id| async move {
            core.change(|world| world.pause(&id))
        })
        .await
    }

    async fn unpause(&self, deadline: Deadline) -> Result<(), Error> {
        self.require(Action::Unpause, &self.core().capabilities.pause)?;
        self.call(Action::Unpause, deadline, |core, id| async move {
            core.change(|world| world.unpause(&id))
        })
        .await
    }

    async fn observe(&self, deadline: Deadline) -> Result<Observation, Error> {
        self.read(Action::Status, deadline, |details| Ok(details.observation)).await
    }

    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        self.read(Action::Inspect, deadline, Ok).await
    }

    async fn stats(&self, deadline: Deadline) -> Result<Stats, Error> {
        self.require(Action::Stats, &self.core().capabilities.stats)?;
        self.call(Action::Stats, deadline, |core, id| async move {
            core.change(|world| {
                let container = world.get_mut(&id).ok_or(ErrorKind::NotFound)?;
                let status = &container.details.observation.status;
                if status.is_alive() {
                    Ok(container.next_stats())
                } else {
                    Err(ErrorKind::Conflict { status: status.clone() })
                }
            })
        })
        .await
    }

    fn watch(&self) -> Watch {
        feed::watch(Arc::clone(&self.handle), self.reference.clone())
    }
}

async fn stop(core: Arc<Core>, id: String, options: StopOptions) -> Result<(), ErrorKind> {
    let (signal, timeout) = {
        let world = core.read();
        let details = &world.get(&id).ok_or(ErrorKind::NotFound)?.details;
        let signal = options.signal.or(details.stop_signal).unwrap_or(Signal::TERM);
        let timeout = options.timeout.or(details.stop_timeout).unwrap_or(DEFAULT_STOP_TIMEOUT);
        (signal, timeout)
    };
    match core.change(|world| world.begin_stop(&id, signal))? {
        StopBegun::Done => Ok(()),
        StopBegun::Waits(run) => {
            let ended = core.until(|world| !world.is_alive(&id, &run));
            // Whether it ended by itself or not is seen below.
            _ = tokio::time::timeout(timeout, ended).await;
            core.change(|world| world.finish_stop(&id, &run));
            Ok(())
        }
    }
}
