//! Where an engine that is reached over the network is entered: perhaps by a container of its own, a
//! socket proxy.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use drowse_provider::{Details, Transport, compose};
use tokio::{net::lookup_host, time::timeout};

/// What finding the addresses of a host name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A TCP port behind which there is an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    host: String,
    port: u16,
    /// The host's, as far as they could be found.
    addresses: BTreeSet<IpAddr>,
}

impl Entrance {
    /// The entrance of the engine at this URL; `None` for a socket, which is nobody's port.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("tcp://").or_else(|| url.strip_prefix("http://"))?;
        let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let addresses = host.parse().into_iter().collect();
        Some(Self { host, port: authority.port_u16()?, addresses })
    }

    /// The same, with the addresses that its host name has now. Cancel safe.
    pub(crate) async fn looked_up(mut self) -> Self {
        let look_up = timeout(LOOKUP_TIMEOUT, lookup_host((self.host.as_str(), self.port)));
        // Whether the engine can be reached is told by those who try.
        if let Ok(Ok(found)) = look_up.await {
            let found: BTreeSet<IpAddr> = found.map(|socket| socket.ip()).collect();
            self.addresses = found;
        }
        self
    }

    /// Whether it is an address of this container's.
    pub(crate) fn has_address_of(&self, container: &Details) -> bool {
        let mut addresses = container.networks.iter().flat_map(|network| &network.addresses);
        addresses.any(|address| self.addresses.contains(address))
    }

    /// Whether who knocks there is let in by this container, which is one of the engine's behind it: then
    /// its port on that engine's host is the entrance, whatever the host is called. `from_inside`: who knocks is in a
    /// container of the same engine, where its name is a host name.
    pub(crate) fn is(&self, container: &Details, from_inside: bool) -> bool {
        let is_published = container.published.iter().any(|published| {
            published.host_port == Some(self.port)
                && published.container.transport == Transport::Tcp
        });
        let service = compose::service_of(&container.labels).map(|(_, service)| service);
        let is_called = self.host == container.name || Some(self.host.as_str()) == service;
        (from_inside && is_called) || self.has_address_of(container) || is_published
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(address) => write!(formatter, "tcp://{}", SocketAddr::new(address, self.port)),
            Err(_) => write!(formatter, "tcp://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use drowse_provider::{ContainerStatus, Network, Observation, Port, PublishedPort};

    use super::*;

    fn container(address: &str, host_port: u16) -> Details {
        let observation = Observation::new(ContainerStatus::Running, None);
        let mut details = Details::new("id", "socket-proxy", observation);
        let network = Network::new("bridge", None, vec![address.parse().unwrap()]);
        details.networks = vec![network];
        details.published = vec![PublishedPort {
            container: Port::tcp(2375),
            host_address: [127, 0, 0, 1].into(),
            host_port: Some(host_port),
        }];
        details
    }

    #[test]
    fn a_socket_proxy_is_known_by_its_address_or_by_its_published_port() {
        let is = |url: &str, address: &str, port| {
            Entrance::of(url).is_some_and(|entrance| entrance.is(&container(address, port), false))
        };
        assert!(is("tcp://172.18.0.2:2375", "172.18.0.2", 1));
        assert!(is("tcp://127.0.0.1:2375", "172.18.0.2", 2375));
        assert!(is("tcp://[::1]:2375/", "172.18.0.2", 2375));
        assert!(is("tcp://nas.lan:2375", "172.18.0.2", 2375), "the port of its engine's host");
        assert!(!is("tcp://127.0.0.1:2376", "172.18.0.2", 2375));
        assert!(!is("unix:///run/docker.sock", "172.18.0.2", 2375));
    }

    #[test]
    fn from_inside_a_container_its_name_or_its_service_is_its_host_name() {
        let mut proxy = container("172.18.0.2", 1);
        let is = |proxy: &Details, url: &str, from_inside| {
            Entrance::of(url).unwrap().is(proxy, from_inside)
        };
        assert!(is(&proxy, "tcp://socket-proxy:2375", true));
        assert!(!is(&proxy, "tcp://socket-proxy:2375", false), "a machine of that name");
        "stack-dockerproxy-1".clone_into(&mut proxy.name);
        for (label, value) in [(compose::PROJECT, "stack"), (compose::SERVICE, "dockerproxy")] {
            proxy.labels.insert(label.to_owned(), value.to_owned());
        }
        assert!(is(&proxy, "tcp://dockerproxy:2375", true));
        assert!(!is(&proxy, "tcp://socket-proxy:2375", true));
    }

    #[tokio::test]
    async fn a_host_name_is_looked_up() {
        let entrance = Entrance::of("tcp://localhost:2375").unwrap();
        assert!(!entrance.is(&container("127.0.0.1", 1), false), "not looked up yet");
        assert!(entrance.looked_up().await.is(&container("127.0.0.1", 1), false));
    }
}
