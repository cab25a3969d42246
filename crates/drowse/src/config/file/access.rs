//! Who may enter, as the file says it of a route, a workload, or all of them.

use drowse_gateway::{BasicAuth, ForwardAuth, ForwardAuthError, UpstreamTrust};

use super::{Reader, items, unknown};
use crate::config::{
    Given, Origin,
    access::{ALLOW, AccessSettings, BASIC_AUTH, FORWARD_AUTH},
    tree::{Key, Node, Value},
    usage,
};

/// The keys of who may enter.
pub(crate) const ACCESS_KEYS: &[&str] = &[ALLOW, BASIC_AUTH, FORWARD_AUTH];

const BASIC_KEYS: &[&str] = &["users_file", "realm", "pass_on"];
const FORWARD_KEYS: &[&str] = &["url", "ca_file", "request_headers", "response_headers"];

/// Nothing is checked, whatever the defaults say. YAML's own words for that may be meant, too.
const OFF: &[&str] = &["off", "false"];

impl Reader<'_> {
    /// Reads one of them; `false` if it is none.
    pub(super) fn access(&mut self, access: &mut AccessSettings, key: &Key, node: &Node) -> bool {
        let origin = Origin::File(node.place.clone());
        match key.name.as_str() {
            ALLOW => {
                if let Some(value) = self.allowed(node) {
                    access.allow = Some(Given { value, origin });
                }
            }
            BASIC_AUTH => {
                let value = if is_off(node) { Some(None) } else { self.basic(node).map(Some) };
                access.basic = value.map(|value| Given { value, origin });
            }
            FORWARD_AUTH => {
                let value = if is_off(node) { Some(None) } else { self.forward(node).map(Some) };
                access.forward = value.map(|value| Given { value, origin });
            }
            _ => return false,
        }
        true
    }

    fn allowed(&mut self, node: &Node) -> Option<Vec<drowse_gateway::Network>> {
        const EXPECTED: &str = "a network such as `192.168.0.0/16`, or several";
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.error(&node.place, format!("expected {EXPECTED}: from nowhere nobody can come"));
            return None;
        }
        let mut networks = Vec::new();
        for item in items(node) {
            match usage::networks(self.text(item, EXPECTED)?) {
                Ok(read) => networks.extend(read),
                Err(why) => self.error(&item.place, why),
            }
        }
        Some(networks)
    }
    fn basic(&mut self, node: &Node) -> Option<BasicAuth> {
        let what = "basic authentication, such as `{users_file: /etc/drowse/users}`, or `off`,";
        let (mut users, mut realm, mut pass_on) = (None, None, false);
        for (key, value) in self.mapping(node, what) {
            match key.name.as_str() {
                "users_file" => users = Some(self.file(value)),
                "realm" => realm = self.realm(value),
                "pass_on" => pass_on = self.flag(value),
                other => self.error(&key.place, unknown("key", other, BASIC_KEYS)),
            }
        }
        if users.is_none() && matches!(node.value, Value::Map(_)) {
            let why = "`users_file` is missing: the file that `htpasswd -B` writes";
            self.error(&node.place, why);
        }
        let mut basic = BasicAuth::new(users?);
        basic.realm = realm.unwrap_or(basic.realm);
        basic.pass_on = pass_on;
        Some(basic)
    }

    fn realm(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "a few words")?;
        if text.chars().any(|c| c.is_control() || !c.is_ascii() || matches!(c, '"' | '\\')) {
            let why = "expected letters, digits and blanks of ASCII, without quotes";
            self.error(&node.place, why);
            return None;
        }
        Some(text.to_owned())
    }

    fn forward(&mut self, node: &Node) -> Option<ForwardAuth> {
        let what = "whom to ask, such as \
                    `{url: \"http://authelia:9091/api/authz/forward-auth\"}`, or `off`,";
        let entries = self.mapping(node, what);
        let Some((key, url)) = entries.iter().find(|(key, _)| key.name == "url") else {
            if matches!(node.value, Value::Map(_)) {
                self.error(&node.place, "`url` is missing: say whom to ask");
            }
            return None;
        };
        let text = self.text(url, "a URL")?;
        if text.contains('@') {
            // It may be a password.
            self.hide(key, url);
        }
        let read = ForwardAuth::new(text);
        let mut forward = read.map_err(|error| self.error(&url.place, error.to_string())).ok()?;
        for (key, value) in entries {
            match key.name.as_str() {
                "url" => {}
                "ca_file" if forward.url.scheme_str() == Some("https") => {
                    forward.trust = UpstreamTrust::CaFile(self.file(value));
                }
                "ca_file" => self.error(&key.place, "`ca_file` goes with a URL of `https`"),
                "request_headers" => {
                    self.names(value, |name| forward.pass_on(name));
                }
                "response_headers" => {
                    self.names(value, |name| forward.tell(name));
                }
                other => self.error(&key.place, unknown("key", other, FORWARD_KEYS)),
            }
        }
        Some(forward)
    }

    fn names(&mut self, node: &Node, mut take: impl FnMut(&str) -> Result<(), ForwardAuthError>) {
        for item in items(node) {
            let Some(name) = self.text(item, "the name of a header such as `Remote-User`") else {
                continue;
            };
            if let Err(error) = take(name) {
                self.error(&item.place, error.to_string());
            }
        }
    }
}

fn is_off(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if OFF.contains(&text.as_str()))
}
