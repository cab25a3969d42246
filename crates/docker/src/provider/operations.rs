//! The orders. What an engine answers to one that it does not simply carry out is judged by the
//! state that a read finds afterwards, never by its words: engines, and their versions, differ.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptions, StopContainerOptions};
use drowse_provider::{
    Action, ContainerStatus, Deadline, Error, ErrorKind, KillOutcome, Observation, RestartPolicy,
    Signal, StopOptions, Unusable,
};
use http::StatusCode;
use serde::Serialize;
use tokio::time::Instant;

use super::{DockerProvider, refusal};
use crate::{
    client::{Call, words},
    details::{restart_policy_of, stop_signal_of},
    facts::NO_STOP_SIGNAL,
    state::observation_of,
    transport::Answer,
    wire::Inspected,
};

/// What an engine allows a container to end in, if neither it nor the user says.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two reads of a state that is waited for: at first, and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Exit codes by which engines say that a program could not be executed or was not found.
const NOT_EXECUTED: [i64; 2] = [126, 127];

const RESTARTING: ContainerStatus = ContainerStatus::Error(Unusable::Restarting);

impl DockerProvider {
    pub(super) async fn order_start(&self, deadline: Deadline) -> Result<(), Error> {
        let call = self.call(Action::Start, deadline);
        let mut wait = Wait::new(self, call);
        let mut was_gone_before = false;
        loop {
            let answer = self.order(call, "start", ()).await?;
            if answer.head.status.is_success() {
                return Ok(());
            }
            let was_running = answer.head.status == StatusCode::NOT_MODIFIED;
            // In an update, the one that was found goes between two calls, and another one comes. Asked
            // once more only: a network that is missing gives the same answer.
            let was_gone = answer.head.status == StatusCode::NOT_FOUND
                && !std::mem::replace(&mut was_gone_before, true);
            let mut was_restarting = false;
            loop {
                let inspected = wait.read(&answer).await?;
                match observation_of(&inspected.state).status {
                    ContainerStatus::Running => return Ok(()),
                    ContainerStatus::Paused => return self.order_unpause(call).await,
                    RESTARTING => was_restarting = true,
                    // What ran when it was asked for has ended since: ask again.
                    ContainerStatus::Stopped if was_running || was_restarting || was_gone => break,
                    ContainerStatus::Stopped => {
                        return Err(self.not_started(call, &answer, &inspected));
                    }
                    status => return Err(self.client().conflict(call, status)),
                }
                wait.on(RESTARTING).await?;
            }
            wait.on(ContainerStatus::Stopped).await?;
        }
    }

    fn not_started(&self, call: Call<'_>, answer: &Answer, inspected: &Inspected) -> Error {
        let exit = inspected.state.exit_code.filter(|code| NOT_EXECUTED.contains(code));
        refusal(self.client(), call, exit, words(answer))
    }

    pub(super) async fn order_stop(
        &self,
        options: &StopOptions,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let call = self.call(Action::Stop, deadline);
        self.client().learn_version(call).await?;
        // Only what the user set: anything else is the container's own.
        let mut query =
            StopContainerOptions { signal: None, t: options.timeout.map(whole_seconds) };
        if self.client().facts.is_podman() {
            self.spare_what_podman_would_kill(call, &mut query).await?;
        }
        if let Some(signal) = options.signal {
            if self.client().facts.stop_takes_signal() {
                query.signal = Some(signal.number().to_string());
            } else if let Some(by_kill) = self.judge_signal(call, signal).await? {
                return self.stop_by_kill(call, signal, options, by_kill).await;
            }
        }
        self.stop_as_defined(call, &query).await
    }

    /// Podman kills where Docker would let a process end: one that is frozen, which gets its stop
    /// signal and, with the thaw, the kill after it; and one whose container has no timeout of its
    /// own, for which it takes zero.
    async fn spare_what_podman_would_kill(
        &self,
        call: Call<'_>,
        query: &mut StopContainerOptions,
    ) -> Result<(), Error> {
        let inspected = self.client().inspect(call, &self.target).await?;
        if inspected.config.stop_timeout.is_none() {
            query.t.get_or_insert(whole_seconds(DEFAULT_STOP_TIMEOUT));
        }
        if observation_of(&inspected.state).status == ContainerStatus::Paused {
            match self.order_unpause(call).await {
                // It has ended since, which is what is wanted.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {}
                thawed => thawed?,
            }
        }
        Ok(())
    }

