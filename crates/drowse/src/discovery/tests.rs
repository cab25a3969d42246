use std::time::Duration;

use drowse_gateway::Vantage;
use drowse_provider::{
    Action, ErrorKind, Event, EventAction, Reference,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_mins(5);

struct Followed {
    engine: ScriptedEngine,
    inventory: watch::Receiver<Inventory>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn labelled(engine: &ScriptedEngine, name: &str) -> ScriptedContainer {
    let container = engine.add(name);
    container.set_details(|details| {
        details.labels.insert("drowse.enable".to_owned(), "true".to_owned());
    });
    container
}

fn begin(engine: ScriptedEngine, wanted: &[Reference]) -> Followed {
    begin_at(engine, wanted, Whereabouts::default())
}

fn begin_at(engine: ScriptedEngine, wanted: &[Reference], whereabouts: Whereabouts) -> Followed {
    let sender = Arc::new(watch::Sender::new(Inventory::new()));
    let inventory = sender.subscribe();
    let configured = Configured::of(Arc::new(engine.clone()), wanted);
    let following = follow(configured, Arc::new(whereabouts), sender);
    Followed { engine, inventory, task: tokio::spawn(following) }
}

impl Followed {
    /// Waits until exactly these containers are shown.
    async fn shows(&mut self, names: &[&str]) {
        let is_so = |inventory: &Inventory| {
            let view = inventory.get("home").and_then(|view| view.containers.as_ref());
            view.is_some_and(|shown| {
                let mut shown: Vec<_> = shown.iter().map(|one| one.name.as_str()).collect();
                shown.sort_unstable();
                shown == names
            })
        };
        let waited = tokio::time::timeout(PATIENCE, self.inventory.wait_for(is_so)).await.map(drop);
        if let Err(error) = waited {
            let now = self.inventory.borrow().clone();
            panic!("{names:?} are never shown ({error}): {now:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_labelled_or_wanted_is_followed_and_the_rest_is_left_alone() {
    let engine = ScriptedEngine::new("home");
    labelled(&engine, "web");
    engine.add("wanted");
    let other = engine.add("other");
    let mut followed = begin(engine.clone(), &[Reference::Name("wanted".to_owned())]);
    followed.shows(&["wanted", "web"]).await;
    assert_eq!(other.calls(Action::Inspect), 0);

    // As after `docker compose up`.
    labelled(&engine, "new");
    engine.resync();
    followed.shows(&["new", "wanted", "web"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_went_is_shown_for_a_quiet_time() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    let mut followed = begin(engine, &[]);
    followed.shows(&["web"]).await;
    let began = Instant::now();
    web.remove();
    followed.shows(&[]).await;
    assert!(began.elapsed() >= QUIET, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_made_again_under_its_name_is_never_missed() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&["web"]).await;
    let first = web.id();
    web.remove();
    let again = labelled(&engine, "web");
    engine.resync();
    assert_ne!(first, again.id());
    let Reference::Id(id) = again.id() else { panic!() };
    let is_new = |inventory: &Inventory| {
        let shown = inventory["home"].containers.as_ref().unwrap();
        assert_eq!(shown.len(), 1, "it is never missed, and never there twice");
        shown[0].id == id
    };
    tokio::time::timeout(PATIENCE, followed.inventory.wait_for(is_new)).await.unwrap().unwrap();
}

/// Whoever makes a successor may take some time to remove the one before.
#[tokio::test(start_paused = true)]
async fn what_gave_its_name_to_a_successor_is_nobody_for_a_quiet_time() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&["web"]).await;
    web.rename("web-old");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = labelled(&engine, "web");
    again.start();
    let Reference::Id(id) = again.id() else { panic!() };
    let is_new = |inventory: &Inventory| {
        let shown = inventory["home"].containers.as_ref().unwrap();
        assert_eq!(shown.len(), 1, "the one before is a container of its own: {shown:?}");
        shown[0].id == id
    };
    tokio::time::timeout(PATIENCE, followed.inventory.wait_for(is_new)).await.unwrap().unwrap();
    tokio::time::sleep(QUIET / 2).await;
    followed.shows(&["web"]).await;
    // Nothing has come of it: it is what it is called.
    followed.shows(&["web", "web-old"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_at_the_start_is_read_when_it_is_up() {
    let engine = ScriptedEngine::new("home");
    labelled(&engine, "web");
    engine.go_down("connection refused");
    let mut followed = begin(engine, &[]);
    let in_trouble = |inventory: &Inventory| {
        inventory
            .get("home")
            .is_some_and(|view| view.trouble.is_some() && view.containers.is_none())
    };
    tokio::time::timeout(PATIENCE, followed.inventory.wait_for(in_trouble)).await.unwrap().unwrap();
    followed.engine.come_back();
    followed.shows(&["web"]).await;
    assert_eq!(followed.inventory.borrow()["home"].trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_read_is_read_again() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    labelled(&engine, "db");
    web.script(
        Action::Inspect,
        [Step::refuse(ErrorKind::Protocol { message: "half an answer".to_owned() })],
    );
    let mut followed = begin(engine, &[]);
    followed.shows(&["db"]).await;
    followed.shows(&["db", "web"]).await;
}

/// Any host may be one of its: whoever answers for unknown hosts has to know.
#[tokio::test(start_paused = true)]
async fn what_could_never_be_read_is_shown_as_such_and_asked_for_ever_less_often() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    labelled(&engine, "db");
    web.set_details(|details| {
        details.networks = vec![drowse_provider::Network::new("bridge", None, Vec::new())];
    });
    let away = Step::refuse(ErrorKind::Unavailable { reason: "its node is away".into() });
    web.always(Action::Inspect, away);
    let mut followed = begin(engine, &[]);
    followed.shows(&["db"]).await;
    let unread = |followed: &Followed| {
        let told = followed.inventory.borrow()["home"].unread.clone();
        told.values().map(|it| it.problem.line()).collect::<Vec<_>>()
    };
    insta::assert_snapshot!(unread(&followed).join("\n"), @"container `web` on engine `home`: it cannot be read, and is not managed until it can be: unavailable: its node is away (until then requests for hosts that nobody has are told to come again)");
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!((60..=64).contains(&web.calls(Action::Inspect)), "{}", web.calls(Action::Inspect));

    let began = Instant::now();
    web.always(Action::Inspect, Step::ok());
    web.tell(EventAction::Update);
    followed.shows(&["db", "web"]).await;
    assert!(began.elapsed() < READ_AGAIN, "{:?}", began.elapsed());
    assert!(unread(&followed).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_could_never_be_read_and_went_is_forgotten() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    web.always(Action::Inspect, Step::refuse(ErrorKind::Forbidden { privilege: None, path: None }));
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&[]).await;
    assert_eq!(followed.inventory.borrow()["home"].unread.len(), 1);
    engine.lose_events(1);
    web.remove();
    engine.resync();
    let is_forgotten = |inventory: &Inventory| inventory["home"].unread.is_empty();
    let waited = followed.inventory.wait_for(is_forgotten);
    tokio::time::timeout(PATIENCE, waited).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_read_that_began_before_a_rename_is_not_believed() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    let Reference::Id(id) = web.id() else { panic!() };
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let configured = Configured::of(Arc::new(engine), &[]);
    let mut follower = Follower::new(configured, Arc::default(), inventory);
    let mut reads = FuturesUnordered::new();
    follower.to_read.insert(id.clone());
    follower.begin_reads(&mut reads);
    let (_, old) = reads.next().await.unwrap();

    let actor = drowse_provider::Actor::new(&id, "shop", BTreeMap::new());
    let action = EventAction::Rename("web".to_owned());
    let renamed = Event::container(actor, action, std::time::SystemTime::UNIX_EPOCH);
    follower.event(&renamed);
    follower.read(id.clone(), old);
    assert!(follower.known.is_empty(), "the name of before the rename");
    follower.begin_reads(&mut reads);
    let (_, new) = reads.next().await.unwrap();
    follower.read(id.clone(), new);
    assert!(follower.known.contains_key(&id));
    assert!(follower.reading.is_empty() && follower.to_read.is_empty());
}

#[tokio::test(start_paused = true)]
async fn drowses_own_networks_are_followed() {
    let engine = ScriptedEngine::new("home");
    let own = engine.add("drowse");
    own.start();
    let attach = |names: &[&str]| {
        let network = |name: &&str| drowse_provider::Network::new(*name, None, Vec::new());
        own.set_details(|details| details.networks = names.iter().map(network).collect());
    };
    attach(&["front"]);
    // Nothing is shown before it is known from where: the first plan must be a right one.
    own.script(Action::Inspect, [Step::refuse(ErrorKind::Unavailable { reason: "busy".into() })]);
    let followed_engine = engine.clone();
    let mut followed = begin_at(engine, &[], Whereabouts::inside(own.id()));
    let mut sees = async |names: &[&str]| {
        let networks = |names: &[&str]| -> Vec<_> {
            let shared = |name: &&str| drowse_gateway::SharedNetwork::new(*name, Vec::new());
            names.iter().map(shared).collect()
        };
        let expected = Vantage::Inside(networks(names));
        let is_so = |inventory: &Inventory| {
            let Some(view) = inventory.get("home") else { return false };
            let is_known = view.here.own.is_some();
            assert!(is_known || view.containers.is_none(), "shown from nowhere");
            view.here.vantage == expected
        };
        let waited = tokio::time::timeout(PATIENCE, followed.inventory.wait_for(is_so)).await;
        assert!(waited.is_ok(), "never on {names:?}");
    };
    sees(&["front"]).await;
    attach(&["back", "front"]);
    own.tell(EventAction::Network);
    sees(&["back", "front"]).await;
    // And where the event was lost, the next list tells.
    attach(&["back"]);
    followed_engine.resync();
    sees(&["back"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_half_made_is_read_again_before_it_is_believed() {
    let engine = ScriptedEngine::new("home");
    let half_made = |name: &str| {
        let container = labelled(&engine, name);
        container.set_details(|details| details.networks.clear());
        engine.resync();
        container
    };
    labelled(&engine, "db");
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&["db"]).await;
    // If nothing more becomes of it, whoever made it is told what is wrong with it.
    let began = Instant::now();
    half_made("web");
    followed.shows(&["db", "web"]).await;
    assert!(began.elapsed() >= READ_AGAIN, "{:?}", began.elapsed());

    // Its start shows that it is whole.
    let began = Instant::now();
    let new = half_made("new");
    tokio::time::sleep(READ_AGAIN / 2).await;
    followed.shows(&["db", "web"]).await;
    new.start();
    followed.shows(&["db", "new", "web"]).await;
    assert!(began.elapsed() < READ_AGAIN, "{:?}", began.elapsed());
}

/// Each read has a time of its own, however many come before it.
#[tokio::test(start_paused = true)]
async fn a_single_look_at_many_containers_takes_as_long_as_it_takes() {
    let engine = ScriptedEngine::new("home");
    for number in 0..200 {
        let container = labelled(&engine, &format!("web{number:03}"));
        container.always(Action::Inspect, Step::ok().late_by(Duration::from_secs(5)));
    }
    let configured = Configured::of(Arc::new(engine), &[]);
    let began = Instant::now();
    let view = read_once(&configured, &Whereabouts::default()).await.unwrap();
    assert_eq!((view.containers.unwrap().len(), view.unread.len()), (200, 0));
    assert!(began.elapsed() > 5 * READ_TIMEOUT, "{:?}", began.elapsed());
}

mod needs;
mod proxmox;
