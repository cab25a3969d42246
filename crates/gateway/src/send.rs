//! One attempt to send a request: on a connection at hand, else on a new one.

use std::{
    error::Error as StdError,
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use drowse_watcher::{Lease, ReadyRun};
use http::{Response, request::Parts};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    body::{Payload, RequestBody, Usage},
    handler::Exchange,
    pool::{Connection, NoTarget},
    problem::{Problem, Reason},
};

/// How long a request that opened a connection counts as opening it, if it is not answered before:
/// long enough for requests released by a wake to use each other's connections, short enough that
/// slow answers do not hold up the rest.
const OPENING: Duration = Duration::from_millis(250);

/// How long a connection that was given back may take to be ready again: it is, all but at once.
const SETTLING: Duration = Duration::from_millis(100);

/// A request that may be sent, and perhaps sent again.
pub(crate) struct Request {
    parts: Parts,
    payload: Payload,
}

impl Request {
    pub(crate) fn new(parts: Parts, payload: Payload) -> Self {
        Self { parts, payload }
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.parts
    }

    /// A copy for the case that nobody knows what became of the first, if sending it twice does no
    /// harm.
    fn spare(&self) -> Option<Parts> {
        (self.payload.is_empty() && self.parts.method.is_idempotent()).then(|| self.parts.clone())
    }
}

impl From<http::Request<RequestBody>> for Request {
    fn from(request: http::Request<RequestBody>) -> Self {
        let (parts, body) = request.into_parts();
        Self { parts, payload: body.into_payload() }
    }
}

/// An upstream's answer, up to the end of its head.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Connection,
    pub(crate) usage: Usage,
}

/// Why there is no answer.
pub(crate) struct Failure {
    /// What the client is told if that is the end of it.
    pub(crate) problem: Problem,
    /// Whether the run is in doubt: it refused, was unreachable or closed early.
    pub(crate) condemns_the_run: bool,
    /// Whether anything of the request may have reached the application.
    pub(crate) was_sent: bool,
    /// The request, if it may be sent again.
    pub(crate) again: Option<Request>,
}

impl Failure {
    fn for_good(reason: Reason, detail: String) -> Self {
        let problem = Problem::new(reason, detail);
        Self { problem, condemns_the_run: false, was_sent: true, again: None }
    }
}

