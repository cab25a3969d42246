//! One order, from the look before it to the state that it was given for.
//!
//! Proxmox takes nearly every order and fails in the task, so nothing is believed before a read
//! shows it; what a task says about a failure counts only where the state is not as wanted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_provider::{Action, ContainerStatus, Deadline, Error, ErrorKind, Reference};
use tokio::time::Instant;

use super::{goal::Goal, orders::Turn};
use crate::{
    Cause, ClientError, TaskOutcome, Upid,
    client::Sent,
    cluster::{Live, Located},
};

/// The pause between two looks at something that is waited for: at first, and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// How often an order is given that met the container elsewhere, or in another state than the one
/// that was read a moment before.
const ATTEMPTS: usize = 3;
/// How often it is looked for an order whose answer was lost: for 6 s. Starts and kills have ended by
/// then, also where their tasks are not to be seen.
const LOOKS: usize = 8;
/// The lock that a task holds while it works on a container.
const CONFIG_LOCK: &str = "config";
/// How long a task is waited for before the state is looked at, where the task cannot be read.
const LOOK: Duration = Duration::from_secs(10);
/// How many lines of a task's log are told.
const LOG_LINES: usize = 20;

/// The order itself, as Proxmox has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Start,
    /// Asked to end, and killed after this time.
    Shutdown {
        timeout: Duration,
    },
    Stop {
        /// Also ends a shutdown's task that holds the container.
        overrule: bool,
    },
}

/// What an order needs of the cluster.
#[async_trait]
pub(super) trait Site: Send + Sync + 'static {
    fn engine(&self) -> &str;

    /// The container as it is now, wherever it is now. The watches are told of it too.
    async fn live(&self, vmid: u32, action: Action, deadline: Deadline) -> Result<Live, Error>;

    /// Its configuration is to be read anew.
    fn forget_config(&self, vmid: u32);

    /// While this is held, the watches are told soon of what changes.
    fn transition(&self, vmid: u32) -> Box<dyn Send + Sync>;

    /// Dropping it gives the order up; `sent` tells whether it may have arrived by then.
    async fn give(
        &self,
        at: &Located,
        call: Call,
        sent: &Sent,
        deadline: Deadline,
    ) -> Result<Upid, ClientError>;

    async fn finished(&self, upid: &Upid, deadline: Deadline) -> Result<TaskOutcome, ClientError>;

    async fn log(
        &self,
        upid: &Upid,
        lines: usize,
        deadline: Deadline,
    ) -> Result<Vec<String>, ClientError>;

    /// The tasks that work on the container, as far as the credential may see them.
    async fn active_tasks(
        &self,
        at: &Located,
        deadline: Deadline,
    ) -> Result<Vec<Upid>, ClientError>;

    /// Whether this release can end a shutdown's task for a stop.
    async fn can_overrule(&self, deadline: Deadline) -> bool;
}

/// Carries one order out.
pub(super) struct Carrier {
    pub(super) site: Arc<dyn Site>,
    pub(super) vmid: u32,
    /// The node that it was on when it was looked for.
    pub(super) found_on: Arc<str>,
    /// How whoever began it names the container.
    pub(super) reference: Reference,
    pub(super) action: Action,
    pub(super) goal: Goal,
    /// The least time for which it is followed: see [`Carrier::deadline`].
    pub(super) deadline: Deadline,
    pub(super) turn: Turn,
}

/// What came of an order.
enum Came {
    /// The container is as wanted.
    Reached,
    /// It was not where it was read, or not in that state: read it again. The answer that said so.
    Again(Error),
    /// Somebody's shutdown, perhaps our own from an earlier life, holds it. The answer that said so.
    Held(Error),
}

