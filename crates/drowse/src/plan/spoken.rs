//! How a route's upstream is spoken to, and what changes on the way, as it is planned.

use drowse_gateway::{HeaderChanges, PathPrefix, UpstreamScheme, UpstreamTrust};

use crate::config::{SpokenSettings, TRUST_ANY_UPSTREAM};

/// What a route does beside leading somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) scheme: UpstreamScheme,
    pub(crate) strip_prefix: bool,
    pub(crate) https_only: bool,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
}

/// What comes of what is said, and what of it cannot be.
pub(super) fn spoken(
    said: SpokenSettings,
    path: &PathPrefix,
    mistakes: &mut Vec<String>,
) -> Spoken {
    let scheme = said.scheme(mistakes);
    let strip_prefix = said.strip_prefix.is_some_and(|strip| strip.value);
    if strip_prefix && *path == PathPrefix::root() {
        mistakes.push("`strip_prefix` means nothing without `path`: there is no prefix".to_owned());
    }
    Spoken {
        scheme,
        strip_prefix,
        https_only: said.https_only.is_some_and(|only| only.value),
        request_headers: said.request_headers,
        response_headers: said.response_headers,
    }
}

impl Spoken {
    /// An upstream as it is dialled: with its scheme, where that is not the usual one.
    pub(crate) fn shown(&self, target: &str) -> String {
        match self.scheme {
            UpstreamScheme::Http => target.to_owned(),
            _ => format!("{}://{target}", self.scheme),
        }
    }

    /// What it changes, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        let changed = |what: &str, changes: &HeaderChanges| {
            let names: Vec<_> = changes.names().collect();
            (!changes.is_empty()).then(|| format!("{what} changed: {}", names.join(", ")))
        };
        let words = [
            self.https_only.then(|| "by https only".to_owned()),
            self.strip_prefix.then(|| "without its prefix".to_owned()),
            changed("request headers", &self.request_headers),
            changed("answers' headers", &self.response_headers),
        ];
        words.into_iter().flatten().collect()
    }

    /// What its user should know.
    pub(crate) fn warning(&self) -> Option<String> {
        match &self.scheme {
            UpstreamScheme::Https(tls) if tls.trust == UpstreamTrust::Anyone => Some(format!(
                "`{TRUST_ANY_UPSTREAM}`: whoever comes between drowse and the application reads and \
                 changes what passes; name its certificate with `ca_file` instead"
            )),
            _ => None,
        }
    }
}
