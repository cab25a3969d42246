use std::time::{Duration, SystemTime};

use drowse_provider::{
    Capabilities, Network, NetworkMode, Owner, Port, Reach, RestartPolicy, Support,
};

use super::*;
use crate::{config::Severity, whereabouts::Here};

pub(in crate::plan) fn container(name: &str, age: u64, labels: &[(&str, &str)]) -> Details {
    let observation = Observation::new(ContainerStatus::Stopped, None);
    let mut details = Details::new(format!("id-{name}"), name, observation);
    details.created = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age));
    details.exposed = vec![Port::tcp(80)];
    details.networks = vec![Network::new("bridge", Some("bridge".to_owned()), Vec::new())];
    details.labels =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    details
}

pub(in crate::plan) fn enabled(name: &str, age: u64, labels: &[(&str, &str)]) -> Details {
    let mut details = container(name, age, labels);
    details.labels.insert("drowse.enable".to_owned(), "true".to_owned());
    details
}

pub(in crate::plan) fn engine(containers: impl IntoIterator<Item = Details>) -> EngineView {
    EngineView {
        containers: Some(containers.into_iter().map(Arc::new).collect()),
        ..EngineView::unread(Capabilities::all(), Reach::Local)
    }
}

pub(in crate::plan) fn docker(containers: impl IntoIterator<Item = Details>) -> Inventory {
    Inventory::from([("docker".to_owned(), engine(containers))])
}

