use std::net::IpAddr;

use drowse_gateway::HostPattern;

use super::*;
use crate::{entrance::Entrance, labels::Dialect, whereabouts::Machine};

fn lxc(vmid: u32, name: &str, notes: &[(&str, &str)]) -> Details {
    let observation = Observation::new(ContainerStatus::Stopped, None);
    let mut details = Details::new(vmid.to_string(), name, observation);
    details.node = Some("pve1".to_owned());
    details.networks = vec![net0(vmid)];
    details.labels =
        notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    details
}

fn net0(vmid: u32) -> Network {
    let number = u8::try_from((vmid - 100) % 256).unwrap();
    let fixed: IpAddr = [10, 99, 0, number].into();
    let hardware = format!("bc:24:11:00:00:{number:02x}");
    Network::new("net0", None, Vec::new()).defined_as(Some(hardware), vec![fixed])
}

fn tagged(vmid: u32, name: &str, notes: &[(&str, &str)]) -> Details {
    let mut details = lxc(vmid, name, notes);
    details.labels.insert("drowse".to_owned(), String::new());
    details
}

fn without() -> Capabilities {
    let mut capabilities = Capabilities::all();
    let no = || Support::No("Proxmox has no such call; let it sleep by `stop`".into());
    capabilities.pause = no();
    capabilities.signals = no();
    capabilities.stop_signal = Support::No("init is asked to halt; leave it out".into());
    capabilities
}

fn view(containers: impl IntoIterator<Item = Details>) -> EngineView {
    let hosts = ["*.example.com"].map(|host| host.parse::<HostPattern>().unwrap());
    EngineView {
        containers: Some(containers.into_iter().map(Arc::new).collect()),
        dialect: Dialect::Notes { engine: "pve".into(), hosts: hosts.into() },
        ..EngineView::unread(without(), Reach::Routed)
    }
}

fn pve(containers: impl IntoIterator<Item = Details>) -> Inventory {
    Inventory::from([("pve".to_owned(), view(containers))])
}

const ENGINES: &str =
    "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } } }\n";

fn on_pve(text: &str) -> Config {
    config(&format!("{ENGINES}{text}"))
}

const ROUTE: [(&str, &str); 2] = [("drowse.host", "a.example.com"), ("drowse.port", "80")];

#[test]
fn a_tagged_container_is_a_workload_by_its_number() {
    let plan = make(
        &on_pve(""),
        &pve([
            tagged(201, "wiki", &ROUTE),
            lxc(202, "other", &[]),
            tagged(203, "off", &[("drowse.enable", "false")]),
            lxc(204, "untagged", &[("drowse.enable", "true")]),
        ]),
    );
    assert_eq!(lines(&plan), "");
    let [wiki] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!((wiki.name.as_str(), wiki.from), ("wiki", DefinedIn::Tag));
    assert_eq!(wiki.container, PlannedContainer::OnEngine(Reference::Vmid(201)));
    assert_eq!((wiki.shown_name().as_str(), wiki.vmid()), ("wiki", Some(201)));
    assert_eq!(wiki.node().as_deref(), Some("pve1"));
    assert_eq!(wiki.routes[0].urls(), ["a.example.com"]);
}

#[test]
fn the_file_names_it_by_number_or_name_and_its_notes_count_if_it_is_tagged() {
    let config = on_pve(
        "workloads:\n  wiki: { container: { vmid: 201 } }\n  db: { container: { name: db } }\n",
    );
    let notes = [("drowse.idle", "1m"), ROUTE[0], ROUTE[1]];
    let plan = make(&config, &pve([tagged(201, "w", &notes), lxc(202, "db", &notes)]));
    assert_eq!(lines(&plan), "");
    let [wiki, db] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!((wiki.policy.idle, wiki.routes.len()), (Duration::from_mins(1), 1));
    assert_eq!((db.routes.len(), db.vmid()), (0, Some(202)));
    assert_eq!(db.policy.idle, Duration::from_mins(15));
}

#[test]
fn a_number_means_the_container_that_has_it_and_none_that_begins_so() {
    let config = on_pve("workloads: { wiki: { container: { id: \"201\" } } }");
    let plan = make(&config, &pve([lxc(2010, "other", &[]), lxc(201, "wiki", &[])]));
    assert_eq!(plan.workloads[0].vmid(), Some(201));
    let plan = make(&config, &pve([lxc(2010, "other", &[])]));
    assert!(plan.workloads[0].details.is_none());
}

