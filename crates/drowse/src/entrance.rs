//! Where an engine that is reached over the network is entered: perhaps by a container of its own (a
//! socket proxy), perhaps by one of another engine (a Docker host in an LXC container).

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use drowse_gateway::Target;
use drowse_provider::{Details, Transport, compose};
use tokio::{net::lookup_host, time::timeout};

/// What finding the addresses of a host name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A TCP port behind which there is an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    engine: String,
    scheme: String,
    host: String,
    port: u16,
    /// The host's, as far as they could be found.
    addresses: BTreeSet<IpAddr>,
}

impl Entrance {
    /// The entrance of `engine`, which is at this URL; `None` for a socket, which is nobody's port.
    pub(crate) fn of(engine: &str, url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let usual_port = match scheme {
            "tcp" | "http" => None,
            "ssh" => Some(22),
            "https" => Some(8006),
            _ => return None,
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let authority: http::uri::Authority = authority.parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let addresses = host.parse().into_iter().collect();
        Some(Self {
            engine: engine.to_owned(),
            scheme: if scheme == "http" { "tcp" } else { scheme }.to_owned(),
            host,
            port: authority.port_u16().or(usual_port)?,
            addresses,
        })
    }

    /// The engine that is reached by it.
    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    /// Whether it is there on this machine that the engine is reached.
    pub(crate) fn is_at(&self, listen: SocketAddr) -> bool {
        let is_here = |address: &IpAddr| address.is_loopback() || *address == listen.ip();
        self.port == listen.port() && self.addresses.iter().any(is_here)
    }

    /// Whether a route to this upstream may lead there, on a machine with `own` addresses. `is_anywhere`:
    /// it goes where it was told to, not to its own container. Then a host has more names and addresses
    /// than are known, and the port of an engine's own interface is enough.
    pub(crate) fn may_be_led_to(
        &self,
        target: &Target,
        is_anywhere: bool,
        own: &BTreeSet<IpAddr>,
    ) -> bool {
        let (port, is_there) = match target {
            Target::Socket(at) => (at.port(), self.has_address(at.ip(), own)),
            Target::Name(name, port) => {
                let name = name.trim_end_matches('.');
                (*port, name.eq_ignore_ascii_case(self.host.trim_end_matches('.')))
            }
        };
        self.port == port && (is_there || is_anywhere && self.is_the_engines_own())
    }

    fn has_address(&self, address: IpAddr, own: &BTreeSet<IpAddr>) -> bool {
        let address = address.to_canonical();
        let mut its = self.addresses.iter().map(IpAddr::to_canonical);
        its.any(|it| it == address || is_here(it, own) && is_here(address, own))
    }

    /// Whether the engine itself is behind the port, and not a machine that is logged in to.
    pub(crate) fn is_the_engines_own(&self) -> bool {
        self.scheme != "ssh"
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
        let mut addresses =
            container.networks.iter().flat_map(|it| it.addresses.iter().chain(&it.fixed));
        addresses.any(|address| self.addresses.contains(address))
    }

    /// By what this container is known to let in who knocks there; `None` if it is not.
    pub(crate) fn leads_through(&self, container: &Details, asked: Asked) -> Option<Sign> {
        let is_published = || {
            container.published.iter().any(|published| {
                published.host_port == Some(self.port)
                    && published.container.transport == Transport::Tcp
            })
        };
        let service = compose::service_of(&container.labels).map(|(_, service)| service);
        let is_called = || self.host == container.name || Some(self.host.as_str()) == service;
        match asked {
            _ if self.has_address_of(container) => Some(Sign::Address),
            Asked::BehindIt => is_published().then_some(Sign::Port),
            Asked::BehindItFromInside if is_published() => Some(Sign::Port),
            Asked::BehindItFromInside => is_called().then_some(Sign::Name),
            Asked::OfMachines => self.may_be_host_of(container).then_some(Sign::Name),
        }
    }

    /// Whether a machine has this host name, which it keeps while it sleeps and has no address. That
    /// must not depend on whether it sleeps: what is not managed asleep could not be woken.
    fn may_be_host_of(&self, machine: &Details) -> bool {
        let is_fixed = machine.networks.iter().any(|network| !network.fixed.is_empty());
        // A name of the wide world, or one that leads to another address than the machine's.
        let is_elsewhere = !self.addresses.is_empty()
            && (is_fixed || !self.addresses.iter().any(|address| is_private(*address)));
        !is_elsewhere && may_be_one_machine(&self.host, &machine.name)
    }
}

/// Whether who connects to this address comes to this machine, which has its `own` ones.
pub(crate) fn is_here(address: IpAddr, own: &BTreeSet<IpAddr>) -> bool {
    address.is_loopback() || address.is_unspecified() || own.contains(&address)
}

/// Whether two names may be those of one machine. Its domain is said in some places and left out in
/// others, whoever is asked: a name's first part counts.
pub(crate) fn may_be_one_machine(one: &str, other: &str) -> bool {
    fn first(name: &str) -> &str {
        name.split('.').next().unwrap_or_default()
    }
    let is_address = |name: &str| name.parse::<IpAddr>().is_ok();
    !is_address(one) && !is_address(other) && first(one).eq_ignore_ascii_case(first(other))
}

/// Whether an address is one of a network that is not the internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || address.is_link_local() || address.is_loopback() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
        }
    }
}

