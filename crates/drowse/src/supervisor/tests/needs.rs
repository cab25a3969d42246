use drowse_provider::{Engine as _, Reference};
use drowse_watcher::{Policy, ReadyWhenRunning, WakeError};

use super::*;
use crate::{config::Problem, labels::Dialect, store::HoldKind};

async fn is_held_by_dependent(workload: &Workload, dependent: &str) {
    let holder = format!("dependent {dependent}");
    let is_held = async || {
        while !workload.held_by().iter().any(|(name, _)| *name == holder) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, is_held()).await;
    assert!(waited.is_ok(), "never held by {dependent}: {:?}", workload.held_by());
}

fn relabel(container: &ScriptedContainer, label: &str, value: &str) {
    container.set_details(|details| {
        details.labels.insert(label.to_owned(), value.to_owned());
    });
}

/// `app` needs `db`, which is another workload.
fn app_and_db(all: &Supervised) -> (ScriptedContainer, ScriptedContainer) {
    let db = all.add("db", &[]);
    let app = all.add("app", &[("drowse.idle", "1m"), ("drowse.needs", "db")]);
    (app, db)
}

#[tokio::test(start_paused = true)]
async fn what_is_needed_wakes_first_and_sleeps_last() {
    let mut all = Supervised::begin("");
    let (app, db) = app_and_db(&all);
    let workload = all.workload("app").await;
    db.script(Action::Start, [Step::ok().late_by(Duration::from_secs(20))]);
    let asked = tokio::spawn(async move { in_use(&workload).await });
    db.called(Action::Start, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(app.calls(Action::Start), 0, "started before what it needs");
    let lease = asked.await.unwrap();

    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(db.calls(Action::Stop), 0, "stopped under its dependent");
    drop(lease);
    app.called(Action::Stop, 1).await;
    let ended = Instant::now();
    db.called(Action::Stop, 1).await;
    assert!(ended.elapsed() < Duration::from_mins(1), "at once: {:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_needed_is_held_while_its_dependent_is_managed_anew() {
    let mut all = Supervised::begin("");
    let (app, db) = app_and_db(&all);
    let before = all.workload("app").await;
    let download = in_use(&before).await;
    let needed = all.workload("db").await;
    // Its management ends, and another one begins.
    relabel(&app, "drowse.port", "81");
    all.engine.resync();
    while all.workload("app").await.is(&before) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    is_held_by_dependent(&needed, "app").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((app.calls(Action::Stop), db.calls(Action::Stop)), (0, 0));
    drop(download);
    comes_to(&needed, PhaseName::Asleep).await;
    assert_eq!(app.calls(Action::Stop), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_managed_anew_stays_awake_under_its_dependents() {
    let mut all = Supervised::begin("");
    let (app, db) = app_and_db(&all);
    let workload = all.workload("app").await;
    let download = in_use(&workload).await;
    let before = all.workload("db").await;
    relabel(&db, "drowse.port", "5432");
    all.engine.resync();
    while all.workload("db").await.is(&before) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let now = all.workload("db").await;
    is_held_by_dependent(&now, "app").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((app.calls(Action::Stop), db.calls(Action::Stop)), (0, 0));
    drop(download);
    comes_to(&now, PhaseName::Asleep).await;
}

/// Both are managed anew at once, and the end of the dependent's former management takes its time.
#[tokio::test(start_paused = true)]
async fn what_is_managed_anew_stays_awake_until_its_dependent_is_managed_anew_too() {
    let mut all = Supervised::begin("");
    let db = all.add("db", &[("drowse.idle", "1m")]);
    let labels = [("drowse.idle", "1m"), ("drowse.needs", "db"), ("drowse.stop-timeout", "10m")];
    let app = all.add("app", &labels);
    let workload = all.workload("app").await;
    drop(in_use(&workload).await);
    let needed = all.workload("db").await;
    let late = Duration::from_mins(5);
    app.script(Action::Stop, [Step::ok().late_by(late)]);
    app.called(Action::Stop, 1).await;
    let ordered = Instant::now();
    for (container, port) in [(&app, "81"), (&db, "5432")] {
        relabel(container, "drowse.port", port);
    }
    all.engine.resync();
    while all.workload("db").await.is(&needed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ordered.elapsed() < late, "the stop is still under way");
    db.called(Action::Stop, 1).await;
    assert!(ordered.elapsed() >= late, "stopped under its dependent: {:?}", ordered.elapsed());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_everything_is_left_as_it_is() {
    let mut all = Supervised::begin("");
    let (app, db) = app_and_db(&all);
    drop(in_use(&all.workload("app").await).await);
    all.end.cancel();
    let [supervisor, _] = &mut all.tasks;
    tokio::time::timeout(PATIENCE, supervisor).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((app.calls(Action::Stop), db.calls(Action::Stop)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn row_37_what_nobody_enabled_is_started_when_it_is_needed_and_never_stopped() {
    let mut all = Supervised::begin("");
    let db = all.engine.add("db");
    let app = all.add("app", &[("drowse.idle", "1m"), ("drowse.needs", "db")]);
    drop(in_use(&all.workload("app").await).await);
    assert_eq!(db.calls(Action::Start), 1);
    app.called(Action::Stop, 1).await;
    tokio::time::sleep(Duration::from_hours(24)).await;
    let orders = [Action::Stop, Action::Pause, Action::Kill].map(|action| db.calls(action));
    assert_eq!(orders, [0, 0, 0]);
    assert_eq!(db.observation().status, ContainerStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn row_12_an_error_that_arises_later_is_shown_and_what_runs_serves_on() {
    let mut all = Supervised::begin("");
    let (app, db) = app_and_db(&all);
    let third = all.add("third", &[("drowse.needs", "app")]);
    let (workload, sleeper) = (all.workload("app").await, all.workload("third").await);
    drop(in_use(&workload).await);
    relabel(&db, "drowse.needs", "app");
    all.engine.resync();
    let is_told = |view: &Arc<View>| !view.problems.is_empty();
    let view = tokio::time::timeout(PATIENCE, all.view.wait_for(is_told)).await.unwrap().unwrap();
    let problems: Vec<_> = view.problems.iter().map(Problem::line).collect();
    insta::assert_snapshot!(problems.join("\n"), @r"
    container `db` on engine `docker`: it needs itself: db -> app -> db
    container `app` on engine `docker`: it needs itself: app -> db -> app
    ");
    drop(view);

    // It serves on, and is not put to sleep: nobody knows what that would take down.
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((app.calls(Action::Stop), db.calls(Action::Stop)), (0, 0));
    assert!(workload.try_lease(&workload.holder("a request"), LeaseKind::Active).is_some());
    // Whoever needs it is not in error itself; it only cannot be woken if what it needs cannot.
    let asleep = all.workload("db").await;
    db.kill(Signal::KILL);
    comes_to(&asleep, PhaseName::Asleep).await;
    let holder = asleep.holder("a request");
    let refused = asleep.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await;
    assert!(matches!(refused, Err(WakeError::Misconfigured { .. })), "{refused:?}");
    drop(in_use(&sleeper).await);
    assert_eq!(third.calls(Action::Start), 1);

    // It is mended.
    relabel(&db, "drowse.needs", "");
    db.set_details(|details| {
        details.labels.remove("drowse.needs");
    });
    all.engine.resync();
    let is_mended = |view: &Arc<View>| view.problems.is_empty();
    drop(tokio::time::timeout(PATIENCE, all.view.wait_for(is_mended)).await.unwrap().unwrap());
    drop(in_use(&asleep).await);
    app.called(Action::Stop, 1).await;
    db.called(Action::Stop, 1).await;
}

/// It may be needed by what is there.
#[tokio::test(start_paused = true)]
async fn what_is_in_error_from_the_start_holds_what_it_is_known_to_need() {
    let mut all = Supervised::begin("");
    let db = all.add("db", &[("drowse.idle", "1m")]);
    let app = all.add("app", &[("drowse.idle", "1m"), ("drowse.needs", "db,nothing")]);
    for container in [&db, &app] {
        container.start();
    }
    let (needed, workload) = (all.workload("db").await, all.workload("app").await);
    is_held_by_dependent(&needed, "app").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((app.calls(Action::Stop), db.calls(Action::Stop)), (0, 0));
    assert_eq!(workload.snapshot().phase, PhaseName::Ready);
}

#[tokio::test(start_paused = true)]
async fn nothing_sleeps_before_it_is_known_who_needs_it() {
    let engine = ScriptedEngine::new("docker");
    let db = engine.add("db");
    db.set_details(|details| {
        let labels = [("drowse.enable", "true"), ("drowse.idle", "1m")];
        details.labels =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    });
    db.start();
    let app = engine.add("app");
    app.set_details(|details| {
        let labels = [("drowse.enable", "true"), ("drowse.needs", "db")];
        details.labels =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    });
    app.start();
    let away = drowse_provider::ErrorKind::Unavailable { reason: "busy".into() };
    app.always(Action::Inspect, Step::refuse(away));
    let mut all = Supervised::begin_on(engine, "");
    let workload = all.workload("db").await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(db.calls(Action::Stop), 0);
    let held: Vec<_> = workload.held_by().into_iter().map(|(holder, _)| holder).collect();
    insta::assert_snapshot!(held.join("\n"), @"container `app` on engine `docker`, not read yet");
    app.always(Action::Inspect, Step::ok());
    all.engine.resync();
    is_held_by_dependent(&workload, "app").await;
    app.called(Action::Stop, 1).await;
    db.called(Action::Stop, 1).await;
}

/// Runs, and its list tells on which network.
fn on_its_network(
    engine: &ScriptedEngine,
    name: &str,
    labels: &[(&str, &str)],
) -> ScriptedContainer {
    let container = engine.add(name);
    container.set_details(|details| {
        let all = [("drowse.enable", "true"), ("drowse.idle", "1m")].iter().chain(labels);
        details.labels = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        details.networks = vec![Network::new("bridge", Some("bridge".to_owned()), Vec::new())];
    });
    container.start();
    container
}

fn cannot_be_read(container: &ScriptedContainer) {
    let broken = drowse_provider::ErrorKind::Unavailable { reason: "a broken layer".into() };
    container.always(Action::Inspect, Step::refuse(broken));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_keeps_awake_what_its_list_says_that_it_needs_and_nothing_else() {
    let engine = ScriptedEngine::new("docker");
    let db = on_its_network(&engine, "db", &[]);
    let other = on_its_network(&engine, "other", &[]);
    let app = on_its_network(&engine, "app", &[("drowse.needs", "db")]);
    cannot_be_read(&app);
    let mut all = Supervised::begin_on(engine, "");
    let (needed, free) = (all.workload("db").await, all.workload("other").await);
    other.called(Action::Stop, 1).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(db.calls(Action::Stop), 0);
    let held: Vec<_> = needed.held_by().into_iter().map(|(holder, _)| holder).collect();
    insta::assert_snapshot!(held.join("\n"), @"container `app` on engine `docker`, not read yet");

    // Another one comes when what it needs has long been managed.
    drop(in_use(&free).await);
    let late = on_its_network(&all.engine, "late", &[("drowse.needs", "other")]);
    cannot_be_read(&late);
    all.engine.resync();
    is_held_by_dependent(&free, "container `late` on engine `docker`, not read yet").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(other.calls(Action::Stop), 1);

    late.always(Action::Inspect, Step::ok());
    all.engine.resync();
    is_held_by_dependent(&free, "late").await;
    late.called(Action::Stop, 1).await;
    other.called(Action::Stop, 2).await;
    assert_eq!(db.calls(Action::Stop), 0);
    app.remove();
    db.called(Action::Stop, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_wakes_together_and_sleeps_together() {
    let mut all = Supervised::begin("");
    let group = [("drowse.group", "shop"), ("drowse.idle", "1m")];
    let (one, other) = (all.add("one", &group), all.add("other", &group));
    let (workload, mate) = (all.workload("one").await, all.workload("other").await);
    let lease = in_use(&workload).await;
    comes_to(&mate, PhaseName::Ready).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((one.calls(Action::Stop), other.calls(Action::Stop)), (0, 0));
    drop(lease);
    comes_to(&workload, PhaseName::Asleep).await;
    comes_to(&mate, PhaseName::Asleep).await;
    // It leaves: another label is another membership.
    relabel(&other, "drowse.group", "else");
    all.engine.resync();
    while all.workload("other").await.is(&mate) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(in_use(&workload).await);
    comes_to(&workload, PhaseName::Asleep).await;
    assert_eq!(other.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn who_labels_itself_into_a_group_keeps_it_awake_and_can_do_no_more_to_it() {
    let mut all = Supervised::begin("");
    let group = [("drowse.group", "shop"), ("drowse.idle", "1m")];
    let (shop, stranger) = (all.add("shop", &group), all.add("stranger", &group));
    let broken =
        drowse_provider::ErrorKind::Failed { exit: None, message: "no such image".to_owned() };
    stranger.always(Action::Start, Step::refuse(broken));
    let (workload, mate) = (all.workload("shop").await, all.workload("stranger").await);
    let lease = in_use(&workload).await;
    stranger.called(Action::Start, 1).await;
    drop(lease);
    shop.called(Action::Stop, 1).await;

    // Its own user starts it, and uses it.
    stranger.start();
    comes_to(&mate, PhaseName::Ready).await;
    let use_of_it = in_use(&mate).await;
    drop(in_use(&workload).await);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(shop.calls(Action::Stop), 1);
    drop(use_of_it);
    shop.called(Action::Stop, 2).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_cluster_that_was_never_read_the_file_tells_what_it_needs() {
    let config = crate::config::from_text(
        "engines:\n  docker: { docker: /a }\n  \
           pve: { proxmox: { url: https://pve, token: a@pve!b, secret_env: S } }\n\
         workloads:\n  app: { container: { engine: pve, vmid: 201 }, needs: [db] }\n  \
           db: { container: { engine: docker, name: db } }\n  \
           other: { container: { engine: docker, name: other } }\n",
    );
    let config = config.unwrap();
    let engine = ScriptedEngine::new("docker");
    let unread = EngineView::unread(Capabilities::all(), Reach::Local);
    let cluster = EngineView {
        dialect: Dialect::Notes { engine: "pve".into(), hosts: [].into() },
        ..unread.clone()
    };
    let read = |view: &EngineView| EngineView { containers: Some(Vec::new()), ..view.clone() };
    let mut bonds = Bonds::default();
    let look = |bonds: &mut Bonds, docker: EngineView, pve: EngineView| {
        let inventory = [("docker".to_owned(), docker), ("pve".to_owned(), pve)].into();
        let plan = plan::make(&config, &inventory, &Incumbents::default());
        bonds.look(&config, &plan, &inventory);
    };
    let begin = |bonds: &mut Bonds, name: &str| {
        engine.add(name);
        let provider = engine.provider(&Reference::Name(name.to_owned())).unwrap();
        let policy = Policy::new(Duration::from_mins(1));
        let spec = WorkloadSpec::new(name, provider, Arc::new(ReadyWhenRunning), policy);
        bonds.begin(spec, &PlannedNeeds::default())
    };
    let held = |workload: &Workload| {
        workload.held_by().into_iter().map(|(holder, _)| holder).collect::<Vec<_>>().join(", ")
    };

    look(&mut bonds, unread.clone(), cluster.clone());
    let early = begin(&mut bonds, "early");
    bonds.tell(&BTreeMap::new(), true).await;
    assert_eq!(held(&early), "engine `docker` was not read yet");
    look(&mut bonds, read(&unread), cluster.clone());
    let (db, other) = (begin(&mut bonds, "db"), begin(&mut bonds, "other"));
    bonds.tell(&BTreeMap::new(), true).await;
    assert_eq!([held(&early), held(&other)], ["", ""]);
    assert_eq!(held(&db), "engine `pve` was not read yet");
    look(&mut bonds, read(&unread), read(&cluster));
    bonds.tell(&BTreeMap::new(), true).await;
    assert_eq!(held(&db), "");
}

fn held_awake() -> Store {
    let store = Store::in_memory(WallClock::system());
    let holds = Holds::new(store.clone());
    let hold = || holds.made_now(HoldKind::Awake, None, None);
    store.change_holds(|holds| {
        holds.extend(["app", "zeta"].map(|name| (name.to_owned(), hold())));
    });
    store
}

fn labelled(engine: &ScriptedEngine, name: &str, labels: &[(&str, &str)]) -> ScriptedContainer {
    let container = engine.add(name);
    container.set_details(|details| {
        details.exposed = vec![Port::tcp(80)];
        let all = [("drowse.enable", "true")].iter().chain(labels);
        details.labels = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    });
    container
}

/// Its hold wakes it at once, and whatever its engine answers comes at once.
#[tokio::test(start_paused = true)]
async fn what_is_held_awake_waits_for_what_it_needs_from_the_first_moment_on() {
    let engine = ScriptedEngine::new("docker");
    let db = labelled(&engine, "db", &[]);
    let app = labelled(&engine, "app", &[("drowse.needs", "db")]);
    labelled(&engine, "zeta", &[]);
    db.script(Action::Start, [Step::ok().late_by(Duration::from_secs(20))]);
    let mut all = Supervised::begin_with(engine, "", held_awake());
    db.called(Action::Start, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(app.calls(Action::Start), 0, "started before what it needs");
    comes_to(&all.workload("app").await, PhaseName::Ready).await;
    assert_eq!(app.calls(Action::Start), 1);
}

/// It is woken by its own look at the others, which comes with its first read.
#[tokio::test(start_paused = true)]
async fn what_wakes_with_a_group_in_use_waits_for_what_it_needs_from_the_first_moment_on() {
    let engine = ScriptedEngine::new("docker");
    let queue = labelled(&engine, "queue", &[]);
    let web = labelled(&engine, "web", &[("drowse.group", "shop")]);
    let worker =
        labelled(&engine, "worker", &[("drowse.group", "shop"), ("drowse.needs", "queue")]);
    web.start();
    // Time for all of that before anybody is told anything.
    labelled(&engine, "app", &[]);
    labelled(&engine, "zeta", &[]);
    queue.script(Action::Start, [Step::ok().late_by(Duration::from_secs(20))]);
    let mut all = Supervised::begin_with(engine, "", held_awake());
    queue.called(Action::Start, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(worker.calls(Action::Start), 0, "started before what it needs");
    comes_to(&all.workload("worker").await, PhaseName::Ready).await;
    assert_eq!(worker.calls(Action::Start), 1);
}
