//! To the upstream and back: sending a request, and what becomes of it when the upstream fails.

use std::{mem, sync::Arc, time::Duration};

use drowse_provider::Deadline;
use drowse_watcher::{Lease, ReadyRun};
use http::{Response, StatusCode, Version, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::sleep;

use crate::{
    InFlightStage, authority,
    body::{Download, Payload, ResponseBody},
    dial::Protocols,
    framing::{self, Framing},
    handler::Exchange,
    headers, hold,
    problem::{Problem, Reason},
    rewrite,
    send::{Answered, Failure, Request, send},
    tunnel,
};

/// How often a request is sent at most, in all its attempts. One that ends the application must not
/// end it again and again.
const MAX_SENT: u32 = 2;

/// The pauses between attempts of a request of which nothing was sent: the first follows at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Sends a request that has its lease, and returns the answer's head; its body follows by itself.
/// `deadline`: until when it is held if the upstream turns out to be gone; by default the route's
/// hold, from then on.
pub(crate) fn forward(
    mut exchange: Exchange,
    mut parts: Box<Parts>,
    payload: Payload,
    lease: Lease,
    deadline: Option<Deadline>,
) -> impl Future<Output = Response<ResponseBody>> {
    let told = exchange.told.take();
    let Exchange { host, client, .. } = &exchange;
    let context = exchange.context();
    let prepared =
        headers::prepare_request(&mut parts.headers, host, client, &context.peer_headers);
    if prepared.names_others {
        context.note_forwarder();
    }
    let client = parts.extensions.remove::<OnUpgrade>().filter(|_| prepared.upgrade.is_some());
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    authority::make_origin_form(&mut parts.uri);
    let spec = exchange.spec();
    if spec.strip_prefix {
        rewrite::strip_prefix(&mut parts.uri, &mut parts.headers, &spec.path);
    }
    if let Some(guard) = &exchange.route().0.guard {
        guard.tell(&mut parts.headers, told);
    }
    spec.request_headers.apply(&mut parts.headers);

    // What is to be upgraded is upgraded by HTTP/1.1, whatever else is spoken.
    let protocols = if client.is_some() { Protocols::Http1 } else { Protocols::Any };
    let request = Request::new(parts, payload, protocols);
    carry(exchange, request, lease, deadline, client)
}

/// Sends a request that is as its upstream is to have it. `client`: to go on with, if that switches protocols.
async fn carry(
    exchange: Exchange,
    request: Request,
    lease: Lease,
    deadline: Option<Deadline>,
    client: Option<OnUpgrade>,
) -> Response<ResponseBody> {
    let run = lease.run();
    let sent = match send(&exchange, &run, request, lease).await {
        Ok(answered) => Ok((answered, run)),
        // Rare, and large: not part of every connection's memory.
        Err(failure) => Box::pin(send_again(&exchange, run, failure, deadline)).await,
    };
    match sent {
        Ok((answered, run)) => pass_on(exchange, answered, run, client),
        Err(answer) => *answer,
    }
}

/// Reports what failed, waits until the workload is ready again, and sends the request again if it
/// may be: once more if something of it was sent, else until its deadline, or until it is known for a second
/// time that nobody but this request is refused: the first time it may have met a moment.
async fn send_again(
    exchange: &Exchange,
    mut run: Arc<ReadyRun>,
    mut failure: Failure,
    deadline: Option<Deadline>,
) -> Result<(Answered, Arc<ReadyRun>), Box<Response<ResponseBody>>> {
    let deadline = deadline.unwrap_or_else(|| hold::deadline(exchange));
    let workload = exchange.workload();
    let mut pause = Duration::ZERO;
    let mut sent = 0;
    let mut was_refuted = false;
    loop {
        let report = failure.condemns_the_run.then(|| {
            let error = failure.problem.words();
            tracing::debug!(
                workload = workload.name(),
                epoch = run.epoch,
                error,
                "upstream failed"
            );
            workload.upstream_failed(&run)
        });
        sent += u32::from(failure.was_sent);
        let request = match failure.again {
            Some(request) if sent < MAX_SENT && deadline.remaining() > pause => request,
            _ => return Err(Box::new(failed(exchange, failure.problem))),
        };
        if let Some(report) = report.filter(|_| !failure.was_sent) {
            exchange.flight.is_at(InFlightStage::Waiting);
            let is_refuted = hold::is_refuted(exchange, report, deadline).await?;
            if is_refuted && mem::replace(&mut was_refuted, true) {
                return Err(Box::new(failed(exchange, failure.problem)));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);

        exchange.flight.is_at(InFlightStage::Waiting);
        let lease = hold::lease(exchange, request.head(), deadline).await?;
        exchange.flight.is_at(InFlightStage::served(exchange.kind));
        run = lease.run();
        failure = match send(exchange, &run, request, lease).await {
            Ok(answered) => return Ok((answered, run)),
            Err(failure) => failure,
        };
    }
}

/// What a client gets for its upstream's failure. Whose address it has and what was met there is told in
/// the log, wherever else it is.
fn failed(exchange: &Exchange, problem: Problem) -> Response<ResponseBody> {
    let (workload, route) = (exchange.workload().name(), &exchange.spec().name);
    let error = problem.words();
    if problem.in_full.is_some() && exchange.route().0.failures.is_due() {
        tracing::warn!(workload, route, error, "an application has not answered a request");
    } else {
        tracing::debug!(workload, route, error, "a request was not answered");
    }
    problem.for_clients_of(exchange.spec()).into_response()
}

/// The client's answer: streamed as it comes.
fn pass_on(
    exchange: Exchange,
    answered: Answered,
    run: Arc<ReadyRun>,
    client: Option<OnUpgrade>,
) -> Response<ResponseBody> {
    let Answered { mut response, mut connection, usage } = answered;
    let workload = exchange.workload().name();
    let status = response.status();
    tracing::debug!(workload, route = exchange.spec().name, %status, "answered");

    *response.version_mut() = Version::HTTP_11;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        match framing::settle(response.headers_mut()) {
            Ok(Framing::Plain) => {}
            // So it carries no further request.
            Ok(Framing::Twice) => connection.go_on(),
            Err(why) => {
                let detail = format!("{workload} did not answer as it should.");
                let in_full = format!("{workload}: its answer cannot be passed on. {why}");
                let problem = Problem::new(Reason::UpstreamFailed, detail).in_full(in_full);
                let answer = failed(&exchange, problem);
                connection.cut(usage.end());
                return answer;
            }
        }
        headers::prepare_response(response.headers_mut(), false);
        exchange.spec().response_headers.apply(response.headers_mut());
        return response.map(|body: Incoming| {
            ResponseBody::Streamed(Download::new(body, connection, usage, exchange.flight))
        });
    }
    let Some(client) = client else {
        let detail = format!("{workload} switched protocols without being asked to.");
        return Problem::new(Reason::UpstreamFailed, detail).into_response();
    };
    let upstream = hyper::upgrade::on(&mut response);
    connection.go_on();
    let response_headers = exchange.spec().response_headers.clone();
    tunnel::start(exchange, run, client, upstream, connection, usage);
    headers::prepare_response(response.headers_mut(), true);
    response_headers.apply(response.headers_mut());
    response.map(|_| ResponseBody::empty())
}
