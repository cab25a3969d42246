//! What an answer means: its status, its reason phrase and its body.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{StatusCode, response::Parts};
use hyper::ext::ReasonPhrase;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    ClientError, Endpoint,
    lenient::{Text, line},
    wire::Envelope,
};

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

/// What is in the body of a refusal. `message` exists since the end of 8.3 only.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: Text,
    #[serde(default)]
    errors: Option<BTreeMap<String, Text>>,
}

impl Answer {
    /// What is in `data`, or why there is none.
    pub(super) fn read<T: DeserializeOwned>(
        self,
        endpoint: &Endpoint,
        node: Option<&str>,
    ) -> Result<Envelope<T>, ClientError> {
        if self.head.status != StatusCode::OK {
            return Err(self.refusal(endpoint, node));
        }
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Garbled {
            message: format!("`{endpoint}` answers what is not the API's JSON: {error}"),
            was_sent: true,
        })
    }

    fn refusal(&self, endpoint: &Endpoint, node: Option<&str>) -> ClientError {
        let status = self.head.status.as_u16();
        let message = self.message();
        let node = || node.unwrap_or(endpoint.host()).to_owned();
        match status {
            401 => ClientError::Unauthorized { message },
            403 => {
                let (path, privilege) = lacking(&message);
                ClientError::Forbidden { privilege, path, message }
            }
            // Whatever stands in front of the API: it has the request, or has not.
            502..=504 => ClientError::Unreachable {
                endpoint: endpoint.to_string(),
                reason: format!("what answers there says {status} ({message})"),
                was_sent: true,
                source: None,
            },
            // AnyEvent::HTTP's own: 595 before the request was sent to the node, the others later.
            595 => ClientError::NodeUnreachable { node: node(), message, was_sent: false },
            596..=599 => ClientError::NodeUnreachable { node: node(), message, was_sent: true },
            _ => ClientError::Refused { status, message },
        }
    }

    /// The API's own words: its `message` with the parameters that it names, else the reason
    /// phrase, which is all that older ones have.
    fn message(&self) -> String {
        let refusal: Refusal = serde_json::from_slice(&self.body).unwrap_or_default();
        let said = refusal.message.some().unwrap_or_else(|| self.reason());
        let mut message = said.trim().to_owned();
        for (parameter, what) in refusal.errors.unwrap_or_default() {
            let end = if message.ends_with('.') { message.len() - 1 } else { message.len() };
            message.truncate(end);
            message.extend(["; ", &parameter, ": ", what.or_empty().trim()]);
        }
        line(&message)
    }

    /// The parser leaves out one with other characters than ASCII's.
    fn reason(&self) -> String {
        let told = self.head.extensions.get::<ReasonPhrase>();
        let told = told.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let known = || self.head.status.canonical_reason().unwrap_or("no reason given").to_owned();
        told.filter(|reason| !reason.trim().is_empty()).unwrap_or_else(known)
    }

    /// Whether another request may follow on the same connection. `close` counts even when
    /// `Keep-Alive` stands beside it, as pveproxy writes it where it passes on.
    pub(super) fn keeps_alive(&self) -> bool {
        let told = self.head.headers.get_all(http::header::CONNECTION);
        let mut words =
            told.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        self.head.status == StatusCode::OK
            && !words.any(|word| word.trim().eq_ignore_ascii_case("close"))
    }
}

/// Path and privilege of `Permission check failed (/vms/101, VM.PowerMgmt)`.
fn lacking(message: &str) -> (Option<String>, Option<String>) {
    let inside = message
        .strip_prefix("Permission check failed (")
        .and_then(|rest| rest.strip_suffix(')'))
        .filter(|inside| inside.starts_with('/'));
    match inside.and_then(|inside| inside.split_once(", ")) {
        Some((path, privilege)) => (Some(path.to_owned()), Some(privilege.to_owned())),
        None => (None, None),
    }
}