impl Carrier {
    pub(super) async fn run(self) {
        let begun = Instant::now();
        let outcome = self.carry_out().await;
        tracing::debug!(
            engine = self.site.engine(),
            container = %self.reference,
            vmid = self.vmid,
            action = %self.action,
            elapsed = ?begun.elapsed(),
            error = outcome.as_ref().err().map(|error| error as &dyn std::error::Error),
            "the order ended"
        );
        self.turn.end(outcome);
    }

    async fn carry_out(&self) -> Result<(), Error> {
        let mut live = self.read_once().await.map_err(|error| self.nothing_was_sent(error))?;
        if self.is_there_already(&live)? {
            return Ok(());
        }
        let _transition = self.site.transition(self.vmid);
        // What its user changed while it slept counts from this wake on.
        self.site.forget_config(self.vmid);
        let mut rest = Rest::new(self);
        let mut overrule = false;
        let mut attempts = 1;
        loop {
            let error = match self.order(&live, &mut overrule).await? {
                Came::Reached => return Ok(()),
                Came::Held(error) if overrule || !self.may_overrule(&live).await => {
                    return Err(error);
                }
                Came::Held(error) => {
                    overrule = true;
                    error
                }
                Came::Again(error) => error,
            };
            if attempts == ATTEMPTS {
                return Err(error);
            }
            attempts += 1;
            self.turn.wait_out(error);
            live = self.read(&mut rest).await?;
            if self.is_there_already(&live)? {
                return Ok(());
            }
        }
    }

    /// Whether there is nothing to do; or why nothing can be done now.
    fn is_there_already(&self, live: &Live) -> Result<bool, Error> {
        let observation = &live.observation;
        match (&observation.status, self.goal) {
            (ContainerStatus::Running, Goal::Start)
            | (ContainerStatus::Stopped, Goal::Shutdown { .. } | Goal::Kill) => Ok(true),
            (ContainerStatus::Running | ContainerStatus::Stopped, _) => match &observation.lock {
                Some(by) => Err(self.error(ErrorKind::Locked { by: by.clone() })),
                None => Ok(false),
            },
            (status, _) => Err(self.conflict(status)),
        }
    }

    async fn order(&self, live: &Live, overrule: &mut bool) -> Result<Came, Error> {
        self.turn.wait_out(self.conflict(&live.observation.status));
        let call = match self.goal {
            Goal::Start => Call::Start,
            Goal::Shutdown { timeout } => Call::Shutdown { timeout },
            Goal::Kill => {
                if let Some(shutdown) = self.turn.came_upon.as_ref().filter(|open| open.is_open()) {
                    if !self.may_overrule(live).await {
                        let held = self.error(ErrorKind::Locked { by: "shutdown".to_owned() });
                        self.turn.wait_out(held.clone());
                        // However it ends: the next read tells what is left to do.
                        self.by_deadline(shutdown.ended()).await?;
                        return Ok(Came::Again(held));
                    }
                    *overrule = true;
                }
                if *overrule {
                    self.turn.overrule();
                }
                Call::Stop { overrule: *overrule }
            }
        };
        loop {
            let Some(until) = self.turn.wanted_until() else {
                // Nobody hears of it. What is no longer wanted is not begun.
                return Err(self.timeout());
            };
            return match self.give(live, call, until).await {
                Ok(upid) => self.follow(&upid, live).await,
                // Whoever joined meanwhile may have more time.
                Err(ClientError::TimedOut { last, was_sent: false, .. }) => {
                    if let Some(last) = last {
                        self.turn.wait_out(self.of(*last));
                    }
                    continue;
                }
                Err(error) => match error.cause() {
                    Some(Cause::AlreadyRunning | Cause::NotRunning | Cause::NoSuchContainer) => {
                        Ok(Came::Again(self.of(error)))
                    }
                    _ if error.is_outcome_unknown() => self.look_for(error, live).await,
                    _ => Err(self.of(error)),
                },
            };
        }
    }

    async fn may_overrule(&self, live: &Live) -> bool {
        self.goal == Goal::Kill
            && !is_managed(live)
            && self.site.can_overrule(self.deadline()).await
    }

