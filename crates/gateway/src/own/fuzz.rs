//! What a page has seen last, as it says.

use http::HeaderValue;

use super::*;

#[test]
fn last_seen() {
    drowse_fuzz::target("last_seen", |input| {
        let Ok(value) = HeaderValue::from_bytes(input) else { return };
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", value);
        let seen = last_event_id(&headers);
        let is_plain = input.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        let expected = str::from_utf8(input).ok().filter(|_| is_plain && input.len() <= LONGEST_ID);
        assert_eq!(seen.as_deref(), expected);

        // The same in a query, and the path that is asked about.
        let encoded: String = form_urlencoded::byte_serialize(input).collect();
        let uri = format!("{PREFIX}ready?seen={encoded}&path={encoded}");
        let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        assert_eq!(path_asked_about(&parts).as_bytes(), String::from_utf8_lossy(input).as_bytes());
        assert!(is_own(parts.uri.path()));
        if let Ok(query) = http::uri::PathAndQuery::from_maybe_shared([b"/?", input].concat()) {
            let (parts, ()) = http::Request::get(query.as_str()).body(()).unwrap().into_parts();
            let _any = (parameter(&parts, "path"), parameter(&parts, "seen"));
        }
    });
}
