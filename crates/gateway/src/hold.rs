//! Requests that find their workload not ready: held, or shown the waiting page.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_watcher::{Lease, LeaseKind, PhaseName, WakeError};
use http::{Response, header::USER_AGENT, request::Parts};
use tokio::time::timeout;

use crate::{
    body::ResponseBody,
    handler::Exchange,
    headers, negotiate, page, passive,
    problem::{self, Problem, Reason},
};

/// How much of what a client wrote is logged.
const LOGGED_CHARACTERS: usize = 200;

/// Until when a request that comes now is held.
pub(crate) fn deadline(exchange: &Exchange) -> Deadline {
    Deadline::after(exchange.spec().hold)
}

/// A lease for a request whose workload is not ready, or the answer that it gets instead. Wakes the
/// workload; the wake goes on when this future is dropped.
pub(crate) async fn lease(
    exchange: &Exchange,
    parts: &Parts,
    deadline: Deadline,
) -> Result<Lease, Box<Response<ResponseBody>>> {
    let workload = exchange.workload();
    if parts.headers.keys().any(headers::names_others) {
        exchange.context().note_forwarder();
    }
    if exchange.kind == LeaseKind::Active {
        announce(exchange, parts);
    }
    let leased = workload.lease(&exchange.route().0.holder, exchange.kind, deadline);
    if negotiate::is_navigation(parts) {
        let grace = exchange.context().gateway.options().page_grace;
        return match timeout(grace, leased).await {
            Ok(leased) => leased.map_err(|error| refusal(exchange, parts, &error)),
            Err(_) => Err(Box::new(page::waiting(workload))),
        };
    }
    tokio::select! {
        leased = leased => leased.map_err(|error| refusal(exchange, parts, &error)),
        () = exchange.context().phases.expired.cancelled() => {
            let detail = "drowse is shutting down; the wake goes on.";
            let problem = Problem::new(Reason::ShuttingDown, detail);
            Err(Box::new(problem.retry_after(Duration::from_secs(5)).into_response()))
        }
    }
}

/// What a request gets that got no lease.
fn refusal(exchange: &Exchange, parts: &Parts, error: &WakeError) -> Box<Response<ResponseBody>> {
    let workload = exchange.workload();
    tracing::debug!(workload = workload.name(), %error, "a request was not served");
    let passive = if exchange.kind == LeaseKind::Passive {
        passive::answer(exchange.spec(), error, &workload.snapshot())
    } else {
        None
    };
    Box::new(passive.unwrap_or_else(|| {
        if negotiate::is_navigation(parts) {
            page::of_error(workload, error)
        } else {
            problem::of_wake(workload.name(), error).into_response()
        }
    }))
}

/// Says, once per wake, which request it is down to.
fn announce(exchange: &Exchange, parts: &Parts) {
    let workload = exchange.workload();
    let asleep_since = {
        let watch = workload.watch();
        let snapshot = watch.borrow();
        match snapshot.phase {
            PhaseName::Unread | PhaseName::Asleep | PhaseName::Stopping | PhaseName::Failed => {
                snapshot.since
            }
            // Somebody else's wake is under way, or there is nothing to wake.
            _ => return,
        }
    };
    if !exchange.context().gateway.is_first_to_wake(workload.name(), asleep_since) {
        return;
    }
    let user_agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let client = exchange.client.address;
    let peer = exchange.context().peer.ip();
    tracing::info!(
        workload = workload.name(),
        route = exchange.spec().name,
        %client,
        // Only if somebody stands in between.
        peer = (peer != client).then(|| tracing::field::display(peer)),
        // Debug: what a client wrote must not be able to write lines of its own.
        user_agent = ?cut(user_agent.unwrap_or("")),
        path = ?cut(parts.uri.path()),
        "woken by a request"
    );
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(LOGGED_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}
