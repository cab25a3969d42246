//! What a provider tells of its container.

use std::time::Duration;

use drowse_fakepve::{GuestInterface, Options};
use drowse_provider::{Action, ContainerStatus, ErrorKind, Network, Owner};

use super::ct;
use crate::{
    scene::{Scene, VMID},
    support::patience,
};

async fn addresses(scene: &Scene) -> Vec<Vec<String>> {
    let details = scene.provider.inspect(patience()).await.unwrap();
    let texts = |network: &Network| network.addresses.iter().map(ToString::to_string).collect();
    details.networks.iter().map(texts).collect()
}

const NONE: [[&str; 0]; 1] = [[]];

/// Must-not-happen 47.
#[tokio::test]
async fn only_its_own_interfaces_have_addresses_and_only_while_it_runs() {
    let own = ct();
    let hardware = own.hardware_address();
    let scene = Scene::of(own).await;
    assert_eq!(addresses(&scene).await, NONE);

    let docker = GuestInterface::new("docker0", "02:42:ac:11:00:01", ["172.17.0.1/16"]);
    let tunnel = GuestInterface::new("tailscale0", "00:00:00:00:00:00", ["100.64.0.7/32"]);
    scene.pve.set_interfaces(VMID, &[docker.clone(), tunnel.clone()]).await;
    scene.order(Action::Start).await.unwrap();
    assert_eq!(addresses(&scene).await, NONE, "it comes later");

    let own = ["10.99.0.7/24", "fe80::be24:11ff:fe00:1/64", "fd00::7/64"];
    let lan = GuestInterface::new("eth0", &hardware, own);
    scene.pve.set_interfaces(VMID, &[docker, tunnel, lan]).await;
    assert_eq!(addresses(&scene).await, [["10.99.0.7", "fd00::7"]]);

    scene.order(Action::Stop).await.unwrap();
    assert_eq!(addresses(&scene).await, NONE);
}

#[tokio::test]
async fn fixed_addresses_need_no_call() {
    let scene = Scene::of(ct().fixed_address("10.99.0.101/24").running()).await;
    assert_eq!(addresses(&scene).await, [["10.99.0.101"]]);
    assert_eq!(scene.pve.count("GET", "/nodes/pve1/lxc/201/interfaces").await, 0);
}

#[tokio::test]
async fn before_8_1_only_fixed_addresses_are_known() {
    let networks = [
        "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=10.99.0.101/24,ip6=auto",
        "name=eth1,bridge=vmbr1,hwaddr=BC:24:11:00:00:02,ip=dhcp",
    ];
    let old = Options::default().version("8.0.4");
    let scene = Scene::with(old, ct().networks(networks).running()).await;
    assert_eq!(addresses(&scene).await, [vec!["10.99.0.101".to_owned()], vec![]]);
}

#[tokio::test]
async fn details_tell_where_it_is_and_who_manages_it() {
    let ct = ct().on("pve2").tag("drowse").notes("- drowse.port=8080").running().ha("started");
    let scene = Scene::of(ct).await;
    let details = scene.provider.inspect(patience()).await.unwrap();
    assert_eq!(details.id, "201");
    assert_eq!(details.name, "ct201");
    assert_eq!(details.node.as_deref(), Some("pve2"));
    assert_eq!(details.owner, Some(Owner::HighAvailability("started".to_owned())));
    assert_eq!(details.stop_timeout, Some(Duration::from_mins(1)));
    let labels: Vec<_> =
        details.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["drowse=", "drowse.port=8080"]);
}

#[tokio::test]
async fn what_a_user_changes_is_known_at_the_next_start() {
    let scene = Scene::of(ct()).await;
    assert_eq!(addresses(&scene).await.len(), 1);
    let more = "name=eth1,bridge=vmbr1,hwaddr=BC:24:11:00:00:02,ip=10.1.0.2/24";
    scene.pve.configure(VMID, "net1", Some(more)).await;
    scene.order(Action::Start).await.unwrap();
    assert_eq!(addresses(&scene).await[1], ["10.1.0.2"]);
}

#[tokio::test]
async fn figures_are_those_of_one_that_runs() {
    let scene = Scene::of(ct().running()).await;
    let stats = scene.provider.stats(patience()).await.unwrap();
    assert_eq!((stats.cpu, stats.cpu_load), (None, Some(0.0)));
    assert!(stats.memory_bytes > 0, "{stats:?}");

    scene.order(Action::Kill).await.unwrap();
    let error = scene.provider.stats(patience()).await.unwrap_err();
    let stopped = ContainerStatus::Stopped;
    assert!(matches!(error.kind(), ErrorKind::Conflict { status } if *status == stopped));
}

#[tokio::test]
async fn a_lock_is_a_part_of_what_is_read() {
    let scene = Scene::of(ct().running()).await;
    let provider = &scene.provider;
    assert_eq!(provider.observe(patience()).await.unwrap().lock, None);
    scene.pve.lock(VMID, "snapshot").await;
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!(seen.lock.as_deref(), Some("snapshot"));
    assert_eq!(seen.status, ContainerStatus::Running);
    assert!(seen.run.is_some());
}