#[test]
fn a_name_that_two_have_is_refused_with_both() {
    let config = on_pve("workloads: { wiki: { container: { name: wiki } } }");
    let mut elsewhere = lxc(305, "wiki", &[]);
    elsewhere.node = Some("pve2".to_owned());
    let plan = make(&config, &pve([lxc(201, "wiki", &[]), elsewhere]));
    assert!(plan.workloads.is_empty());
    insta::assert_snapshot!(lines(&plan), @"error: workload `wiki`: several containers are called `wiki` (201 on node `pve1`, 305 on node `pve2`): say which one by `vmid`");
}

/// A clone has its original's tags and notes, and the lowest number that is free.
fn with_clones() -> [Details; 3] {
    [tagged(105, "wiki", &ROUTE), tagged(106, "wiki-copy", &ROUTE), tagged(201, "wiki", &ROUTE)]
}

#[test]
fn a_clone_takes_nothing_from_its_original() {
    let [.., original] = with_clones();
    let before = make(&on_pve(""), &pve([original]));
    let incumbents = Incumbents::of(before.workloads.iter());
    let plan = crate::plan::make(&on_pve(""), &pve(with_clones()), &incumbents);
    let [wiki] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!(wiki.vmid(), Some(201));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `105` on engine `pve`: container `201` on engine `pve` is the workload `wiki` already: give this one another name with `drowse.name`
    error: container `105` on engine `pve`: `a.example.com/` is taken by workload `wiki`
    error: container `106` on engine `pve`: `a.example.com/` is taken by workload `wiki`
    ");
}