/// Sends a request to the upstream of `run`. Dropping the future ends the exchange.
pub(crate) async fn send(
    exchange: &Exchange,
    run: &ReadyRun,
    request: Request,
    lease: Lease,
) -> Result<Answered, Failure> {
    let name = exchange.workload().name();
    let pools = &exchange.route().0.pools;
    let pool = pools.of(run);
    let target = pool.target().map_err(|none| {
        let why = match none {
            NoTarget::NoUpstream(none) => none.to_string(),
            NoTarget::NotKnown => "its address is not known".to_owned(),
        };
        Failure::for_good(Reason::NoUpstream, format!("{name}: {why}"))
    })?;
    let failed = |error: &dyn StdError| {
        let detail = format!("{name} at {target}: {}", chain(error));
        Problem::new(Reason::UpstreamFailed, detail)
    };

    let spare = request.spare();
    let (usage, body) = Usage::new(lease, request.payload, exchange.context());
    let mut message = http::Request::from_parts(request.parts, body);
    let mut idle_is_stale = false;
    let mut opening = None;
    loop {
        let idle = if idle_is_stale { None } else { pool.take_idle() };
        let is_reused = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None if opening.is_none() => {
                // While it waits for its turn, a connection may become free. The semaphore is
                // never closed.
                let bound = exchange.spec().answer_timeout;
                let Ok(turn) = timeout(bound, pools.openings.acquire()).await else {
                    let detail = format!("{name}: no turn to connect within {bound:?}.");
                    let problem = Problem::new(Reason::UpstreamTimeout, detail);
                    return Err(Failure {
                        condemns_the_run: false,
                        ..unreachable(problem, message)
                    });
                };
                opening = Some(turn.ok());
                continue;
            }
            None => match pool.open(target).await {
                // It took until after the run's end. Whoever has its address now may be another
                // container, or its own next run, which is not ready.
                Ok(_) if exchange.workload().is_in_doubt(run) => {
                    let detail = format!("{name} ended while it was being connected to.");
                    let problem = Problem::new(Reason::UpstreamFailed, detail);
                    return Err(Failure {
                        condemns_the_run: false,
                        ..unreachable(problem, message)
                    });
                }
                Ok(connection) => connection,
                Err(error) => return Err(unreachable(failed(&error), message)),
            },
        };
        let bound = exchange.spec().answer_timeout;
        let answered = {
            let answer = pin!(exchange_on(&mut connection, message, is_reused));
            within(bound, answer, &usage, || opening = None).await
        };
        match answered {
            Some(Ok(response)) => return Ok(Answered { response, connection, usage }),
            Some(Err(Unanswered::NotSent(unsent, error))) => {
                if !is_reused {
                    return Err(unreachable(failed(&error), *unsent));
                }
                message = *unsent;
            }
            Some(Err(Unanswered::Broken(error))) if error.is_user() => {
                let detail = "The request's body broke off.".to_owned();
                return Err(Failure::for_good(Reason::BadRequest, detail));
            }
            Some(Err(Unanswered::Broken(error))) => {
                let problem = failed(&error);
                match spare.clone() {
                    Some(parts) if is_reused => {
                        message = http::Request::from_parts(parts, RequestBody::Empty);
                    }
                    spare => {
                        let again = spare
                            .filter(|_| !error.is_parse())
                            .map(|parts| Request::new(parts, Payload::Empty));
                        // An idle connection that closes as it is used says nothing about the run, and
                        // neither does an answer that makes no sense.
                        let condemns_the_run = !is_reused && !error.is_parse();
                        return Err(Failure { problem, condemns_the_run, was_sent: true, again });
                    }
                }
            }
            None => {
                let detail = format!("{name} at {target} did not answer within {bound:?}.");
                return Err(Failure::for_good(Reason::UpstreamTimeout, detail));
            }
        }
        // It was closed while nobody used it, and the others probably were, too.
        idle_is_stale = true;
    }
}

fn unreachable(problem: Problem, message: http::Request<RequestBody>) -> Failure {
    let again = Some(message.into());
    Failure { problem, condemns_the_run: true, was_sent: false, again }
}

/// Why a connection gave no answer.
enum Unanswered {
    NotSent(Box<http::Request<RequestBody>>, hyper::Error),
    Broken(hyper::Error),
}

async fn exchange_on(
    connection: &mut Connection,
    message: http::Request<RequestBody>,
    is_reused: bool,
) -> Result<Response<Incoming>, Unanswered> {
    let sender = &mut connection.sender;
    if is_reused && !sender.is_ready() {
        // If it does not become ready, sending says so.
        _ = timeout(SETTLING, sender.ready()).await;
    }
    sender.try_send_request(message).await.map_err(|mut failed| match failed.take_message() {
        Some(message) => Unanswered::NotSent(Box::new(message), failed.into_error()),
        None => Unanswered::Broken(failed.into_error()),
    })
}

/// Waits for the answer, at most `bound` from the moment when the request was through; calls
/// `opened` if it takes longer than an opening counts. `None`: it took too long.
async fn within<T>(
    bound: Duration,
    mut answer: Pin<&mut impl Future<Output = T>>,
    usage: &Usage,
    opened: impl FnOnce(),
) -> Option<T> {
    if let Ok(answer) = timeout(OPENING.min(bound), answer.as_mut()).await {
        return Some(answer);
    }
    opened();
    loop {
        let was_sent = usage.is_sent();
        match timeout(bound, answer.as_mut()).await {
            Ok(answer) => return Some(answer),
            Err(_) if was_sent => return None,
            Err(_) => {}
        }
    }
}

/// An error with its causes: hyper's own words say little.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
