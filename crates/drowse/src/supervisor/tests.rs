use std::net::SocketAddr;

use drowse_gateway::GatewayOptions;
use drowse_provider::{
    Action, Capabilities, ContainerStatus, Deadline, Details, Network, Observation, Port, Reach,
    Signal, Stats,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use drowse_watcher::{Lease, PhaseName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::{
    clock::WallClock, discovery, engines::Configured, front::Listeners, handed::HandedSockets,
};

const PATIENCE: Duration = Duration::from_mins(10);

fn planned(containers: Vec<Arc<Details>>) -> Planned {
    let config = crate::config::from_text(
        "workloads: { web: { container: { name: web }, routes: [{ host: web.example }] } }",
    );
    let view = EngineView {
        containers: Some(containers),
        ..EngineView::unread(Capabilities::all(), Reach::Local)
    };
    let inventory = Inventory::from([("docker".to_owned(), view)]);
    plan::make(&config.unwrap(), &inventory, &Incumbents::default()).workloads.remove(0)
}

fn listening_on(port: u16) -> Vec<Arc<Details>> {
    let observation = Observation::new(ContainerStatus::Stopped, None);
    let mut details = Details::new("0123", "web", observation);
    details.exposed = vec![Port::tcp(port)];
    details.networks = vec![Network::new("bridge", Some("bridge".to_owned()), Vec::new())];
    vec![Arc::new(details)]
}

#[test]
fn a_container_that_is_away_for_a_while_is_the_same_workload() {
    let there = planned(listening_on(80));
    assert!(is_same(&there, &planned(Vec::new())), "it went");
    assert!(is_same(&there, &planned(listening_on(80))), "it came back as it was");
    assert!(!is_same(&there, &planned(listening_on(81))), "it listens elsewhere");
    assert!(!is_same(&planned(Vec::new()), &there), "only now it is known where it listens");
}

/// A supervisor of the labelled containers of a scripted engine.
struct Supervised {
    engine: ScriptedEngine,
    config: watch::Sender<Arc<Config>>,
    front: Front,
    /// Where the gateway listens.
    address: SocketAddr,
    _listeners: Listeners,
    view: watch::Receiver<Arc<View>>,
    holds: Holds,
    store: Store,
    tasks: [JoinHandle<()>; 2],
    end: CancellationToken,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Supervised {
    fn begin(configuration: &str) -> Self {
        Self::begin_on(ScriptedEngine::new("docker"), configuration)
    }

    fn begin_on(engine: ScriptedEngine, configuration: &str) -> Self {
        Self::begin_with(engine, configuration, Store::in_memory(WallClock::system()))
    }

    fn begin_with(engine: ScriptedEngine, configuration: &str, store: Store) -> Self {
        let config = Arc::new(crate::config::from_text(configuration).unwrap());
        let config = watch::Sender::new(config);
        let engines = Arc::new(Engines::of(Arc::new(engine.clone())));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (front, bound) =
            Front::bind(&[listen], HandedSockets::default(), GatewayOptions::new()).unwrap();
        let address = bound.addresses()[0];
        let inventory = Arc::new(watch::Sender::new(Inventory::new()));
        let (supervisor, view) =
            Supervisor::new(config.subscribe(), engines.clone(), front.clone(), store.clone());
        let holds = supervisor.holds();
        let end = CancellationToken::new();
        let tasks = [
            tokio::spawn(supervisor.run(inventory.subscribe(), end.clone())),
            tokio::spawn(discovery::follow(
                Configured::of(Arc::new(engine.clone()), &[]),
                Arc::default(),
                inventory,
            )),
        ];
        Self {
            engine,
            config,
            front,
            address,
            _listeners: bound.serve(),
            view,
            holds,
            store,
            tasks,
            end,
        }
    }

    fn add(&self, name: &str, labels: &[(&str, &str)]) -> ScriptedContainer {
        let container = self.engine.add(name);
        container.set_details(|details| {
            details.exposed = vec![Port::tcp(80)];
            details.labels.insert("drowse.enable".to_owned(), "true".to_owned());
            for (key, value) in labels {
                details.labels.insert((*key).to_owned(), (*value).to_owned());
            }
        });
        // Its labels were written after its making was told.
        self.engine.resync();
        container
    }

    /// The workload of this name, once there is one.
    async fn workload(&mut self, name: &str) -> Workload {
        let is_there = |view: &Arc<View>| view.find(name).is_some();
        let view = tokio::time::timeout(PATIENCE, self.view.wait_for(is_there)).await;
        let view = view.unwrap_or_else(|_| panic!("there is never a workload `{name}`")).unwrap();
        view.find(name).unwrap().workload.clone()
    }
}

async fn comes_to(workload: &Workload, phase: PhaseName) {
    let mut news = workload.watch();
    let waited = news.wait_for(|snapshot| snapshot.phase == phase);
    let waited = tokio::time::timeout(PATIENCE, waited).await.map(drop);
    assert!(waited.is_ok(), "never {phase}: {:?}", workload.snapshot());
}

async fn in_use(workload: &Workload) -> Lease {
    let deadline = Deadline::after(PATIENCE);
    workload.lease(&workload.holder("a request"), LeaseKind::Active, deadline).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_renamed_container_is_not_stopped_under_the_requests_of_before() {
    let mut all = Supervised::begin("");
    let app = all.add("before", &[("drowse.idle", "1m")]);
    let before = all.workload("before").await;
    let download = in_use(&before).await;
    app.rename("after");
    let after = all.workload("after").await;
    comes_to(&after, PhaseName::Ready).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(app.calls(Action::Stop), 0, "{:?}", after.held_by());
    assert_eq!(after.held_by(), [("requests of before it was managed anew".to_owned(), 1)]);

    let ended = Instant::now();
    drop(download);
    comes_to(&after, PhaseName::Asleep).await;
    assert!(ended.elapsed() >= Duration::from_mins(1), "a whole idle time: {:?}", ended.elapsed());
}

/// The file means whatever is called so; the requests are in the container that was.
#[tokio::test(start_paused = true)]
async fn a_container_renamed_away_from_the_file_keeps_its_requests() {
    let mut all = Supervised::begin("workloads: { site: { container: { name: site } } }");
    let app = all.add("site", &[("drowse.idle", "1m")]);
    let site = all.workload("site").await;
    let download = in_use(&site).await;
    app.rename("elsewhere");
    let elsewhere = all.workload("elsewhere").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(app.calls(Action::Stop), 0, "{:?}", elsewhere.held_by());
    drop(download);
    comes_to(&elsewhere, PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_managed_anew_goes_on_with_what_was_known_of_it() {
    let mut all = Supervised::begin("");
    let app = all.add("app", &[]);
    app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(3))]);
    let mut before = all.workload("app").await;
    drop(in_use(&before).await);
    let wakes = before.memory().wakes;
    assert_eq!(wakes.len(), 1);
    for port in ["81", "82"] {
        app.set_details(|details| {
            details.labels.insert("drowse.port".to_owned(), port.to_owned());
        });
        all.engine.resync();
        while all.workload("app").await.is(&before) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        before = all.workload("app").await;
        assert_eq!(before.memory().wakes, wakes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_is_known_while_its_workload_is_made_anew() {
    let mut all = Supervised::begin("");
    let app = all.add("before", &[("drowse.host", "app.example")]);
    let before = all.workload("before").await;
    // Its management cannot end before its engine has carried out what it took.
    app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(20))]);
    let holder = before.holder("a request");
    let deadline = Deadline::after(PATIENCE);
    let asked = tokio::spawn(async move {
        // It is told to come again: the management that it asked ends.
        before.lease(&holder, LeaseKind::Active, deadline).await.map(drop)
    });
    app.called(Action::Start, 1).await;
    app.rename("after");
    let mut views = all.view.clone();
    let mut names = Vec::new();
    while names != ["after"] {
        let host = all.front.workload_of("app.example");
        assert!(host.is_some(), "nobody has the host while {names:?} are managed");
        tokio::time::timeout(PATIENCE, views.changed()).await.unwrap().unwrap();
        let view = views.borrow_and_update().clone();
        names = view.entries.iter().map(|entry| entry.workload.name().to_owned()).collect();
    }
    assert_eq!(all.front.workload_of("app.example").unwrap().name(), "after");
    assert!(asked.await.unwrap().is_err());
}

/// A clone says whatever its original says, and may have the lower number.
#[tokio::test(start_paused = true)]
async fn a_host_stays_with_its_workload_while_that_is_made_anew() {
    let mut all = Supervised::begin("");
    let clone = all.engine.add("clone");
    let app = all.add("app", &[("drowse.host", "app.example")]);
    let before = all.workload("app").await;
    // Its management cannot end before its engine has carried out what it took.
    app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(20))]);
    let holder = before.holder("a request");
    let asked = tokio::spawn(async move {
        before.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.map(drop)
    });
    app.called(Action::Start, 1).await;
    app.set_details(|details| {
        details.labels.insert("drowse.port".to_owned(), "81".to_owned());
    });
    clone.set_details(|details| {
        for (key, value) in [("enable", "true"), ("host", "app.example"), ("port", "81")] {
            details.labels.insert(format!("drowse.{key}"), value.to_owned());
        }
    });
    all.engine.resync();
    let mut view = all.view.borrow_and_update().clone();
    while view.find("app").is_none_or(|app| app.planned.port != Some(81)) {
        assert!(view.find("clone").is_none());
        tokio::time::timeout(PATIENCE, all.view.changed()).await.unwrap().unwrap();
        view = all.view.borrow_and_update().clone();
    }
    assert!(view.find("clone").is_none());
    assert_eq!(all.front.workload_of("app.example").unwrap().name(), "app");
    assert!(view.problems.iter().any(|why| why.line().contains("taken by workload `app`")));
    assert!(asked.await.unwrap().is_err());
}

