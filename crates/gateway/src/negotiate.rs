//! Who gets the waiting page: a person who waits before a browser, and nobody else.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, UPGRADE},
    request::Parts,
};

/// Whether this is a browser's navigation: a GET with `Sec-Fetch-Mode: navigate`, or, of browsers
/// and connections without that header, one that names `text/html` among what it accepts. Not one of a
/// frame: no browser shows the page there, since its policy admits no frame around it.
pub(crate) fn is_navigation(parts: &Parts) -> bool {
    let headers = &parts.headers;
    if parts.method != Method::GET || headers.contains_key(UPGRADE) || is_script(headers) {
        return false;
    }
    if headers.get("sec-fetch-dest").is_some_and(|destination| destination != "document") {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => headers.get_all(ACCEPT).iter().any(names_html),
    }
}

/// Scripts that ask for pieces of pages say so.
fn is_script(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request") || headers.contains_key("x-requested-with")
}

/// Whether `text/html` is named, and not with a weight of nothing. `*/*` names nothing.
fn names_html(accept: &HeaderValue) -> bool {
    accept.to_str().unwrap_or("").split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let is_refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse::<f32>().ok()) == Some(0.0)
        });
        is_html && !is_refused
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_page_for(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_navigation(&request.body(()).unwrap().into_parts().0)
    }

    const BROWSER: (&str, &str) =
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

    #[test]
    fn navigations_get_the_page() {
        assert!(is_page_for(Method::GET, &[("sec-fetch-mode", "navigate"), BROWSER]));
        assert!(is_page_for(Method::GET, &[("sec-fetch-mode", "navigate")]));
        let dest = ("sec-fetch-dest", "document");
        assert!(is_page_for(Method::GET, &[("sec-fetch-mode", "navigate"), dest, BROWSER]));
        assert!(is_page_for(Method::GET, &[BROWSER]));
        assert!(is_page_for(Method::GET, &[("accept", "application/json, Text/HTML;q=0.1")]));
    }

    #[test]
    fn everything_else_is_held() {
        for headers in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "application/json")],
            &[("accept", "text/html;q=0")],
            &[("accept", "text/htmlx")],
            &[("sec-fetch-mode", "cors"), BROWSER],
            &[("sec-fetch-mode", "websocket"), ("upgrade", "websocket")],
            &[("upgrade", "websocket"), BROWSER],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), BROWSER],
            &[("hx-request", "true"), BROWSER],
            &[("x-requested-with", "XMLHttpRequest"), BROWSER],
        ] {
            assert!(!is_page_for(Method::GET, headers), "{headers:?}");
        }
        for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
            assert!(!is_page_for(method, &[("sec-fetch-mode", "navigate"), BROWSER]));
        }
    }
}
