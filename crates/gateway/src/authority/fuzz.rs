//! The target and the `Host` of a request.

use drowse_fuzz::Input;
use http::Request;

use super::*;
use crate::{HostPattern, pattern::normalised, redirect, rewrite};

#[test]
fn authority() {
    drowse_fuzz::target("authority", |input| {
        let mut input = Input::new(input);
        let version =
            if input.byte().is_multiple_of(2) { Version::HTTP_11 } else { Version::HTTP_10 };
        let Ok(uri) = Uri::try_from(input.line()) else { return };
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = uri;
        let mut hosts = 0;
        while !input.is_empty() {
            let Ok(host) = HeaderValue::from_bytes(input.line()) else { return };
            request.headers_mut().append(HOST, host);
            hosts += 1;
        }
        let (mut parts, ()) = request.into_parts();
        if let Ok(host) = of(&parts) {
            assert!(hosts == 1 || (version == Version::HTTP_10 && parts.uri.authority().is_some()));
            assert!(parts.uri.authority().is_none() || parts.uri.scheme().is_some());
            let host = host.to_str().unwrap();
            assert!(!host.contains(['@', '/', '?', '#', ' ', '"', '<', '\\']), "{host}");

            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            if let Ok(elsewhere) = redirect::location(host, target).parse::<Uri>() {
                let there = elsewhere.host().unwrap_or_default();
                assert!(host.starts_with(there), "{elsewhere}");
                assert!(elsewhere.port().is_none(), "{elsewhere}");
            }

            let name = normalised(host).into_owned();
            assert_eq!(normalised(&host.to_ascii_uppercase()), name);
            if !host.contains(':') {
                assert_eq!(normalised(&format!("{host}:8080")), name);
            }
            if let Ok(HostPattern::Exact(pattern)) = name.parse() {
                assert_eq!(pattern, name.strip_suffix('.').unwrap_or(&name), "a route finds it");
            }
        }
        let target = parts.uri.path_and_query().map(ToString::to_string);
        make_origin_form(&mut parts.uri);
        assert!(parts.uri.authority().is_none() && parts.uri.scheme().is_none());
        let Some(target) = target else { return };
        assert_eq!(parts.uri.to_string(), target);

        let prefix = "/app".parse().unwrap();
        rewrite::strip_prefix(&mut parts.uri, &mut parts.headers, &prefix);
        let rest = target.strip_prefix("/app").unwrap_or(&target);
        let slash = if rest.starts_with(['/', '*']) { "" } else { "/" };
        assert_eq!(parts.uri.to_string(), format!("{slash}{rest}"));
    });
}
