//! A container's configuration, and the `netN` in it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{
    lenient::Text,
    types::{ContainerConfig, NetworkInterface},
    wire::tags,
};

/// What `GET …/config` answers: each key with its value.
pub(super) type ConfigRows = BTreeMap<String, Text>;

pub(super) fn config(mut rows: ConfigRows) -> ContainerConfig {
    let networks = rows
        .iter()
        .filter_map(|(key, value)| {
            let number = key.strip_prefix("net")?.parse().ok()?;
            Some((number, interface(&value.clone().some()?)))
        })
        .collect();
    let mut take = |key: &str| rows.remove(key).and_then(Text::some);
    ContainerConfig {
        digest: take("digest"),
        hostname: take("hostname"),
        description: take("description").unwrap_or_default(),
        tags: tags(&take("tags").unwrap_or_default()),
        lock: take("lock"),
        starts_at_boot: is_true(take("onboot")),
        is_template: is_true(take("template")),
        stop_timeout: take("startup").and_then(|text| stop_timeout(&text)),
        networks,
    }
}

/// Of `order=1,up=30,down=120`.
fn stop_timeout(startup: &str) -> Option<Duration> {
    let seconds = startup.split(',').find_map(|setting| setting.trim().strip_prefix("down="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| value != "0")
}

/// `name=eth0,bridge=vmbr0,hwaddr=BC:24:11:…,ip=10.99.0.101/24,ip6=auto,type=veth`.
fn interface(text: &str) -> NetworkInterface {
    let settings: BTreeMap<&str, &str> =
        text.split(',').filter_map(|setting| setting.trim().split_once('=')).collect();
    let setting = |key: &str| settings.get(key).copied().filter(|value| !value.is_empty());
    let fixed = ["ip", "ip6"].into_iter().filter_map(|key| address(setting(key)?)).collect();
    NetworkInterface {
        name: setting("name").unwrap_or_default().to_owned(),
        bridge: setting("bridge").map(str::to_owned),
        hardware_address: setting("hwaddr").map(str::to_lowercase),
        fixed,
        is_dynamic: setting("ip") == Some("dhcp")
            || matches!(setting("ip6"), Some("dhcp" | "auto")),
    }
}

/// An address, with or without the length of its network.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
}
