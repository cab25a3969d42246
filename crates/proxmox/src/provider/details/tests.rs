use std::collections::BTreeMap;

use drowse_provider::{Observation, RunId};

use super::*;
use crate::{NetworkInterface, cluster::live_of};

fn config() -> ContainerConfig {
    let network = |name: &str, hardware: &str, fixed: &[&str], is_dynamic| NetworkInterface {
        name: name.to_owned(),
        bridge: Some("vmbr0".to_owned()),
        hardware_address: Some(hardware.to_owned()),
        fixed: fixed.iter().map(|address| address.parse().unwrap()).collect(),
        is_dynamic,
    };
    ContainerConfig {
        digest: None,
        hostname: Some("web".to_owned()),
        description: String::new(),
        tags: Vec::new(),
        lock: None,
        starts_at_boot: true,
        is_template: false,
        stop_timeout: None,
        networks: BTreeMap::from([
            (0, network("eth0", "bc:24:11:00:00:01", &["10.0.0.101"], false)),
            (2, network("eth2", "bc:24:11:00:00:03", &[], true)),
        ]),
    }
}

fn details(status: ContainerStatus, ha_state: Option<&str>, config: &ContainerConfig) -> Details {
    let observation = Observation::new(status, Some(RunId::new("7")));
    let live = live_of(201, "pve1", ha_state, observation);
    let seen = [Interface {
        name: "eth2".to_owned(),
        hardware_address: Some("bc:24:11:00:00:03".to_owned()),
        addresses: vec!["192.168.2.9".parse().unwrap()],
    }];
    let labels = BTreeMap::from([("drowse".to_owned(), String::new())]);
    details_of(&live, config, labels, &seen)
}

#[test]
fn a_running_one_has_addresses_and_a_stopped_one_only_fixed_ones() {
    insta::assert_debug_snapshot!(details(ContainerStatus::Running, None, &config()), @r#"
        Details {
            id: "201",
            name: "web",
            labels: {
                "drowse": "",
            },
            observation: Observation {
                status: Running,
                run: Some(
                    RunId(7),
                ),
                health: None,
                exit_code: None,
                lock: None,
            },
            created: None,
            network_mode: Networks,
            networks: [
                Network {
                    name: "net0",
                    driver: Some(
                        "bridge",
                    ),
                    addresses: [
                        10.0.0.101,
                    ],
                    gateways: [],
                    hardware_address: Some(
                        "bc:24:11:00:00:01",
                    ),
                    fixed: [
                        10.0.0.101,
                    ],
                },
                Network {
                    name: "net2",
                    driver: Some(
                        "bridge",
                    ),
                    addresses: [
                        192.168.2.9,
                    ],
                    gateways: [],
                    hardware_address: Some(
                        "bc:24:11:00:00:03",
                    ),
                    fixed: [],
                },
            ],
            holder: None,
            exposed: [],
            published: [],
            stop_timeout: Some(
                60s,
            ),
            stop_signal: None,
            restart: No,
            removed_when_stopped: false,
            has_health_check: false,
            owner: None,
            node: Some(
                "pve1",
            ),
        }
        "#);

    let stopped = details(ContainerStatus::Stopped, None, &config());
    for network in &stopped.networks {
        assert!(network.addresses.is_empty(), "{network:?}");
    }
    assert_eq!(stopped.networks[0].fixed, ["10.0.0.101".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn a_managed_one_is_owned_and_started_again_unless_it_was_asked_to_end() {
    let details = details(ContainerStatus::Running, Some("started"), &config());
    assert_eq!(details.owner, Some(Owner::HighAvailability("started".to_owned())));
    assert_eq!(details.restart, RestartPolicy::UnlessStopped);
}

#[test]
fn one_that_management_ignores_is_like_any_other() {
    let details = details(ContainerStatus::Running, Some("ignored"), &config());
    assert_eq!(details.owner, None);
    assert_eq!(details.restart, RestartPolicy::No);
}

#[test]
fn its_own_stop_timeout_is_that_of_its_start_up_options() {
    let timeout = |config| details(ContainerStatus::Running, None, &config).stop_timeout;
    assert_eq!(timeout(config()), Some(DEFAULT_STOP_TIMEOUT));
    let two_minutes = Some(std::time::Duration::from_mins(2));
    assert_eq!(timeout(ContainerConfig { stop_timeout: two_minutes, ..config() }), two_minutes);
}

#[test]
fn one_without_network_says_so() {
    let config = ContainerConfig { networks: BTreeMap::new(), ..config() };
    let details = details(ContainerStatus::Running, None, &config);
    assert_eq!(details.network_mode, NetworkMode::None);
}

#[test]
fn the_load_is_never_below_zero() {
    let live = live_of(201, "pve1", None, Observation::new(ContainerStatus::Running, None));
    assert_eq!(stats_of(&CurrentStatus { cpu: -0.002, ..live.status }).cpu_load, Some(0.0));
}
