//! By which way a call goes: an endpoint that works, a place in flight, a connection.

use std::{sync::Arc, time::Duration};

use drowse_provider::Deadline;
use http::Method;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::Instant;

use super::{
    ClientError, Endpoint,
    answer::Answer,
    call::Call,
    connection::{Broken, Dialer},
    endpoints::{Choice, Endpoints},
    lanes::{Lane, Lanes},
    pool::{Kept, Pool},
    session::Shown,
    wire::Envelope,
};

/// The least that an endpoint is given to answer, as long as the deadline has it: a refused credential
/// is answered after 3 s. A silence of that length says something of the endpoint, and not only of
/// our haste.
const PATIENCE: Duration = Duration::from_secs(4);

/// What it may take to ask whether a credential is accepted elsewhere. A refusal takes 3 s.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// What has happened to a call so far, for when its time is up.
#[derive(Default)]
pub(super) struct Progress {
    /// The last error that is being waited out.
    pub(super) last: Option<ClientError>,
    /// Whether it is an order, and may have arrived.
    pub(super) was_sent: bool,
    /// The endpoints that refused the credential when it was shown last.
    refused_by: Vec<usize>,
}

/// How an endpoint's answer came.
struct Attempt<'a> {
    transport: &'a Transport,
    at: usize,
    began: Instant,
    /// Whether a node is asked through it.
    is_passed_on: bool,
    /// Whether a connection was made.
    is_connected: bool,
    /// Whether the request may have arrived.
    was_sent: bool,
    is_over: bool,
}

impl Attempt<'_> {
    fn silence(&self, lasted: Duration) -> ClientError {
        ClientError::Unreachable {
            endpoint: self.transport.endpoints.all()[self.at].to_string(),
            reason: format!("it has not answered for {lasted:?}"),
            was_sent: self.was_sent,
            source: None,
        }
    }

    /// Whether a silence is the endpoint's own, and not that of a node to which it passes on (of
    /// which it would say so after 30 s).
    fn is_its_silence(&self) -> bool {
        let silent_for = self.began.elapsed();
        silent_for >= self.transport.request_timeout
            || (silent_for >= PATIENCE && !(self.is_passed_on && self.is_connected))
    }
}

impl Drop for Attempt<'_> {
    /// Whoever asked has no more time: the next one who asks goes to another endpoint.
    fn drop(&mut self) {
        if !self.is_over && self.is_its_silence() {
            let lasted = Duration::from_secs(self.began.elapsed().as_secs());
            self.transport.learn(self.at, self.began, Some(&self.silence(lasted)));
        }
    }
}

/// The ways to one cluster.
pub(super) struct Transport {
    endpoints: Endpoints,
    lanes: Lanes,
    pool: Pool,
    dialer: Dialer,
    request_timeout: Duration,
}

