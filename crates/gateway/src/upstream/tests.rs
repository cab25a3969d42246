use std::net::IpAddr;

use drowse_provider::{ContainerStatus, NetworkHolder, Observation, Port, RunId};

use super::*;

mod inside;
mod routed;

/// What an engine can do that can do everything.
fn all() -> Capabilities {
    Capabilities::all()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn running() -> Details {
    let observation = Observation::new(ContainerStatus::Running, Some(RunId::new("1")));
    let mut details = Details::new("id", "web", observation);
    details.exposed = vec![Port::tcp(80)];
    details
}

fn on(driver: &str, addresses: &[&str]) -> Details {
    let addresses = addresses.iter().copied().map(ip).collect();
    let mut details = running();
    details.networks = vec![Network::new("net", Some(driver.to_owned()), addresses)];
    details
}

fn publish(mut details: Details, host_address: &str, host_port: Option<u16>) -> Details {
    let host_address = ip(host_address);
    details.published.push(PublishedPort { container: Port::tcp(80), host_address, host_port });
    details
}

fn with_mode(mode: NetworkMode) -> Details {
    let mut details = running();
    details.network_mode = mode;
    details
}

fn at(details: &Details, reach: &Reach) -> Result<Option<String>, NoUpstream> {
    choose(details, reach, &all(), &Vantage::Host, &UpstreamPolicy::new())
        .map(|upstream| upstream.target.map(|target| target.to_string()))
}

fn remote() -> Reach {
    Reach::Remote("nas.lan".to_owned())
}

#[test]
fn a_bridge_address_of_a_local_rootful_engine_comes_before_a_published_port() {
    let details = publish(on("bridge", &["172.18.0.5"]), "0.0.0.0", Some(8080));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("172.18.0.5:80".into())));
}

#[test]
fn bridge_addresses_of_remote_and_rootless_engines_are_never_dialled() {
    let details = on("bridge", &["172.17.0.2"]);
    for reach in [remote(), Reach::LocalPublishedOnly] {
        assert!(matches!(at(&details, &reach), Err(NoUpstream::Unreachable { port: 80, .. })));
    }
    let details = publish(details, "0.0.0.0", Some(8080));
    assert_eq!(at(&details, &remote()), Ok(Some("nas.lan:8080".into())));
    assert_eq!(at(&details, &Reach::LocalPublishedOnly), Ok(Some("127.0.0.1:8080".into())));
}

#[test]
fn networks_that_are_no_bridge_are_not_dialled() {
    for driver in ["macvlan", "ipvlan", "overlay"] {
        let details = on(driver, &["192.168.7.9"]);
        let error = at(&details, &Reach::Local).unwrap_err();
        assert!(error.to_string().contains(driver), "{error}");
        let details = publish(details, "0.0.0.0", Some(8080));
        assert_eq!(at(&details, &Reach::Local), Ok(Some("127.0.0.1:8080".into())));
    }
}

#[test]
fn a_network_whose_kind_is_not_known_is_not_dialled() {
    let mut details = on("bridge", &["172.18.0.5"]);
    details.networks[0].driver = None;
    let error = at(&details, &Reach::Local).unwrap_err();
    assert!(error.to_string().contains("`net` (unknown kind)"), "{error}");
}

#[test]
fn ipv4_comes_before_ipv6() {
    let details = on("bridge", &["fd00::5", "172.18.0.5"]);
    assert_eq!(at(&details, &Reach::Local), Ok(Some("172.18.0.5:80".into())));
    let details = on("bridge", &["fd00::5"]);
    assert_eq!(at(&details, &Reach::Local), Ok(Some("[fd00::5]:80".into())));
    let details = publish(publish(running(), "::", Some(8081)), "0.0.0.0", Some(8080));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("127.0.0.1:8080".into())));
    let details = publish(running(), "::", Some(8081));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("[::1]:8081".into())));
}

#[test]
fn a_published_port_is_dialled_where_it_is_bound() {
    let details = publish(running(), "192.168.1.4", Some(8080));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("192.168.1.4:8080".into())));
}

#[test]
fn a_port_on_a_remote_loopback_address_is_an_error() {
    let details = publish(running(), "127.0.0.1", Some(8080));
    assert_eq!(at(&details, &remote()), Err(NoUpstream::PublishedOnRemoteLoopback(80)));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("127.0.0.1:8080".into())));
}

#[test]
fn the_hosts_network_is_loopback_for_local_engines() {
    let details = with_mode(NetworkMode::Host);
    assert_eq!(at(&details, &Reach::Local), Ok(Some("127.0.0.1:80".into())));
    assert_eq!(at(&details, &remote()), Ok(Some("nas.lan:80".into())));
    assert!(matches!(
        at(&details, &Reach::LocalPublishedOnly),
        Err(NoUpstream::Unreachable { .. })
    ));
}

#[test]
fn no_network_and_another_containers_network_say_what_to_add() {
    let error = at(&with_mode(NetworkMode::None), &Reach::Local).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"it has no network (mode `none`): attach it to one, or add `address`"
    );
    let details = with_mode(NetworkMode::Container("vpn".into()));
    let error = at(&details, &Reach::Local).unwrap_err();
    assert!(error.to_string().contains("`vpn`") && error.to_string().contains("address"));
}