/// In real time, since real connections are made.
#[tokio::test]
async fn while_a_container_was_never_read_an_unknown_host_is_told_to_come_again() {
    let engine = ScriptedEngine::new("docker");
    let app = engine.add("app");
    app.set_details(|details| {
        details.exposed = vec![Port::tcp(80)];
        let labels = [("drowse.enable", "true"), ("drowse.host", "app.example")];
        details.labels =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    });
    let away = drowse_provider::ErrorKind::Unavailable { reason: "its node is away".into() };
    app.always(Action::Inspect, Step::refuse(away));
    let mut all = Supervised::begin_on(engine, "");
    let is_told = |view: &Arc<View>| !view.problems.is_empty();
    let view = tokio::time::timeout(PATIENCE, all.view.wait_for(is_told)).await.unwrap().unwrap();
    insta::assert_snapshot!(view.problems[0].line(), @"container `app` on engine `docker`: it cannot be read, and is not managed until it can be: unavailable: its node is away (until then requests for hosts that nobody has are told to come again)");
    drop(view);
    let asked = async |host: &str| {
        let mut connection = TcpStream::connect(all.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = asked("app.example").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after:"), "{answer}");

    app.always(Action::Inspect, Step::ok());
    all.engine.resync();
    let is_read = |view: &Arc<View>| view.find("app").is_some() && view.problems.is_empty();
    drop(tokio::time::timeout(PATIENCE, all.view.wait_for(is_read)).await.unwrap().unwrap());
    let answer = asked("nobody.example").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

/// In real time, since a real connection is made.
#[tokio::test]
async fn a_container_that_forwards_requests_to_us_is_kept_awake_in_each_of_its_runs() {
    let engine = ScriptedEngine::with("docker", Capabilities::all(), Reach::Local);
    let mut supervised = Supervised::begin_on(engine, "defaults: { idle: 10ms }");
    let proxy = supervised.add("proxy", &[]);
    proxy.set_details(|details| {
        let addresses = vec![[127, 0, 0, 1].into()];
        details.networks = vec![Network::new("front", None, addresses)];
    });
    let workload = supervised.workload("proxy").await;
    let first = in_use(&workload).await;
    let labels = [("drowse.host", "app.example"), ("drowse.address", "127.0.0.1")];
    supervised.add("app", &labels);
    supervised.workload("app").await;
    let mut connection = TcpStream::connect(supervised.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let holder = "the requests that come to drowse through it";
    let is_kept = async || {
        while !workload.held_by().iter().any(|(name, _)| name == holder) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_kept()).await.unwrap();
    drop(first);

    // Its user restarts it.
    proxy.kill(Signal::KILL);
    comes_to(&workload, PhaseName::Asleep).await;
    assert_eq!(workload.leases(), 0);
    proxy.start();
    tokio::time::timeout(Duration::from_secs(20), is_kept()).await.unwrap();
}

mod holds;
mod needs;
mod time;

fn used(milliseconds: u64) -> Stats {
    let mut stats = Stats::default();
    stats.cpu = Some(Duration::from_millis(milliseconds));
    stats
}

/// Waits until something else than leases spoke against a sleep, or until nothing does any more.
async fn busy_by(workload: &Workload, wanted: Option<&str>) {
    let mut news = workload.watch();
    let is_so = |now: &drowse_watcher::Snapshot| match (&now.vetoed_by, wanted) {
        (Some(busy), Some(words)) => busy.contains(words),
        (busy, wanted) => busy.is_some() == wanted.is_some(),
    };
    let waited = tokio::time::timeout(PATIENCE, news.wait_for(is_so)).await.map(drop);
    assert!(waited.is_ok(), "never {wanted:?}: {:?}", workload.snapshot());
}

#[tokio::test(start_paused = true)]
async fn what_works_past_the_gateway_is_not_put_to_sleep() {
    let mut all = Supervised::begin("");
    let app = all.add("app", &[("drowse.idle", "1m")]);
    let shut = all.add("shut", &[("drowse.idle", "1m")]);
    app.set_details(|details| {
        details.published.push(drowse_provider::PublishedPort {
            container: Port::tcp(80),
            host_address: [0, 0, 0, 0].into(),
            host_port: Some(8080),
        });
    });
    all.engine.resync();
    // Twenty seconds of two cores, as far as it is asked.
    for container in [&app, &shut] {
        container.use_machine((0..8).map(|reads| used(reads * 20_000)));
    }
    let (open, alone) = (all.workload("app").await, all.workload("shut").await);
    drop((in_use(&open).await, in_use(&alone).await));
    busy_by(&open, Some("its processor use")).await;
    comes_to(&alone, PhaseName::Asleep).await;
    assert_eq!(shut.calls(Action::Stats), 0, "nobody uses it without our seeing it");
    assert_eq!(app.calls(Action::Stop), 0);
    comes_to(&open, PhaseName::Asleep).await;
    assert!(app.calls(Action::Stats) >= 9, "it was asked until it rested");
}

/// The ways past a container come and go with what is beside it.
#[tokio::test(start_paused = true)]
async fn what_is_asked_before_a_sleep_follows_the_plan() {
    let mut all = Supervised::begin("");
    let on_network = |container: &ScriptedContainer| {
        container.set_details(|details| {
            let network = Network::new("back", Some("bridge".to_owned()), Vec::new());
            details.networks = vec![network];
        });
    };
    let app = all.add("app", &[("drowse.idle", "1m")]);
    on_network(&app);
    all.engine.resync();
    app.use_machine((0..1_000).map(|reads| used(reads * 20_000)));
    let workload = all.workload("app").await;
    let neighbour = all.engine.add("neighbour");
    on_network(&neighbour);
    neighbour.start();
    all.engine.resync();
    drop(in_use(&workload).await);
    busy_by(&workload, Some("its processor use")).await;
    neighbour.remove();
    all.engine.resync();
    comes_to(&workload, PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn another_configuration_is_followed_and_what_stays_goes_on() {
    let text = |idle: &str, more: &str| {
        let web = format!("web: {{ container: {{ name: web }}, idle: {idle} }}");
        format!("workloads: {{ {web}{more} }}")
    };
    let engine = ScriptedEngine::new("docker");
    for name in ["web", "db"] {
        engine.add(name).set_details(|details| details.exposed = vec![Port::tcp(80)]);
    }
    let mut all = Supervised::begin_on(engine, &text("1h", ""));
    let web = all.workload("web").await;

    let other = text("2h", ", db: { container: { name: db } }");
    all.config.send_replace(Arc::new(crate::config::from_text(&other).unwrap()));
    all.workload("db").await;
    let view = all.view.borrow().clone();
    let entry = view.find("web").unwrap();
    assert!(entry.workload.is(&web), "it is managed anew");
    assert_eq!(entry.planned.policy.idle, Duration::from_hours(2));

    all.config.send_replace(Arc::new(crate::config::from_text(&text("2h", "")).unwrap()));
    let is_gone = |view: &Arc<View>| view.find("db").is_none();
    tokio::time::timeout(PATIENCE, all.view.wait_for(is_gone)).await.unwrap().unwrap();
    assert!(all.view.borrow().find("web").unwrap().workload.is(&web));
}
