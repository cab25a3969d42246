//! One attempt to send a request: on a connection at hand, else on a new one.

use std::{
    error::Error as StdError,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use drowse_watcher::{Lease, ReadyRun};
use futures::future::Either;
use http::{Response, StatusCode, header::EXPECT, request::Parts};
use hyper::{body::Incoming, client::conn::TrySendError, ext::on_informational};
use tokio::time::timeout;

use crate::{
    UpstreamScheme,
    body::{Fault, Payload, RequestBody, Sending, Usage},
    dial::Protocols,
    dialect, grpc,
    handler::Exchange,
    hold,
    pool::{Carrier, Connection, NoTarget, NotObtained, Obtained, Wanted},
    problem::{Problem, Reason},
};

/// How long a request that opened a connection counts as opening it, if it is not answered before:
/// long enough for requests released by a wake to use each other's connections, short enough that
/// slow answers do not hold up the rest.
const OPENING: Duration = Duration::from_millis(250);

/// A request that may be sent, and perhaps sent again. Its head is handed from one to the next, and never
/// moved before it is sent.
pub(crate) struct Request {
    parts: Box<Parts>,
    payload: Payload,
    protocols: Protocols,
}

impl Request {
    /// `protocols`: those by which it can be sent.
    pub(crate) fn new(parts: Box<Parts>, payload: Payload, protocols: Protocols) -> Self {
        Self { parts, payload, protocols }
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.parts
    }

    /// A copy of the head for the case that the first comes to nothing, if it may then be sent again:
    /// if that does no harm, or if it can be known that the first was not looked at.
    fn spare(&self, scheme: &UpstreamScheme) -> Option<Box<Parts>> {
        let is_told = *scheme != UpstreamScheme::Http && self.protocols == Protocols::Any;
        (is_told || self.parts.method.is_idempotent()).then(|| self.parts.clone())
    }

    fn sending(&self, scheme: &UpstreamScheme) -> Sending {
        let is_http2 = *scheme != UpstreamScheme::Http && self.protocols == Protocols::Any;
        if is_http2 && grpc::is_call(&self.parts.headers) {
            return Sending::InTurns;
        }
        let is_asked = |it: &http::HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if self.parts.headers.get(EXPECT).is_some_and(is_asked) {
            Sending::WhenAsked
        } else {
            Sending::AtOnce
        }
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
    fn for_good(problem: Problem) -> Self {
        Self { problem, condemns_the_run: false, was_sent: true, again: None }
    }
}

/// Sends a request to the upstream of `run`. Dropping the future ends the exchange.
pub(crate) async fn send(
    exchange: &Exchange,
    run: &Arc<ReadyRun>,
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
        let problem = Problem::new(Reason::NoUpstream, format!("{name}: it has no address."));
        Failure::for_good(problem.in_full(format!("{name}: {why}")))
    })?;
    let failed = |error: &dyn StdError| {
        let detail = format!("{name}: it cannot be reached, or did not answer as it should.");
        let problem = Problem::new(Reason::UpstreamFailed, detail);
        problem.in_full(format!("{name} at {target}: {}", chain(error)))
    };

    let scheme = &pools.dialer().scheme;
    let spare = request.spare(scheme);
    let sending = request.sending(scheme);
    let Request { parts, payload, protocols } = request;
    let (usage, body) = Usage::new(exchange, lease, payload, sending);
    let mut message = (parts, body);
    let unsent = |problem, (parts, body): Message| {
        let again = Some(Request::new(parts, body.into_payload(), protocols));
        Failure { problem, condemns_the_run: false, was_sent: false, again }
    };
    let unreachable =
        |problem, message| Failure { condemns_the_run: true, ..unsent(problem, message) };
    let over = || {
        let detail = format!("{name} ended while it was being connected to.");
        Problem::new(Reason::UpstreamFailed, detail)
    };
    let bound = exchange.spec().answer_timeout;
    let mut wanted = Wanted { protocols, is_fresh: false };
    loop {
        let wait = || exchange.wait();
        let obtained = match pools.obtain(&pool, run, target, wanted, bound, wait).await {
            Ok(obtained) => obtained,
            Err(NotObtained::Crowded) => {
                let detail = format!("{name}: no connection became free within {bound:?}.");
                let problem = Problem::new(Reason::UpstreamTimeout, detail);
                // It has waited long enough.
                return Err(Failure { again: None, ..unsent(problem, message) });
            }
            Err(NotObtained::TooMany(too_many)) => {
                let problem = hold::refused(name, too_many);
                return Err(Failure { again: None, ..unsent(problem, message) });
            }
            Err(NotObtained::Over) => return Err(unsent(over(), message)),
            Err(NotObtained::Failed(error)) => {
                return Err(match exchange.context().gateway.shortage(name, &error) {
                    // Others may need less than it does.
                    Some(shortage) => {
                        Failure { again: None, ..unsent(shortage.problem(name), message) }
                    }
                    None => unreachable(failed(&error), message),
                });
            }
        };
        let Obtained { mut connection, is_reused, turn } = obtained;
        // It took until after the run's end. Whoever has its address now may be another container, or
        // its own next run, which is not ready.
        if !is_reused && exchange.workload().is_in_doubt(run) {
            return Err(unsent(over(), message));
        }
        exchange.seat.leave();
        let answered = {
            let answer = pin!(ask(&mut connection, message, scheme));
            within(bound, answer, &usage, || drop(turn)).await
        };
        let error = match answered {
            Some(Ok(response)) => {
                if !usage.is_sent() {
                    connection.go_on();
                }
                return Ok(Answered { response, connection, usage });
            }
            None => {
                let detail = format!("{name} did not answer within {bound:?}.");
                let problem = Problem::new(Reason::UpstreamTimeout, detail)
                    .in_full(format!("{name} at {target} did not answer within {bound:?}."));
                return Err(Failure::for_good(problem));
            }
            Some(Err(mut unanswered)) => match unanswered.take_message() {
                Some(unsent) => {
                    let (parts, body) = unsent.into_parts();
                    message = (Box::new(parts), body);
                    if is_reused {
                        // It was seen to be closed before it was used; the next one may not be.
                        continue;
                    }
                    return Err(unreachable(failed(unanswered.error()), message));
                }
                None => unanswered.into_error(),
            },
        };
        match usage.fault() {
            Some(Fault::Stalled(bound)) => {
                let detail = format!("Nothing of the request's body came for {bound:?}.");
                return Err(Failure::for_good(Problem::new(Reason::BodyTimeout, detail)));
            }
            fault if fault.is_some() || error.is_user() => {
                let problem = Problem::new(Reason::BadRequest, "The request's body broke off.");
                return Err(Failure::for_good(problem));
            }
            _ => {}
        }
        drop(connection);
        let was_refused = was_refused(&error);
        let again = match spare.clone() {
            Some(parts) if was_refused || parts.method.is_idempotent() => {
                usage.reclaim().await.map(|payload| Request::new(parts, payload, protocols))
            }
            _ => None,
        };
        let problem = failed(&error);
        if was_refused {
            return Err(Failure { problem, condemns_the_run: false, was_sent: false, again });
        }
        match again {
            // It was closed while nobody used it, and the others probably were, too.
            Some(request) if is_reused && !wanted.is_fresh => {
                message = (request.parts, usage.renew(request.payload));
                wanted.is_fresh = true;
            }
            again => {
                // An idle connection that closes as it is used says nothing about the run, and
                // neither does an answer that makes no sense.
                let condemns_the_run = !is_reused && !error.is_parse();
                let again = again.filter(|_| !error.is_parse());
                return Err(Failure { problem, condemns_the_run, was_sent: true, again });
            }
        }
    }
}