impl Transport {
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        places: usize,
        dialer: Dialer,
        request_timeout: Duration,
    ) -> Self {
        Self {
            endpoints: Endpoints::new(endpoints),
            lanes: Lanes::new(places),
            pool: Pool::default(),
            dialer,
            request_timeout,
        }
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        self.endpoints.all()
    }

    /// Lets go of the connections that lie idle.
    pub(super) fn let_go(&self) {
        self.pool.clear();
    }

    /// By one endpoint after the other, each once at most. What a read has of its deadline is
    /// divided among as many of them as can be given time enough, so that one that says nothing does
    /// not keep it from the next.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        pass: Option<&Shown<'_>>,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Envelope<T>, ClientError> {
        let asked = self.chosen(call, progress).await;
        self.ask_each(asked, call, pass, deadline, progress).await
    }

    /// Whether another endpoint than the one that refused the credential accepts it: a sick one does
    /// not speak for all. What two of them refused is not asked about again.
    pub(super) async fn is_accepted_elsewhere(
        &self,
        pass: &Shown<'_>,
        progress: &Progress,
    ) -> bool {
        let [refusing] = progress.refused_by[..] else { return false };
        let others: Vec<_> = (0..self.endpoints.all().len()).filter(|at| *at != refusing).collect();
        let call = Call::get("/version".to_owned()).kept_alive().in_lane(Lane::Cluster);
        let deadline = Deadline::after(CONFIRMATION);
        let mut progress = Progress::default();
        let asked = self.ask_each::<IgnoredAny>(others, &call, Some(pass), deadline, &mut progress);
        let outcome = tokio::time::timeout_at(deadline.at(), asked).await;
        matches!(
            outcome,
            Ok(Ok(_) | Err(ClientError::Forbidden { .. } | ClientError::Refused { .. }))
        )
    }

    async fn ask_each<T: DeserializeOwned>(
        &self,
        asked: Vec<usize>,
        call: &Call<'_>,
        pass: Option<&Shown<'_>>,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Envelope<T>, ClientError> {
        progress.refused_by.clear();
        let count = asked.len();
        let mut failures: Vec<ClientError> = Vec::new();
        for (place, at) in asked.into_iter().enumerate() {
            let _turn = self.lanes.turn(call.lane()).await.ok_or(ClientError::Closed)?;
            // Somebody else was refused while this one waited for its turn.
            if let Some(refusal) = pass.and_then(Shown::refusal) {
                return Err(refusal);
            }
            let still_to_ask = if call.is_once() { 1 } else { count - place };
            let patience = self.request_timeout.min(share(deadline.remaining(), still_to_ask));
            let error = match self.at(at, call, pass, patience, progress).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_be_elsewhere = match error {
                ClientError::Unreachable { .. }
                | ClientError::Untrusted { .. }
                | ClientError::NodeUnreachable { .. }
                | ClientError::Garbled { .. } => true,
                // A node whose cluster file system is down, or whose clock is wrong, refuses
                // everybody. A password is shown to no second one: refusals are counted.
                ClientError::Unauthorized { .. } => pass.is_some(),
                _ => false,
            };
            if !may_be_elsewhere || (call.is_once() && error.was_sent()) {
                return Err(error);
            }
            if matches!(error, ClientError::Unauthorized { .. }) {
                progress.refused_by.push(at);
            }
            progress.last = Some(error.clone());
            // What two of them say of a node or a credential is so.
            let is_same = |other: &ClientError| {
                matches!(
                    (&error, other),
                    (ClientError::NodeUnreachable { .. }, ClientError::NodeUnreachable { .. })
                        | (ClientError::Unauthorized { .. }, ClientError::Unauthorized { .. })
                )
            };
            let is_certain = failures.iter().any(is_same);
            failures.push(error);
            if is_certain {
                break;
            }
        }
        Err(ClientError::of_all(failures))
    }

    /// Which endpoints to ask, after the pause if all are left alone.
    async fn chosen(&self, call: &Call<'_>, progress: &mut Progress) -> Vec<usize> {
        let mut is_pressing = call.is_order();
        loop {
            match self.endpoints.choose(is_pressing) {
                Choice::Ask(asked) => return asked,
                Choice::Wait { until, last } => {
                    progress.last = last;
                    tokio::time::sleep_until(until).await;
                    is_pressing = true;
                }
            }
        }
    }

    /// By one endpoint.
    async fn at<T: DeserializeOwned>(
        &self,
        at: usize,
        call: &Call<'_>,
        pass: Option<&Shown<'_>>,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<Envelope<T>, ClientError> {
        let endpoint = &self.endpoints.all()[at];
        let mut attempt = Attempt {
            transport: self,
            at,
            began: Instant::now(),
            is_passed_on: call.node().is_some(),
            is_connected: false,
            was_sent: false,
            is_over: false,
        };
        let exchange = self.exchange(at, call, pass, &mut attempt, progress);
        let exchanged = tokio::time::timeout(patience, exchange).await;
        let is_silent = exchanged.is_err();
        attempt.is_over = true;
        let exchanged = exchanged.unwrap_or_else(|_| Err(attempt.silence(patience)));
        let status = exchanged.as_ref().ok().map(|answer| answer.head.status.as_u16());
        let answer = exchanged.and_then(|answer| answer.read(endpoint, call.node()));
        let (method, path, elapsed) = (call.method(), call.path(), attempt.began.elapsed());
        match &answer {
            Ok(_) => tracing::debug!(%endpoint, %method, path, status, ?elapsed, "asked"),
            Err(error) => {
                let error = error as &dyn std::error::Error;
                tracing::debug!(%endpoint, %method, path, status, ?elapsed, error, "asked in vain");
            }
        }
        if !is_silent || attempt.is_its_silence() {
            self.learn(at, attempt.began, answer.as_ref().err());
        }
        // What was refused for certain has not been taken.
        progress.was_sent &= answer.as_ref().is_err_and(ClientError::was_sent);
        call.sent().tell(progress.was_sent);
        answer
    }

    /// What an answer tells of the endpoint that gave it.
    fn learn(&self, at: usize, began: Instant, error: Option<&ClientError>) {
        match error {
            Some(error @ (ClientError::Unreachable { .. } | ClientError::Untrusted { .. })) => {
                self.endpoints.fails(at, began, error);
            }
            // It answers, and another one may answer better. It is not left alone: others' calls
            // do not suffer from what one is answered.
            Some(
                ClientError::NodeUnreachable { .. }
                | ClientError::Garbled { .. }
                | ClientError::Unauthorized { .. },
            ) => self.endpoints.answers(at),
            Some(_) | None => self.endpoints.works(at),
        }
    }

    async fn exchange(
        &self,
        at: usize,
        call: &Call<'_>,
        pass: Option<&Shown<'_>>,
        attempt: &mut Attempt<'_>,
        progress: &mut Progress,
    ) -> Result<Answer, ClientError> {
        let endpoint = &self.endpoints.all()[at];
        if call.is_kept_alive()
            && let Some(kept) = self.pool.take(at)
        {
            attempt.is_connected = true;
            if let Some(outcome) = self.exchange_on(kept, endpoint, call, pass).await {
                return outcome;
            }
            attempt.is_connected = false;
        }
        let kept = Kept::new(self.dialer.dial(endpoint).await?, at);
        (attempt.is_connected, attempt.was_sent) = (true, true);
        progress.was_sent = call.is_order();
        call.sent().tell(progress.was_sent);
        let outcome = self.exchange_on(kept, endpoint, call, pass).await;
        outcome.unwrap_or_else(|| {
            Err(ClientError::Unreachable {
                endpoint: endpoint.to_string(),
                reason: "the connection broke before an answer came: is pveproxy restarting?"
                    .to_owned(),
                was_sent: true,
                source: None,
            })
        })
    }

    /// `None`: the connection was closed before an answer began.
    async fn exchange_on(
        &self,
        mut kept: Kept,
        endpoint: &Endpoint,
        call: &Call<'_>,
        pass: Option<&Shown<'_>>,
    ) -> Option<Result<Answer, ClientError>> {
        let is_get = call.method() == Method::GET;
        let headers = pass.map(|pass| pass.headers(is_get)).unwrap_or_default();
        let request = call.request(endpoint, headers);
        let outcome = kept.connection.exchange(request, call.limit()).await;
        let garbled = |message: String| ClientError::Garbled { message, was_sent: true };
        Some(match outcome {
            Ok(answer) => {
                if call.is_kept_alive() && answer.keeps_alive() && kept.connection.settles().await {
                    self.pool.put(kept);
                }
                Ok(answer)
            }
            Err(Broken::BeforeAnswer(error)) if error.is_parse() => {
                Err(garbled(format!("`{endpoint}` answers what is not HTTP: {error}")))
            }
            Err(Broken::BeforeAnswer(error)) => {
                tracing::trace!(%endpoint, error = &error as &dyn std::error::Error, "cut off");
                return None;
            }
            Err(Broken::InAnswer(error)) => Err(ClientError::Unreachable {
                endpoint: endpoint.to_string(),
                reason: "the connection broke in the middle of an answer".to_owned(),
                was_sent: true,
                source: Some(Arc::new(error)),
            }),
            Err(Broken::TooLong(limit)) => {
                Err(garbled(format!("`{endpoint}` answers more than {limit} bytes")))
            }
        })
    }
}

/// How long the next endpoint is given of the time that remains, where so many are still to be asked.
/// Without a bound, if that leaves no time for another one: the deadline ends it.
fn share(remaining: Duration, still_to_ask: usize) -> Duration {
    let still_to_ask = u32::try_from(still_to_ask).unwrap_or(u32::MAX);
    let with_time_enough = u32::try_from(remaining.as_secs() / PATIENCE.as_secs());
    match still_to_ask.min(with_time_enough.unwrap_or(u32::MAX)) {
        0 | 1 => Duration::MAX,
        shares => remaining / shares,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_divided_among_as_many_as_have_enough_of_it() {
        let shares =
            [(60, 4), (10, 4), (10, 2), (10, 1), (7, 2), (0, 3)].map(|(seconds, count)| {
                let share = share(Duration::from_secs(seconds), count);
                (share != Duration::MAX).then_some(share.as_secs())
            });
        assert_eq!(shares, [Some(15), Some(5), Some(5), None, None, None]);
    }
}
