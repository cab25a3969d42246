//! The files of `examples/`, read by the program's own eyes.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use drowse_gateway::HostPattern;
use serde_json::Value;

use crate::{
    config,
    labels::{Dialect, Labelled, Reading},
};

/// Where drowse listens in its image.
const PORT: &str = "8080";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn text(path: &str) -> String {
    let path = folder().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One compose file.
struct Stack {
    name: String,
    compose: Value,
}

impl Stack {
    fn all() -> Vec<Self> {
        let mut names: Vec<String> = fs::read_dir(folder().join("compose"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["alone", "caddy", "nginx", "traefik"]);
        names.into_iter().map(Self::of).collect()
    }

    fn of(name: impl Into<String>) -> Self {
        let name = name.into();
        let yaml = text(&format!("compose/{name}/compose.yaml"));
        let compose = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name, compose }
    }

    fn services(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.compose["services"].as_object().unwrap().iter()
    }

    fn drowse(&self) -> &Value {
        &self.compose["services"]["drowse"]
    }

    /// The proxy in front, if there is one.
    fn proxy(&self) -> Option<&Value> {
        self.compose["services"].get(&self.name)
    }

    /// The applications: what drowse's own reader of labels takes for enabled.
    fn applications(&self) -> Vec<(&Value, Labelled)> {
        self.services()
            .filter_map(|(service, definition)| {
                match Dialect::Labels.read(&labels_of(definition)) {
                    Reading::Nothing => None,
                    Reading::Enabled(labelled) => Some((definition, *labelled)),
                    other => panic!("{}: {service}: {other:?}", self.name),
                }
            })
            .collect()
    }

    fn hosts(&self) -> Vec<String> {
        let applications = self.applications();
        let routes = applications.iter().flat_map(|(_, labelled)| &labelled.routes);
        let hosts = routes.flat_map(|route| &route.hosts.as_ref().unwrap().value);
        hosts.map(HostPattern::to_string).collect()
    }
}

fn labels_of(service: &Value) -> BTreeMap<String, String> {
    let labels = service.get("labels").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().expect("a quoted value").to_owned();
    labels.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Of a list, or the keys of a mapping.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        Value::Object(entries) => entries.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn drowse_reaches_what_sleeps_and_nobody_gets_past_it() {
    for stack in Stack::all() {
        let applications = stack.applications();
        assert!(!applications.is_empty(), "{}", stack.name);
        let drowse = stack.drowse();
        for (application, labelled) in &applications {
            assert!(application.get("ports").is_none(), "{}: a way past drowse", stack.name);
            assert!(labelled.routes.iter().all(|route| route.port.is_some()));
            for network in names(&application["networks"]) {
                assert!(names(&drowse["networks"]).contains(&network), "{}", stack.name);
            }
        }
        match stack.proxy() {
            None => assert_eq!(names(&drowse["ports"]), ["127.0.0.1:8080:8080"]),
            Some(proxy) => {
                assert!(drowse.get("ports").is_none(), "{}: a way past the proxy", stack.name);
                assert!(!names(&proxy["ports"]).is_empty());
                assert_eq!(names(&proxy["networks"]), ["front"], "it needs no application");
                assert!(names(&drowse["networks"]).contains(&"front"));
            }
        }
    }
}

#[test]
fn drowse_has_what_it_needs_and_no_more() {
    for stack in Stack::all() {
        let drowse = stack.drowse();
        assert_eq!(drowse["image"], "drowse");
        assert_eq!(drowse["read_only"], true);
        assert_eq!(names(&drowse["tmpfs"]), ["/run"], "its state folder is in there");
        assert_eq!(names(&drowse["cap_drop"]), ["ALL"]);
        assert!(drowse.get("user").is_none() && drowse.get("privileged").is_none());
        assert_eq!(names(&drowse["group_add"]).len(), 1, "the socket's group");
        assert!(names(&drowse["volumes"]).contains(&"drowse-data:/data"), "{}", stack.name);
        assert!(names(&stack.compose["volumes"]).contains(&"drowse-data"), "{}", stack.name);
        let socket = "/var/run/docker.sock:/var/run/docker.sock";
        assert!(names(&drowse["volumes"]).contains(&socket), "{}", stack.name);
        assert_eq!(
            Dialect::Labels.read(&labels_of(drowse)),
            Reading::Nothing,
            "it does not sleep itself"
        );
    }
}

#[test]
fn the_proxys_network_is_trusted_and_holds_nobody_else() {
    for stack in Stack::all().iter().filter(|stack| stack.proxy().is_some()) {
        let yaml = text(&format!("compose/{}/drowse.yaml", stack.name));
        let config = config::from_text(&yaml).unwrap();
        let front = &stack.compose["networks"]["front"];
        let subnet = front["ipam"]["config"][0]["subnet"].as_str().unwrap();
        let (address, _) = subnet.rsplit_once(".0/24").unwrap();
        let is_trusted = |last: &str| {
            config.trusted_proxies.contains(format!("{address}.{last}").parse::<IpAddr>().unwrap())
        };
        assert!(is_trusted("2") && is_trusted("254"), "{subnet}");
        assert!(!config.trusted_proxies.contains([172, 30, 81, 2].into()));
        for (application, _) in stack.applications() {
            assert!(!names(&application["networks"]).contains(&"front"), "{}", stack.name);
        }
        let mounted = "./drowse.yaml:/etc/drowse/drowse.yaml:ro";
        assert!(names(&stack.drowse()["volumes"]).contains(&mounted));
        assert_eq!(stack.drowse()["environment"]["DROWSE_CONFIG"], "/etc/drowse/drowse.yaml");
    }
}

#[test]
fn the_cluster_of_the_example_is_read() {
    let config = config::from_text(&text("proxmox/drowse.yaml")).unwrap();
    assert_eq!((config.engines.len(), config.workloads.len()), (1, 1));
    assert_eq!(config.never_sleep, ["dns", "105"]);
}

#[test]
fn traefik_has_one_route_for_all_applications_on_drowse() {
    let stack = Stack::of("traefik");
    for (service, definition) in stack.services().filter(|(service, _)| *service != "drowse") {
        let labels = labels_of(definition);
        let is_traefiks = |label: &String| label.starts_with("traefik.");
        assert!(!labels.keys().any(is_traefiks), "{service}: it is lost when it sleeps");
    }
    let labels = labels_of(stack.drowse());
    let service = "traefik.http.services.drowse.loadBalancer";
    assert_eq!(labels[&format!("{service}.server.port")], PORT);
    assert_eq!(labels[&format!("{service}.passHostHeader")], "true");
    let network = &labels["traefik.docker.network"];
    assert_eq!(stack.compose["networks"]["front"]["name"], network.as_str());
    assert_eq!(labels["traefik.http.routers.drowse.rule"], r"HostRegexp(`^.+\.example\.com$$`)");
    let entry = &labels["traefik.http.routers.drowse.entryPoints"];
    let listening = format!("--entryPoints.{entry}.address=:80");
    assert!(names(&stack.proxy().unwrap()["command"]).contains(&listening.as_str()));
    assert!(stack.hosts().iter().all(|host| host.ends_with(".example.com")));
}

#[test]
fn caddy_serves_the_applications_hosts_by_the_documented_file() {
    let stack = Stack::of("caddy");
    let proxy = stack.proxy().unwrap();
    let mounted = "../../caddy/Caddyfile:/etc/caddy/Caddyfile:ro";
    assert!(names(&proxy["volumes"]).contains(&mounted));
    assert_eq!(proxy["environment"]["DROWSE"], format!("drowse:{PORT}"));
    let caddyfile = text("caddy/Caddyfile");
    assert!(caddyfile.contains("reverse_proxy {$DROWSE:127.0.0.1:8080} {"), "{caddyfile}");
    let sites = caddyfile.lines().find(|line| line.starts_with("wiki.example.com")).unwrap();
    for host in stack.hosts() {
        assert!(sites.contains(&host), "{host}");
    }
}

#[test]
fn nginx_differs_from_the_documented_file_in_nothing_but_address_and_https() {
    let stack = Stack::of("nginx");
    let address = stack.drowse()["networks"]["front"]["ipv4_address"].as_str().unwrap();
    let shown = |text: &str| -> Vec<String> {
        let lines =
            text.lines().map(str::trim_end).skip_while(|line| !line.starts_with("upstream"));
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let documented = text("nginx/drowse.conf");
    let upstream = format!("{address}:{PORT}");
    let expected: Vec<_> = shown(&documented.replace("127.0.0.1:8080", &upstream))
        .into_iter()
        .filter(|line| !line.contains("ssl"))
        .collect();
    assert_eq!(shown(&text("compose/nginx/nginx.conf")), expected);
    let mounted = "./nginx.conf:/etc/nginx/conf.d/default.conf:ro";
    assert!(names(&stack.proxy().unwrap()["volumes"]).contains(&mounted));
    assert!(documented.contains("server_name .example.com;"));
    assert!(stack.hosts().iter().all(|host| host.ends_with(".example.com")));
}