/// What is sent.
type Message = (Box<Parts>, RequestBody);

/// Sends a request; what is returned waits for the head of its answer.
fn ask(
    connection: &mut Connection,
    (parts, body): Message,
    scheme: &UpstreamScheme,
) -> impl Future<Output = Result<Response<Incoming>, TrySendError<http::Request<RequestBody>>>> {
    let mut message = http::Request::from_parts(*parts, body);
    match &mut connection.carrier {
        Carrier::Alone(alone) => {
            dialect::as_http1(&mut message);
            ask_before_body(&mut message);
            Either::Left(alone.ask(message))
        }
        Carrier::Shared(share) => {
            dialect::as_http2(&mut message, scheme.of_url());
            if let Some(open) = message.body().opener() {
                open();
            }
            Either::Right(share.sender.try_send_request(message))
        }
    }
}

/// Lets the body follow when the upstream asks for it, if the client waits for that.
fn ask_before_body(message: &mut http::Request<RequestBody>) {
    if !message.headers().contains_key(EXPECT) {
        return;
    }
    let Some(open) = message.body().opener() else {
        // There is none to wait for.
        message.headers_mut().remove(EXPECT);
        return;
    };
    on_informational(message, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            open();
        }
    });
}

/// Whether the upstream says that it has not looked at the request (RFC 9113 section 8.7).
fn was_refused(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(error) = source.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return reason == Some(h2::Reason::REFUSED_STREAM) && error.is_remote()
                || reason == Some(h2::Reason::NO_ERROR) && error.is_go_away() && error.is_remote();
        }
        cause = source.source();
    }
    false
}

/// Waits for the answer, at most `bound` from the moment when the request was through, or when the upstream
/// took something of it last; calls `opened` if it takes longer than an opening counts. `None`: it took
/// too long.
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
            Err(_) if was_sent || usage.is_silent_for(bound) => return None,
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
