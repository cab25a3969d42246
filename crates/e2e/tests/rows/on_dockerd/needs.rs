//! Containers that need others.

use std::time::Duration;

use drowse_e2e::{ContainerSpec, DEADLINE, Drowse, Site, TestContainer, Workload, eventually};

use super::{NEVER, let_pass};

/// Enabled, under a host of this name, asleep soon after its last request.
fn eager(site: &Site, name: &str) -> ContainerSpec {
    enabled(site, name).label("drowse.host", format!("{name}.test")).label("drowse.idle", "1s")
}

/// Enabled, without a route.
fn enabled(site: &Site, name: &str) -> ContainerSpec {
    site.container(name).label("drowse.enable", "true")
}

/// Served, as soon as drowse knows of it.
async fn is_served(drowse: &Drowse, host: &str) {
    eventually(DEADLINE, &format!("{host} to be served"), || async {
        let answer = drowse.get(host, "/").deadline(DEADLINE).send().await;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
}

/// All that was started and has ended, in its order.
async fn order(site: &Site, containers: &[(&str, &TestContainer)]) -> Vec<String> {
    for (_, container) in containers {
        site.events.catch_up(container).await;
    }
    site.events.order(containers, &["start", "die"])
}

#[tokio::test]
async fn what_a_label_says_is_needed_wakes_first_and_sleeps_last() {
    let site = Site::new().await;
    let db = enabled(&site, "db").create().await;
    let app = eager(&site, "app").label("drowse.needs", db.name()).create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "app.test").await;
    let row = drowse.row(db.name()).await;
    assert_eq!(row["state"], "ready", "{row}");
    // Several idle times: its own is over, and its dependent's is not.
    let request = drowse.get("app.test", "/slow?ms=3000").deadline(DEADLINE).send();
    assert_eq!(request.await.status, 200);
    site.wait_until_stopped(&db, 1).await;
    let expected = ["db start", "app start", "app die", "db die"];
    assert_eq!(order(&site, &[("app", &app), ("db", &db)]).await, expected);
}

#[tokio::test]
async fn row_11_what_two_need_is_kept_while_one_of_them_is_awake() {
    let site = Site::new().await;
    let shared = enabled(&site, "shared").create().await;
    let one = eager(&site, "one").label("drowse.needs", shared.name()).create().await;
    let other = eager(&site, "other").label("drowse.needs", shared.name()).create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "one.test").await;
    is_served(&drowse, "other.test").await;
    let download = drowse.get("other.test", "/slow?ms=5000").deadline(DEADLINE).send();
    let meanwhile = async {
        site.wait_until_stopped(&one, 1).await;
        // Several idle times.
        let_pass(Duration::from_secs(2)).await;
        assert_eq!(site.events.heard(&shared, "kill"), 0, "stopped under the other one");
        assert_eq!(shared.state().await.status, "running");
    };
    let (answer, ()) = tokio::join!(download, meanwhile);
    assert_eq!(answer.status, 200);
    site.wait_until_stopped(&shared, 1).await;
    assert_eq!(site.starts(&shared).await, 1);
    let ends = site.events.order(&[("other", &other), ("shared", &shared)], &["die"]);
    assert_eq!(ends, ["other die", "shared die"]);
}