    /// How to stop with a chosen signal on an engine whose `stop` takes none: `None`, just so,
    /// since it is the container's own; or by that container's `kill`.
    async fn judge_signal(
        &self,
        call: Call<'_>,
        signal: Signal,
    ) -> Result<Option<Inspected>, Error> {
        let inspected = self.client().inspect(call, &self.target).await?;
        let observation = observation_of(&inspected.state);
        let own = stop_signal_of(&inspected.config).unwrap_or(Signal::TERM);
        if own == signal || !observation.status.is_alive() {
            return Ok(None);
        }
        match restart_policy_of(&inspected.host_config) {
            RestartPolicy::No => Ok(Some(inspected)),
            // Podman takes it for `always`.
            RestartPolicy::UnlessStopped if !self.client().facts.is_podman() => Ok(Some(inspected)),
            _ => {
                let why = NO_STOP_SIGNAL.to_owned();
                Err(self.client().error(call, ErrorKind::Unsupported { why }))
            }
        }
    }

    async fn stop_as_defined(
        &self,
        call: Call<'_>,
        query: &StopContainerOptions,
    ) -> Result<(), Error> {
        let mut wait = Wait::new(self, call);
        loop {
            let answer = self.order(call, "stop", query).await?;
            if answer.head.status.is_success() {
                return Ok(());
            }
            let was_stopped = answer.head.status == StatusCode::NOT_MODIFIED;
            let inspected = wait.read(&answer).await?;
            match observation_of(&inspected.state).status {
                ContainerStatus::Stopped => return Ok(()),
                // It was started, or came back, since it was asked to stop: ask again.
                status @ ContainerStatus::Running if was_stopped => wait.on(status).await?,
                ContainerStatus::Running => {
                    return Err(refusal(self.client(), call, None, words(&answer)));
                }
                // Podman stops nothing that is frozen.
                status @ ContainerStatus::Paused => {
                    self.order_unpause(call).await?;
                    wait.on(status).await?;
                }
                RESTARTING => wait.on(RESTARTING).await?,
                status => return Err(self.client().conflict(call, status)),
            }
        }
    }