/// As after a restart, and in `check`, which knows of no drowse that runs.
#[test]
fn where_nothing_tells_a_clone_from_its_original_neither_is_managed_until_one_lets_go() {
    let mut template = tagged(104, "wiki", &ROUTE);
    template.observation.status = ContainerStatus::Error(drowse_provider::Unusable::Template);
    let bystander = tagged(301, "bystander", &[]);
    let all = || with_clones().into_iter().chain([bystander.clone()]);
    let restarted = make(&on_pve(""), &pve(all()));
    assert_eq!(names(&restarted), ["bystander"]);
    insta::assert_snapshot!(lines(&restarted), @r"
    error: container `105` on engine `pve`: the name `wiki` is claimed by container `201` on engine `pve` as well, and nothing tells whose it is: name one in the configuration file, or take the tag `drowse` off the clone
    error: container `105` on engine `pve`: `a.example.com/` is claimed by container `106` on engine `pve`, container `201` on engine `pve` as well, and nothing tells whose it is: name one in the configuration file, or take the tag `drowse` off the clone
    error: container `106` on engine `pve`: `a.example.com/` is claimed by container `105` on engine `pve`, container `201` on engine `pve` as well, and nothing tells whose it is: name one in the configuration file, or take the tag `drowse` off the clone
    error: container `201` on engine `pve`: the name `wiki` is claimed by container `105` on engine `pve` as well, and nothing tells whose it is: name one in the configuration file, or take the tag `drowse` off the clone
    error: container `201` on engine `pve`: `a.example.com/` is claimed by container `105` on engine `pve`, container `106` on engine `pve` as well, and nothing tells whose it is: name one in the configuration file, or take the tag `drowse` off the clone
    ");

    let let_go = all().chain([template]).map(|mut details| {
        if ["105", "106"].contains(&details.id.as_str()) {
            details.labels.remove("drowse");
        }
        details
    });
    assert_eq!(names(&make(&on_pve(""), &pve(let_go))), ["wiki", "bystander"]);

    let named = on_pve("workloads: { wiki: { container: { vmid: 201 } } }");
    let named = make(&named, &pve(all()));
    assert_eq!((named.workloads[0].vmid(), names(&named)), (Some(201), vec!["wiki", "bystander"]));
    insta::assert_snapshot!(lines(&named), @r"
    error: container `wiki` on engine `pve`: container `201` on engine `pve` is the workload `wiki` already: give this one another name with `drowse.name`
    error: container `wiki-copy` on engine `pve`: `a.example.com/` is taken by workload `wiki`
    ");
}

/// Whoever edits the notes of what is managed must not thereby take what another one has.
#[test]
fn who_is_managed_gets_nothing_by_new_notes_that_another_one_has() {
    let other = tagged(202, "other", &[("drowse.host", "b.example.com"), ROUTE[1]]);
    let before = make(&on_pve(""), &pve([tagged(201, "wiki", &ROUTE), other.clone()]));
    assert_eq!(names(&before), ["wiki", "other"]);
    let incumbents = Incumbents::of(before.workloads.iter());
    let edited = tagged(201, "wiki", &[("drowse.host", "a.example.com, b.example.com"), ROUTE[1]]);
    let plan = crate::plan::make(&on_pve(""), &pve([edited, other]), &incumbents);
    assert_eq!(names(&plan), ["other"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `201` on engine `pve`: `b.example.com/` is taken by workload `other`");
}

#[test]
fn notes_that_claim_too_much_take_down_their_container_alone() {
    let plan = make(
        &on_pve(""),
        &pve([
            tagged(201, "thief", &[("drowse.host", "bank.example"), ("drowse.port", "80")]),
            tagged(202, "sender", &[("drowse.address", "10.0.0.1"), ROUTE[0], ROUTE[1]]),
            tagged(203, "good", &[("drowse.idle", "1m")]),
            tagged(204, "blind", &[ROUTE[0]]),
            tagged(205, "frozen", &[("drowse.sleep", "pause")]),
            tagged(206, "signalled", &[("drowse.stop-signal", "SIGINT")]),
            tagged(207, "halted", &[("drowse.stop-signal", "SIGPWR")]),
        ]),
    );
    assert_eq!(names(&plan), ["good", "halted"]);
    insta::assert_snapshot!(lines(&plan), @r#"
    error: container `thief` on engine `pve`: `bank.example` is no host that notes may claim (only `*.example.com`): add `discover_hosts: ["bank.example"]` to engine `pve` in the configuration file
    error: container `sender` on engine `pve`: `drowse.address` in its notes: notes cannot say this, since others may edit them: take the line out of the notes, and say it of a workload in the configuration file
    error: container `blind` on engine `pve`: route `default`: which port? the container exposes none: set `drowse.port`
    error: container `frozen` on engine `pve`: it cannot be paused: Proxmox has no such call; let it sleep by `stop`
    error: container `signalled` on engine `pve`: it cannot be stopped with INT: init is asked to halt; leave it out
    "#);
}

/// Whoever edits notes would get the passwords that are meant for the rest of the host.
#[test]
fn notes_claim_no_part_of_a_host_that_the_file_or_a_label_gives_to_somebody() {
    let on = |host: &'static str, path: &'static str| {
        [("drowse.host", host), ("drowse.path", path), ("drowse.port", "80")]
    };
    let config = config(
        "engines:\n  \
         pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } }\n  \
         home: { docker: /run/docker.sock }\n\
         workloads:\n  \
         wiki: { container: { engine: pve, vmid: 201 } }\n  \
         shop: { container: { engine: pve, vmid: 202 }, routes: [{ host: shop.example.com, port: 80 }] }\n  \
         all: { container: { engine: pve, vmid: 203 }, routes: [{ host: \"*.all.example.com\", port: 80 }] }\n  \
         old: { container: { engine: home, name: old }, routes: [{ host: new.example.com, port: 80 }] }\n",
    );
    let mut inventory = pve([
        tagged(201, "wiki", &on("shop.example.com", "/login")),
        lxc(202, "shop", &[]),
        lxc(203, "all", &[]),
        tagged(301, "a-path", &on("shop.example.com", "/login")),
        tagged(302, "below", &on("login.all.example.com", "/")),
        tagged(303, "of-docker", &on("cloud.example.com", "/login")),
        tagged(304, "same", &on("cloud.example.com", "/")),
        tagged(305, "free", &on("free.example.com", "/")),
        tagged(306, "with-free", &on("free.example.com", "/more")),
        tagged(307, "former", &on("old.example.com", "/")),
    ]);
    let docker = engine([
        enabled("cloud", 1, &[("drowse.host", "cloud.example.com")]),
        enabled("old", 1, &[("drowse.host", "old.example.com")]),
    ]);
    inventory.insert("home".to_owned(), docker);
    let plan = make(&config, &inventory);
    assert_eq!(
        names(&plan),
        ["wiki", "shop", "all", "old", "cloud", "free", "with-free", "former"]
    );
    assert!(plan.workloads[0].routes.is_empty());
    insta::assert_snapshot!(lines(&plan), @r"
    warning: workload `wiki`: left out of what its notes say: notes cannot claim `shop.example.com/login`: workload `shop` has `shop.example.com`, and who edits notes must not get a part of it: claim another host, or say it of a workload in the configuration file
    error: container `a-path` on engine `pve`: notes cannot claim `shop.example.com/login`: workload `shop` has `shop.example.com`, and who edits notes must not get a part of it: claim another host, or say it of a workload in the configuration file
    error: container `below` on engine `pve`: notes cannot claim `login.all.example.com/`: workload `all` has `*.all.example.com`, and who edits notes must not get a part of it: claim another host, or say it of a workload in the configuration file
    error: container `of-docker` on engine `pve`: notes cannot claim `cloud.example.com/login`: container `cloud` on engine `home` has `cloud.example.com`, and who edits notes must not get a part of it: claim another host, or say it of a workload in the configuration file
    error: container `same` on engine `pve`: notes cannot claim `cloud.example.com/`: container `cloud` on engine `home` has `cloud.example.com`, and who edits notes must not get a part of it: claim another host, or say it of a workload in the configuration file
    ");
}

/// Whoever edits notes must not be able to take down what the file defines.
#[test]
fn of_what_the_file_names_wrong_notes_are_left_out() {
    let planned = |notes: &[(&str, &str)], more: &str| {
        let config =
            on_pve(&format!("workloads: {{ wiki: {{ container: {{ vmid: 201 }}{more} }} }}"));
        make(&config, &pve([tagged(201, "wiki", notes)]))
    };
    let routes = ", routes: [{ host: wiki.lan, port: 80 }]";
    let one = |plan: &Plan| {
        let [wiki] = plan.workloads.as_slice() else { panic!("{plan:?}") };
        let urls: Vec<_> = wiki.routes.iter().flat_map(PlannedRoute::urls).collect();
        (wiki.policy.idle.as_secs() / 60, urls.join(" "))
    };
    let typo = [("drowse.idel", "1m"), ("drowse.address", "10.0.0.9"), ("drowse.idle", "2m")];
    let typo = planned(&typo, routes);
    assert_eq!(one(&typo), (2, "wiki.lan".to_owned()));
    let paused =
        planned(&[("drowse.sleep", "pause"), ("drowse.idle", "2m"), ROUTE[0], ROUTE[1]], "");
    assert_eq!(one(&paused), (15, "a.example.com".to_owned()));
    let thief = planned(&[("drowse.host", "bank.example"), ("drowse.idle", "2m")], "");
    assert_eq!(one(&thief), (2, String::new()));
    let blind = planned(&[("drowse.idle", "2m"), ROUTE[0]], "");
    assert_eq!(one(&blind), (2, String::new()));
    // The file's own mistakes take it down, and are told as such.
    let own = planned(&[("drowse.stop-signal", "SIGINT")], ", sleep: pause");
    assert!(own.workloads.is_empty());
    insta::assert_snapshot!([&typo, &paused, &thief, &blind, &own].map(lines).join("\n--\n"), @r#"
    warning: workload `wiki`: left out of what its notes say: `drowse.address` in its notes: notes cannot say this, since others may edit them: take the line out of the notes, and say it of a workload in the configuration file
    warning: workload `wiki`: left out of what its notes say: `drowse.idel` in its notes: there is no such key: did you mean `drowse.idle`?
    --
    warning: workload `wiki`: left out of what its notes say: it cannot be paused: Proxmox has no such call; let it sleep by `stop`
    --
    warning: workload `wiki`: left out of what its notes say: `bank.example` is no host that notes may claim (only `*.example.com`): add `discover_hosts: ["bank.example"]` to engine `pve` in the configuration file
    --
    warning: workload `wiki`: left out of what its notes say: route `default`: which port? the container exposes none: set `port`
    --
    warning: workload `wiki`: left out of what its notes say: `drowse.stop-signal` in its notes means nothing where `pause` puts it to sleep
    error: workload `wiki`: it cannot be paused: Proxmox has no such call; let it sleep by `stop`
    "#);
}

#[test]
fn what_high_availability_manages_sleeps_only_if_it_may() {
    let managed = |notes: &[(&str, &str)]| {
        let mut details = tagged(201, "wiki", notes);
        details.owner = Some(Owner::HighAvailability("started".to_owned()));
        details
    };
    let plan = make(&on_pve(""), &pve([managed(&[])]));
    assert!(plan.workloads.is_empty());
    insta::assert_snapshot!(lines(&plan), @"error: container `wiki` on engine `pve`: high availability manages it (started) and is to keep it running: with `ha: true` in the configuration file it may sleep, and while it sleeps its requested state there is `stopped`");
    let in_file = on_pve("workloads: { wiki: { container: { vmid: 201 }, ha: true } }");
    let plan = make(&in_file, &pve([managed(&[])]));
    assert_eq!((names(&plan), lines(&plan)), (vec!["wiki"], String::new()));
    let plan = make(&on_pve("defaults: { ha: true }"), &pve([managed(&[])]));
    assert_eq!(names(&plan), ["wiki"]);
}

#[test]
fn a_template_is_refused() {
    let mut template = tagged(201, "debian", &[]);
    template.observation.status = ContainerStatus::Error(drowse_provider::Unusable::Template);
    let mut fenced = tagged(202, "fenced", &[]);
    let fence = drowse_provider::Unusable::Other("high availability: fence".to_owned());
    fenced.observation.status = ContainerStatus::Error(fence);
    let plan = make(&on_pve(""), &pve([template, fenced]));
    assert_eq!(names(&plan), ["fenced"], "that passes");
    insta::assert_snapshot!(lines(&plan), @"error: container `debian` on engine `pve`: it is a template, which never runs: make a container of it");
}

#[test]
fn what_is_left_alone_is_named_by_number_too() {
    let config = on_pve("never_sleep: [201, db]");
    let plan = make(&config, &pve([tagged(201, "dns", &[]), tagged(202, "db", &[])]));
    assert!(plan.workloads.is_empty());
    insta::assert_snapshot!(lines(&plan), @r"
    warning: container `dns` on engine `pve`: not managed, and never put to sleep: `never_sleep` names `201`
    warning: container `db` on engine `pve`: not managed, and never put to sleep: `never_sleep` names `db`
    ");
}

#[test]
fn a_proxy_in_front_of_drowse_is_known_asleep_too_by_an_address_that_is_fixed() {
    let config = on_pve("trusted_proxies: [10.99.0.101]");
    let plan = make(&config, &pve([tagged(201, "proxy", &[]), tagged(202, "wiki", &[])]));
    assert_eq!(names(&plan), ["wiki"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `proxy` on engine `pve`: requests come to drowse through it (`trusted_proxies` names its address 10.99.0.101): if it slept, nobody could wake it");
}

/// Its node may be away, or a right lack.
#[test]
fn what_is_left_alone_is_so_while_it_cannot_be_read() {
    let config = on_pve(
        "workloads:\n  dns: { container: { vmid: 201 } }\n  db: { container: { name: postgres } }\n  \
         router: { container: { vmid: 203 } }\n  wiki: { container: { vmid: 204 } }\n\
         never_sleep: [201, postgres, router]",
    );
    let plan = make(&config, &pve([]));
    assert_eq!(names(&plan), ["wiki"]);
    insta::assert_snapshot!(lines(&plan), @r"
    warning: workload `dns`: not managed, and never put to sleep: `never_sleep` names `201`
    warning: workload `db`: not managed, and never put to sleep: `never_sleep` names `postgres`
    warning: workload `router`: not managed, and never put to sleep: `never_sleep` names `router`
    ");
}

#[test]
fn the_container_that_drowse_runs_in_is_recognised() {
    let machine = |hardware: &[&str], addresses: &[&str]| Machine {
        hardware: hardware.iter().map(|address| (*address).to_owned()).collect(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    for (machine, how) in [
        (machine(&["bc:24:11:00:00:65"], &[]), "hardware address"),
        (machine(&[], &["10.99.0.101"]), "the address"),
    ] {
        let mut view = view([tagged(201, "drowse", &[]), tagged(202, "wiki", &[])]);
        view.here.machine = Arc::new(machine);
        let plan = make(&on_pve(""), &Inventory::from([("pve".to_owned(), view)]));
        assert_eq!(names(&plan), ["wiki"]);
        assert!(lines(&plan).contains("drowse itself runs in it") && lines(&plan).contains(how));
    }
}

#[test]
fn a_container_that_hosts_an_engine_is_recognised() {
    let mut view = view([
        tagged(201, "by-address", &[]),
        tagged(202, "docker2", &[]),
        tagged(203, "balancer", &[]),
        tagged(204, "here", &[]),
        tagged(205, "wiki", &[]),
    ]);
    view.entrances = [
        ("one", "tcp://10.99.0.101:2375"),
        ("two", "ssh://me@docker2.lan"),
        ("pve", "https://10.99.0.103:8006"),
    ]
    .iter()
    .filter_map(|(engine, url)| Entrance::of(engine, url))
    .collect();
    let mut local = engine([]);
    local.machine = Some("here".to_owned());
    let inventory = Inventory::from([("docker".to_owned(), local), ("pve".to_owned(), view)]);
    let plan = make(&on_pve(""), &inventory);
    assert_eq!(names(&plan), ["wiki"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `by-address` on engine `pve`: engine `one` is reached through it (tcp://10.99.0.101:2375): if it slept, nothing there could be woken; if that is another machine in another network, reach the engine at another of its addresses
    error: container `docker2` on engine `pve`: engine `two` is reached through it (ssh://docker2.lan:22): if it slept, nothing there could be woken; if that is another machine of its name, give the engine's address instead of it
    error: container `balancer` on engine `pve`: engine `pve` is reached through it (https://10.99.0.103:8006): if it slept, nothing there could be woken; if that is another machine in another network, reach the engine at another of its addresses
    error: container `here` on engine `pve`: engine `docker`, and drowse with it, run on a machine of its name (`here`): if it slept, nobody would be left to wake it; if that is another machine, give one of them another name
    ");
}

/// As behind a socket proxy.
#[test]
fn the_machine_of_an_engine_that_drowse_is_in_a_container_of_is_recognised() {
    let own = container("drowse", 1, &[]);
    let mut docker = engine([own.clone()]);
    docker.reach = Reach::Remote("socket-proxy".to_owned());
    docker.machine = Some("docker".to_owned());
    let both = |docker: &EngineView, name: &str| {
        let containers = [tagged(201, name, &[]), tagged(202, "wiki", &[])];
        let inventory =
            [("docker".to_owned(), docker.clone()), ("pve".to_owned(), view(containers))];
        make(&on_pve(""), &Inventory::from(inventory))
    };
    assert_eq!(names(&both(&docker, "docker")), ["docker", "wiki"], "on a machine elsewhere");
    docker.here = inside(&own);
    assert_eq!(names(&both(&docker, "docker.lan")), ["wiki"], "its whole name");
    assert_eq!(names(&both(&docker, "docker2")), ["docker2", "wiki"]);
    let plan = both(&docker, "docker");
    assert_eq!(names(&plan), ["wiki"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `docker` on engine `pve`: engine `docker`, and drowse with it, run on a machine of its name (`docker`): if it slept, nobody would be left to wake it; if that is another machine, give one of them another name");
}

#[test]
fn an_old_cluster_without_a_fixed_address_is_asked_for_one() {
    let mut view = view([tagged(201, "fixed", &ROUTE), {
        let mut dynamic = tagged(202, "dynamic", &[("drowse.host", "b.example.com"), ROUTE[1]]);
        dynamic.networks[0].fixed.clear();
        dynamic
    }]);
    view.capabilities.dynamic_addresses = Support::No(
        "Proxmox tells addresses from 8.1 on: give it a fixed one, or `address`".into(),
    );
    let plan = make(&on_pve(""), &Inventory::from([("pve".to_owned(), view)]));
    assert_eq!(names(&plan), ["fixed"]);
    insta::assert_snapshot!(lines(&plan), @"error: container `dynamic` on engine `pve`: route `default`: port 80 cannot be reached: its address on `net0` is not known (Proxmox tells addresses from 8.1 on: give it a fixed one, or `address`); add `address`, or fix one in its configuration");
}