pub(in crate::plan) fn config(text: &str) -> Config {
    crate::config::from_text(text).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(in crate::plan) fn lines(plan: &Plan) -> String {
    let line = |problem: &Problem| format!("{}: {}", problem.severity.as_str(), problem.line());
    plan.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The plan of a drowse that managed nothing before.
pub(in crate::plan) fn make(config: &Config, inventory: &Inventory) -> Plan {
    super::make(config, inventory, &Incumbents::default())
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.workloads.iter().map(|workload| workload.name.as_str()).collect()
}

#[test]
fn a_labelled_container_is_a_workload() {
    let plan = make(
        &Config::without_file(),
        &docker([
            enabled("web", 1, &[("drowse.host", "web.example"), ("drowse.idle", "1m")]),
            container("other", 1, &[]),
            container("off", 1, &[("drowse.enable", "false"), ("drowse.host", "off.example")]),
        ]),
    );
    assert_eq!(lines(&plan), "");
    let [web] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!(web.container, PlannedContainer::OnEngine(Reference::Name("web".to_owned())));
    assert_eq!(web.policy.idle, Duration::from_mins(1));
    assert!(web.policy.adoption_jitter <= Duration::from_secs(6));
    let [route] = web.routes.as_slice() else { panic!("{web:?}") };
    assert_eq!((route.urls(), route.port), (vec!["web.example".to_owned()], Some(80)));
}

#[test]
fn the_file_wins_over_labels_key_by_key() {
    let config = config(
        "defaults: { idle: 1h, wake_timeout: 1h }\n\
         workloads: { shop: { container: { name: web }, idle: 2m } }",
    );
    let web = enabled(
        "web",
        1,
        &[("drowse.host", "web.example"), ("drowse.idle", "1m"), ("drowse.wake-timeout", "3m")],
    );
    let plan = make(&config, &docker([web]));
    let [shop] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!((shop.name.as_str(), shop.from), ("shop", DefinedIn::File));
    assert_eq!(shop.policy.idle, Duration::from_mins(2), "the file's own");
    assert_eq!(shop.policy.wake_timeout, Duration::from_mins(3), "the label's before the default");
    assert_eq!(shop.routes[0].urls(), ["web.example"]);
}

#[test]
fn two_names_of_one_container_are_refused() {
    let config = config(
        "workloads:\n  a: { container: { name: web } }\n  b: { container: { id: id-web } }\n",
    );
    let plan = make(&config, &docker([container("web", 1, &[])]));
    assert_eq!(names(&plan), ["a"]);
    insta::assert_snapshot!(lines(&plan), @"error: workload `b`: its container is another workload's already");
}

#[test]
fn a_host_claimed_twice_goes_to_the_file_then_to_the_oldest() {
    let config = config(
        "workloads: { f: { container: { name: f }, routes: [{ host: a.example, port: 1 }] } }",
    );
    let plan = make(
        &config,
        &docker([
            enabled("young", 1, &[("drowse.host", "b.example")]),
            enabled("old", 9, &[("drowse.host", "b.example")]),
            enabled("late", 5, &[("drowse.host", "a.example")]),
            enabled("other-path", 1, &[("drowse.host", "b.example"), ("drowse.path", "/x")]),
        ]),
    );
    assert_eq!(names(&plan), ["f", "old", "other-path"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `late` on engine `docker`: `a.example/` is taken by workload `f`
    error: container `young` on engine `docker`: `b.example/` is taken by workload `old`
    ");
}

#[test]
fn a_host_of_the_file_is_kept_for_it_while_its_engine_is_out_of_reach() {
    let config = config(
        "engines: { docker: { docker: /a }, nas: { docker: /b } }\n\
         workloads: { f: { container: { engine: nas, name: f }, routes: [{ host: a.example }] } }",
    );
    let mut inventory = docker([enabled("thief", 1, &[("drowse.host", "a.example")])]);
    let unread = EngineView::unread(Capabilities::all(), Reach::Local);
    inventory.insert("nas".to_owned(), unread);
    let plan = make(&config, &inventory);
    assert_eq!(names(&plan), [""; 0]);
    insta::assert_snapshot!(lines(&plan), @"error: container `thief` on engine `docker`: `a.example/` is taken by workload `f`");
}

#[test]
fn a_container_that_must_not_sleep_is_refused_with_the_reason() {
    let removed = |name, labels: &[(&str, &str)]| {
        let mut details = enabled(name, 1, labels);
        details.removed_when_stopped = true;
        details
    };
    let owned = |name, owner| {
        let mut details = enabled(name, 1, &[]);
        details.owner = Some(owner);
        details
    };
    let plan = make(
        &Config::without_file(),
        &docker([
            removed("a-stop", &[]),
            removed("b-kill", &[("drowse.sleep", "kill")]),
            removed("c-pause", &[("drowse.sleep", "pause")]),
            owned("d", Owner::SwarmService("shop".to_owned())),
            owned("e", Owner::SystemdUnit("web.service".to_owned())),
            owned("f", Owner::Pod("pod".to_owned())),
        ]),
    );
    assert_eq!(names(&plan), ["c-pause"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `a-stop` on engine `docker`: it was made with `--rm`: a stop would delete it and its data; make it without, or let it sleep by `pause`
    error: container `b-kill` on engine `docker`: it was made with `--rm`: a stop would delete it and its data; make it without, or let it sleep by `pause`
    error: container `d` on engine `docker`: it belongs to the Swarm service `shop`, which would start it again when it sleeps
    error: container `e` on engine `docker`: it belongs to the systemd unit `web.service`, which would start it again when it sleeps
    error: container `f` on engine `docker`: it belongs to the pod `pod`, which would start it again when it sleeps
    ");
}

#[test]
fn what_an_engine_cannot_do_is_refused_when_it_is_read() {
    let mut view = engine([
        enabled("a-pause", 1, &[("drowse.sleep", "pause")]),
        enabled("b-own", 1, &[("drowse.stop-signal", "TERM")]),
        enabled("c-not-restarted", 1, &[("drowse.stop-signal", "INT")]),
        {
            let mut details = enabled("d-restarted", 1, &[("drowse.stop-signal", "INT")]);
            details.restart = RestartPolicy::Always;
            details
        },
    ]);
    view.capabilities.pause = Support::No("there is no freezer here".into());
    view.capabilities.stop_signal = Support::No("the engine would start it again".into());
    let plan = make(&Config::without_file(), &Inventory::from([("old".to_owned(), view)]));
    assert_eq!(names(&plan), ["b-own", "c-not-restarted"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `a-pause` on engine `old`: it cannot be paused: there is no freezer here
    error: container `d-restarted` on engine `old`: it cannot be stopped with INT: the engine would start it again
    ");
}

#[test]
fn high_availability_is_nothing_that_docker_has() {
    let config = config(
        "defaults: { ha: true }\n\
         workloads:\n  db: { container: { name: db }, ha: false }\n  \
         local: { container: { process: { command: [app] } }, ha: true }\n",
    );
    let labelled = enabled("web", 1, &[("drowse.ha", "true")]);
    let plan =
        make(&config, &docker([container("db", 1, &[]), labelled, enabled("other", 1, &[])]));
    assert_eq!(names(&plan), ["other"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: workload `db`: `ha` means nothing here: only a Proxmox cluster has high availability; leave it out
    error: workload `local`: `ha` means nothing here: only a Proxmox cluster has high availability; leave it out
    error: container `web` on engine `docker`: label `drowse.ha` means nothing here: only a Proxmox cluster has high availability; leave it out
    ");
}

#[test]
fn a_port_that_is_not_said_must_be_the_only_one() {
    let exposing = |name, ports: &[u16]| {
        let mut details = enabled(name, 1, &[("drowse.host", &format!("{name}.example"))]);
        details.exposed = ports.iter().copied().map(Port::tcp).collect();
        details.exposed.push(Port { number: 53, transport: Transport::Udp });
        details
    };
    let plan = make(
        &Config::without_file(),
        &docker([exposing("a-none", &[]), exposing("b-one", &[81]), exposing("c-two", &[80, 443])]),
    );
    assert_eq!(names(&plan), ["b-one"]);
    assert_eq!(plan.workloads[0].routes[0].port, Some(81));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `a-none` on engine `docker`: route `default`: which port? the container exposes none: set `drowse.port`
    error: container `c-two` on engine `docker`: route `default`: which port? the container exposes 80, 443: set `drowse.port`
    ");
}

#[test]
fn a_bad_label_takes_down_nothing_else() {
    let plan = make(
        &Config::without_file(),
        &docker([
            enabled("bad", 1, &[("drowse.idle", "15"), ("drowse.hots", "x")]),
            enabled("good", 1, &[("drowse.host", "good.example")]),
            container("forgotten", 1, &[("drowse.host", "x.example")]),
            enabled("moot", 1, &[("drowse.sleep", "pause"), ("drowse.stop-timeout", "3s")]),
        ]),
    );
    assert_eq!(names(&plan), ["good"]);
    assert!(plan.problems.iter().any(|problem| problem.severity == Severity::Warning));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `bad` on engine `docker`: label `drowse.hots`: there is no such label: did you mean `drowse.host`?
    error: container `bad` on engine `docker`: label `drowse.idle`: a duration needs a unit: `15s`, `15m`, `15h` or `15d`
    warning: container `forgotten` on engine `docker`: it has labels of drowse and is not managed: set `drowse.enable=true`
    error: container `moot` on engine `docker`: label `drowse.stop-timeout` means nothing where `pause` puts it to sleep
    ");
}

#[test]
fn one_name_on_two_engines_needs_another() {
    let inventory = Inventory::from([
        ("home".to_owned(), engine([enabled("web", 2, &[])])),
        ("lab".to_owned(), engine([enabled("web", 1, &[])])),
    ]);
    let plan = make(&Config::without_file(), &inventory);
    assert_eq!(names(&plan), ["web"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `web` on engine `lab`: container `web` on engine `home` is the workload `web` already: give this one another name with `drowse.name`");
}

#[test]
fn nothing_is_managed_before_its_engine_was_read() {
    let config = config(
        "workloads:\n  web: { container: { name: web } }\n  local: { container: { process: { \
         command: [app] } } }\n",
    );
    let unread = EngineView::unread(Capabilities::all(), Reach::Local);
    let plan = make(&config, &Inventory::from([("docker".to_owned(), unread)]));
    assert_eq!(names(&plan), ["local"]);
    assert_eq!(plan.waiting[0].name, "web");

    // Read, and the container is not there: managed all the same, so that requests are told.
    let plan = make(&config, &docker([]));
    assert_eq!(names(&plan), ["web", "local"]);
    assert!(plan.workloads[0].details.is_none());
}

#[test]
fn a_route_that_can_lead_nowhere_is_refused_with_what_to_add() {
    let mut lonely = enabled("lonely", 1, &[("drowse.host", "lonely.example")]);
    lonely.network_mode = NetworkMode::None;
    let mut guest = enabled("guest", 1, &[("drowse.host", "guest.example")]);
    guest.network_mode = NetworkMode::Container("vpn".to_owned());
    let mut named = enabled("named", 1, &[("drowse.host", "a"), ("drowse.address", "10.0.0.9")]);
    named.network_mode = NetworkMode::None;
    // A container in mid-start has no address yet: that is no mistake of its definition.
    let mut starting = enabled("starting", 1, &[("drowse.host", "starting.example")]);
    starting.observation = Observation::new(ContainerStatus::Running, None);
    let plan = make(&Config::without_file(), &docker([lonely, guest, named, starting]));
    assert_eq!(names(&plan), ["named", "starting"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `guest` on engine `docker`: route `default`: it lives in the network of container `vpn`, which cannot be read: is it gone? Add `address` with where that one is reached
    error: container `lonely` on engine `docker`: route `default`: it has no network (mode `none`): attach it to one, or add `address`
    ");
}

/// drowse in the container `own`, which is on the network `proxy`.
pub(in crate::plan) fn inside(own: &Details) -> Here {
    Here {
        vantage: drowse_gateway::Vantage::inside(own),
        own: Some(Arc::new(crate::whereabouts::Own {
            id: own.id.clone(),
            name: own.name.clone(),
            may_be_holder: false,
            holder: None,
            published: own.published.clone(),
            networks: vec!["proxy".to_owned()],
        })),
        ..Here::default()
    }
}

fn published(mut details: Details, address: &str, host_port: u16) -> Details {
    details.published.push(drowse_provider::PublishedPort {
        container: Port::tcp(80),
        host_address: address.parse().unwrap(),
        host_port: Some(host_port),
    });
    details
}

#[test]
fn row_34_the_container_that_drowse_runs_in_is_no_workload() {
    let own = enabled("drowse", 1, &[]);
    let vpn = enabled("vpn", 1, &[]);
    let config = config(
        "workloads:\n  self: { container: { name: drowse } }\n  again: { container: { id: id-dro } }\n",
    );
    let mut here = inside(&own);
    let mut view = engine([own.clone(), vpn.clone()]);
    view.here = here.clone();
    let by_file = make(&config, &Inventory::from([("docker".to_owned(), view.clone())]));
    let by_label =
        make(&Config::without_file(), &Inventory::from([("docker".to_owned(), view.clone())]));
    assert_eq!((names(&by_file), names(&by_label)), (vec!["vpn"], vec!["vpn"]));
    let own = here.own.as_mut().map(Arc::make_mut).unwrap();
    own.holder = Some((vpn.id.clone(), "vpn".to_owned()));
    view.here = here.clone();
    let in_network = make(&Config::without_file(), &Inventory::from([("docker".to_owned(), view)]));
    assert_eq!(names(&in_network), [""; 0]);
    insta::assert_snapshot!([lines(&by_file), lines(&by_label), lines(&in_network)].join("\n--\n"), @r"
    error: workload `self`: drowse itself runs in it: it would stop itself, and nobody would be left to wake it; take its labels off, or take it out of the file
    error: workload `again`: its container is another workload's already
    --
    error: container `drowse` on engine `docker`: drowse itself runs in it: it would stop itself, and nobody would be left to wake it; take its labels off, or take it out of the file
    --
    error: container `drowse` on engine `docker`: drowse itself runs in it: it would stop itself, and nobody would be left to wake it; take its labels off, or take it out of the file
    error: container `vpn` on engine `docker`: drowse itself lives in its network (its container `drowse` has `network_mode: container:…`): without it drowse would be cut off; give drowse a network of its own
    ");
}

/// Only the mounts tell, and these are the same for all that live in one network.
#[test]
fn row_34_what_may_be_drowses_own_container_is_no_workload_either() {
    let own = enabled("vpn", 1, &[]);
    let mut beside = enabled("beside", 1, &[]);
    beside.network_mode = NetworkMode::Container(own.id.clone());
    let mut here = inside(&own);
    here.own.as_mut().map(Arc::make_mut).unwrap().may_be_holder = true;
    let mut view = engine([own, beside]);
    view.here = here;
    let plan = make(&Config::without_file(), &Inventory::from([("docker".to_owned(), view)]));
    assert_eq!(names(&plan), [""; 0]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `beside` on engine `docker`: drowse itself may run in it: it lives in the network of `vpn`, and from inside the two cannot be told apart; set `DROWSE_CONTAINER` to the name of drowse's own container
    error: container `vpn` on engine `docker`: drowse itself runs in it: it would stop itself, and nobody would be left to wake it; take its labels off, or take it out of the file
    ");
}

#[test]
fn row_43_a_port_that_drowse_has_is_refused_with_both_named() {
    let planned = |listen: &str, address: &str| {
        let config = config(&format!("listen: \"{listen}\""));
        lines(&make(&config, &docker([published(enabled("web", 1, &[]), address, 8080)])))
    };
    insta::assert_snapshot!(planned("127.0.0.1:8080", "0.0.0.0"), @"error: container `web` on engine `docker`: it publishes its port 80 at 0.0.0.0:8080, and drowse itself listens on 127.0.0.1:8080: it could never be started; let it publish none (requests come through drowse) or another one");
    for (listen, address) in [
        ("0.0.0.0:8080", "127.0.0.1"),
        ("[::]:8080", "192.168.1.4"),
        ("[::]:8080", "::"),
        ("127.0.0.1:8080", "127.0.0.1"),
    ] {
        assert_ne!(planned(listen, address), "", "{listen} {address}");
    }
    for (listen, address) in [
        ("127.0.0.1:8080", "127.0.0.2"),
        ("127.0.0.1:8080", "::"),
        ("127.0.0.1:8081", "0.0.0.0"),
        ("0.0.0.0:8080", "::1"),
    ] {
        assert_eq!(planned(listen, address), "", "{listen} {address}");
    }
}

#[test]
fn row_43_in_a_container_it_is_the_port_that_its_container_publishes() {
    let own = published(container("drowse", 1, &[]), "0.0.0.0", 80);
    let mut view = engine([
        published(enabled("web", 1, &[]), "0.0.0.0", 80),
        // What drowse listens on inside is no port of the host.
        published(enabled("other", 1, &[]), "0.0.0.0", 8080),
    ]);
    view.here = inside(&own);
    let config = config("listen: 0.0.0.0:8080");
    let plan = make(&config, &Inventory::from([("docker".to_owned(), view)]));
    assert_eq!(names(&plan), ["other"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `web` on engine `docker`: it publishes its port 80 at 0.0.0.0:80, and drowse's own container `drowse` publishes 0.0.0.0:80: it could never be started; let it publish none (requests come through drowse) or another one");
}

#[test]
fn a_network_that_is_named_by_default_counts_for_those_that_are_on_it() {
    let on = |mut details: Details, networks: &[&str]| {
        let network = |name: &&str| Network::new(*name, Some("bridge".to_owned()), Vec::new());
        details.networks = networks.iter().map(network).collect();
        details
    };
    let plan = make(
        &config("defaults: { network: proxy }"),
        &docker([
            on(enabled("a", 9, &[("drowse.host", "a.example")]), &["app", "proxy"]),
            on(enabled("b", 8, &[("drowse.host", "b.example")]), &["app"]),
            on(
                enabled("c", 7, &[("drowse.network", "nowhere"), ("drowse.host", "c.example")]),
                &["app"],
            ),
        ]),
    );
    let chosen: Vec<_> =
        plan.workloads.iter().map(|one| (one.name.as_str(), one.network.as_deref())).collect();
    assert_eq!(chosen, [("a", Some("proxy")), ("b", None)]);
    insta::assert_snapshot!(lines(&plan), @"error: container `c` on engine `docker`: route `default`: it is not on the network `nowhere` that `network` names, only on `app`");
}

/// A labelled container of the compose service `shop/web`.
fn of_service(id: &str, name: &str, more: &[(&str, &str)]) -> Details {
    let mut details = enabled(name, 1, &[("drowse.host", "web.example")]);
    id.clone_into(&mut details.id);
    let own = [
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", "web"),
        ("com.docker.compose.container-number", "1"),
        ("com.docker.compose.oneoff", "False"),
    ];
    for (label, value) in own.iter().chain(more) {
        details.labels.insert((*label).to_owned(), (*value).to_owned());
    }
    details
}

const OLD: &str = "0123456789abcdef";

#[test]
fn a_service_is_one_workload_while_compose_replaces_its_container() {
    let replaces = [("com.docker.compose.replace", OLD)];
    let old = of_service(OLD, "shop-web-1", &[]);
    let temporary = of_service("new", "0123456789ab_shop-web-1", &replaces);
    let aside = of_service(OLD, "0123456789ab_shop-web-1", &[]);
    let new = of_service("new", "shop-web-1", &replaces);
    let states: [&[&Details]; 5] =
        [&[&old], &[&old, &temporary], &[&temporary], &[&aside, &new], &[&new]];
    for containers in states {
        let containers = containers.iter().map(|details| (*details).clone());
        let plan = make(&Config::without_file(), &docker(containers));
        assert_eq!(lines(&plan), "");
        let [web] = plan.workloads.as_slice() else { panic!("{plan:?}") };
        assert_eq!((&*web.name, &*web.container_name()), ("shop-web-1", "shop/web"));
    }
}

#[test]
fn a_service_of_the_file_covers_what_takes_its_containers_place() {
    let config = config(
        "engines: { docker: { docker: /run/docker.sock } }\n\
         workloads: { web: { container: { name: shop-web-1 } } }",
    );
    let temporary = of_service("new", "0123456789ab_shop-web-1", &[]);
    let plan = make(&config, &docker([of_service(OLD, "shop-web-1", &[]), temporary]));
    assert_eq!((lines(&plan).as_str(), names(&plan)), ("", vec!["web"]));
}

#[test]
fn replicas_and_what_runs_once_are_no_workloads() {
    let second = [("com.docker.compose.container-number", "2")];
    let once = [("com.docker.compose.oneoff", "True")];
    let run = of_service("run", "shop-web-run-1", &once);
    let one = of_service("one", "shop-web-1", &[]);
    let plan = make(&Config::without_file(), &docker([one.clone(), run.clone()]));
    assert_eq!((lines(&plan).as_str(), names(&plan)), ("", vec!["shop-web-1"]));
    let two = of_service("two", "shop-web-2", &second);
    let plan = make(&Config::without_file(), &docker([one, two, run]));
    assert_eq!(names(&plan), [""; 0]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `shop-web-1` on engine `docker`: the service has 2 containers (shop-web-1, shop-web-2), and only one can be put to sleep and woken: scale it to 1
    error: container `shop-web-2` on engine `docker`: the service has 2 containers (shop-web-1, shop-web-2), and only one can be put to sleep and woken: scale it to 1
    ");
}

#[test]
fn what_must_never_sleep_is_refused_with_the_reason() {
    let labels = [("drowse.host", "a.example")];
    let mut proxy = enabled("socket-proxy", 1, &[]);
    proxy.networks[0].addresses = vec![[172, 17, 0, 9].into()];
    let dns = enabled("pihole", 1, &labels);
    let mut view = engine([proxy, dns]);
    view.entrances.extend(crate::entrance::Entrance::of("docker", "tcp://172.17.0.9:2375"));
    let plan =
        make(&config("never_sleep: [pihole]"), &Inventory::from([("docker".to_owned(), view)]));
    assert_eq!(names(&plan), [""; 0]);
    insta::assert_snapshot!(lines(&plan), @r"
    warning: container `pihole` on engine `docker`: not managed, and never put to sleep: `never_sleep` names `pihole`
    error: container `socket-proxy` on engine `docker`: engine `docker` is reached through it (tcp://172.17.0.9:2375): if it slept, nothing there could be woken
    ");
}

#[test]
fn a_proxy_that_the_configuration_trusts_by_its_address_is_no_workload() {
    let mut nginx = enabled("nginx", 1, &[]);
    nginx.networks[0].addresses = vec![[172, 17, 0, 9].into()];
    let config = config("trusted_proxies: [172.17.0.9, 10.0.0.0/8]");
    let plan = make(&config, &docker([nginx]));
    assert_eq!(names(&plan), [""; 0]);
    insta::assert_snapshot!(lines(&plan), @"error: container `nginx` on engine `docker`: requests come to drowse through it (`trusted_proxies` names its address 172.17.0.9): if it slept, nobody could wake it");
}

#[test]
fn row_43_a_route_that_would_lead_to_drowse_itself_is_refused() {
    let mut on_host = enabled("app", 1, &[("drowse.host", "a.example"), ("drowse.port", "8080")]);
    on_host.network_mode = NetworkMode::Host;
    let labels =
        [("drowse.host", "b.example"), ("drowse.address", "localhost"), ("drowse.port", "8080")];
    let elsewhere =
        [("drowse.host", "c.example"), ("drowse.address", "10.0.0.9"), ("drowse.port", "8080")];
    let containers = [on_host, enabled("loop", 1, &labels), enabled("good", 1, &elsewhere)];
    let plan = make(&config("listen: 0.0.0.0:8080"), &docker(containers));
    assert_eq!(names(&plan), ["good"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `app` on engine `docker`: route `default`: it would lead to 127.0.0.1:8080, where drowse itself listens (0.0.0.0:8080): let the application listen on another port, or drowse (`listen`)
    error: container `loop` on engine `docker`: route `default`: it would lead to 127.0.0.1:8080, where drowse itself listens (0.0.0.0:8080): let the application listen on another port, or drowse (`listen`)
    ");
}

/// A bridge's, a LAN's, one written as IPv6: what listens on all addresses listens there.
#[test]
fn row_43_nor_by_another_address_of_this_machine() {
    let leads = |address: &str, listen: &str| {
        let labels =
            [("drowse.host", "a.example"), ("drowse.address", address), ("drowse.port", "8080")];
        let mut view = engine([enabled("app", 1, &labels)]);
        let own = ["172.17.0.1", "192.168.1.5", "fd00::5"];
        view.own_addresses = Arc::new(own.iter().map(|it| it.parse().unwrap()).collect());
        let inventory = Inventory::from([("docker".to_owned(), view)]);
        lines(&make(&config(&format!("listen: \"{listen}\"")), &inventory))
    };
    insta::assert_snapshot!(leads("192.168.1.5", "0.0.0.0:8080"), @"error: container `app` on engine `docker`: route `default`: it would lead to 192.168.1.5:8080, where drowse itself listens (0.0.0.0:8080): let the application listen on another port, or drowse (`listen`)");
    for address in ["172.17.0.1", "::ffff:192.168.1.5", "0.0.0.0", "::ffff:127.0.0.1"] {
        for listen in ["0.0.0.0:8080", "[::]:8080"] {
            let refused = leads(address, listen);
            assert!(
                refused.contains("where drowse itself listens"),
                "{address} {listen} {refused}"
            );
        }
    }
    assert!(leads("fd00::5", "[::]:8080").contains("where drowse itself listens"));
    for (address, listen) in [
        ("fd00::5", "0.0.0.0:8080"),
        ("192.168.1.6", "[::]:8080"),
        ("172.17.0.1", "192.168.1.5:8080"),
        ("192.168.1.5", "[::]:80"),
    ] {
        assert_eq!(leads(address, listen), "", "{address} {listen}");
    }
}

#[test]
fn row_43_nor_may_it_lead_to_a_port_that_drowse_has_for_another_route() {
    let db = enabled("db", 4, &[("drowse.tcp", "5432"), ("drowse.port", "5432")]);
    let leads = |name, age, labels: &[(&str, &str)]| {
        let at = [("drowse.address", "127.0.0.1"), ("drowse.port", "5432")];
        enabled(name, age, &labels.iter().chain(&at).copied().collect::<Vec<_>>())
    };
    let by_http = leads("http", 3, &[("drowse.host", "a.example")]);
    let by_tcp = leads("tcp", 2, &[("drowse.tcp", "5433")]);
    let labels = [
        ("drowse.host", "b.example"),
        ("drowse.address", "127.0.0.1"),
        ("drowse.port", "5434"),
        ("drowse.routes.db.tcp", "5434"),
        ("drowse.routes.db.port", "80"),
    ];
    let of_its_own = enabled("own", 1, &labels);
    let config = config("listen: 127.0.0.1:8080");
    let plan = make(&config, &docker([db.clone(), by_http.clone(), by_tcp, of_its_own]));
    assert_eq!(names(&plan), ["db"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `http` on engine `docker`: route `default`: it would lead to 127.0.0.1:5432, where drowse itself listens (127.0.0.1:5432): let the application listen on another port, or drowse (`listen`)
    error: container `tcp` on engine `docker`: route `default`: it would lead to 127.0.0.1:5432, where drowse itself listens (127.0.0.1:5432): let the application listen on another port, or drowse (`listen`)
    error: container `own` on engine `docker`: route `default`: it would lead to 127.0.0.1:5434, where drowse itself listens (127.0.0.1:5434): let the application listen on another port, or drowse (`listen`)
    ");
    // Whoever is older is in the right.
    let mut younger = db;
    younger.created = None;
    let plan = make(&config, &docker([by_http, younger]));
    assert_eq!(names(&plan), ["http"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `db` on engine `docker`: route `default`: workload `http` is reached at 127.0.0.1:5432: choose another port");
}

mod proxmox;
