//! From inside a container.

use super::*;

/// Inside a container on the bridge networks `front` and `ops`, and on the overlay `mesh`.
fn inside() -> Vantage {
    Vantage::Inside(vec![
        SharedNetwork::new("front", vec![ip("172.20.0.1")]),
        SharedNetwork::new("mesh", Vec::new()),
        SharedNetwork::new("ops", vec![ip("172.21.0.1"), ip("fd21::1")]),
    ])
}

fn from_inside(details: &Details, reach: &Reach) -> Result<Option<String>, NoUpstream> {
    choose(details, reach, &all(), &inside(), &UpstreamPolicy::new())
        .map(|upstream| upstream.target.map(|target| target.to_string()))
}

fn network(name: &str, driver: &str, address: &str) -> Network {
    Network::new(name, Some(driver.to_owned()), vec![ip(address)])
}

fn networks(networks: impl IntoIterator<Item = Network>) -> Details {
    let mut details = running();
    details.networks = networks.into_iter().collect();
    details
}

#[test]
fn a_shared_network_is_used_whatever_its_kind_and_whatever_the_engine() {
    for (name, driver) in [("front", "bridge"), ("mesh", "overlay"), ("ops", "macvlan")] {
        let details =
            networks([network("apart", "bridge", "172.18.0.5"), network(name, driver, "10.0.0.5")]);
        let details = publish(details, "0.0.0.0", Some(8080));
        for reach in [Reach::Local, Reach::LocalPublishedOnly, Reach::Remote("proxy".to_owned())] {
            assert_eq!(from_inside(&details, &reach), Ok(Some("10.0.0.5:80".into())), "{name}");
        }
    }
}

#[test]
fn of_several_shared_networks_the_first_is_used_and_the_choice_is_told() {
    let details = networks([
        network("front", "bridge", "172.20.0.5"),
        network("ops", "bridge", "172.21.0.5"),
    ]);
    let chosen = |policy: UpstreamPolicy| {
        let upstream = choose(&details, &Reach::Local, &all(), &inside(), &policy).unwrap();
        (upstream.target.unwrap().to_string(), upstream.why)
    };
    let (target, why) = chosen(UpstreamPolicy::new());
    assert_eq!(target, "172.20.0.5:80");
    assert_eq!(
        why,
        "its address on the network `front` (drowse is on `ops` as well: `network` chooses)"
    );
    let (target, why) = chosen(UpstreamPolicy::new().on_network("ops"));
    assert_eq!(
        (target.as_str(), why.as_str()),
        ("172.21.0.5:80", "its address on the network `ops`")
    );
}

#[test]
fn without_a_shared_network_it_is_the_published_port_at_the_gateway() {
    let unshared = || networks([network("apart", "bridge", "172.18.0.5")]);
    for (bound, expected) in [
        ("0.0.0.0", "172.20.0.1:8080"),
        ("172.21.0.1", "172.21.0.1:8080"),
        ("::", "[fd21::1]:8080"),
    ] {
        let details = publish(unshared(), bound, Some(8080));
        assert_eq!(from_inside(&details, &Reach::Local), Ok(Some(expected.into())), "{bound}");
    }
    let details = publish(unshared(), "0.0.0.0", None);
    assert_eq!(from_inside(&details, &Reach::Local), Ok(None));
    for bound in ["127.0.0.1", "192.168.1.4"] {
        let details = publish(unshared(), bound, Some(8080));
        assert!(from_inside(&details, &Reach::Local).is_err(), "{bound}");
    }
}

#[test]
fn what_runs_and_has_no_address_on_a_shared_network_is_not_looked_for_there() {
    let mut details = networks([network("front", "bridge", "172.20.0.5")]);
    details.networks[0].addresses.clear();
    assert!(from_inside(&details, &Reach::Local).is_err());
    details.observation.status = ContainerStatus::Stopped;
    assert_eq!(from_inside(&details, &Reach::Local), Ok(None));
}

#[test]
fn the_hosts_network_is_reached_at_the_gateway() {
    let details = with_mode(NetworkMode::Host);
    assert_eq!(from_inside(&details, &Reach::Local), Ok(Some("172.20.0.1:80".into())));
    assert!(from_inside(&details, &Reach::LocalPublishedOnly).is_err());
}

