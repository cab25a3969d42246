//! A request over HTTP/2, which is handled as one of HTTP/1.1 would be.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use hyper::{body::Incoming, ext::Protocol};

use super::Context;
use crate::{
    body::{Answer, ResponseBody},
    grpc, handler,
    problem::{Problem, Reason},
};

/// How many header fields a request may have: the same as hyper's bound for HTTP/1.1.
const MAX_FIELDS: usize = 100;

/// Answers one request. Whatever goes wrong becomes an answer.
pub(super) async fn handle(context: Arc<Context>, mut request: Request<Incoming>) -> Answer {
    join_cookies(request.headers_mut());
    let is_websocket = request.extensions_mut().remove::<Protocol>();
    let is_websocket = match is_websocket.map(|protocol| protocol.as_str() == "websocket") {
        Some(false) => {
            let detail = "Of what CONNECT can lead to (RFC 8441), only `websocket` is known here.";
            return Ok(Problem::new(Reason::BadRequest, detail).into_response());
        }
        is_websocket => is_websocket.is_some(),
    };
    let checked = check(request.uri(), request.headers());
    if let Err(problem) = checked.and_then(|()| check_host(&context, request.uri())) {
        return Ok(problem.into_response());
    }
    if is_websocket {
        make_handshake(&mut request);
    }
    let is_grpc = grpc::is_call(request.headers());
    // Boxed: a stream's task is moved several times before it is run, and is no more than a small block.
    let answer = Box::pin(handler::handle(context, request)).await?;
    Ok(match answer {
        answer if is_websocket => answer_to_connect(answer),
        answer if is_grpc => grpc::answer(answer),
        answer => answer,
    })
}

/// What HTTP/2 says of requests, and hyper leaves to us.
fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::new(Reason::BadRequest, detail));
    if headers.len() > MAX_FIELDS {
        let detail = format!("The request has more than {MAX_FIELDS} header fields.");
        return Err(Problem::new(Reason::HeadTooLarge, detail));
    }
    // RFC 9113 section 8.3.1.
    let mut hosts = headers.get_all(HOST).iter();
    match (uri.authority(), hosts.next()) {
        (Some(authority), Some(host))
            if hosts.next().is_some()
                || !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            bad("The request's Host is not its :authority.")
        }
        _ => Ok(()),
    }
}

/// Browsers send requests for several hosts on one connection, if its certificate is for them all
/// (RFC 9113 section 9.1.1). For another one they come again on a connection of its own.
fn check_host(context: &Context, uri: &Uri) -> Result<(), Problem> {
    match (&context.secured, uri.authority()) {
        (Some(secured), Some(authority)) if !secured.is_for(authority.as_str()) => {
            let detail =
                format!("This connection's certificate is not for `{}`.", authority.host());
            Err(Problem::new(Reason::Misdirected, detail))
        }
        _ => Ok(()),
    }
}

/// HTTP/2 lets a client send each cookie on a line of its own; HTTP/1.1 knows one line
/// (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let (Some(_), Some(_)) = (crumbs.next(), crumbs.next()) {
        let crumbs: Vec<&[u8]> =
            headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        // What consists of header values and spaces is one.
        if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// Makes an extended CONNECT (RFC 8441) the handshake of HTTP/1.1 that means the same (RFC 6455).
fn make_handshake<B>(request: &mut Request<B>) {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // HTTP/2 has no use for it. No secret: it only has to be another one each time.
    let random = [RandomState::new(), RandomState::new()];
    let random = random.map(|state| state.build_hasher().finish().to_be_bytes());
    // Base64 always is a header value.
    if let Ok(key) = HeaderValue::from_str(&STANDARD.encode(random.concat())) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
}

/// The answer to an extended CONNECT: success is 200, and whatever else is no success.
fn answer_to_connect(mut answer: Response<ResponseBody>) -> Response<ResponseBody> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        *answer.status_mut() = StatusCode::OK;
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
            answer.headers_mut().remove(name);
        }
        return answer;
    }
    if answer.status().is_success() {
        let status = answer.status();
        let detail = format!("The application answered a WebSocket's handshake with {status}.");
        return Problem::new(Reason::UpstreamFailed, detail).into_response();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie() {
        let joined = |crumbs: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for crumb in crumbs {
                headers.append(COOKIE, HeaderValue::from_static(crumb));
            }
            join_cookies(&mut headers);
            assert!(headers.get_all(COOKIE).iter().count() <= 1);
            headers.remove(COOKIE)
        };
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&["a=1; b=2"]).unwrap(), "a=1; b=2");
        assert_eq!(joined(&["a=1", "b=2", "c=3"]).unwrap(), "a=1; b=2; c=3");
    }

    #[test]
    fn host_and_authority_are_one() {
        let checked = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            check(&Uri::from_static("https://app.test/"), &headers).is_ok()
        };
        assert!(checked(&[]));
        assert!(checked(&["APP.test"]));
        assert!(!checked(&["other.test"]));
        assert!(!checked(&["app.test", "app.test"]));
    }

    #[test]
    fn each_handshake_has_a_key_of_its_own() {
        let key = || {
            let mut request = Request::connect("https://app.test/ws").body(()).unwrap();
            make_handshake(&mut request);
            assert_eq!(request.method(), Method::GET);
            assert_eq!(request.headers()[SEC_WEBSOCKET_VERSION], "13");
            request.headers()[SEC_WEBSOCKET_KEY].clone()
        };
        let (one, other) = (key(), key());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one).unwrap().len(), 16);
    }
}