/// All of them, with the addresses that their host names have now. Cancel safe.
pub(crate) async fn look_up_all(entrances: Vec<Entrance>) -> Vec<Entrance> {
    futures::future::join_all(entrances.into_iter().map(Entrance::looked_up)).await
}

/// What a container is to an entrance that is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One of the engine behind it: then its port on that engine's host is the entrance, whatever the
    /// host is called.
    BehindIt,
    /// The same, and who knocks is in a container of that engine, where its name is a host name.
    BehindItFromInside,
    /// A machine in its own right, whose name may be a host name.
    OfMachines,
}

/// By what a container is known to be the way through an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The entrance is a port that it publishes.
    Port,
    Address,
    /// Its name is the host name.
    Name,
}

impl fmt::Display for Entrance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(address) => {
                write!(formatter, "{}://{}", self.scheme, SocketAddr::new(address, self.port))
            }
            Err(_) => write!(formatter, "{}://{}:{}", self.scheme, self.host, self.port),
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
            let container = container(address, port);
            Entrance::of("home", url)
                .is_some_and(|it| it.leads_through(&container, Asked::BehindIt).is_some())
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
        let is = |proxy: &Details, url: &str, asked| {
            Entrance::of("home", url).unwrap().leads_through(proxy, asked).is_some()
        };
        let (inside, outside) = (Asked::BehindItFromInside, Asked::BehindIt);
        assert!(is(&proxy, "tcp://socket-proxy:2375", inside));
        assert!(!is(&proxy, "tcp://socket-proxy:2375", outside), "a machine of that name");
        "stack-dockerproxy-1".clone_into(&mut proxy.name);
        for (label, value) in [(compose::PROJECT, "stack"), (compose::SERVICE, "dockerproxy")] {
            proxy.labels.insert(label.to_owned(), value.to_owned());
        }
        assert!(is(&proxy, "tcp://dockerproxy:2375", inside));
        assert!(!is(&proxy, "tcp://socket-proxy:2375", inside));
    }

    #[tokio::test]
    async fn a_host_name_is_looked_up() {
        let entrance = Entrance::of("home", "tcp://localhost:2375").unwrap();
        let container = container("127.0.0.1", 1);
        let is_it = |it: &Entrance| it.leads_through(&container, Asked::BehindIt).is_some();
        assert!(!is_it(&entrance), "not looked up yet");
        assert!(is_it(&entrance.looked_up().await));
    }

    #[test]
    fn a_machine_that_hosts_an_engine_is_known_by_address_or_name() {
        let is = |url: &str, name: &str, fixed: &str| {
            let mut machine =
                Details::new("201", name, Observation::new(ContainerStatus::Stopped, None));
            let network = Network::new("net0", None, Vec::new());
            machine.networks = vec![network.defined_as(None, vec![fixed.parse().unwrap()])];
            Entrance::of("home", url).unwrap().leads_through(&machine, Asked::OfMachines).is_some()
        };
        for url in ["tcp://10.0.0.7:2375", "ssh://me@10.0.0.7/run/docker.sock", "https://10.0.0.7"]
        {
            assert!(is(url, "web", "10.0.0.7"), "{url}");
            assert!(!is(url, "web", "10.0.0.8"), "{url}");
        }
        assert!(is("ssh://me@Docker1.lan:2222", "docker1", "10.0.0.8"));
        for host in ["docker1", "docker1.lan", "Docker1.home.arpa"] {
            assert!(is(&format!("tcp://{host}:2375"), "docker1.lan", "10.0.0.8"), "{host}");
        }
        assert!(!is("ssh://me@docker1.lan", "docker", "10.0.0.8"));
        assert!(!is("tcp://10.0.0.7:2375", "10.lan", "10.0.0.8"), "an address has no first name");
    }

    #[test]
    fn a_machine_is_not_taken_for_another_one_of_its_name() {
        let is = |url: &str, resolved: &[&str], fixed: &[&str]| {
            let addresses = |all: &[&str]| all.iter().map(|it| it.parse().unwrap()).collect();
            let observation = Observation::new(ContainerStatus::Stopped, None);
            let mut machine = Details::new("201", "docker.lan", observation);
            let network = Network::new("net0", None, Vec::new());
            machine.networks = vec![network.defined_as(None, addresses(fixed))];
            let mut entrance = Entrance::of("home", url).unwrap();
            entrance.addresses = resolved.iter().map(|it| it.parse().unwrap()).collect();
            entrance.leads_through(&machine, Asked::OfMachines) == Some(Sign::Name)
        };
        for url in ["ssh://docker.lan", "tcp://docker:2375"] {
            assert!(is(url, &[], &["10.0.0.8"]), "{url} cannot be found");
            assert!(is(url, &["10.0.0.7"], &[]), "{url} may be its address while it is awake");
            assert!(!is(url, &["10.0.0.7"], &["10.0.0.8"]), "{url}: it has another one");
        }
        for elsewhere in ["203.0.113.7", "2001:db8::7"] {
            assert!(!is("tcp://docker.provider.com:2375", &[elsewhere], &[]), "{elsewhere}");
        }
    }

    #[test]
    fn an_entrance_is_shown_without_the_user() {
        let shown = |url| Entrance::of("home", url).unwrap().to_string();
        assert_eq!(shown("ssh://me@nas/run/docker.sock"), "ssh://nas:22");
        assert_eq!(shown("http://[::1]:2375/"), "tcp://[::1]:2375");
        assert_eq!(shown("https://pve1:8006"), "https://pve1:8006");
    }
}