#[tokio::test]
async fn row_12_a_cycle_in_the_file_is_refused_with_its_path() {
    let site = Site::new().await;
    let (a, b) = (site.container("a").create().await, site.container("b").create().await);
    let workloads = [
        Workload::of(&a).set("needs", &format!("[{}]", b.name())),
        Workload::of(&b).set("needs", a.name()),
    ];
    let spec = site.drowse(&workloads);
    let config = spec.config_path().display().to_string();
    for command in [["run", "--config", &config], ["check", "--config", &config]] {
        let output = spec.command_output(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        let path = format!("it needs itself: {0} -> {1} -> {0}", a.name(), b.name());
        assert!(said.contains(&path), "{said}");
    }
}

#[tokio::test]
async fn row_12_a_cycle_of_labels_is_an_error_of_its_members_alone() {
    let site = Site::new().await;
    // Which names they will have is known only when they are made.
    let a = eager(&site, "a").label("drowse.name", "a").label("drowse.needs", "b").create().await;
    let b = eager(&site, "b").label("drowse.name", "b").label("drowse.needs", "a").run().await;
    let other = eager(&site, "other").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "other.test").await;
    let checked = drowse.spec().command_output(["check"]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("it needs itself: a -> b -> a"), "{said}");
    assert!(said.contains("it needs itself: b -> a -> b"), "{said}");

    // What runs is served on, and nobody else is taken down; what sleeps says why it does.
    drowse.get("b.test", "/").send().await.assert_served();
    let answer = drowse.get("a.test", "/").send().await;
    let text = answer.assert_problem(answer.status.as_u16());
    assert!(text.contains("in error"), "{text}");
    site.wait_until_stopped(&other, 1).await;
    assert_eq!((site.starts(&a).await, site.events.heard(&b, "kill")), (0, 0));
}

#[tokio::test]
async fn row_35_what_lives_in_its_network_keeps_it_awake() {
    let site = Site::new().await;
    let vpn = compose(eager(&site, "vpn").label("drowse.idle", "4s"), &site, "vpn", "");
    let vpn = vpn.create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "vpn.test").await;
    // Nobody enabled it, and it comes to a holder that runs.
    let guest = site.container("guest").env("PORT", 81).exposing_nothing();
    let guest = guest.network(&format!("container:{}", vpn.id()));
    // Compose names it, too; of networks alone an engine tells only in its next list.
    let guest = compose(guest, &site, "guest", "vpn:service_started:true");
    let guest = guest.run().await;
    eventually(DEADLINE, "the guest to be known", || async {
        let row = drowse.row(guest.name()).await;
        (row["state"] == "ready").then_some(())
    })
    .await;
    // More than an idle time.
    let_pass(Duration::from_secs(6)).await;
    assert_eq!(site.events.heard(&vpn, "kill"), 0, "stopped under its guest");
    assert_eq!(site.events.heard(&guest, "kill"), 0, "nobody enabled it");
    guest.stop_within(0).await;
    site.wait_until_stopped(&vpn, 1).await;
}

#[tokio::test]
async fn row_35_what_lives_in_anothers_network_wakes_that_one_first() {
    let site = Site::new().await;
    let vpn = enabled(&site, "vpn").env("PORT", 81).create().await;
    let app = eager(&site, "lodger").exposing_nothing().label("drowse.port", "80");
    let app = app.network(&format!("container:{}", vpn.id())).create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "lodger.test").await;
    site.wait_until_stopped(&vpn, 1).await;
    drowse.get("lodger.test", "/").deadline(DEADLINE).send().await.assert_served();
    site.wait_until_stopped(&vpn, 2).await;
    let round = ["vpn start", "app start", "app die", "vpn die"];
    assert_eq!(order(&site, &[("app", &app), ("vpn", &vpn)]).await, [round, round].concat());
}

#[tokio::test]
async fn row_37_what_nobody_enabled_is_started_when_needed_and_never_stopped() {
    let site = Site::new().await;
    let db = site.container("postgres").create().await;
    let app = site.container("app").create().await;
    let workload = Workload::of(&app).idle("1s").set("needs", db.name());
    let drowse = site.start(&[workload]).await;
    let config = drowse.spec().config_path().display().to_string();
    let checked = drowse.spec().command_output(["check", "--config", &config]).await;
    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{shown}");
    assert!(shown.contains("started when needed, never stopped: not enabled"), "{shown}");

    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    site.wait_until_stopped(&app, 1).await;
    // Several idle times.
    let_pass(Duration::from_secs(3)).await;
    assert_eq!(site.events.heard(&db, "kill"), 0);
    assert_eq!(db.state().await.status, "running");
    assert_eq!(site.starts(&db).await, 1);

    // Somebody stops it, and the next request needs it again.
    db.stop_within(0).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!((site.starts(&db).await, site.starts(&app).await), (2, 2));
}

