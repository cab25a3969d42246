//! What somebody says about whom a request is for, before a proxy that is trusted adds its word.

use drowse_fuzz::Input;
use http::HeaderValue;

use super::*;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn told(name: &HeaderName, lines: &[HeaderValue]) -> Client {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, line.clone());
    }
    let proxies = ["10.0.0.1".parse().unwrap()].into_iter().collect();
    Client::told_by(PROXY, Scheme::Http, &headers, &proxies)
}

/// As a proxy adds its word: in a line of its own, and behind what is there.
fn with(said: &HeaderValue, word: &str) -> [Vec<HeaderValue>; 2] {
    let own = vec![said.clone(), HeaderValue::from_str(word).unwrap()];
    let behind = [said.as_bytes(), b", ", word.as_bytes()].concat();
    [own, vec![HeaderValue::from_bytes(&behind).unwrap()]]
}

#[test]
fn forwarded() {
    drowse_fuzz::target("forwarded", |input| {
        let Ok(said) = HeaderValue::from_bytes(input) else { return };
        for name in [X_FORWARDED_FOR, FORWARDED, X_FORWARDED_PROTO] {
            let client = told(&name, std::slice::from_ref(&said));
            assert_eq!(client.address, client.address.to_canonical());
        }
        let seen: IpAddr = [192, 0, 2, 7].into();
        for lines in with(&said, "192.0.2.7") {
            assert_eq!(told(&X_FORWARDED_FOR, &lines).address, seen, "the proxy's word counts");
        }
        for word in ["for=192.0.2.7", "for=\"192.0.2.7:4711\";proto=https;host=\"a,b\""] {
            for lines in with(&said, word) {
                let client = told(&FORWARDED, &lines);
                assert_eq!(client.address, seen, "the proxy's word counts");
                assert_eq!(client.scheme == Scheme::Https, word.contains("https"));
            }
        }
    });
}

#[test]
fn forwarded_node() {
    drowse_fuzz::target("forwarded_node", |input| {
        if let Some(address) = node(input) {
            assert_eq!(node(address.to_string().as_bytes()), Some(address));
        }
        let mut bytes = Input::new(input);
        let port = u16::from_be_bytes(bytes.array());
        let v4: IpAddr = bytes.array::<4>().into();
        let v6: IpAddr = bytes.array::<16>().into();
        for (written, meant) in [
            (format!("{v4}"), v4),
            (format!("{v4}:{port}"), v4),
            (format!("{v6}"), v6),
            (format!("[{v6}]"), v6),
            (format!("[{v6}]:{port}"), v6),
        ] {
            let meant = meant.to_canonical();
            assert_eq!(node(written.as_bytes()), Some(meant), "{written}");
            if meant == PROXY {
                continue;
            }
            let element = HeaderValue::from_str(&format!("for=\"{written}\"")).unwrap();
            assert_eq!(told(&FORWARDED, &[element]).address, meant, "{written}");
        }
    });
}