/// Listening on port 80 in the network of `vpn`, which is as `holder` says.
fn in_network_of(mut holder: Details) -> Details {
    let mut details = with_mode(NetworkMode::Container("0123".into()));
    holder.name = "vpn".to_owned();
    details.holder = Some(Box::new(NetworkHolder::of(holder)));
    details
}

#[test]
fn what_lives_in_anothers_network_is_dialled_as_that_one_is() {
    let mut details = in_network_of(on("bridge", &["172.18.0.5"]));
    let upstream =
        choose(&details, &Reach::Local, &all(), &Vantage::Host, &UpstreamPolicy::new()).unwrap();
    assert_eq!(upstream.target.unwrap().to_string(), "172.18.0.5:80");
    assert_eq!(
        upstream.why,
        "the address of `vpn`, whose network it lives in, on the bridge network `net`"
    );
    // It sleeps, and so nobody knows where the other one will be when it wakes.
    details.holder = in_network_of(on("bridge", &[])).holder;
    details.observation.status = ContainerStatus::Stopped;
    assert_eq!(at(&details, &Reach::Local), Ok(None));

    let details = in_network_of(publish(running(), "0.0.0.0", Some(8080)));
    assert_eq!(at(&details, &remote()), Ok(Some("nas.lan:8080".into())));
    let details = in_network_of(with_mode(NetworkMode::Host));
    assert_eq!(at(&details, &Reach::Local), Ok(Some("127.0.0.1:80".into())));
    let details = in_network_of(with_mode(NetworkMode::None));
    assert_eq!(at(&details, &Reach::Local), Err(NoUpstream::NetworkModeNone));
}

#[test]
fn of_several_networks_the_named_one_is_used() {
    let mut details = on("bridge", &["172.18.0.5"]);
    details.networks.push(Network::new("other", Some("bridge".into()), vec![ip("172.19.0.5")]));
    let named = |name: &str| {
        let policy = UpstreamPolicy::new().on_network(name);
        choose(&details, &Reach::Local, &all(), &Vantage::Host, &policy)
            .map(|upstream| upstream.target.unwrap().to_string())
    };
    assert_eq!(named("net").unwrap(), "172.18.0.5:80");
    assert_eq!(named("other").unwrap(), "172.19.0.5:80");
    assert_eq!(
        named("third").unwrap_err().to_string(),
        "it is not on the network `third` that `network` names, only on `net`, `other`"
    );
}

#[test]
fn from_a_container_that_the_engine_does_not_know_only_remote_engines_are_reached() {
    let details = publish(on("bridge", &["172.18.0.5"]), "0.0.0.0", Some(8080));
    let apart = |reach: &Reach| {
        choose(&details, reach, &all(), &Vantage::Apart, &UpstreamPolicy::new())
            .map(|upstream| upstream.target.unwrap().to_string())
    };
    assert_eq!(apart(&remote()), Ok("nas.lan:8080".to_owned()));
    for reach in [Reach::Local, Reach::LocalPublishedOnly] {
        assert_eq!(apart(&reach), Err(NoUpstream::Apart(80)));
    }
}

#[test]
fn the_routes_own_address_wins() {
    let details = on("bridge", &["172.18.0.5"]);
    for (address, expected) in
        [("10.0.0.7", "10.0.0.7:80"), ("::1", "[::1]:80"), ("app.lan", "app.lan:80")]
    {
        let policy = UpstreamPolicy::new().with_address(address);
        let upstream = choose(&details, &Reach::Local, &all(), &Vantage::Host, &policy).unwrap();
        assert_eq!(upstream.target.unwrap().to_string(), expected);
    }
}

#[test]
fn processes_listen_on_loopback() {
    assert_eq!(at(&running(), &Reach::Loopback), Ok(Some("127.0.0.1:80".into())));
}

#[test]
fn a_port_that_is_not_given_must_be_the_only_one() {
    let mut details = on("bridge", &["172.18.0.5"]);
    details.exposed.clear();
    assert_eq!(at(&details, &Reach::Local), Err(NoUpstream::NoPort));
    details.exposed = vec![Port { number: 53, transport: Transport::Udp }];
    assert_eq!(at(&details, &Reach::Local), Err(NoUpstream::NoPort));
    details.exposed = vec![Port::tcp(80), Port::tcp(443)];
    let error = at(&details, &Reach::Local).unwrap_err();
    assert_eq!(error, NoUpstream::SeveralPorts(vec![80, 443]));
    assert!(error.to_string().contains("80, 443"));
    let policy = UpstreamPolicy::new().with_port(443);
    let upstream = choose(&details, &Reach::Local, &all(), &Vantage::Host, &policy).unwrap();
    assert_eq!(upstream.target.unwrap().to_string(), "172.18.0.5:443");
}

#[test]
fn a_stopped_container_has_a_choice_and_no_target() {
    let mut details = on("bridge", &[]);
    details.observation.status = ContainerStatus::Stopped;
    let upstream =
        choose(&details, &Reach::Local, &all(), &Vantage::Host, &UpstreamPolicy::new()).unwrap();
    assert_eq!(upstream.target, None);
    assert!(upstream.why.contains("`net`"), "{}", upstream.why);

    let mut details = publish(running(), "0.0.0.0", None);
    details.observation.status = ContainerStatus::Stopped;
    assert_eq!(at(&details, &Reach::Local), Ok(None));
}

#[test]
fn a_running_container_without_an_address_is_no_target() {
    let details = on("bridge", &[]);
    assert!(matches!(at(&details, &Reach::Local), Err(NoUpstream::Unreachable { .. })));
}