    async fn stop_by_kill(
        &self,
        call: Call<'_>,
        signal: Signal,
        options: &StopOptions,
        inspected: Inspected,
    ) -> Result<(), Error> {
        let before = observation_of(&inspected.state);
        if before.status == ContainerStatus::Paused {
            // A frozen process takes no signal.
            self.order_unpause(call).await?;
        }
        let own_timeout = || match inspected.config.stop_timeout {
            None => Some(DEFAULT_STOP_TIMEOUT),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        let timeout = options.timeout.or_else(own_timeout);
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let query = KillContainerOptions { signal: signal.number().to_string() };
        let answer = self.order(call, "kill", query).await?;
        let mut wait = Wait::new(self, call);
        while until.is_none_or(|until| Instant::now() < until) {
            let inspected = wait.read(&answer).await?;
            let now = observation_of(&inspected.state);
            if now.run != before.run || !now.status.is_alive() {
                return Ok(());
            }
            wait.on(now.status).await?;
        }
        self.stop_as_defined(call, &StopContainerOptions { signal: None, t: Some(0) }).await
    }

    pub(super) async fn order_kill(&self, deadline: Deadline) -> Result<KillOutcome, Error> {
        let call = self.call(Action::Kill, deadline);
        let answer = self.order(call, "kill", ()).await?;
        let was_taken = answer.head.status.is_success();
        let mut wait = Wait::new(self, call);
        let mut was_stopped = false;
        loop {
            let observation = match wait.read(&answer).await {
                Ok(inspected) => observation_of(&inspected.state),
                // One that is removed when it ends.
                Err(error) if was_taken && matches!(error.kind(), ErrorKind::NotFound) => {
                    return Ok(KillOutcome::Exited(None));
                }
                Err(error) => return Err(error),
            };
            let Observation { status, exit_code, .. } = observation;
            match status {
                ContainerStatus::Stopped => return Ok(KillOutcome::Exited(exit_code)),
                // The last one: of a container that is removed when it ends.
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Error(Unusable::Removing)
                    if was_taken => {}
                ContainerStatus::Running | ContainerStatus::Paused => {
                    return Err(refusal(self.client(), call, None, words(&answer)));
                }
                // There is no process to kill, only a restart to call off.
                RESTARTING if !was_stopped => {
                    was_stopped = true;
                    let query = StopContainerOptions { signal: None, t: Some(0) };
                    self.stop_as_defined(call, &query).await?;
                }
                RESTARTING => {}
                status => return Err(self.client().conflict(call, status)),
            }
            wait.on(status).await?;
        }
    }

    pub(super) async fn order_signal(
        &self,
        signal: Signal,
        deadline: Deadline,
    ) -> Result<KillOutcome, Error> {
        let call = self.call(Action::Kill, deadline);
        // Read before: the engine would resume one that is paused.
        let inspected = self.client().inspect(call, &self.target).await?;
        let status = observation_of(&inspected.state).status;
        if status != ContainerStatus::Running {
            return Err(self.client().conflict(call, status));
        }
        let query = KillContainerOptions { signal: signal.number().to_string() };
        let answer = self.order(call, "kill", query).await?;
        if answer.head.status.is_success() {
            return Ok(KillOutcome::StillRunning);
        }
        let inspected = Wait::new(self, call).read(&answer).await?;
        match observation_of(&inspected.state).status {
            ContainerStatus::Running => Err(refusal(self.client(), call, None, words(&answer))),
            status => Err(self.client().conflict(call, status)),
        }
    }

    pub(super) async fn order_pause(&self, deadline: Deadline) -> Result<(), Error> {
        let call = self.call(Action::Pause, deadline);
        self.freeze_or_thaw(call, "pause", ContainerStatus::Paused, ContainerStatus::Running).await
    }

    pub(super) async fn order_unpause(&self, call: Call<'_>) -> Result<(), Error> {
        self.freeze_or_thaw(call, "unpause", ContainerStatus::Running, ContainerStatus::Paused)
            .await
    }

    async fn freeze_or_thaw(
        &self,
        call: Call<'_>,
        verb: &str,
        wanted: ContainerStatus,
        before: ContainerStatus,
    ) -> Result<(), Error> {
        let answer = self.order(call, verb, ()).await?;
        if answer.head.status.is_success() {
            return Ok(());
        }
        let inspected = Wait::new(self, call).read(&answer).await?;
        match observation_of(&inspected.state).status {
            status if status == wanted => Ok(()),
            status if status == before => Err(refusal(self.client(), call, None, words(&answer))),
            status => Err(self.client().conflict(call, status)),
        }
    }

    async fn order(
        &self,
        call: Call<'_>,
        verb: &str,
        query: impl Serialize,
    ) -> Result<Answer, Error> {
        self.client().order(call, &self.target, verb, query).await
    }
}

/// Reads a state again and again, until a deadline.
struct Wait<'a> {
    provider: &'a DockerProvider,
    call: Call<'a>,
    pause: Duration,
    /// What is being waited out: said when the deadline passes.
    last: Option<Error>,
}

impl<'a> Wait<'a> {
    fn new(provider: &'a DockerProvider, call: Call<'a>) -> Self {
        Self { provider, call, pause: PAUSES.0, last: None }
    }

    /// What the container is now, after `answer` was given. Waits out an engine that cannot be
    /// asked for a moment.
    async fn read(&mut self, answer: &Answer) -> Result<Inspected, Error> {
        let (provider, call) = (self.provider, self.call);
        let client = provider.client();
        if self.last.is_none() && !is_as_ordered(answer.head.status) {
            self.last = Some(refusal(client, call, None, words(answer)));
        }
        loop {
            match client.inspect(call, &provider.target).await {
                Err(error) if matches!(error.kind(), ErrorKind::Timeout { .. }) => {
                    return Err(client.timeout(call, self.last.take()));
                }
                Err(error) if error.is_retryable() => {
                    self.last = Some(error);
                    self.rest().await?;
                }
                settled => return settled,
            }
        }
    }

    /// Waits a moment, since this state is in the way.
    async fn on(&mut self, status: ContainerStatus) -> Result<(), Error> {
        self.last = Some(self.provider.client().conflict(self.call, status));
        self.rest().await
    }

    async fn rest(&mut self) -> Result<(), Error> {
        let client = self.provider.client();
        let until = (Instant::now() + self.pause).min(self.call.deadline.at());
        self.pause = (self.pause * 2).min(PAUSES.1);
        let rest = tokio::time::sleep_until(until);
        if client.closing.run_until_cancelled(rest).await.is_none() {
            Err(client.error(self.call, ErrorKind::Closed))
        } else if self.call.deadline.has_passed() {
            Err(client.timeout(self.call, self.last.take()))
        } else {
            Ok(())
        }
    }
}

fn is_as_ordered(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}

/// The engine counts in whole seconds: a part of one is rounded up.
fn whole_seconds(timeout: Duration) -> i32 {
    let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