#[test]
fn what_to_add_is_told_as_it_stands_in_a_compose_file() {
    let told = |details: &Details, reach: &Reach, vantage: &Vantage, policy: &UpstreamPolicy| {
        choose(details, reach, &all(), vantage, policy).unwrap_err().to_string()
    };
    let any = UpstreamPolicy::new();
    let shop = || networks([network("shop_default", "bridge", "172.18.0.5")]);
    let no_gateway = Vantage::Inside(vec![SharedNetwork::new("mesh", Vec::new())]);
    let published = |address| publish(shop(), address, Some(8080));
    let texts = [
        told(&shop(), &Reach::Local, &inside(), &any),
        told(&published("127.0.0.1"), &Reach::Local, &inside(), &any),
        told(&published("192.168.1.4"), &Reach::Local, &inside(), &any),
        told(&published("0.0.0.0"), &Reach::Local, &no_gateway, &any),
        told(&published("0.0.0.0"), &Reach::LocalPublishedOnly, &inside(), &any),
        told(
            &networks([network("bridge", "bridge", "172.17.0.2")]),
            &Reach::Local,
            &inside(),
            &any,
        ),
        told(&shop(), &Reach::Local, &inside(), &any.clone().on_network("shop_default")),
        told(&with_mode(NetworkMode::Host), &Reach::Local, &no_gateway, &any),
        told(&shop(), &Reach::Local, &Vantage::Apart, &any),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r#"
    port 80 cannot be reached from drowse's own container: the two share no network, and it is not published; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or publish the port on all addresses (`ports: ["80"]`), or add `address`
    port 80 cannot be reached from drowse's own container: the two share no network, and it is published on the host's loopback address 127.0.0.1 only; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or publish the port on all addresses (`ports: ["8080:80"]`), or add `address`
    port 80 cannot be reached from drowse's own container: the two share no network, and it is published on no address that can be reached from there; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or publish the port on all addresses (`ports: ["8080:80"]`), or add `address`
    port 80 cannot be reached from drowse's own container: the two share no network, and drowse is on no `bridge` network with a gateway; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or add `address`
    port 80 cannot be reached from drowse's own container: the two share no network, and the host of a rootless engine cannot be counted on; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or add `address`
    port 80 cannot be reached from drowse's own container: the two share no network, and it is not published; give both a network of their own (`networks: [proxy]` for each), or publish the port on all addresses (`ports: ["80"]`), or add `address`
    port 80 cannot be reached from drowse's own container: drowse is not on the network `shop_default`, and it is not published; let drowse join its network (`networks: [default, shop_default]` for drowse, and below the services `networks: { shop_default: { external: true } }`), or publish the port on all addresses (`ports: ["80"]`), or add `address`
    port 80 cannot be reached from drowse's own container: it is on the host's network, and drowse is on no `bridge` network with a gateway; add `address`
    port 80 cannot be reached: drowse runs in a container that is none of this engine's, and what the engine tells of addresses means nothing there; run drowse on the engine's host or in a container of the engine, or add `address`
    "#);
}

#[test]
fn our_own_networks_are_those_of_our_container_or_of_its_holder() {
    let mut own = networks([
        network("front", "bridge", "172.20.0.9").with_gateways(vec![ip("172.20.0.1")]),
        network("lan", "macvlan", "192.168.1.9").with_gateways(vec![ip("192.168.1.1")]),
    ]);
    let expected = Vantage::Inside(vec![
        SharedNetwork::new("front", vec![ip("172.20.0.1")]),
        // Its gateway is a router, and no engine's host.
        SharedNetwork::new("lan", Vec::new()),
    ]);
    assert_eq!(Vantage::inside(&own), expected);
    assert_eq!(Vantage::inside(&in_network_of(own.clone())), expected);
    own.network_mode = NetworkMode::Host;
    assert_eq!(Vantage::inside(&own), Vantage::Host);
    assert_eq!(Vantage::inside(&in_network_of(own)), Vantage::Host);
    assert_eq!(Vantage::inside(&with_mode(NetworkMode::None)), Vantage::Inside(Vec::new()));
}