    /// Gives the order. It may have to wait for its turn, a login or an endpoint: not longer than
    /// anybody waits for it.
    async fn give(&self, live: &Live, call: Call, until: Deadline) -> Result<Upid, ClientError> {
        let asked = Instant::now();
        let sent = Sent::default();
        let mut given = self.site.give(&live.at, call, &sent, until);
        let answer = tokio::select! {
            answer = &mut given => answer,
            () = self.turn.deserted() => {
                if sent.may_have_arrived() {
                    given.await
                } else {
                    drop(given);
                    let after = asked.elapsed();
                    Err(ClientError::TimedOut { after, last: None, was_sent: false })
                }
            }
        };
        tracing::debug!(
            engine = self.site.engine(),
            container = %self.reference,
            vmid = self.vmid,
            node = %live.at.node,
            action = %self.action,
            order = ?call,
            elapsed = ?asked.elapsed(),
            task = answer.as_ref().ok().map(tracing::field::display),
            error = answer.as_ref().err().map(tracing::field::display),
            "order given"
        );
        answer
    }

    /// Waits for the task of an order, and then for the state.
    async fn follow(&self, upid: &Upid, before: &Live) -> Result<Came, Error> {
        let mut rest = Rest::new(self);
        let begun = Instant::now();
        loop {
            let look = Deadline::after(LOOK.min(self.deadline().remaining()));
            let in_the_way = match self.site.finished(upid, look).await {
                Ok(outcome) => {
                    self.task_ended(upid, begun, &outcome).await;
                    // High availability management has only been asked, so far.
                    let is_only_asked_for = upid.kind().starts_with("ha");
                    return self.see_reached(is_only_asked_for, before).await;
                }
                Err(error @ ClientError::TaskFailed { .. }) => {
                    return self.task_failed(error, before).await;
                }
                Err(ClientError::TimedOut { .. }) if self.deadline().has_passed() => {
                    return Err(self.timeout());
                }
                Err(ClientError::TimedOut { last, .. }) => last.map(|last| self.of(*last)),
                Err(error) => Some(self.of(error)),
            };
            match in_the_way {
                // It runs still, as far as can be seen.
                None => self.turn.wait_out(self.conflict(&before.observation.status)),
                Some(error) => {
                    if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unauthorized) {
                        return Err(self.not_seen(error));
                    }
                    let may_pass = error.is_retryable();
                    self.turn.wait_out(error);
                    if !may_pass {
                        // Its task is not to be seen: its state tells what came of it.
                        return self.see_reached(true, before).await;
                    }
                    rest.rest().await?;
                }
            }
            // The task's node may be gone or silent, and the container be elsewhere by now.
            if let Ok(live) = self.read_once().await
                && self.is_reached(&live, before)
            {
                return Ok(Came::Reached);
            }
        }
    }

    async fn task_ended(&self, upid: &Upid, begun: Instant, outcome: &TaskOutcome) {
        tracing::debug!(
            engine = self.site.engine(),
            container = %self.reference,
            vmid = self.vmid,
            action = %self.action,
            elapsed = ?begun.elapsed(),
            task = %upid,
            ?outcome,
            "the order's task ended"
        );
        if let TaskOutcome::Warnings(_) = outcome {
            self.tell_warnings(upid).await;
        }
    }

    async fn tell_warnings(&self, upid: &Upid) {
        let patience = Deadline::after(LOOK.min(self.deadline().remaining()));
        let log = match self.site.log(upid, LOG_LINES, patience).await {
            Ok(lines) => lines.join("; "),
            Err(error) => format!("not readable: {error}"),
        };
        tracing::warn!(
            engine = self.site.engine(),
            container = %self.reference,
            vmid = self.vmid,
            action = %self.action,
            task = %upid,
            log,
            "Proxmox carried the order out, with warnings"
        );
    }

    async fn task_failed(&self, error: ClientError, before: &Live) -> Result<Came, Error> {
        let cause = error.cause();
        let error = self.of(error);
        if cause == Some(Cause::Interrupted)
            && let Some(kill) = self.turn.overruled_by()
        {
            return match self.by_deadline(kill.ended()).await? {
                Some(outcome) => outcome.map(|()| Came::Reached),
                None => Err(self.error(ErrorKind::Closed)),
            };
        }
        if cause == Some(Cause::NoSuchContainer) {
            return Ok(Came::Again(error));
        }
        match self.read_once().await {
            Ok(live) if self.is_reached(&live, before) => Ok(Came::Reached),
            Ok(live) if live.at.node != before.at.node => Ok(Came::Again(error)),
            Ok(_) => {
                let is_held = matches!(cause, Some(Cause::Locked { by }) if by == CONFIG_LOCK);
                if is_held { Ok(Came::Held(error)) } else { Err(error) }
            }
            // The task's own words say more than whatever is in the way of a read.
            Err(_) => Err(error),
        }
    }

    /// Waits until the container is as wanted. `is_only_asked_for`: nothing may have been done yet.
    async fn see_reached(&self, is_only_asked_for: bool, before: &Live) -> Result<Came, Error> {
        let mut rest = Rest::new(self);
        loop {
            let live = match self.read(&mut rest).await {
                // It ended, and was deleted since.
                Err(error)
                    if self.goal != Goal::Start && matches!(error.kind(), ErrorKind::NotFound) =>
                {
                    return Ok(Came::Reached);
                }
                read => read.map_err(|error| self.not_seen(error))?,
            };
            let status = &live.observation.status;
            // One that ended as soon as it ran was started all the same.
            let ran = *status == ContainerStatus::Stopped
                && self.goal == Goal::Start
                && !is_only_asked_for;
            if ran || self.is_reached(&live, before) {
                return Ok(Came::Reached);
            }
            let blocked = self.conflict(status);
            if matches!(status, ContainerStatus::Error(_)) && ha_state(&live) == Some("error") {
                return Err(blocked);
            }
            self.turn.wait_out(blocked);
            rest.rest().await?;
        }
    }

    /// An order was sent, and its answer was lost. It is not repeated: either the state or a task
    /// shows that it was taken, or whoever asked must decide.
    async fn look_for(&self, error: ClientError, before: &Live) -> Result<Came, Error> {
        let lost = self.of(error);
        self.turn.wait_out(lost.clone());
        let mut rest = Rest::new(self);
        let mut looks = 0;
        while looks < LOOKS {
            rest.rest().await?;
            let live = self.read(&mut rest).await.map_err(|error| self.not_seen(error))?;
            if self.is_reached(&live, before) {
                return Ok(Came::Reached);
            }
            match self.site.active_tasks(&live.at, self.deadline()).await {
                // A credential that may not see it is told of none.
                Ok(tasks) => {
                    let ours = tasks.iter().find(|task| self.goal.is_served_by(task.kind()));
                    if let Some(task) = ours {
                        return self.follow(task, before).await;
                    }
                    looks += 1;
                }
                Err(error) => {
                    let error = self.of(error);
                    // What failed was no look, unless it can never be one.
                    looks += usize::from(!error.is_retryable());
                }
            }
        }
        Err(lost)
    }

    fn is_reached(&self, live: &Live, before: &Live) -> bool {
        let (now, then) = (&live.observation, &before.observation);
        match self.goal {
            Goal::Start => now.status == ContainerStatus::Running,
            Goal::Shutdown { .. } | Goal::Kill => {
                // Another run: it ended, and somebody has started it again. Under high availability
                // that may be management itself, which has not come to the order yet.
                let is_another_run = now.run.is_some() && then.run.is_some() && now.run != then.run;
                now.status == ContainerStatus::Stopped || (is_another_run && !is_managed(before))
            }
        }
    }

    // === reads and waits ===

    /// Until when it is followed: as long as its goal may take, and as anybody waits for it. Whoever
    /// joins it may put it off.
    fn deadline(&self) -> Deadline {
        let latest = self.turn.latest_deadline();
        latest.filter(|latest| latest.at() > self.deadline.at()).unwrap_or(self.deadline)
    }

    async fn read_once(&self) -> Result<Live, Error> {
        let read = self.site.live(self.vmid, self.action, self.deadline()).await;
        read.map_err(
            |error| {
                if self.deadline().has_passed() { self.timeout() } else { self.about(error) }
            },
        )
    }

    /// Reads it, and waits out what may pass by itself.
    async fn read(&self, rest: &mut Rest<'_>) -> Result<Live, Error> {
        loop {
            match self.read_once().await {
                Err(error) if error.is_retryable() && !self.deadline().has_passed() => {
                    self.turn.wait_out(error);
                    rest.rest().await?;
                }
                settled => return settled,
            }
        }
    }

    async fn by_deadline<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        let mut wait = std::pin::pin!(wait);
        loop {
            let deadline = self.deadline();
            match tokio::time::timeout_at(deadline.at(), &mut wait).await {
                Ok(output) => return Ok(output),
                Err(_) if self.deadline() == deadline => return Err(self.timeout()),
                Err(_) => {}
            }
        }
    }

    // === errors ===

    /// Of the look before an order. A time-out of its own, long before the order's, is no reason to
    /// think that the order may have been taken.
    fn nothing_was_sent(&self, error: Error) -> Error {
        if self.deadline().has_passed() || !matches!(error.kind(), ErrorKind::Timeout { .. }) {
            return error;
        }
        let reason = format!("`{}` does not answer, so nothing was ordered", self.found_on);
        self.error(ErrorKind::Unavailable { reason }).with_source(error)
    }

    /// Of a look after an order. What is refused then is the look: of the order it only says that
    /// nobody knows what came of it.
    fn not_seen(&self, error: Error) -> Error {
        if error.is_outcome_unknown() || matches!(error.kind(), ErrorKind::Closed) {
            return error;
        }
        let kind = error.kind();
        let reason = format!("what came of the order cannot be read: {kind}");
        self.error(ErrorKind::Unavailable { reason }).with_source(error)
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.about(Error::new(self.site.engine(), self.action, kind))
    }

    fn about(&self, error: Error) -> Error {
        error.with_container(self.reference.to_string())
    }

    fn of(&self, error: ClientError) -> Error {
        if self.deadline().has_passed() && matches!(error, ClientError::TimedOut { .. }) {
            return self.timeout();
        }
        error.into_error(self.site.engine(), self.action, Some(&self.reference.to_string()))
    }

    fn conflict(&self, status: &ContainerStatus) -> Error {
        self.error(ErrorKind::Conflict { status: status.clone() })
    }

    fn timeout(&self) -> Error {
        let last = self.turn.order().waits_out().map(Box::new);
        self.error(ErrorKind::Timeout { after: self.deadline().duration(), last })
    }
}

/// Pauses that grow, and end with the order's deadline.
struct Rest<'a> {
    carrier: &'a Carrier,
    pause: Duration,
}

impl<'a> Rest<'a> {
    fn new(carrier: &'a Carrier) -> Self {
        Self { carrier, pause: PAUSES.0 }
    }

    async fn rest(&mut self) -> Result<(), Error> {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        self.carrier.by_deadline(tokio::time::sleep(pause)).await
    }
}

/// Whether orders are given to high availability management instead of to the node.
pub(super) fn is_managed(live: &Live) -> bool {
    match ha_state(live) {
        Some(state) => state != "ignored",
        None => live.status.is_ha_managed,
    }
}

pub(super) fn ha_state(live: &Live) -> Option<&str> {
    live.status.ha_state.as_deref().or(live.at.ha_state.as_deref())
}

#[cfg(test)]
mod tests;