/// With the labels that compose gives to a service of the project `shop`.
fn compose(spec: ContainerSpec, site: &Site, service: &str, depends_on: &str) -> ContainerSpec {
    let (_, id) = site.label();
    spec.label("com.docker.compose.project", format!("shop-{id}"))
        .label("com.docker.compose.service", service)
        .label("com.docker.compose.container-number", "1")
        .label("com.docker.compose.depends_on", depends_on)
}

#[tokio::test]
async fn a_compose_project_with_a_job_is_woken_by_one_request_and_sleeps_in_reverse() {
    let site = Site::new().await;
    let db = enabled(&site, "db").healthcheck(Duration::from_millis(300));
    let db = compose(db.env("START_DELAY_MS", 1000), &site, "db", "").create().await;
    let job = site.container("migrate").env("EXIT_AFTER_MS", 500).env("EXIT_CODE", 0);
    let job = compose(job, &site, "migrate", "db:service_healthy:false").create().await;
    let needs = "db:service_healthy:false,migrate:service_completed_successfully:false,\
                 mail:service_started:false";
    let web = compose(eager(&site, "web"), &site, "web", needs).create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "web.test").await;
    assert_eq!(db.state().await.health.as_deref(), Some("healthy"));
    site.wait_until_stopped(&db, 1).await;
    let all = [("web", &web), ("migrate", &job), ("db", &db)];
    let first = ["db start", "migrate start", "migrate die", "web start", "web die", "db die"];
    assert_eq!(order(&site, &all).await, first);

    // What has completed is not run again.
    drowse.get("web.test", "/").deadline(DEADLINE).send().await.assert_served();
    site.wait_until_stopped(&db, 2).await;
    let again = ["db start", "web start", "web die", "db die"];
    assert_eq!(order(&site, &all).await[first.len()..], again);
    // The service that has no container is told of.
    let checked = drowse.spec().command_output(["check"]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && said.contains("the service `mail`"), "{said}");
}

#[tokio::test]
async fn a_job_that_fails_is_told_to_who_waits_and_not_repeated() {
    let site = Site::new().await;
    let job = site.container("migrate").env("EXIT_AFTER_MS", 200).env("EXIT_CODE", 3);
    let job = compose(job, &site, "migrate", "").create().await;
    let needs = "migrate:service_completed_successfully:false";
    let web = compose(eager(&site, "web"), &site, "web", needs).create().await;
    let drowse = site.drowse_by_labels().start().await;
    drowse.wait_until_read(web.name()).await;
    let answer = drowse.get("web.test", "/").deadline(DEADLINE).send().await;
    let text = answer.assert_problem(answer.status.as_u16());
    assert!(text.contains("exit code 3"), "{text}");
    assert_eq!((site.starts(&job).await, site.starts(&web).await), (1, 0));
}

#[tokio::test]
async fn what_dies_under_a_dependent_that_is_in_use_is_started_again() {
    let site = Site::new().await;
    let db = enabled(&site, "db").create().await;
    let app = site.container("app").create().await;
    let config = site.config(&[Workload::of(&app).idle(NEVER).set("needs", db.name())]);
    let drowse = drowse_e2e::DrowseSpec::default().config(&config).start().await;
    is_served(&drowse, &app.host()).await;
    let request = drowse.get(&app.host(), "/slow?ms=4000").deadline(DEADLINE).send();
    let crash = async {
        // Nobody's will: the engine tells of no signal.
        let address = std::net::SocketAddr::from((db.ip().await, 80));
        let ended = drowse_e2e::http::get(address, "/crash?code=3").try_send().await;
        assert!(ended.is_err());
        site.events.wait_for(&db, "start", 2, DEADLINE).await;
    };
    let (answer, ()) = tokio::join!(request, crash);
    assert_eq!(answer.status, 200);
    assert_eq!(site.starts(&app).await, 1);
}
