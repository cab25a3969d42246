use drowse_provider::Reach;

use super::{
    super::{
        EngineView, Inventory, Planned,
        tests::{config, docker, enabled, make},
    },
    *,
};

fn web(labels: &[(&str, &str)], file: &str) -> Planned {
    let inventory = docker([enabled("web", 1, labels)]);
    let plan = make(&config(file), &inventory);
    assert_eq!(plan.problems, []);
    plan.workloads.into_iter().next().unwrap()
}

fn words(labels: &[(&str, &str)], is_open: bool) -> String {
    web(labels, "").gates.words(is_open).join("; ")
}

#[test]
fn use_is_looked_at_where_it_is_not_seen_or_where_somebody_says_so() {
    assert_eq!(words(&[], false), "");
    insta::assert_snapshot!(words(&[], true), @"its processor use, above 5% of a core; its network use, above 10kB/s");
    let said = [("drowse.busy-cpu", "20%"), ("drowse.busy-network", "off")];
    insta::assert_snapshot!(words(&said, true), @"its processor use, above 20% of a core");
    assert_eq!(words(&said, false), words(&said, true));
    assert_eq!(words(&[("drowse.busy-cpu", "off"), ("drowse.busy-network", "off")], true), "");

    let by_default = web(&[], "defaults: { busy_network: 1MB }").gates;
    insta::assert_snapshot!(by_default.words(false).join("; "), @"its network use, above 1000kB/s");
}

#[test]
fn whoever_has_a_veto_is_named() {
    let file = "workloads: { web: { container: { name: web }, \
                veto_command: [/usr/local/bin/may-sleep, web] } }";
    let labels = [("drowse.host", "web.test"), ("drowse.veto-path", "/busy?now")];
    let web = web(&labels, file);
    insta::assert_snapshot!(web.gates.words(false).join("; "), @"the application, at `/busy?now`; the command `/usr/local/bin/may-sleep`");
    let host = Some(HostPattern::Exact("web.test".to_owned()));
    let scheme = UpstreamScheme::Http;
    let asked =
        VetoPath { path: "/busy?now".to_owned(), host, port: Some(80), address: None, scheme };
    assert_eq!(web.gates.veto_path, Some(Box::new(asked)));
}

#[test]
fn what_a_label_may_not_command_is_refused() {
    let web = enabled("web", 1, &[("drowse.veto-command", "rm -rf /")]);
    let plan = make(&config(""), &docker([web]));
    let problems: Vec<_> = plan.problems.iter().map(crate::config::Problem::line).collect();
    insta::assert_snapshot!(problems.join("\n"), @"container `web` on engine `docker`: label `drowse.veto-command`: only the configuration file can say this");
}

#[test]
fn a_veto_needs_somebody_to_ask() {
    let mut web = enabled("web", 1, &[("drowse.veto-path", "/busy")]);
    web.exposed.clear();
    let plan = make(&config(""), &docker([web]));
    let problems: Vec<_> = plan.problems.iter().map(crate::config::Problem::line).collect();
    insta::assert_snapshot!(problems.join("\n"), @"container `web` on engine `docker`: label `drowse.veto-path` has nobody to ask: which port? it has no route, and its container does not tell its only one: give it a route");
}

#[test]
fn a_default_veto_that_asks_nobody_is_told() {
    let file = "defaults: { veto_path: /busy }";
    assert_eq!(web(&[], file).gates.warnings(), Vec::<String>::new());
    let mut web = enabled("web", 1, &[]);
    web.exposed.clear();
    let plan = make(&config(file), &docker([web]));
    assert_eq!(plan.problems, []);
    insta::assert_snapshot!(plan.workloads[0].gates.warnings().join("; "), @"`veto_path` of `defaults` has nobody to ask, and it sleeps unasked: which port? it has no route, and its container does not tell its only one: give it a route");
}

#[test]
fn an_engine_without_figures_is_not_asked_for_them() {
    let mut capabilities = Capabilities::all();
    capabilities.stats = Support::No("processes are not counted".into());
    let planned = |label: &str, defaults: &str| {
        let view = EngineView {
            containers: Some(vec![enabled("web", 1, &[("drowse.busy-cpu", label)]).into()]),
            ..EngineView::unread(capabilities.clone(), Reach::Local)
        };
        let inventory = Inventory::from([("docker".to_owned(), view)]);
        make(&config(defaults), &inventory).workloads.remove(0).gates
    };
    let gates = planned("5%", "");
    assert_eq!((gates.use_limits(true), gates.words(true)), (None, Vec::new()));
    insta::assert_snapshot!(gates.warnings().join("; "), @"label `drowse.busy-cpu` changes nothing: processes are not counted");
    assert_eq!(planned("off", "defaults: { busy_network: 1kB }").warnings(), Vec::<String>::new());
}
