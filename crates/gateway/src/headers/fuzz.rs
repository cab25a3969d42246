//! The headers of a message that passes through, of a client or of an upstream, or of whoever is asked who
//! may enter.

use drowse_fuzz::Input;

use super::*;

/// What drowse itself says of the way.
static OURS: [HeaderName; 5] =
    [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_PORT];

/// One header a line, `name:value`.
fn headers(mut input: Input<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    while !input.is_empty() && headers.len() < 64 {
        let line = input.line();
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// What belongs to one hop alone, by its own word.
fn named(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let words = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let words = words.filter_map(|word| HeaderName::from_bytes(word).ok());
    // What a request is for, and on whose behalf, belongs to no single hop, whatever its sender says.
    let words = words.filter(|name| *name != HOST && !names_others(name));
    words.map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn passing_headers() {
    drowse_fuzz::target("passing_headers", |input| {
        let before = headers(Input::new(input));
        let named = named(&before);

        let mut answer = before.clone();
        prepare_response(&mut answer, false);
        for name in
            HOP_BY_HOP.iter().map(HeaderName::as_str).chain(named.iter().map(String::as_str))
        {
            assert!(!answer.contains_key(name), "{name} was for one hop");
        }
        let mut again = answer.clone();
        prepare_response(&mut again, false);
        assert_eq!(again, answer);

        let mut request = before.clone();
        let host = HeaderValue::from_static("app.example.com");
        let client =
            Client { address: [192, 0, 2, 7].into(), scheme: Scheme::Http, word: Word::Connection };
        let peer = PeerHeaders::new(client.address, Some(80));
        prepare_request(&mut request, &host, &client, &peer);
        let only = |name: &HeaderName| {
            let mut values = request.get_all(name).iter();
            let first = values.next().map(|value| value.to_str().unwrap().to_owned());
            assert!(values.next().is_none(), "{name} is said once");
            first
        };
        assert_eq!(only(&HOST).as_deref(), Some("app.example.com"));
        assert_eq!(only(&X_FORWARDED_FOR).as_deref(), Some("192.0.2.7"), "nobody else is believed");
        assert_eq!(only(&X_FORWARDED_HOST).as_deref(), Some("app.example.com"));
        assert_eq!(only(&X_FORWARDED_PROTO).as_deref(), Some("http"));
        assert_eq!(only(&X_FORWARDED_PORT).as_deref(), Some("80"));
        let forwarded = only(&FORWARDED).unwrap();
        assert!(forwarded.starts_with("for=192.0.2.7;"), "{forwarded}");
        assert!(!request.contains_key(TRANSFER_ENCODING) && !request.contains_key(PROBE));
        assert!(!request.contains_key(PROXY_AUTHORIZATION) && !request.contains_key(KEEP_ALIVE));
        let connection = only(&CONNECTION);
        assert!(matches!(connection.as_deref(), None | Some("upgrade" | "TE")), "{connection:?}");
        // Nor in another spelling, which an application may read as the same.
        for name in request.keys() {
            let read = name.as_str().replace('_', "-");
            let is_forged = ["forwarded", "x-real-ip", PROBE.as_str()].contains(&read.as_str())
                || read.starts_with("x-forwarded");
            assert!(!is_forged || OURS.contains(name), "{name}");
        }
    });
}
