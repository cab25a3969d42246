use std::time::Duration;

use drowse_provider::{
    Action, Reference,
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
    let sender = Arc::new(watch::Sender::new(Inventory::new()));
    let inventory = sender.subscribe();
    let task = tokio::spawn(follow(Arc::new(engine.clone()), wanted.into(), sender));
    Followed { engine, inventory, task }
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

#[tokio::test]
async fn a_read_that_began_before_a_rename_is_not_believed() {
    let engine = ScriptedEngine::new("home");
    let web = labelled(&engine, "web");
    let Reference::Id(id) = web.id() else { panic!() };
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let mut follower = Follower::new(Arc::new(engine), Arc::new([]), inventory);
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
async fn what_docker_compose_puts_aside_keeps_its_name_until_its_successor_has_it() {
    let engine = ScriptedEngine::new("home");
    let of_project = |name: &str| {
        let container = labelled(&engine, name);
        container.set_details(|details| {
            let project = "com.docker.compose.project".to_owned();
            details.labels.insert(project, "stack".to_owned());
        });
        container
    };
    let web = of_project("web");
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&["web"]).await;
    let Reference::Id(id) = web.id() else { panic!() };
    web.rename(format!("{id}_web"));
    engine.resync();
    let successor = of_project("web");
    engine.resync();
    assert_ne!(successor.id(), Reference::Id(id.clone()));
    let is_new = |inventory: &Inventory| {
        let shown = inventory["home"].containers.as_ref().unwrap();
        assert_eq!(shown.len(), 1, "it is never missed, and never there twice");
        assert_eq!(shown[0].name, "web");
        shown[0].id != id
    };
    tokio::time::timeout(PATIENCE, followed.inventory.wait_for(is_new)).await.unwrap().unwrap();
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
