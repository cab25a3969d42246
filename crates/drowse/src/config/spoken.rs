//! How a route's upstream is spoken to, and what changes on the way there and back: the keys of a route
//! beside where it leads.

use std::path::PathBuf;

use drowse_gateway::{HeaderChanges, UpstreamScheme, UpstreamTls, UpstreamTrust};

use super::{Given, RouteSettings, settings::unknown};

/// Takes what keeps others from answering in the application's place away. Ugly on purpose.
pub(crate) const TRUST_ANYONE: &str = "let_anyone_impersonate_this_upstream";

/// A key of a route that only the file has: whoever may label a container must not open files of this
/// machine.
pub(crate) const CA_FILE: &str = "ca_file";

/// The word for a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemeWord {
    Http,
    Https,
    H2c,
}

impl SchemeWord {
    const ALL: [Self; 3] = [Self::Http, Self::Https, Self::H2c];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }
}

/// What is said about one route's upstream and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpokenSettings {
    pub(crate) scheme: Option<Given<SchemeWord>>,
    pub(crate) server_name: Option<Given<String>>,
    pub(crate) trust_anyone: Option<Given<bool>>,
    pub(crate) ca_file: Option<Given<PathBuf>>,
    pub(crate) strip_prefix: Option<Given<bool>>,
    pub(crate) https_only: Option<Given<bool>>,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
}

/// A key that is followed by the names of headers: in the file a mapping, as labels one for each header,
/// `drowse.request-headers.X-Frame-Options`. A null or empty value takes the header off. Notes cannot say
/// it: what an application is told of who asks may come from these.
pub(crate) struct HeaderKey {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&mut RouteSettings) -> &mut HeaderChanges,
}

pub(crate) const HEADER_KEYS: &[HeaderKey] = &[
    HeaderKey { name: "request_headers", of: |route| &mut route.spoken.request_headers },
    HeaderKey { name: "response_headers", of: |route| &mut route.spoken.response_headers },
];

impl HeaderKey {
    /// The key's name as part of a label.
    pub(crate) fn label(&self) -> String {
        self.name.replace('_', "-")
    }
}

pub(super) fn scheme(text: &str) -> Result<SchemeWord, String> {
    SchemeWord::ALL
        .into_iter()
        .find(|word| word.as_str() == text)
        .ok_or_else(|| unknown("scheme", text, &SchemeWord::ALL.map(SchemeWord::as_str)))
}

impl SpokenSettings {
    /// The scheme that it comes to, and what of it means nothing. `key`: names a key as it was given.
    pub(crate) fn scheme(&self, mistakes: &mut Vec<String>) -> UpstreamScheme {
        let word = self.scheme.as_ref().map_or(SchemeWord::Http, |scheme| scheme.value);
        if word != SchemeWord::Https {
            let vain = [
                self.server_name.as_ref().map(|_| "server_name"),
                self.ca_file.as_ref().map(|_| CA_FILE),
                self.trust_anyone.as_ref().map(|_| TRUST_ANYONE),
            ];
            mistakes.extend(vain.into_iter().flatten().map(|key| {
                format!(
                    "`{key}` means nothing with the scheme `{}`: it goes with `https`",
                    word.as_str()
                )
            }));
        }
        match word {
            SchemeWord::Http => UpstreamScheme::Http,
            SchemeWord::H2c => UpstreamScheme::H2c,
            SchemeWord::Https => UpstreamScheme::Https(self.tls(mistakes)),
        }
    }

    fn tls(&self, mistakes: &mut Vec<String>) -> UpstreamTls {
        let is_anyone = self.trust_anyone.as_ref().is_some_and(|anyone| anyone.value);
        let trust = match &self.ca_file {
            Some(_) if is_anyone => {
                mistakes.push(format!(
                    "`{CA_FILE}` and `{TRUST_ANYONE}` both say how the upstream is known: give one \
                     of them"
                ));
                UpstreamTrust::System
            }
            Some(file) => UpstreamTrust::CaFile(file.value.clone()),
            None if is_anyone => UpstreamTrust::Anyone,
            None => UpstreamTrust::System,
        };
        let tls = UpstreamTls::new().trusting(trust);
        match &self.server_name {
            Some(name) => tls.named(&*name.value),
            None => tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[expect(clippy::unnecessary_wraps, reason = "as settings have it")]
    fn given<T>(value: T) -> Option<Given<T>> {
        Some(Given { value, origin: Origin::Label("drowse.scheme".to_owned()) })
    }

    #[test]
    fn every_key_of_headers_is_in_the_readme() {
        let readme = include_str!("../../README.md");
        for key in HEADER_KEYS {
            assert!(readme.contains(&format!("| `{}` |", key.name)), "{}", key.name);
            assert!(readme.contains(&format!("`drowse.{}.", key.label())), "{}", key.label());
        }
        assert!(readme.contains(&format!("| `{CA_FILE}` |")));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let said = |settings: SpokenSettings| {
            let mut mistakes = Vec::new();
            settings.scheme(&mut mistakes);
            mistakes.join("\n")
        };
        let file = || given(PathBuf::from("/etc/ca.pem"));
        insta::assert_snapshot!(
            [
                said(SpokenSettings { server_name: given("a".into()), ..Default::default() }),
                said(SpokenSettings {
                    scheme: given(SchemeWord::H2c),
                    ca_file: file(),
                    trust_anyone: given(false),
                    ..Default::default()
                }),
                said(SpokenSettings {
                    scheme: given(SchemeWord::Https),
                    ca_file: file(),
                    trust_anyone: given(true),
                    ..Default::default()
                }),
                scheme("https2").unwrap_err(),
            ]
            .join("\n"),
            @r"
        `server_name` means nothing with the scheme `http`: it goes with `https`
        `ca_file` means nothing with the scheme `h2c`: it goes with `https`
        `let_anyone_impersonate_this_upstream` means nothing with the scheme `h2c`: it goes with `https`
        `ca_file` and `let_anyone_impersonate_this_upstream` both say how the upstream is known: give one of them
        unknown scheme `https2`: did you mean `https`?
        "
        );
    }
}
