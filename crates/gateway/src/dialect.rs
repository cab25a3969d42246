//! A request as the version of HTTP says it that its upstream speaks.

use http::{
    HeaderValue, Request, Uri, Version,
    header::{CONNECTION, EXPECT, HOST, TE, UPGRADE},
    uri::{PathAndQuery, Scheme},
};

use crate::authority;

/// As HTTP/1.1 says it: the host in a header, the path alone as the target.
pub(crate) fn as_http1<B>(request: &mut Request<B>) {
    if request.version() == Version::HTTP_11 {
        return;
    }
    let host = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(HOST, host);
    }
    authority::make_origin_form(request.uri_mut());
    if request.headers().contains_key(TE) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    *request.version_mut() = Version::HTTP_11;
}

/// As HTTP/2 says it: the host in the target, and nothing about connections. Nobody is asked before a
/// body is sent: it has a window of its own, which says as much.
pub(crate) fn as_http2<B>(request: &mut Request<B>, scheme: Scheme) {
    if request.version() == Version::HTTP_2 {
        return;
    }
    let headers = request.headers_mut();
    let host = headers.remove(HOST);
    for name in [CONNECTION, UPGRADE, EXPECT] {
        headers.remove(name);
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme);
    parts.authority = host.and_then(|host| host.as_bytes().try_into().ok());
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    // A host that is one, as was checked, and a path make a URI; otherwise the upstream refuses it.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_the_same_in_both_versions() {
        for (target, host) in
            [("/a?b", "app.test:8080"), ("//a", "app.test"), ("/", "[::1]:80"), ("*", "app.test")]
        {
            let mut request = Request::builder()
                .uri(target)
                .header(HOST, host)
                .header(TE, "trailers")
                .header(CONNECTION, "TE")
                .body(())
                .unwrap();
            as_http2(&mut request, Scheme::HTTPS);
            assert_eq!(request.version(), Version::HTTP_2);
            assert_eq!(request.uri().authority().unwrap(), host);
            assert_eq!(request.uri().path_and_query().unwrap(), target, "{host}");
            assert_eq!(request.headers().len(), 1, "{:?}", request.headers());
            assert_eq!(request.headers()[TE], "trailers");
            as_http1(&mut request);
            assert_eq!(request.version(), Version::HTTP_11);
            assert_eq!(request.uri(), target);
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.headers()[CONNECTION], "TE");
        }
    }
}
