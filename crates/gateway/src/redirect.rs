//! From http to https, for routes that are served by that alone.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION},
    request::Parts,
};

use crate::{
    body::ResponseBody,
    client::{Client, Scheme},
    headers,
    problem::{Problem, Reason},
    route::RouteSpec,
};

/// Where a request is sent instead of being served, if its route says so: the same host (on https's
/// own port), path and query. Nothing is woken for it.
pub(crate) fn to_https(
    route: &RouteSpec,
    parts: &Parts,
    host: &HeaderValue,
    client: &Client,
) -> Option<Response<ResponseBody>> {
    if !route.https_only || client.scheme == Scheme::Https {
        return None;
    }
    let host = headers::told_host(&parts.headers, host, client).to_str().unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let Ok(location) = HeaderValue::from_str(&location(host, target)) else {
        // A target may have bytes that no header of ours is made of.
        let detail = "This is served by https alone.";
        return Some(Problem::new(Reason::BadRequest, detail).into_response());
    };
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Where a request for this host and target is sent.
pub(crate) fn location(host: &str, target: &str) -> String {
    let target = if target.starts_with('/') { target } else { "/" };
    format!("https://{}{target}", without_port(host))
}

fn without_port(host: &str) -> &str {
    // An address in brackets has colons of its own.
    let end = host.rfind(']').unwrap_or(0);
    host[end..].find(':').map_or(host, |colon| &host[..end + colon])
}
