//! A Proxmox cluster of the file: where it is, who drowse is to it, and how it is known for certain.

use std::{path::PathBuf, time::Duration};

use drowse_gateway::HostPattern;
use drowse_proxmox::{Credentials, Endpoint, Fingerprint, Secret, TokenId, Trust};

use super::{Reader, items};
use crate::config::{
    ProxmoxConfig, settings,
    tree::{Key, Node, Place, Value},
    unknown,
};

/// Takes what keeps others from being believed away. Ugly on purpose.
pub(crate) const TRUST_ANYONE: &str = "let_anyone_impersonate_this_cluster";

pub(crate) const PROXMOX_KEYS: &[&str] = &[
    "url",
    "token",
    "secret",
    "secret_file",
    "secret_env",
    "username",
    "password",
    "password_file",
    "password_env",
    "fingerprints",
    "ca_file",
    TRUST_ANYONE,
    "interval",
    "discover_hosts",
];

/// Whoever asks more often learns nothing more: the cluster itself gathers every 10 s.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Until it is asked again, drowse knows neither of an end nor of a start from outside.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);

/// Who drowse says that it is.
enum Identity {
    Token(TokenId),
    User(String),
}

/// What is said of one cluster, as far as it can be read.
#[derive(Default)]
struct Said<'n> {
    endpoints: Option<Vec<Endpoint>>,
    /// An identity that cannot be read is noted and `None`.
    identities: Vec<(&'n Key, Option<Identity>)>,
    secrets: Vec<(&'n Key, Option<Secret>)>,
    trusts: Vec<(&'n Key, Option<Trust>)>,
    interval: Option<Duration>,
    discover_hosts: Vec<HostPattern>,
}

impl Reader<'_> {
    /// A Proxmox engine; `None` if it cannot be read, which has been noted then.
    pub(super) fn proxmox(&mut self, kind: &Key, node: &Node) -> Option<ProxmoxConfig> {
        let Value::Map(entries) = &node.value else {
            self.source.hide([node.place.line]);
            let found = node.value.kind();
            let why =
                format!("expected a mapping with `url`, `token` and its secret, found {found}");
            self.error(&node.place, why);
            return None;
        };
        let mut said = Said::default();
        for (key, value) in entries {
            self.proxmox_key(&mut said, key, value);
        }
        let place = &kind.place;
        if said.endpoints.is_none() {
            self.error(
                place,
                "`url` is missing: `https://` and the name of a node, or a list of them",
            );
        }
        let credentials = self.credentials(place, said.identities, said.secrets);
        let trust = self.trust(said.trusts);
        Some(ProxmoxConfig {
            endpoints: said.endpoints.filter(|endpoints| !endpoints.is_empty())?,
            credentials: credentials?,
            trust: trust?,
            interval: said.interval,
            discover_hosts: said.discover_hosts,
        })
    }

    fn proxmox_key<'n>(&mut self, said: &mut Said<'n>, key: &'n Key, value: &'n Node) {
        match key.name.as_str() {
            "url" => said.endpoints = Some(self.endpoints(key, value)),
            "token" => said.identities.push((key, self.token(key, value))),
            "username" => {
                let user = self.text(value, "a user and his realm, such as `drowse@pve`");
                said.identities.push((key, user.map(|user| Identity::User(user.to_owned()))));
            }
            "secret" | "password" => {
                self.hide(key, value);
                let secret = self.text(value, "text").map(|text| Secret::Given(text.into()));
                said.secrets.push((key, secret));
            }
            "secret_file" | "password_file" => {
                said.secrets.push((key, self.secret_file(value).map(Secret::File)));
            }
            "secret_env" | "password_env" => {
                said.secrets.push((key, self.secret_variable(value).map(Secret::Environment)));
            }
            "fingerprints" => said.trusts.push((key, self.fingerprints(value))),
            "ca_file" => said.trusts.push((key, Some(Trust::CaFile(self.file(value))))),
            TRUST_ANYONE => match self.text(value, "`true` or `false`").map(settings::yes_or_no) {
                Some(Ok(true)) => said.trusts.push((key, Some(Trust::Anyone))),
                Some(Ok(false)) | None => {}
                Some(Err(why)) => self.error(&value.place, why),
            },
            "interval" => match self.duration(value) {
                Some(interval) if interval < SHORTEST_INTERVAL => {
                    self.error(&value.place, "an interval is at least `1s`");
                }
                Some(interval) if interval > LONGEST_INTERVAL => {
                    let why = "an interval is at most `1m`: what happens on the cluster meanwhile is \
                               not known";
                    self.error(&value.place, why);
                }
                interval => said.interval = interval,
            },
            "discover_hosts" => said.discover_hosts = self.discover_hosts(value),
            "never_sleep" => {
                let why = "`never_sleep` stands at the top of the file: it is about all engines";
                self.error(&key.place, why);
            }
            other => {
                self.hide(key, value);
                self.error(&key.place, unknown("key", other, PROXMOX_KEYS));
            }
        }
    }

    fn endpoints(&mut self, key: &Key, node: &Node) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        if items(node).is_empty() {
            self.error(&node.place, "`url` is empty: name at least one node of the cluster");
        }
        for item in items(node) {
            let Some(text) = self.text(item, "a URL such as `https://pve1:8006`") else { continue };
            if text.contains('@') {
                self.hide(key, node);
            }
            match text.parse::<Endpoint>() {
                Ok(endpoint) if endpoints.contains(&endpoint) => {
                    self.error(&item.place, format!("`{endpoint}` is given twice"));
                }
                Ok(endpoint) => endpoints.push(endpoint),
                Err(why) => self.error(&item.place, why.to_string()),
            }
        }
        endpoints
    }

    fn token(&mut self, key: &Key, node: &Node) -> Option<Identity> {
        let text = self.text(node, "an API token's name, such as `drowse@pve!main`")?;
        if text.contains('=') {
            self.hide(key, node);
            let why = "`token` is the token's name alone, such as `drowse@pve!main`: its secret goes \
                       into the file that `secret_file` names";
            self.error(&node.place, why);
            return None;
        }
        if let Ok(id) = text.parse() {
            return Some(Identity::Token(id));
        }
        // Perhaps it is the secret.
        self.hide(key, node);
        let why = "this is no API token's name: `user@realm!name` is expected, such as \
                   `drowse@pve!main`";
        self.error(&node.place, why);
        None
    }

    /// A file's path. What is none may be the secret itself: it is not shown.
    fn secret_file(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.text(node, "a file's path")?;
        if text.starts_with('/') {
            return Some(PathBuf::from(text));
        }
        let why = "this is no absolute path, which begins with `/`: the secret itself goes into a \
                   file, and the file's path here";
        self.error(&node.place, why);
        None
    }

    /// An environment variable's name. What is none may be the secret itself: it is not shown.
    fn secret_variable(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "the name of an environment variable")?;
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        if text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit()) {
            return Some(text.to_owned());
        }
        let why = "this is no environment variable's name (letters, digits and `_`, such as \
                   `PVE_SECRET`): the secret itself goes into the variable, and its name here";
        self.error(&node.place, why);
        None
    }

    fn fingerprints(&mut self, node: &Node) -> Option<Trust> {
        if items(node).is_empty() {
            self.error(&node.place, "`fingerprints` is empty: nobody would be believed");
            return None;
        }
        let mut fingerprints: Vec<Fingerprint> = Vec::new();
        for item in items(node) {
            let expected = "a SHA-256 fingerprint such as `AB:CD:…`";
            match self.text(item, expected)?.parse() {
                Ok(fingerprint) => fingerprints.push(fingerprint),
                Err(why) => {
                    let why: drowse_proxmox::ParseFingerprintError = why;
                    self.error(&item.place, why.to_string());
                }
            }
        }
        Some(Trust::Fingerprints(fingerprints))
    }

    fn discover_hosts(&mut self, node: &Node) -> Vec<HostPattern> {
        let mut hosts = Vec::new();
        for item in items(node) {
            let Some(text) = self.item(item, "a host name such as `*.example.com`") else {
                continue;
            };
            match settings::hosts(text) {
                Ok(read) => hosts.extend(read),
                Err(why) => self.error(&item.place, why),
            }
        }
        hosts
    }

    /// Who drowse is, whole: a half-given credential is refused with what lacks.
    fn credentials(
        &mut self,
        place: &Place,
        mut identities: Vec<(&Key, Option<Identity>)>,
        mut secrets: Vec<(&Key, Option<Secret>)>,
    ) -> Option<Credentials> {
        if let [_, (second, _), ..] = identities.as_slice() {
            let why = "`token` and `username` both say who drowse is: give one of them";
            self.error(&second.place, why);
            return None;
        }
        let Some((identity_key, identity)) = identities.pop() else {
            let why = match secrets.first() {
                Some((key, _)) if key.name.starts_with("password") => {
                    format!(
                        "`username` is missing: the user whose password `{}` is about",
                        key.name
                    )
                }
                Some((key, _)) => format!(
                    "`token` is missing: the name of the API token that `{}` belongs to, such as \
                     `drowse@pve!main`",
                    key.name
                ),
                None => "`token` is missing: the name of an API token, such as `drowse@pve!main`, \
                         and beside it `secret_file`"
                    .to_owned(),
            };
            self.error(place, why);
            return None;
        };
        let (prefix, whose) = match identity_key.name.as_str() {
            "token" => ("secret", "the token's secret"),
            _ => ("password", "the user's password"),
        };
        if let Some((key, _)) = secrets.iter().find(|(key, _)| !key.name.starts_with(prefix)) {
            let why = format!(
                "`{}` does not belong to `{}`: {whose} is given by `{prefix}_file`, `{prefix}_env` \
                 or `{prefix}`",
                key.name, identity_key.name
            );
            self.error(&key.place, why);
            return None;
        }
        if let [(first, _), (second, _), ..] = secrets.as_slice() {
            let why = format!(
                "`{}` and `{}` both give {whose}: give one of them",
                first.name, second.name
            );
            self.error(&second.place, why);
            return None;
        }
        let Some((_, secret)) = secrets.pop() else {
            let why = format!(
                "`{prefix}_file` is missing: the file with {whose} (or `{prefix}_env`, the \
                 environment variable that has it)"
            );
            self.error(&identity_key.place, why);
            return None;
        };
        Some(match identity? {
            Identity::Token(id) => Credentials::Token { id, secret: secret? },
            Identity::User(user) => Credentials::Password { user, secret: secret? },
        })
    }

    /// How the cluster is known: by what this machine trusts anyhow, unless one thing else is said.
    fn trust(&mut self, mut trusts: Vec<(&Key, Option<Trust>)>) -> Option<Trust> {
        if let [(first, _), (second, _), ..] = trusts.as_slice() {
            let why = format!(
                "`{}` and `{}` both say how the cluster is known: give one of them",
                first.name, second.name
            );
            self.error(&second.place, why);
            return None;
        }
        trusts.pop().map_or(Some(Trust::System), |(_, trust)| trust)
    }
}
