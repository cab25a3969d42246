use drowse_provider::ContainerStatus;
use serde_json::json;

use std::time::SystemTime;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]
fn details(changes: serde_json::Value) -> Details {
    let mut whole = json!({
        "Id": "1", "Name": "/web", "Created": "2026-01-02T03:04:05.678Z",
        "State": {"Status": "running", "StartedAt": "2026-01-02T03:04:06Z"},
        "Config": {"Labels": null}, "HostConfig": {}, "NetworkSettings": {},
    });
    for (section, value) in changes.as_object().unwrap() {
        whole[section] = value.clone();
    }
    let drivers = BTreeMap::from([("bridge".to_owned(), "bridge".to_owned())]);
    details_of(serde_json::from_value(whole).unwrap(), &drivers)
}

fn published(container: Port, address: &str, host_port: Option<u16>) -> PublishedPort {
    PublishedPort { container, host_address: address.parse().unwrap(), host_port }
}

#[test]
fn a_running_one_has_addresses_and_the_ports_that_are_bound() {
    let details = details(json!({
        "Config": {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}},
        "NetworkSettings": {
            "Ports": {"53/udp": null, "80/tcp": [
                {"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"}]},
            "Networks": {
                "bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": "",
                    "Gateway": "172.17.0.1", "IPv6Gateway": ""},
                "lan": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2"}},
        },
    }));
    let udp = Port { number: 53, transport: Transport::Udp };
    assert_eq!(details.name, "web");
    assert_eq!(details.exposed, [udp, Port::tcp(80)]);
    assert_eq!(
        details.published,
        [
            published(Port::tcp(80), "0.0.0.0", Some(32768)),
            published(Port::tcp(80), "::", Some(32768))
        ]
    );
    assert_eq!(
        details.networks,
        [
            Network::new("bridge", Some("bridge".into()), vec!["172.17.0.2".parse().unwrap()])
                .with_gateways(vec!["172.17.0.1".parse().unwrap()]),
            Network::new(
                "lan",
                None,
                vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]
            ),
        ]
    );
}

#[test]
fn a_stopped_one_has_the_configured_ports_and_no_address() {
    let details = details(json!({
        "State": {"Status": "exited", "StartedAt": "2026-01-02T03:04:06Z", "ExitCode": 3},
        "Config": {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}},
        "HostConfig": {"PublishAllPorts": true, "PortBindings":
            {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
        "NetworkSettings": {"Ports": {}, "Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    }));
    assert_eq!(details.observation.status, ContainerStatus::Stopped);
    assert_eq!(details.observation.exit_code, Some(3));
    assert_eq!(
        details.published,
        [
            published(Port::tcp(80), "127.0.0.1", Some(8080)),
            published(Port::tcp(81), "0.0.0.0", None)
        ]
    );
    assert!(details.networks[0].addresses.is_empty());
}

#[test]
fn a_port_that_the_engine_picks_is_not_known() {
    for port in ["", "0", "8000-8010"] {
        let details = details(json!({
            "State": {"Status": "created"},
            "HostConfig": {"PortBindings": {"80": [{"HostPort": port}]}},
        }));
        assert_eq!(details.published, [published(Port::tcp(80), "0.0.0.0", None)], "{port}");
    }
}

#[test]
fn what_the_user_defined_is_told() {
    let details = details(json!({
        "Config": {"StopTimeout": 120, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "true"]}, "Labels": {"a": "b"}},
        "HostConfig": {"AutoRemove": true, "NetworkMode": "container:abc",
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    }));
    assert_eq!(details.stop_timeout, Some(Duration::from_mins(2)));
    assert_eq!(details.stop_signal, Some(Signal::INT));
    assert!(details.has_health_check && details.removed_when_stopped);
    assert_eq!(details.network_mode, NetworkMode::Container("abc".into()));
    assert_eq!(details.restart, RestartPolicy::UnlessStopped);
    assert_eq!(details.labels["a"], "b");
    let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678);
    assert_eq!(details.created, Some(created));
}

#[test]
fn a_health_check_that_is_switched_off_is_none() {
    let off = details(json!({"Config": {"Healthcheck": {"Test": ["NONE"]}}}));
    assert!(!off.has_health_check);
}

#[test]
fn network_modes_are_told_apart() {
    for (mode, expected) in [
        ("default", NetworkMode::Networks),
        ("host", NetworkMode::Host),
        ("none", NetworkMode::None),
        ("my_network", NetworkMode::Networks),
    ] {
        assert_eq!(details(json!({"HostConfig": {"NetworkMode": mode}})).network_mode, expected);
    }
}

#[test]
fn owners_are_recognised() {
    let owner = |labels: serde_json::Value| details(json!({"Config": {"Labels": labels}})).owner;
    assert_eq!(owner(json!({})), None);
    assert_eq!(
        owner(json!({"com.docker.swarm.task.id": "t", "com.docker.swarm.service.name": "s"})),
        Some(Owner::SwarmService("s".into()))
    );
    assert_eq!(
        owner(json!({"PODMAN_SYSTEMD_UNIT": "web.service"})),
        Some(Owner::SystemdUnit("web.service".into()))
    );
    let infra =
        json!({"Name": "/0123-infra", "Config": {"Image": "localhost/podman-pause:4.3.1-0"}});
    assert_eq!(details(infra).owner, Some(Owner::Pod("0123".into())));
    assert_eq!(details(json!({"Pod": "p"})).owner, Some(Owner::Pod("p".into())));
}
