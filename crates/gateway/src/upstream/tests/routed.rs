//! Containers that are dialled at their own addresses, as those of Proxmox are.

use std::sync::Arc;

use drowse_provider::{Support, testing::ScriptedEngine};
use drowse_watcher::Readiness as _;

use super::*;
use crate::HttpReadiness;

/// A place on `net0` and, with another address, on `net1`.
fn with_addresses(net0: &[&str]) -> Details {
    let network = |name: &str, addresses: &[&str]| {
        let addresses = addresses.iter().copied().map(ip).collect();
        Network::new(name, Some("bridge".to_owned()), addresses)
    };
    let mut details = running();
    details.networks = vec![network("net0", net0), network("net1", &["192.168.9.9"])];
    details
}

fn fixed(mut details: Details, address: &str) -> Details {
    details.networks[0].fixed = vec![ip(address)];
    details
}

fn stopped(mut details: Details) -> Details {
    details.observation.status = ContainerStatus::Stopped;
    details.networks.iter_mut().for_each(|network| network.addresses.clear());
    details
}

/// As PVE before 8.1.
fn without_dynamic_addresses() -> Capabilities {
    let mut capabilities = Capabilities::all();
    let why = "PVE 8.0 does not tell the addresses of containers: 8.1 does";
    capabilities.dynamic_addresses = Support::No(why.into());
    capabilities
}

fn routed(details: &Details, policy: &UpstreamPolicy) -> Result<Upstream, NoUpstream> {
    choose(details, &Reach::Routed, &all(), &Vantage::Host, policy)
}

fn target(details: &Details) -> Option<String> {
    let upstream = routed(details, &UpstreamPolicy::new()).unwrap();
    upstream.target.map(|target| target.to_string())
}

fn why(details: &Details) -> String {
    routed(details, &UpstreamPolicy::new()).unwrap().why
}

#[test]
fn its_own_address_is_dialled_from_everywhere() {
    let details = with_addresses(&["10.0.0.7"]);
    let shared = vec![SharedNetwork::new("net1", vec![ip("10.9.9.1")])];
    for vantage in [Vantage::Host, Vantage::Inside(shared), Vantage::Apart] {
        let upstream =
            choose(&details, &Reach::Routed, &all(), &vantage, &UpstreamPolicy::new()).unwrap();
        assert_eq!(upstream.target.unwrap().to_string(), "10.0.0.7:80", "{vantage:?}");
        assert_eq!(upstream.why, "its address on `net0`");
        assert!(upstream.may_change);
    }
    let upstream = routed(&fixed(details, "10.0.0.7"), &UpstreamPolicy::new()).unwrap();
    assert!(!upstream.may_change);
}

#[test]
fn row_47_another_network_is_dialled_only_if_it_is_named() {
    let details = with_addresses(&[]);
    assert_eq!(target(&details), None);
    let named = |name: &str| routed(&details, &UpstreamPolicy::new().on_network(name));
    assert_eq!(named("net1").unwrap().target.unwrap().to_string(), "192.168.9.9:80");
    insta::assert_snapshot!(
        named("net2").unwrap_err(),
        @"it is not on the network `net2` that `network` names, only on `net0`, `net1`"
    );
}

#[test]
fn ipv4_comes_before_ipv6_and_neither_may_be_of_the_link() {
    let first = |addresses: &[&str]| target(&with_addresses(addresses));
    assert_eq!(first(&["fd00::7", "10.0.0.7"]).unwrap(), "10.0.0.7:80");
    assert_eq!(first(&["fe80::1", "fd00::7"]).unwrap(), "[fd00::7]:80");
    assert_eq!(first(&["169.254.3.4", "2001:db8::7"]).unwrap(), "[2001:db8::7]:80");
    for useless in ["fe80::1", "169.254.3.4", "0.0.0.0", "::", "ff02::1"] {
        assert_eq!(first(&[useless]), None, "{useless}");
    }
}

#[test]
fn an_address_that_is_not_there_yet_is_waited_for() {
    insta::assert_snapshot!(
        why(&with_addresses(&[])),
        @"its address on `net0`, once it has one; `network` names another of its networks, `address` an address"
    );
    insta::assert_snapshot!(why(&stopped(with_addresses(&[]))), @"its address on `net0`, once it runs");
    insta::assert_snapshot!(
        why(&stopped(fixed(with_addresses(&[]), "10.0.0.7"))),
        @"its address on `net0`, 10.0.0.7 as it is configured, once it runs"
    );
}

#[test]
fn an_address_that_is_never_told_has_to_be_given() {
    let told = |details: &Details| {
        let old = without_dynamic_addresses();
        choose(details, &Reach::Routed, &old, &Vantage::Host, &UpstreamPolicy::new())
    };
    let words = "port 80 cannot be reached: its address on `net0` is not known (PVE 8.0 does not \
                 tell the addresses of containers: 8.1 does); add `address`, or fix one in its \
                 configuration";
    for details in [with_addresses(&[]), stopped(with_addresses(&[]))] {
        assert_eq!(told(&details).unwrap_err().to_string(), words);
    }
    assert!(told(&stopped(fixed(with_addresses(&[]), "10.0.0.7"))).is_ok());
    let upstream = told(&fixed(with_addresses(&["10.0.0.7"]), "10.0.0.7")).unwrap();
    assert_eq!(upstream.target.unwrap().to_string(), "10.0.0.7:80");
}

#[test]
fn without_a_network_an_address_has_to_be_given() {
    let mut details = with_addresses(&[]);
    details.networks.clear();
    insta::assert_snapshot!(
        routed(&details, &UpstreamPolicy::new()).unwrap_err(),
        @"it has no network: attach it to one, or add `address`"
    );
    let policy = UpstreamPolicy::new().with_address("[fd00::9]");
    assert_eq!(routed(&details, &policy).unwrap().target.unwrap().to_string(), "[fd00::9]:80");
}

#[test]
fn only_a_routed_address_of_its_own_may_be_a_strangers_next() {
    let is_passing = |reach: Reach, policy: UpstreamPolicy| {
        let engine = Arc::new(ScriptedEngine::with("pve", all(), reach));
        HttpReadiness::new(Chooser::new(engine, Vantage::Host, policy)).is_at_passing_address()
    };
    let remote = Reach::Remote("nas.lan".to_owned());
    assert!(is_passing(Reach::Routed, UpstreamPolicy::new()));
    assert!(!is_passing(Reach::Routed, UpstreamPolicy::new().with_address("10.0.0.9")));
    for reach in [Reach::Local, Reach::LocalPublishedOnly, Reach::Loopback, remote] {
        assert!(!is_passing(reach, UpstreamPolicy::new()));
    }
}
