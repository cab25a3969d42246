//! The way of a request: to its route, to a lease, to the upstream.

use std::{sync::Arc, time::Duration};

use drowse_watcher::{LeaseKind, Workload};
use http::{HeaderValue, Method, Response, header::CONNECTION, request::Parts};
use hyper::{
    Request,
    body::{Body as _, Incoming},
};

use crate::{
    InFlightStage, Route,
    access::{Guard, Told, Visit},
    authority,
    body::{Answer, Payload, ResponseBody},
    client::Client,
    connection::Context,
    crowd::{Seat, TooMany},
    forward, framing, hold,
    in_flight::Flight,
    own,
    problem::{Problem, Reason},
    redirect,
    route::RouteSpec,
    table::Lookup,
};

/// A request on its way: all but the message itself.
pub(crate) struct Exchange {
    pub(crate) flight: Flight,
    pub(crate) host: HeaderValue,
    pub(crate) client: Client,
    pub(crate) kind: LeaseKind,
    /// What the application is told of who asks.
    pub(crate) told: Told,
    /// How many bytes of its body its client may send before anybody has read of it, beyond what stays
    /// with the client's own machine.
    pub(crate) unread: usize,
    /// Its place among those who wait, while it does.
    pub(crate) seat: Seat,
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

    /// Counts it among those who wait, if it is not yet.
    pub(crate) fn wait(&self) -> Result<(), TooMany> {
        let gateway = &self.context().gateway;
        self.seat.take(|| gateway.wait(self.workload(), self.client.address, self.unread))
    }
}

/// Answers one request. Whatever goes wrong becomes an answer.
pub(crate) async fn handle(context: Arc<Context>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    // Handed on by its address, all the way to the upstream.
    let parts = Box::new(parts);
    if let Err(why) = framing::check_encoding(&parts.headers) {
        let mut answer = Problem::new(Reason::BadRequest, why).into_response();
        // What follows could be read as something else.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(answer);
    }
    let Found { route, asked_about, host, client } = match find(&context, &parts) {
        Ok(found) => found,
        Err(problem) => return Ok(problem.into_response()),
    };
    if asked_about.is_none()
        && let Some(redirect) = redirect::to_https(route.spec(), &parts, &host, &client)
    {
        return Ok(redirect);
    }
    let mut told = None;
    if let Some(guard) = &route.0.guard {
        let entering =
            enter(&context, &route, guard, &parts, (&host, &client), asked_about.as_deref());
        match Box::pin(entering).await {
            Ok(said) => told = said,
            Err(answer) => return Ok(*answer),
        }
    }
    if asked_about.is_some() {
        let asked = own::Asked::new(context, route, &parts, client.address);
        return Ok(Box::pin(own::answer(asked)).await);
    }
    let kind = route.spec().passive.kind(&parts, client.address);
    let flight = Flight::begin(context, route, client.address);
    let unread = if flight.is_of_stream() { unread(&flight.context, &body) } else { 0 };
    let seat = Seat::default();
    let exchange = Exchange { flight, host, client, kind, told, unread, seat };
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
    let payload = Payload::new(body);
    Ok(Box::pin(forward::forward(exchange, parts, payload, lease, deadline)).await)
}

/// What a stream's window lets its client send, or the whole body if that is less.
fn unread(context: &Context, body: &Incoming) -> usize {
    if body.is_end_stream() {
        return 0;
    }
    let window = context.gateway.options().stream_window as usize;
    let whole = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    whole.map_or(window, |length| length.min(window))
}

/// Asks whether a request may enter: for its own target, or for the page's that asks about it.
async fn enter(
    context: &Context,
    route: &Route,
    guard: &Guard,
    parts: &Parts,
    (host, client): (&HeaderValue, &Client),
    asked_about: Option<&str>,
) -> Result<Told, Box<Response<ResponseBody>>> {
    let own = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let Ok(target) = HeaderValue::from_str(asked_about.unwrap_or(own)) else {
        let problem = Problem::new(Reason::BadRequest, "The path has control characters in it.");
        return Err(Box::new(problem.into_response()));
    };
    let (route, request) = (route.spec().name.as_str(), &parts.headers);
    let method = if asked_about.is_some() { &Method::GET } else { &parts.method };
    let source = context.gateway.counted(client.address);
    let visit = Visit { route, client, source, host, request, method, target };
    guard.admit(&visit, &context.gateway.checks).await
}

/// What a request is for.
struct Found {
    route: Route,
    /// The path that it asks drowse itself about.
    asked_about: Option<String>,
    host: HeaderValue,
    client: Client,
}

fn find(context: &Context, parts: &Parts) -> Result<Found, Problem> {
    let host = authority::of(parts).map_err(|why| Problem::new(Reason::BadRequest, why))?;
    // A host consists of ASCII: it was checked.
    let name = host.to_str().unwrap_or_default();
    let path = parts.uri.path();
    let asked_about = own::is_own(path).then(|| own::path_asked_about(parts));
    let table = context.gateway.table();
    let route = match table.find(name, asked_about.as_deref().unwrap_or(path)) {
        Lookup::Found(route) => route.clone(),
        Lookup::NoSuchPath if asked_about.is_some() => return Err(own::nothing_here()),
        Lookup::NoSuchPath => {
            let detail = format!("There is no route for this path of `{name}`.");
            return Err(Problem::new(Reason::NoRoute, detail));
        }
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
    let client = context.client_of(&parts.headers);
    Ok(Found { route, asked_about, host, client })
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
