use std::net::IpAddr;

use drowse_provider::{ContainerStatus, Network, Port, RunId};

use super::super::tests::{config, container, docker, enabled, engine, make};
use super::*;

fn publish(details: &mut Details, address: &str, host_port: Option<u16>) {
    let host_address: IpAddr = address.parse().unwrap();
    details.published.push(PublishedPort { container: Port::tcp(80), host_address, host_port });
}

fn on(mut details: Details, networks: &[&str]) -> Details {
    let network = |name: &&str| Network::new(*name, Some("bridge".to_owned()), Vec::new());
    details.networks = networks.iter().map(network).collect();
    details
}

fn summary(name: &str, networks: &[&str]) -> Summary {
    let networks = networks.iter().map(|name| (*name).to_owned()).collect();
    Summary::new(format!("id-{name}"), name, BTreeMap::new(), ContainerStatus::Running)
        .with_networks(NetworkMode::Networks, networks)
}

fn ways_to_web(inventory: &Inventory) -> String {
    let plan = make(&config(""), inventory);
    let unmanaged = unmanaged(&plan, inventory);
    let web = plan.workloads.iter().find(|planned| planned.name == "web").unwrap();
    ways_past(web, inventory, &unmanaged).join("\n")
}

#[test]
fn a_port_published_beyond_loopback_is_a_way_past() {
    let mut web = enabled("web", 1, &[]);
    publish(&mut web, "127.0.0.1", Some(8080));
    assert_eq!(ways_to_web(&docker([web.clone()])), "");
    publish(&mut web, "0.0.0.0", Some(8081));
    publish(&mut web, "::", Some(8081));
    insta::assert_snapshot!(ways_to_web(&docker([web.clone()])), @"its published port 80 at 0.0.0.0:8081 and [::]:8081");
    web.published.clear();
    publish(&mut web, "0.0.0.0", None);
    insta::assert_snapshot!(ways_to_web(&docker([web])), @"its published port 80 at 0.0.0.0, at a port of the engine's choice");
}

#[test]
fn neighbours_that_are_not_managed_are_ways_past() {
    let web = on(enabled("web", 1, &[]), &["back", "front"]);
    let managed = on(enabled("db", 1, &[]), &["back"]);
    let mut disabled = on(container("off", 1, &[("drowse.enable", "false")]), &["front"]);
    disabled.observation.status = ContainerStatus::Running;
    disabled.observation.run = Some(RunId::new("1"));
    let mut view = engine([web, managed, disabled]);
    let strangers = ["a", "b", "c", "d", "e", "f", "g"].map(|name| summary(name, &["back"]));
    let elsewhere = summary("elsewhere", &["other"]);
    view.crowds = Arc::new(Crowds::of(strangers.iter().chain([&elsewhere])));
    let inventory = Inventory::from([("docker".to_owned(), view)]);
    insta::assert_snapshot!(ways_to_web(&inventory), @r"
    from `a`, `b`, `c`, `d`, `e` and 2 more on the network `back`
    from `off` on the network `front`
    ");
}

/// Whoever nobody enabled and needs it keeps it awake by running: there is nothing to notice.
#[test]
fn who_keeps_it_awake_takes_no_way_past() {
    let running = |name: &str, needs: &str| {
        let labels = [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", name),
            ("com.docker.compose.depends_on", needs),
        ];
        let mut details = on(container(name, 1, &labels), &["back"]);
        details.observation.status = ContainerStatus::Running;
        details.observation.run = Some(RunId::new("1"));
        details
    };
    let mut web = on(enabled("web", 1, &[]), &["back"]);
    web.labels.append(&mut running("web", "db:service_started:false").labels);
    let inventory = docker([web, running("db", ""), running("admin", "web:service_started:false")]);
    insta::assert_snapshot!(ways_to_web(&inventory), @"from `db` on the network `back`");
}

#[test]
fn what_has_an_address_of_its_own_is_reached_there_and_has_no_neighbours() {
    let mut web = on(enabled("web", 1, &[]), &["net0", "net1"]);
    web.networks[0].addresses = vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    web.networks[0].fixed = vec!["10.0.0.7".parse().unwrap()];
    let mut view = engine([web]);
    view.reach = Reach::Routed;
    view.crowds = Arc::new(Crowds::of([&summary("other", &["net0"])].into_iter()));
    let inventory = Inventory::from([("pve".to_owned(), view)]);
    insta::assert_snapshot!(ways_to_web(&inventory), @r"
    at its own address on `net0` (10.0.0.7, fd00::7), for whoever reaches that network
    at its own address on `net1`, for whoever reaches that network
    ");
}
