//! Requests that find their workload not ready: held, or shown the waiting page.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_watcher::{Lease, LeaseKind, PhaseName, Report, WakeError, Workload};
use http::{Response, header::USER_AGENT, request::Parts};
use tokio::time::{Instant, timeout};

use crate::{
    body::ResponseBody,
    crowd::TooMany,
    gateway::Inner,
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
    join(exchange)?;
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
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) => Err(refusal(exchange, parts, &error).await),
            Err(_) => Err(Box::new(page::waiting(exchange, parts).await)),
        };
    }
    tokio::select! {
        leased = leased => match leased {
            Ok(lease) => Ok(lease),
            Err(error) => Err(refusal(exchange, parts, &error).await),
        },
        () = exchange.context().phases.expired.cancelled() => {
            let detail = "drowse is shutting down; the wake goes on.";
            let problem = Problem::new(Reason::ShuttingDown, detail);
            Err(Box::new(problem.retry_after(Duration::from_secs(5)).into_response()))
        }
    }
}

/// Waits until it is known what came of a report by a request of which nothing was sent: whether the
/// application serves others, and this one is not to wait for it. Or the answer that it gets instead.
pub(crate) async fn is_refuted(
    exchange: &Exchange,
    report: Report,
    deadline: Deadline,
) -> Result<bool, Box<Response<ResponseBody>>> {
    join(exchange)?;
    tokio::select! {
        is_refuted = exchange.workload().is_refuted(report, deadline) => Ok(is_refuted),
        () = exchange.context().phases.expired.cancelled() => Ok(true),
    }
}

/// Counts it among those who wait, or returns the answer that it gets instead.
fn join(exchange: &Exchange) -> Result<(), Box<Response<ResponseBody>>> {
    let refused = |too_many| refused(exchange.workload().name(), too_many).into_response();
    exchange.wait().map_err(|too_many| Box::new(refused(too_many)))
}

/// What a request gets that finds too many before it.
pub(crate) fn refused(workload: &str, too_many: TooMany) -> Problem {
    let detail = match too_many {
        TooMany::InAll(bound) => format!("{bound} requests wait already, which is the most."),
        TooMany::OfWorkload(bound) => {
            format!("{bound} requests wait for {workload} already, which is the most.")
        }
        TooMany::OfSource(bound) => {
            format!("{bound} requests from your address wait already, which is the most of one.")
        }
        TooMany::UnreadOfSource(bound) => {
            format!(
                "The bodies of those from your address that wait may have {bound} bytes already, \
                 which is the most of one."
            )
        }
        TooMany::Unread(bound) => {
            format!(
                "The bodies of those that wait may have {bound} bytes already, which is the most."
            )
        }
    };
    let problem = Problem::new(Reason::TooManyWaiting, detail);
    problem.retry_after(Duration::from_secs(10))
}

/// What a request gets that got no lease.
async fn refusal(
    exchange: &Exchange,
    parts: &Parts,
    error: &WakeError,
) -> Box<Response<ResponseBody>> {
    let workload = exchange.workload();
    tracing::debug!(workload = workload.name(), %error, "a request was not served");
    let passive = if exchange.kind == LeaseKind::Passive {
        passive::answer(exchange.spec(), error, &workload.snapshot())
    } else {
        None
    };
    Box::new(match passive {
        Some(answer) => answer,
        None if negotiate::is_navigation(parts) => page::of_error(exchange, parts, error).await,
        None => {
            let problem = problem::of_wake(workload.name(), error);
            problem.for_clients_of(exchange.spec()).into_response()
        }
    })
}

/// Whether what comes now is the first to wake the workload: each wake is logged once, and none of what
/// nothing wakes.
pub(crate) fn is_to_announce(gateway: &Inner, workload: &Workload) -> bool {
    let asleep_since = {
        let watch = workload.watch();
        let snapshot = watch.borrow();
        match snapshot.phase {
            _ if snapshot.held_asleep.is_some() => return false,
            _ if snapshot.blocked_until.is_some_and(|until| until > Instant::now()) => {
                return false;
            }
            PhaseName::Unread | PhaseName::Asleep | PhaseName::Stopping | PhaseName::Failed => {
                snapshot.since
            }
            // Somebody else's wake is under way, or there is nothing to wake.
            _ => return false,
        }
    };
    gateway.is_first_to_wake(workload.name(), asleep_since)
}

/// Says, once per wake, which request it is down to.
fn announce(exchange: &Exchange, parts: &Parts) {
    let workload = exchange.workload();
    if !is_to_announce(&exchange.context().gateway, workload) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_too_many_is_told_of_which() {
        let all = [
            TooMany::InAll(20_000),
            TooMany::OfWorkload(12_000),
            TooMany::OfSource(5_000),
            TooMany::Unread(268_435_456),
            TooMany::UnreadOfSource(67_108_864),
        ];
        let told: Vec<_> = all.iter().map(|it| refused("wiki", *it).detail).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        20000 requests wait already, which is the most.
        12000 requests wait for wiki already, which is the most.
        5000 requests from your address wait already, which is the most of one.
        The bodies of those that wait may have 268435456 bytes already, which is the most.
        The bodies of those from your address that wait may have 67108864 bytes already, which is the most of one.
        ");
        let logged: Vec<_> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(logged.join("\n"), @r"
        20000 wait already, which is the most
        12000 wait for the workload already, which is the most
        5000 of one source wait already, which is the most
        the bodies of those that wait may have 268435456 bytes already, which is the most
        the bodies of those of one source may have 67108864 bytes already, which is the most
        ");
    }
}
