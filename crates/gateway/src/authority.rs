//! For which host a request is (RFC 9112 section 3.2).

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header::HOST, request::Parts};

/// The host that a request is for, as its client wrote it: of the request's target if that is
/// absolute, else of its one `Host`, which HTTP/1.1 demands of both.
///
/// # Errors
/// Why it is for none: a sentence for people.
pub(crate) fn of(parts: &Parts) -> Result<HeaderValue, &'static str> {
    if parts.method == Method::CONNECT {
        return Err("This is no forward proxy: CONNECT is not answered.");
    }
    // `GET example.com`: only CONNECT has such a target.
    if parts.uri.scheme().is_none() && parts.uri.authority().is_some() {
        return Err("The request's target is no path.");
    }
    let host = match parts.uri.authority() {
        Some(authority) => {
            if parts.version == Version::HTTP_11 {
                the_one_host(&parts.headers)?;
            }
            HeaderValue::from_str(authority.as_str()).ok()
        }
        None => Some(the_one_host(&parts.headers)?),
    };
    host.filter(|host| is_host(host.as_bytes())).ok_or("The request's Host is no host name.")
}

fn the_one_host(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.clone()),
        (None, _) => Err("The request has no Host header."),
        (Some(_), Some(_)) => Err("The request has several Host headers."),
    }
}

/// Whether it could be a host, with a port or without: nothing in it needs an escape anywhere.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let is_allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.len() <= 300 && host.iter().all(is_allowed)
}

/// Brings an absolute target into the form that an upstream expects.
pub(crate) fn make_origin_form(uri: &mut Uri) {
    if uri.authority().is_none() {
        return;
    }
    // `http://example.com#a` has a path that is written as nothing at all.
    let path = uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
    *uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

#[cfg(test)]
mod fuzz;
