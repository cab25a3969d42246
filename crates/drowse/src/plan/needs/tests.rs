use std::fmt::Write as _;

use drowse_provider::{Capabilities, ContainerStatus, NetworkMode, Reach, Reference};
use drowse_watcher::{Role, SleepMethod};

use super::*;
use crate::{
    config::Ready,
    plan::{
        EngineView, UnreadContainer,
        tests::{config, container, docker, enabled, engine, inside, lines, make},
    },
};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// A container of the compose project `shop`, with its dependencies.
fn of_shop(mut details: Details, depends_on: &str) -> Details {
    let service = details.name.clone();
    for (key, value) in [(PROJECT, "shop"), (SERVICE, &service), (DEPENDS_ON, depends_on)] {
        details.labels.insert(key.to_owned(), value.to_owned());
    }
    details
}

fn healthy(mut details: Details) -> Details {
    details.has_health_check = true;
    details
}

fn in_network_of(mut details: Details, holder: &str) -> Details {
    details.network_mode = NetworkMode::Container(holder.to_owned());
    details.networks.clear();
    details
}

/// Each workload, with what it needs.
fn shown(plan: &Plan) -> String {
    let mut text = String::new();
    for planned in &plan.workloads {
        let implicit = if planned.is_implicit() { " (not enabled)" } else { "" };
        let needs = match &planned.needs {
            PlannedNeeds::InError { why, .. } => format!("in error: {why}"),
            PlannedNeeds::Of(needs) => {
                let word = |need: &PlannedNeed| format!("{} {}", need.name, need.wanted.as_str());
                needs.iter().map(word).collect::<Vec<_>>().join(", ")
            }
        };
        let line = format!("{}{implicit}: {needs}", planned.name);
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

fn labelled(inventory: &Inventory) -> Plan {
    make(&Config::without_file(), inventory)
}

#[test]
fn workloads_are_needed_by_their_names_on_any_engine() {
    let config = config(
        "engines: { home: { docker: /a }, nas: { docker: /b } }\n\
         workloads: { wiki: { container: { engine: home, name: wiki }, needs: [db, cache] } }",
    );
    let inventory = Inventory::from([
        ("home".to_owned(), engine([container("wiki", 1, &[]), container("cache", 1, &[])])),
        ("nas".to_owned(), engine([enabled("pg", 1, &[("drowse.name", "db")])])),
    ]);
    let plan = make(&config, &inventory);
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    wiki: db ready, cache ready
    db:
    cache (not enabled):
    ");
    let cache = &plan.workloads[2];
    assert_eq!((&*cache.engine, cache.policy.sleep.clone()), ("home", SleepMethod::Never));
    assert!(cache.routes.is_empty());
}

#[test]
fn labels_say_it_and_a_workloads_name_comes_before_a_containers() {
    let plan = labelled(&docker([
        enabled("app", 1, &[("drowse.needs", "db")]),
        enabled("pg", 1, &[("drowse.name", "db")]),
        container("db", 1, &[]),
    ]));
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    app: db ready
    db:
    ");
}

#[test]
fn a_container_of_another_engine_is_nobody_and_a_name_that_is_missing_is_an_error() {
    let inventory = Inventory::from([
        ("home".to_owned(), engine([enabled("app", 1, &[("drowse.needs", "cache")])])),
        ("nas".to_owned(), engine([container("cache", 1, &[]), enabled("cachet", 1, &[])])),
    ]);
    let plan = labelled(&inventory);
    insta::assert_snapshot!(lines(&plan), @"error: container `app` on engine `home`: it needs `cache`, and there is no such workload, nor a container of that name on engine `home`: did you mean `cachet`?");
    insta::assert_snapshot!(shown(&plan), @r"
    app: in error: it needs `cache`, and there is no such workload, nor a container of that name on engine `home`: did you mean `cachet`?
    cachet:
    ");
}

#[test]
fn a_name_may_still_come_while_an_engine_is_unread() {
    let mut inventory = docker([enabled("app", 1, &[("drowse.needs", "db")])]);
    inventory.insert("nas".to_owned(), EngineView::unread(Capabilities::all(), Reach::Local));
    let plan = labelled(&inventory);
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @"app: db ready");
}

#[test]
fn what_the_file_says_of_a_container_under_two_names_counts_for_the_one_that_has_it() {
    let config = config(
        "engines: { docker: { docker: /a } }\n\
         workloads:\n  \
           app: { container: { name: web }, needs: [cache] }\n  \
           site: { container: { project: shop, service: web }, needs: [db, app] }\n  \
           cron: { container: { name: cron }, needs: [site] }\n  \
           db: { container: { name: db } }\n  \
           cache: { container: { name: cache } }\n",
    );
    let web = container("web", 1, &[(PROJECT, "shop"), (SERVICE, "web")]);
    let others = ["cron", "db", "cache"].map(|name| container(name, 1, &[]));
    let plan = make(&config, &docker([web].into_iter().chain(others)));
    insta::assert_snapshot!(lines(&plan), @"error: workload `site`: its container is another workload's already");
    insta::assert_snapshot!(shown(&plan), @r"
    app: cache ready, db ready
    cron: app ready
    db:
    cache:
    ");
}

#[test]
fn what_containers_need_that_could_not_be_read_is_awaited() {
    let config = config(
        "engines: { home: { docker: /a }, nas: { docker: /b } }\n\
         workloads:\n  \
           data: { container: { engine: nas, name: pg } }\n  \
           cache: { container: { engine: home, name: redis } }\n",
    );
    let unread = |name: &str, needs: &[NeedTarget]| {
        let (name, needs) = (name.to_owned(), Some(needs.to_vec()));
        let problem = Problem::error("it cannot be read");
        (format!("id-{name}"), UnreadContainer { name, problem, needs })
    };
    let called = |name: &str| NeedTarget::Called(name.to_owned());
    let shops = |name: &str| enabled(name, 1, &[(PROJECT, "shop"), (SERVICE, name)]);
    let mut home = engine([
        shops("db"),
        shops("mail"),
        enabled("vpn", 1, &[]),
        enabled("free", 1, &[]),
        container("nobodys", 1, &[]),
    ]);
    let service = |service: &str| NeedTarget::Service {
        project: "shop".to_owned(),
        service: service.to_owned(),
    };
    home.unread = [
        unread("web", &[service("db"), called("data"), called("nobodys"), called("nothing")]),
        unread("guest", &[NeedTarget::Holder("vpn".to_owned())]),
        unread("redis", &[]),
    ]
    .into();
    let inventory = Inventory::from([
        ("home".to_owned(), home),
        ("nas".to_owned(), engine([container("pg", 1, &[]), enabled("also-free", 1, &[])])),
    ]);
    let plan = make(&config, &inventory);
    let awaited: Vec<_> = plan.awaited.iter().map(|(name, who)| format!("{name}: {who}")).collect();
    // `cache` could not be read itself: nobody knows by which names it goes.
    insta::assert_snapshot!(awaited.join("\n"), @r"
    cache: container `web` on engine `home`, not read yet
    data: container `web` on engine `home`, not read yet
    db: container `web` on engine `home`, not read yet
    vpn: container `guest` on engine `home`, not read yet
    ");
}

#[test]
fn what_is_in_error_itself_or_left_alone_is_told_from_what_is_missing() {
    let config = config(
        "engines: { docker: { docker: /a } }\n\
         never_sleep: [dns]\n\
         workloads:\n  \
           app: { container: { name: app }, needs: [db, dns, idea] }\n  \
           db: { container: { name: pg }, ready: healthy }\n  \
           dns: { container: { name: unbound } }\n  \
           idea: { container: { project: shop, service: idea } }\n",
    );
    let replica = |name: &str| container(name, 1, &[(PROJECT, "shop"), (SERVICE, "idea")]);
    let named = ["app", "pg", "unbound"].map(|name| container(name, 1, &[]));
    let inventory = docker(named.into_iter().chain(["idea-1", "idea-2"].map(replica)));
    let plan = make(&config, &inventory);
    insta::assert_snapshot!(lines(&plan), @r"
    error: workload `db`: `ready` cannot be `healthy`: it has no health check of its own
    warning: workload `dns`: not managed, and never put to sleep: `never_sleep` names `dns`
    error: workload `idea`: the service has 2 containers (idea-1, idea-2), and only one can be put to sleep and woken: scale it to 1
    error: workload `app`: it needs `idea`, which is in error itself
    ");
    insta::assert_snapshot!(shown(&plan), @r"
    app: in error: it needs `idea`, which is in error itself
    db (not enabled):
    dns (not enabled):
    ");
}

#[test]
fn what_is_not_managed_holds_what_it_says_that_it_needs() {
    let config = config(
        "engines: { docker: { docker: /a } }\n\
         never_sleep: [app, guard]\n\
         workloads:\n  \
           app: { container: { name: app }, needs: [db] }\n  \
           job: { container: { name: job }, ready: healthy, needs: [db] }\n  \
           db: { container: { name: pg } }\n",
    );
    let mut brief = enabled("brief", 1, &[("drowse.needs", "pg")]);
    brief.removed_when_stopped = true;
    let mut one_off = of_shop(enabled("one-off", 1, &[("drowse.needs", "db")]), "");
    one_off.labels.insert("com.docker.compose.oneoff".to_owned(), "True".to_owned());
    let plan = make(
        &config,
        &docker([
            container("app", 1, &[]),
            container("job", 1, &[]),
            container("pg", 1, &[]),
            enabled("guard", 1, &[("drowse.needs", "db")]),
            brief,
            one_off,
        ]),
    );
    insta::assert_snapshot!(shown(&plan), @r"
    db:
    app (not enabled): db ready
    job (not enabled): db ready
    guard (not enabled): db ready
    brief (not enabled): db ready
    one-off (not enabled): db ready
    ");
}

#[test]
fn one_name_that_cannot_be_read_is_an_error_and_the_others_are_needed_all_the_same() {
    let plan = labelled(&docker([
        enabled("app", 1, &[("drowse.needs", "-x, /cache")]),
        enabled("cache", 1, &[]),
        enabled("db", 1, &[]),
        container("worker", 1, &[("drowse.enable", "false"), ("drowse.needs", "db,ca che,db")]),
    ]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `app` on engine `docker`: label `drowse.needs`: `-x` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
    error: container `worker` on engine `docker`: label `drowse.needs`: `ca che` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
    ");
    insta::assert_snapshot!(shown(&plan), @r"
    cache:
    db:
    app (not enabled): cache ready
    worker (not enabled): db ready
    ");
}

#[test]
fn labels_of_what_is_not_enabled_say_what_it_needs() {
    let plan = labelled(&docker([
        enabled("app", 1, &[("drowse.needs", "cache")]),
        enabled("db", 1, &[]),
        container("cache", 1, &[("drowse.needs", "disk")]),
        container("disk", 1, &[]),
        container("worker", 1, &[("drowse.enable", "false"), ("drowse.needs", "db,disk,dbb")]),
        container("wrong", 1, &[("drowse.enable", "false"), ("drowse.needs", " , ")]),
        container("stranger", 1, &[("drowse.enable", "false"), ("drowse.needs", "disk")]),
    ]));
    insta::assert_snapshot!(lines(&plan), @r"
    warning: container `cache` on engine `docker`: it has labels of drowse and is not managed: set `drowse.enable=true`
    error: container `wrong` on engine `docker`: label `drowse.needs`: `` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
    warning: container `worker` on engine `docker`: it needs `dbb`, and there is no such workload, nor a container of that name on engine `docker`: did you mean `db`?
    ");
    insta::assert_snapshot!(shown(&plan), @r"
    app: cache ready
    db:
    cache (not enabled): disk ready
    disk (not enabled):
    worker (not enabled): db ready
    ");
}

#[test]
fn an_enabled_container_whose_labels_are_wrong_is_started_and_never_stopped() {
    let plan = labelled(&docker([
        enabled("app", 1, &[("drowse.needs", "db")]),
        enabled("db", 1, &[("drowse.idle", "soon")]),
        enabled("worker", 1, &[("drowse.idle", "soon"), ("drowse.needs", "app")]),
    ]));
    insta::assert_snapshot!(shown(&plan), @r"
    app: db ready
    db (not enabled):
    worker (not enabled): app ready
    ");
}

#[test]
fn compose_says_it_within_engine_and_project() {
    let inventory = docker([
        of_shop(
            enabled("web", 1, &[("drowse.host", "web.example")]),
            "db:service_healthy:false,cache:service_started:false,\
             migrate:service_completed_successfully:false,mail:service_started:false,x:y:z",
        ),
        healthy(of_shop(enabled("db", 1, &[]), "")),
        of_shop(container("cache", 1, &[]), "disk:service_started:false"),
        of_shop(container("disk", 1, &[]), ""),
        of_shop(container("migrate", 1, &[]), "db:service_started:false"),
        container("mail", 1, &[(PROJECT, "other"), (SERVICE, "mail")]),
    ]);
    let plan = labelled(&inventory);
    insta::assert_snapshot!(shown(&plan), @r"
    db:
    web: db healthy, cache started, migrate completed
    cache (not enabled): disk started
    migrate (not enabled): db started
    disk (not enabled):
    ");
    insta::assert_snapshot!(lines(&plan), @r"
    warning: container `web` on engine `docker`: left out of compose's `depends_on`: `x` has the condition `y`, which nobody knows
    warning: container `web` on engine `docker`: compose's `depends_on` names the service `mail`, which has no container (an inactive profile, perhaps): passed over
    ");
    let find = |name: &str| plan.workloads.iter().find(|it| it.name == name).unwrap();
    assert_eq!(find("db").ready, Some(Ready::Healthy));
    assert_eq!(find("migrate").policy.role, Role::Job);
    assert_eq!(find("cache").policy.role, Role::Service);
    let service = Reference::Service { project: "shop".to_owned(), service: "cache".to_owned() };
    assert_eq!(find("cache").container, PlannedContainer::OnEngine(service));
}

#[test]
fn what_a_need_cannot_be_is_refused_with_the_names_of_both() {
    let job = "migrate:service_completed_successfully:false";
    let plan = labelled(&docker([
        of_shop(enabled("a-unhealthy", 1, &[]), "db:service_healthy:false"),
        of_shop(container("db", 1, &[]), ""),
        of_shop(enabled("b-job", 1, &[]), job),
        of_shop(enabled("c-service", 1, &[]), "migrate:service_started:false"),
        of_shop(container("migrate", 1, &[]), ""),
        of_shop(enabled("d-job", 1, &[]), "web:service_completed_successfully:false"),
        of_shop(enabled("web", 1, &[("drowse.host", "web.example")]), ""),
    ]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `a-unhealthy` on engine `docker`: it needs `db` to be healthy (`service_healthy`), and container `db` has no health check of its own
    error: container `b-job` on engine `docker`: it needs `migrate` to complete (`service_completed_successfully`), as a job, and `c-service` needs it as a service: it can only be one of them
    error: container `d-job` on engine `docker`: it needs `web` to complete (`service_completed_successfully`), as a job, and it has routes, as a service: it can only be one of them
    ");
    let in_error =
        plan.workloads.iter().filter(|it| matches!(it.needs, PlannedNeeds::InError { .. }));
    let in_error: Vec<_> = in_error.map(|it| it.name.as_str()).collect();
    assert_eq!(in_error, ["a-unhealthy", "b-job", "d-job"]);
}

#[test]
fn a_job_may_be_named_by_others() {
    let plan = labelled(&docker([
        of_shop(enabled("web", 1, &[]), "migrate:service_completed_successfully:false"),
        enabled("api", 1, &[("drowse.needs", "migrate")]),
        of_shop(container("migrate", 1, &[]), ""),
    ]));
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    api: migrate completed
    web: migrate completed
    migrate (not enabled):
    ");
}

#[test]
fn what_a_user_says_of_readiness_wins_over_what_is_needed() {
    let plan = labelled(&docker([
        of_shop(enabled("app", 1, &[]), "db:service_healthy:false"),
        of_shop(enabled("db", 1, &[("drowse.ready", "running")]), ""),
    ]));
    assert_eq!(lines(&plan), "");
    assert_eq!(plan.workloads[1].ready, Some(Ready::Running));
}

#[test]
fn readiness_by_a_health_check_is_refused_where_there_is_none() {
    let config = config("defaults: { ready: healthy }");
    let plan = make(
        &config,
        &docker([
            enabled("app", 1, &[]),
            healthy(enabled("db", 1, &[])),
            enabled("web", 1, &[("drowse.ready", "healthy")]),
        ]),
    );
    insta::assert_snapshot!(lines(&plan), @"error: container `web` on engine `docker`: label `drowse.ready` cannot be `healthy`: it has no health check of its own");
    let ready: Vec<_> = plan.workloads.iter().map(|it| (it.name.as_str(), it.ready)).collect();
    assert_eq!(ready, [("app", None), ("db", Some(Ready::Healthy))]);
}

#[test]
fn row_12_a_cycle_is_an_error_that_names_its_path_and_of_its_members_alone() {
    let plan = labelled(&docker([
        enabled("a", 1, &[("drowse.needs", "b")]),
        of_shop(enabled("b", 1, &[]), "c:service_started:false"),
        in_network_of(of_shop(container("c", 1, &[]), ""), "a"),
        enabled("d", 1, &[("drowse.needs", "a")]),
        enabled("e", 1, &[]),
    ]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `a` on engine `docker`: it needs itself: a -> b -> c -> a
    error: container `b` on engine `docker`: it needs itself: b -> c -> a -> b
    error: container `c` on engine `docker`: it needs itself: c -> a -> b -> c
    ");
    insta::assert_snapshot!(shown(&plan), @r"
    a: in error: it needs itself: a -> b -> c -> a
    b: in error: it needs itself: b -> c -> a -> b
    d: a ready
    e:
    c (not enabled): in error: it needs itself: c -> a -> b -> c
    ");
}

#[test]
fn row_35_who_lives_in_a_network_needs_it_and_holds_it() {
    let plan = labelled(&docker([
        enabled("vpn", 1, &[]),
        in_network_of(enabled("torrent", 1, &[]), "id-vpn"),
        in_network_of(container("indexer", 1, &[]), "vpn"),
        // What lives in a network that never sleeps.
        container("pause", 1, &[]),
        in_network_of(container("stranger", 1, &[]), "pause"),
        in_network_of(enabled("guest", 1, &[]), "pause"),
        // The engine itself says that it cannot be started.
        in_network_of(enabled("orphan", 1, &[]), "gone"),
    ]));
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    guest: pause started
    orphan:
    torrent: vpn started
    vpn:
    pause (not enabled):
    indexer (not enabled): vpn started
    ");
}

#[test]
fn who_is_not_enabled_and_needs_one_that_is_holds_it() {
    let replica = |name: &str, number: &str| {
        let mut details = of_shop(container(name, 1, &[]), "db:service_started:false");
        for (key, value) in [(SERVICE, "worker"), ("com.docker.compose.container-number", number)] {
            details.labels.insert(key.to_owned(), value.to_owned());
        }
        details
    };
    let mut one_off = of_shop(container("shop-run", 1, &[]), "db:service_started:false");
    one_off.labels.insert("com.docker.compose.oneoff".to_owned(), "True".to_owned());
    let plan = labelled(&docker([
        of_shop(enabled("db", 1, &[]), ""),
        of_shop(container("admin", 1, &[]), "db:service_started:false,cache:service_started:false"),
        // Needed by nobody who is ever started.
        of_shop(container("cache", 1, &[]), ""),
        replica("shop-worker-1", "1"),
        replica("shop-worker-2", "2"),
        one_off,
    ]));
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    db:
    admin (not enabled): db started
    shop-worker-1 (not enabled): db started
    shop-worker-2 (not enabled): db started
    shop-run (not enabled): db started
    ");
}

#[test]
fn what_joins_under_a_name_that_is_taken_gets_another() {
    let plan = labelled(&docker([
        of_shop(enabled("app", 1, &[]), "db:service_started:false"),
        enabled("pg", 1, &[("drowse.name", "db")]),
        of_shop(container("db", 1, &[]), ""),
    ]));
    assert_eq!(lines(&plan), "");
    insta::assert_snapshot!(shown(&plan), @r"
    app: docker.db started
    db:
    docker.db (not enabled):
    ");
}

#[test]
fn row_34_drowse_itself_is_nothing_to_need() {
    let mut view = engine([
        enabled("app", 1, &[("drowse.needs", "drowse")]),
        of_shop(enabled("web", 1, &[]), "drowse:service_started:false"),
        of_shop(container("drowse", 1, &[]), "web:service_started:false"),
    ]);
    view.here = inside(&container("drowse", 1, &[]));
    let plan = labelled(&Inventory::from([("docker".to_owned(), view)]));
    insta::assert_snapshot!(lines(&plan), @"error: container `app` on engine `docker`: it needs `drowse`, in which drowse itself runs, as it does whenever anything is woken: leave it out");
    insta::assert_snapshot!(shown(&plan), @r"
    app: in error: it needs `drowse`, in which drowse itself runs, as it does whenever anything is woken: leave it out
    web:
    ");
}

#[test]
fn an_idle_time_of_ones_own_counts_after_dependents_too() {
    let config = config("defaults: { idle: 1m }");
    let inventory = docker([enabled("db", 1, &[]), enabled("own", 1, &[("drowse.idle", "2m")])]);
    let plan = make(&config, &inventory);
    let lingers: Vec<_> = plan.workloads.iter().map(|it| it.policy.lingers).collect();
    assert_eq!(lingers, [false, true]);
}

#[test]
fn a_template_is_nothing_to_need() {
    let config = config(
        "engines: { pve: { proxmox: { url: https://pve, token: a@pve!b, secret_env: S } } }\n\
         workloads: { wiki: { container: { vmid: 201 }, needs: [\"202\", db] } }",
    );
    let lxc = |vmid: u32, name: &str, status| {
        let observation = drowse_provider::Observation::new(status, None);
        Details::new(vmid.to_string(), name, observation)
    };
    let template = ContainerStatus::Error(drowse_provider::Unusable::Template);
    let mut view = engine([
        lxc(201, "wiki", ContainerStatus::Stopped),
        lxc(202, "base", template),
        lxc(203, "db", ContainerStatus::Stopped),
        lxc(204, "db", ContainerStatus::Stopped),
    ]);
    view.dialect = crate::labels::Dialect::Notes { engine: "pve".into(), hosts: [].into() };
    let plan = make(&config, &Inventory::from([("pve".to_owned(), view)]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: workload `wiki`: it needs container `base`, which is a template and never runs
    error: workload `wiki`: several containers are called `db` (203, 204): say which one by `vmid`
    ");
}
