//! What a client is made of.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{Credentials, Endpoint, Secret, Trust, credentials::is_user};

/// How long making a connection may take, its TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one answer may take: pveproxy gives a node 30 s, and then says so itself.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

/// How many requests are in flight at once.
const IN_FLIGHT: usize = 8;

/// What a [`Client`](super::Client) is made of.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) credentials: Credentials,
    pub(super) trust: Trust,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) in_flight: usize,
}

/// Why no client can be made of the options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is nothing to connect to.
    #[error("no endpoint: name at least one node of the cluster, as `https://host:8006`")]
    NoEndpoint,
    /// Nothing is pinned, so nothing is trusted.
    #[error("no fingerprint: pin at least one, or name a CA file")]
    NoFingerprint,
    /// The user is not one of Proxmox's. It is not told: a password may stand there.
    #[error("this is no user: the realm belongs to it, as in `root@pam` or `drowse@pve`")]
    BadUser,
    /// The secret that was given is empty, or has more than one line.
    #[error("the secret is {0}")]
    BadSecret(&'static str),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl ClientOptions {
    /// A client of the cluster whose nodes these are: they are tried in turn, and the one that
    /// works is kept to.
    pub fn new(endpoints: Vec<Endpoint>, credentials: Credentials, trust: Trust) -> Self {
        Self {
            endpoints,
            credentials,
            trust,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            in_flight: IN_FLIGHT,
        }
    }

    /// With another time for making a connection than 5 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// With another time for one answer than 35 s. Below 30 s, what pveproxy would say of a node
    /// that does not answer it is not heard.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// With another bound of requests in flight than 8. A quarter of them is kept free for power
    /// calls and what belongs to them, and one for power calls alone. At least 3. Two more are for
    /// what the cluster itself is asked.
    #[must_use]
    pub fn with_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests.max(3);
        self
    }

    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        if matches!(&self.trust, Trust::Fingerprints(pins) if pins.is_empty()) {
            return Err(OptionsError::NoFingerprint);
        }
        let secret = match &self.credentials {
            Credentials::Token { secret, .. } => secret,
            Credentials::Password { user, secret } => {
                if !is_user(user) {
                    return Err(OptionsError::BadUser);
                }
                secret
            }
        };
        if let Secret::Given(text) = secret {
            let text = text.expose_secret().trim();
            if text.is_empty() {
                return Err(OptionsError::BadSecret("empty"));
            }
            if text.contains(char::is_control) {
                return Err(OptionsError::BadSecret("of more than one line"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    fn refused(endpoints: &[&str], credentials: Credentials, trust: Trust) -> String {
        let endpoints = endpoints.iter().map(|url| url.parse().unwrap()).collect();
        Client::new(ClientOptions::new(endpoints, credentials, trust)).unwrap_err().to_string()
    }

    fn token(secret: &str) -> Credentials {
        Credentials::Token { id: "a@pve!b".parse().unwrap(), secret: given(secret) }
    }

    fn given(secret: &str) -> Secret {
        Secret::Given(secret.to_owned().into())
    }

    #[test]
    fn options_of_which_no_client_can_be_made_are_refused() {
        let one = &["https://pve1"][..];
        let user = |user: &str| Credentials::Password { user: user.to_owned(), secret: given("x") };
        let shown = [
            refused(&[], token("x"), Trust::System),
            refused(one, token("x"), Trust::Fingerprints(Vec::new())),
            refused(one, user("root"), Trust::System),
            refused(one, token(" \n"), Trust::System),
            refused(one, token("a\nb"), Trust::System),
        ];
        insta::assert_snapshot!(shown.join("\n"), @"
        no endpoint: name at least one node of the cluster, as `https://host:8006`
        no fingerprint: pin at least one, or name a CA file
        this is no user: the realm belongs to it, as in `root@pam` or `drowse@pve`
        the secret is empty
        the secret is of more than one line
        ");
    }
}
