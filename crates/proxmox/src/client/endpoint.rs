//! Where a cluster's API listens.

use std::{fmt, io, str::FromStr};

use tokio_rustls::rustls::pki_types::ServerName;

/// The port of Proxmox's API.
const DEFAULT_PORT: u16 = 8006;

/// Where one node of a cluster listens: `https://host[:8006]`.
///
/// `Display` says it with its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// The host, as a certificate has it.
    name: ServerName<'static>,
}

/// What is no endpoint: says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseEndpointError {
    reason: String,
}

impl Endpoint {
    /// The host: a name or an address (an IPv6 one without its brackets), in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 8006 unless another was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Host and port, as a `Host` header has them.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Why connecting failed and how to mend it: a lower-case fragment.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let Self { host, port, .. } = self;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => format!(
                "`{host}` refuses connections on port {port}: start pveproxy there (`systemctl \
                 start pveproxy`), or correct the address"
            ),
            io::ErrorKind::TimedOut => format!(
                "no answer from `{host}` on port {port}: check the address, the network and the \
                 firewalls"
            ),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                format!("there is no way to `{host}` from here: check the address and the network")
            }
            _ if error.raw_os_error().is_none() => {
                format!("the host name `{host}` cannot be resolved ({error}): correct it")
            }
            _ => format!("`{host}` cannot be reached on port {port} ({error})"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "https://{}", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason: String| ParseEndpointError { reason };
        let expected = "write `https://host`, with `:port` if it is not 8006";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refused(format!("the endpoint has no scheme: {expected}")));
        };
        // First, so that no password is shown in what follows.
        if rest.contains('@') {
            return Err(refused(format!(
                "an endpoint names no user: {expected}, and the user or token beside it"
            )));
        }
        match scheme {
            "https" => {}
            "http" => {
                return Err(refused(format!(
                    "`{text}` is without TLS, which Proxmox's API never is: write `https://{rest}`"
                )));
            }
            _ => return Err(refused(format!("`{text}` is not an https URL: {expected}"))),
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((host, _)) = rest.split_once(['/', '?', '#']) {
            return Err(refused(format!(
                "`{text}` names a path, and the API's is always the same: write `https://{host}`"
            )));
        }
        let no_host = || refused(format!("`{text}` names no host and port: {expected}"));
        let authority: http::uri::Authority = rest.parse().map_err(|_| no_host())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_lowercase();
        let after_host = &rest[authority.host().len()..];
        let port = match after_host.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| no_host())?,
            None if after_host.is_empty() => DEFAULT_PORT,
            None => return Err(no_host()),
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| no_host())?;
        Ok(Self { host, port, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_the_usual_port_unless_another_is_said() {
        let shown = [
            "https://pve1",
            "https://PVE1.example.com/",
            "https://10.0.0.2:443",
            "https://[fd00::5]",
            "https://[FD00::5]:8007/",
        ]
        .map(|text| text.parse::<Endpoint>().unwrap().to_string());
        assert_eq!(
            shown,
            [
                "https://pve1:8006",
                "https://pve1.example.com:8006",
                "https://10.0.0.2:443",
                "https://[fd00::5]:8006",
                "https://[fd00::5]:8007",
            ]
        );
        let six: Endpoint = "https://[fd00::5]".parse().unwrap();
        assert_eq!((six.host(), six.port()), ("fd00::5", 8006));
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        let refused = [
            "pve1:8006",
            "http://pve1:8006",
            "ftp://pve1",
            "https://root@pam:hunter2@pve1",
            "https://pve1:8006/api2/json",
            "https://pve1?x",
            "https://",
            "https://:8006",
            "https://pve1:",
            "https://pve1:99999",
            "https://pve one",
            "https://fd00::5",
        ]
        .map(|text| text.parse::<Endpoint>().unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @"
        the endpoint has no scheme: write `https://host`, with `:port` if it is not 8006
        `http://pve1:8006` is without TLS, which Proxmox's API never is: write `https://pve1:8006`
        `ftp://pve1` is not an https URL: write `https://host`, with `:port` if it is not 8006
        an endpoint names no user: write `https://host`, with `:port` if it is not 8006, and the user or token beside it
        `https://pve1:8006/api2/json` names a path, and the API's is always the same: write `https://pve1:8006`
        `https://pve1?x` names a path, and the API's is always the same: write `https://pve1`
        `https://` names no host and port: write `https://host`, with `:port` if it is not 8006
        `https://:8006` names no host and port: write `https://host`, with `:port` if it is not 8006
        `https://pve1:` names no host and port: write `https://host`, with `:port` if it is not 8006
        `https://pve1:99999` names no host and port: write `https://host`, with `:port` if it is not 8006
        `https://pve one` names no host and port: write `https://host`, with `:port` if it is not 8006
        `https://fd00::5` names no host and port: write `https://host`, with `:port` if it is not 8006
        ");
    }
}
