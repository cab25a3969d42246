//! The way of a request: to its route, to a lease, to the upstream.

use std::{sync::Arc, time::Duration};

use drowse_watcher::{LeaseKind, Workload};
use http::{HeaderValue, request::Parts};
use hyper::{Request, body::Incoming};

use crate::{
    InFlightStage, Route, authority,
    body::{Answer, Payload},
    client::Client,
    forward,
    gateway::Context,
    hold,
    in_flight::Flight,
    own,
    problem::{Problem, Reason},
    route::RouteSpec,
    table::Lookup,
};

/// A request on its way: all but the message itself.
pub(crate) struct Exchange {
    pub(crate) flight: Flight,
    pub(crate) host: HeaderValue,
    pub(crate) client: Client,
    pub(crate) kind: LeaseKind,
}

impl Exchange {
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.flight.context
    }

    pub(crate) fn route(&self) -> &Route {
        &self.flight.route
    }

    pub(crate) fn spec(&self) -> &RouteSpec {
        self.route().spec()
    }

    pub(crate) fn workload(&self) -> &Workload {
        &self.spec().workload
    }
}

/// Answers one request. Whatever goes wrong becomes an answer.
pub(crate) async fn handle(context: Arc<Context>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let exchange = match find(context, &parts) {
        Ok(Found::Route(exchange)) => exchange,
        Ok(Found::Own(asked)) => return Ok(Box::pin(own::answer(asked)).await),
        Err(problem) => return Ok(problem.into_response()),
    };
    let warm = exchange.workload().try_lease(&exchange.route().0.holder, exchange.kind);
    let (lease, deadline) = if let Some(lease) = warm {
        (lease, None)
    } else {
        // What only a waiting request needs is not part of every connection's memory.
        let deadline = hold::deadline(&exchange);
        match Box::pin(hold::lease(&exchange, &parts, deadline)).await {
            Ok(lease) => (lease, Some(deadline)),
            Err(answer) => return Ok(*answer),
        }
    };
    exchange.flight.is_at(InFlightStage::served(exchange.kind));
    // Boxed as well: it takes 10 KiB, which a connection without a request need not hold, nor one
    // whose request waits.
    Ok(Box::pin(forward::forward(exchange, parts, Payload::new(body), lease, deadline)).await)
}

enum Found {
    Route(Exchange),
    Own(own::Asked),
}

fn find(context: Arc<Context>, parts: &Parts) -> Result<Found, Problem> {
    let host = authority::of(parts).map_err(|why| Problem::new(Reason::BadRequest, why))?;
    // A host consists of ASCII: it was checked.
    let name = host.to_str().unwrap_or_default();
    let path = parts.uri.path();
    let is_own = own::is_own(path);
    let path = if is_own { own::path_asked_about(parts) } else { path };
    let table = context.gateway.table();
    let route = match table.find(name, path) {
        Lookup::Found(route) => Some(route.clone()),
        Lookup::NoSuchPath => None,
        Lookup::NoSuchHost if context.gateway.is_discovering() => {
            let detail = format!("It is not known yet whether there is a route for `{name}`.");
            let problem = Problem::new(Reason::Discovering, detail);
            return Err(problem.retry_after(Duration::from_secs(2)));
        }
        Lookup::NoSuchHost => {
            return Err(Problem::new(Reason::NoRoute, format!("There is no route for `{name}`.")));
        }
    };
    drop(table);
    if is_own {
        return Ok(Found::Own(own::Asked::new(context, route, parts)));
    }
    let Some(route) = route else {
        let detail = format!("There is no route for this path of `{name}`.");
        return Err(Problem::new(Reason::NoRoute, detail));
    };
    let client = context.client_of(&parts.headers);
    let kind = route.spec().passive.kind(parts, client.address);
    let flight = Flight::begin(context, route, client.address);
    Ok(Found::Route(Exchange { flight, host, client, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each connection has room for this, also while it waits for a workload to wake.
    #[test]
    fn a_request_on_its_way_is_small() {
        let size = size_of_future(handle);
        assert!(size <= 5 * 1024, "{size} bytes");
    }
}
