//! What a route matches: host names and path prefixes.

use std::{borrow::Cow, fmt, str::FromStr};

/// Which host names a route answers to: one, or all below a domain.
///
/// Compared without regard to case; a port and a trailing dot do not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name, lower case, without port and trailing dot.
    Exact(String),
    /// Every name below this domain, at any depth, and not the domain itself: `*.example.com` is
    /// `Below("example.com")`.
    Below(String),
}

/// The text is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no host name: {why}")]
pub struct HostPatternError {
    text: String,
    why: &'static str,
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let refuse = |why| Err(HostPatternError { text: text.to_owned(), why });
        let (is_wildcard, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.contains('*') {
            return refuse("`*` can only stand for the first part, as in `*.example.com`");
        }
        if name.contains(['/', '@', ' ']) || (name.contains(':') && !name.starts_with('[')) {
            return refuse("a name without scheme, port and path is expected");
        }
        Ok(if is_wildcard { Self::Below(name) } else { Self::Exact(name) })
    }
}

impl HostPattern {
    /// The one name that it is, if it is one.
    pub(crate) fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(name) => Some(name),
            Self::Below(_) => None,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => formatter.write_str(name),
            Self::Below(domain) => write!(formatter, "*.{domain}"),
        }
    }
}

/// Which paths a route answers to: those that begin with these whole segments. `/app` matches
/// `/app` and `/app/x`, and not `/apple`.
///
/// Compared byte by byte with the path as it was sent: neither `%61` nor `..` is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPrefix(String);

/// The text is no path prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path prefix: it must begin with `/` and have neither query nor fragment")]
pub struct PathPrefixError(String);

impl PathPrefix {
    /// Every path.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The prefix, without a slash at its end unless it is the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` begins with these segments.
    pub fn matches(&self, path: &str) -> bool {
        if self.0 == "/" {
            return true;
        }
        path.strip_prefix(self.0.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Default for PathPrefix {
    fn default() -> Self {
        Self::root()
    }
}

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        if !text.starts_with('/') || text.contains(['?', '#', ' ']) {
            return Err(PathPrefixError(text.to_owned()));
        }
        let trimmed = text.trim_end_matches('/');
        Ok(Self(if trimmed.is_empty() { "/" } else { trimmed }.to_owned()))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A request's host as it is compared: lower case, without port and trailing dot. Allocates only
/// for names with capitals.
pub(crate) fn normalised(authority: &str) -> Cow<'_, str> {
    // An address in brackets has colons of its own.
    let end = authority.rfind(']').unwrap_or(0);
    let name = match authority[end..].find(':') {
        Some(colon) => &authority[..end + colon],
        None => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_trailing_dot() {
        for (sent, expected) in [
            ("app.example.com", "app.example.com"),
            ("App.Example.COM:8080", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("app.example.com.:80", "app.example.com"),
            ("[::1]:8080", "[::1]"),
            ("[FE80::1]", "[fe80::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
        ] {
            assert_eq!(normalised(sent), expected, "{sent}");
        }
    }

    #[test]
    fn host_patterns_are_exact_or_whole_domains() {
        assert_eq!("App.example.".parse(), Ok(HostPattern::Exact("app.example".into())));
        assert_eq!("*.Example.com".parse(), Ok(HostPattern::Below("example.com".into())));
        assert_eq!("[::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        for wrong in ["", "*", "*.", "a.*.b", "http://a", "a:80", "a/b", "u@a"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn path_prefixes_end_at_segments() {
        let app: PathPrefix = "/app/".parse().unwrap();
        for path in ["/app", "/app/", "/app/x"] {
            assert!(app.matches(path), "{path}");
        }
        for path in ["/", "/apple", "/ap", "/x/app"] {
            assert!(!app.matches(path), "{path}");
        }
        for path in ["/", "/x", "*"] {
            assert!(PathPrefix::root().matches(path), "{path}");
        }
        for wrong in ["", "app", "/a?b", "/a#b"] {
            assert!(wrong.parse::<PathPrefix>().is_err(), "{wrong}");
        }
    }
}
