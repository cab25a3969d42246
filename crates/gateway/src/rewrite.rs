//! What a route changes in messages, beside what every proxy must.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    uri::PathAndQuery,
};

use crate::{PathPrefix, readiness::PROBE, veto::VETO};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Headers that a route sets or takes off. The default changes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges(Vec<(HeaderName, Option<HeaderValue>)>);

/// A header that cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderChangeError {
    /// The text is no name.
    #[error("`{}` is no name of a header: letters, digits and `-` are expected", name.escape_debug())]
    NoName {
        /// What was given.
        name: String,
    },
    /// The text is no value.
    #[error("the value of `{name}` has characters that no header may have")]
    NoValue {
        /// Whose value it is.
        name: String,
    },
    /// It is given twice, perhaps in upper and lower case.
    #[error("`{name}` is given twice")]
    Twice {
        /// What was given.
        name: String,
    },
    /// It is none of the route's business.
    #[error("`{name}` cannot be changed: {why}")]
    NotOurs {
        /// What was given.
        name: String,
        /// Why not: a lower-case fragment.
        why: &'static str,
    },
}

impl HeaderChanges {
    /// No header is changed.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets a header, in place of whatever it was. Without a value it is taken off.
    ///
    /// # Errors
    /// [`HeaderChangeError`] for what is no header, and for those that say how a message is framed, what
    /// it is for, or something about a connection.
    pub fn change(&mut self, name: &str, value: &str) -> Result<(), HeaderChangeError> {
        let owned = || name.to_owned();
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HeaderChangeError::NoName { name: owned() })?;
        if let Some(why) = why_not(&header) {
            return Err(HeaderChangeError::NotOurs { name: owned(), why });
        }
        if self.0.iter().any(|(known, _)| *known == header) {
            return Err(HeaderChangeError::Twice { name: owned() });
        }
        let value = match value {
            "" => None,
            value => Some(
                HeaderValue::from_str(value)
                    .map_err(|_| HeaderChangeError::NoValue { name: owned() })?,
            ),
        };
        self.0.push((header, value));
        Ok(())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the headers that it changes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => _ = headers.insert(name, value.clone()),
                None => _ = headers.remove(name),
            }
        }
    }
}

pub(crate) fn why_not(name: &HeaderName) -> Option<&'static str> {
    if *name == HOST {
        return Some("it says which route a request is for");
    }
    if [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, EXPECT].contains(name) {
        return Some("it says where a message ends, which is seen and not said");
    }
    if [CONNECTION, TE, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
    {
        return Some("it is about one connection, and goes no further");
    }
    if *name == PROBE || *name == VETO {
        return Some("it marks questions of drowse's own");
    }
    None
}

/// Takes the route's prefix off a request's target, and tells the application so.
pub(crate) fn strip_prefix(uri: &mut Uri, headers: &mut HeaderMap, prefix: &PathPrefix) {
    let prefix = prefix.as_str();
    let Some(rest) = uri.path_and_query().and_then(|target| target.as_str().strip_prefix(prefix))
    else {
        return;
    };
    let target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let (Ok(target), Ok(told)) = (PathAndQuery::try_from(target), HeaderValue::from_str(prefix))
    else {
        return;
    };
    *uri = Uri::from(target);
    // Behind a trusted proxy that has stripped one itself: both, in their order.
    headers.append(X_FORWARDED_PREFIX, told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_set_and_taken_off() {
        let mut changes = HeaderChanges::none();
        changes.change("X-Frame-Options", "DENY").unwrap();
        changes.change("server", "").unwrap();
        let mut headers = HeaderMap::new();
        headers.append("server", HeaderValue::from_static("nginx"));
        headers.append("x-frame-options", HeaderValue::from_static("ALLOW"));
        headers.append("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
        changes.apply(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(changes.names().collect::<Vec<_>>(), ["x-frame-options", "server"]);
    }

    #[test]
    fn what_cannot_be_changed_is_refused_with_the_reason() {
        let mut changes = HeaderChanges::none();
        changes.change("x-a", "1").unwrap();
        let refused = [
            ("a b", "1"),
            ("x-b", "a\nb"),
            ("X-A", "2"),
            ("Host", "other.test"),
            ("content-length", "1"),
            ("Connection", ""),
            ("drowse-probe", "1"),
        ]
        .map(|(name, value)| changes.change(name, value).unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r"
        `a b` is no name of a header: letters, digits and `-` are expected
        the value of `x-b` has characters that no header may have
        `X-A` is given twice
        `Host` cannot be changed: it says which route a request is for
        `content-length` cannot be changed: it says where a message ends, which is seen and not said
        `Connection` cannot be changed: it is about one connection, and goes no further
        `drowse-probe` cannot be changed: it marks questions of drowse's own
        ");
    }

    #[test]
    fn a_prefix_is_taken_off_and_told() {
        for (target, expected) in [
            ("/app", "/"),
            ("/app/", "/"),
            ("/app/x?y=/app", "/x?y=/app"),
            ("/app?x", "/?x"),
            ("/app//x", "//x"),
        ] {
            let mut uri: Uri = target.parse().unwrap();
            let mut headers = HeaderMap::new();
            strip_prefix(&mut uri, &mut headers, &"/app".parse().unwrap());
            assert_eq!(uri, expected, "{target}");
            assert_eq!(headers[X_FORWARDED_PREFIX], "/app");
        }
    }
}
