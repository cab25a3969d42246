use std::time::SystemTime;

use drowse_provider::{Actor, Capabilities, Deadline, Reach};

use super::*;
use crate::{config::Problem, engines::InFile, labels::Dialect};

fn cluster() -> ScriptedEngine {
    ScriptedEngine::with("home", Capabilities::all(), Reach::Routed)
}

fn configured(engine: &ScriptedEngine) -> Configured {
    let dialect = Dialect::Notes { engine: "home".into(), hosts: Arc::new([]) };
    Configured { dialect, ..Configured::of(Arc::new(engine.clone()), &[]) }
}

fn follow_cluster(engine: &ScriptedEngine) -> Followed {
    let sender = Arc::new(watch::Sender::new(Inventory::new()));
    let inventory = sender.subscribe();
    let following = follow(configured(engine), Arc::default(), sender);
    Followed { engine: engine.clone(), inventory, task: tokio::spawn(following) }
}

fn tag(container: &ScriptedContainer, tags: &[&str]) {
    container.set_details(|details| {
        details.labels = tags.iter().map(|tag| ((*tag).to_owned(), String::new())).collect();
    });
}

impl Followed {
    /// Waits until the one container that is shown is so.
    async fn shows_it(&mut self, what: &str, is_so: impl Fn(&Details) -> bool) {
        let is_so = |inventory: &Inventory| {
            let shown = inventory.get("home").and_then(|view| view.containers.as_deref());
            matches!(shown, Some([one]) if is_so(one))
        };
        let waited = tokio::time::timeout(PATIENCE, self.inventory.wait_for(is_so)).await.map(drop);
        let now = self.inventory.borrow().clone();
        assert!(waited.is_ok(), "never {what}: {now:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_may_come_and_go() {
    let engine = cluster();
    let web = engine.add("web");
    let mut followed = follow_cluster(&engine);
    followed.shows(&[]).await;
    tag(&web, &["drowse"]);
    web.tell(EventAction::Update);
    followed.shows_it("tagged", |one| one.labels.contains_key("drowse")).await;
    tag(&web, &["other"]);
    web.tell(EventAction::Update);
    followed.shows_it("untagged", |one| !one.labels.contains_key("drowse")).await;
    // An event that was missed.
    tag(&web, &["drowse"]);
    engine.resync();
    followed.shows_it("tagged again", |one| one.labels.contains_key("drowse")).await;
    tag(&web, &[]);
    engine.resync();
    followed.shows_it("untagged again", |one| one.labels.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_migration_a_lock_and_another_name_are_followed_at_once() {
    let engine = cluster();
    let web = engine.add("web");
    tag(&web, &["drowse"]);
    web.set_details(|details| details.node = Some("pve1".to_owned()));
    let mut followed = follow_cluster(&engine);
    followed.shows_it("read", |one| one.node.as_deref() == Some("pve1")).await;
    let began = Instant::now();
    web.set_details(|details| details.node = Some("pve2".to_owned()));
    web.tell(EventAction::Migrate("pve1".to_owned()));
    followed.shows_it("migrated", |one| one.node.as_deref() == Some("pve2")).await;
    web.set_details(|details| details.observation.lock = Some("backup".to_owned()));
    web.tell(EventAction::Lock(Some("backup".to_owned())));
    followed.shows_it("locked", |one| one.observation.lock.is_some()).await;
    web.set_details(|details| details.observation.lock = None);
    web.tell(EventAction::Lock(None));
    followed.shows_it("unlocked", |one| one.observation.lock.is_none()).await;
    // It is known by its number: nobody is expected to make another one of its name.
    web.rename("shop");
    followed.shows_it("renamed", |one| one.name == "shop").await;
    assert!(began.elapsed() < QUIET, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_drowse_runs_is_known_by_the_machines_addresses() {
    let engine = cluster();
    let mut followed = follow_cluster(&engine);
    followed.shows(&[]).await;
    let here = followed.inventory.borrow()["home"].here.clone();
    assert_eq!(here.vantage, Vantage::Host);
    assert_eq!(*here.machine, crate::whereabouts::Machine::of_this_process());
}

/// A right that was taken away looks like a removal. Only a read tells which it is.
#[tokio::test(start_paused = true)]
async fn row_46_what_may_no_longer_be_seen_is_not_gone() {
    let engine = cluster();
    let web = engine.add("web");
    tag(&web, &["drowse"]);
    let Reference::Id(id) = web.id() else { panic!() };
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let mut follower = Follower::new(configured(&engine), Arc::default(), inventory);
    let read = async |follower: &mut Follower| {
        let mut reads = FuturesUnordered::new();
        follower.begin_reads(&mut reads);
        while let Some((id, outcome)) = reads.next().await {
            follower.read(id, outcome);
        }
    };
    let list = engine.list(Deadline::after(PATIENCE)).await.unwrap();
    follower.synced(list.clone());
    read(&mut follower).await;
    assert!(follower.known.contains_key(&id));

    let forbidden = || ErrorKind::Forbidden { privilege: None, path: None };
    web.script(Action::Inspect, [Step::refuse(forbidden())]);
    follower.synced(Vec::new());
    read(&mut follower).await;
    assert!(follower.known.contains_key(&id) && follower.leaving.is_empty());
    assert!(follower.read_again.contains_key(&id));

    // The right is given back.
    follower.timers(Instant::now() + ASK_AGAIN_WHAT_IS_FORBIDDEN);
    read(&mut follower).await;
    assert!(follower.read_again.is_empty());

    // And now it is gone.
    web.remove();
    follower.synced(Vec::new());
    read(&mut follower).await;
    assert!(follower.leaving.contains_key(&id));
}

#[tokio::test(start_paused = true)]
async fn a_restore_over_the_same_number_is_read_anew() {
    let engine = cluster();
    let web = engine.add("web");
    tag(&web, &["drowse"]);
    let Reference::Id(id) = web.id() else { panic!() };
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let mut follower = Follower::new(configured(&engine), Arc::default(), inventory);
    follower.known.insert(id.clone(), Arc::new(Details::new(&id, "web", web.observation())));
    let told = |action| {
        Event::container(Actor::new(&id, "web", BTreeMap::new()), action, SystemTime::UNIX_EPOCH)
    };
    follower.event(&told(EventAction::Destroy));
    assert!(follower.leaving.contains_key(&id));
    follower.event(&told(EventAction::Create));
    let mut reads = FuturesUnordered::new();
    follower.begin_reads(&mut reads);
    let (id, outcome) = reads.next().await.unwrap();
    follower.read(id.clone(), outcome);
    assert!(follower.leaving.is_empty() && follower.known[&id].labels.contains_key("drowse"));
}

/// Two idle timers for one container would stop it under each other's requests.
#[tokio::test(start_paused = true)]
async fn row_10_nothing_is_shown_of_a_cluster_that_is_another_engine_already() {
    let engine = cluster();
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let mut follower = Follower::new(configured(&engine), Arc::default(), inventory.clone());
    follower.synced(Vec::new());
    follower.publish();
    assert_eq!(inventory.borrow()["home"].containers, None, "before it is known whose it is");
    assert!(inventory.borrow()["home"].may_bring_hosts());
    follower.is_of_another_engine("it is the cluster that is engine `pve` already");
    let view = inventory.borrow()["home"].clone();
    assert_eq!(view.containers, None);
    assert_eq!(view.trouble.as_deref(), Some("it is the cluster that is engine `pve` already"));
    assert!(view.is_refused && !view.may_bring_hosts(), "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn high_availability_may_come_and_go() {
    let engine = cluster();
    let web = engine.add("web");
    tag(&web, &["drowse"]);
    let own = |by: Option<&str>| {
        let owner = by.map(|state| drowse_provider::Owner::HighAvailability(state.to_owned()));
        web.set_details(|details| details.owner = owner);
    };
    let mut followed = follow_cluster(&engine);
    followed.shows_it("read", |one| one.owner.is_none()).await;
    own(Some("started"));
    web.tell(EventAction::Other("high availability: started".to_owned()));
    followed.shows_it("managed", |one| one.owner.is_some()).await;
    own(None);
    web.tell(EventAction::Other("high availability: not managed".to_owned()));
    followed.shows_it("left alone", |one| one.owner.is_none()).await;
    // An event that was missed.
    own(Some("started"));
    engine.resync();
    followed.shows_it("managed again", |one| one.owner.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_node_is_back_is_read_at_once() {
    let engine = cluster();
    let web = engine.add("web");
    tag(&web, &["drowse"]);
    let away = ErrorKind::Unavailable { reason: "its node is away".into() };
    web.always(Action::Inspect, Step::refuse(away));
    let mut followed = follow_cluster(&engine);
    followed.shows(&[]).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let began = Instant::now();
    web.always(Action::Inspect, Step::ok());
    web.tell(EventAction::Other("its node tells of it again".to_owned()));
    followed.shows(&["web"]).await;
    assert!(began.elapsed() < READ_AGAIN, "{:?}", began.elapsed());
}

/// Its node takes connections and answers nothing.
#[tokio::test(start_paused = true)]
async fn one_node_that_hangs_does_not_keep_the_rest_of_its_cluster_from_being_shown() {
    let engine = cluster();
    let away = ErrorKind::Unavailable { reason: "its node is away".into() };
    for number in 0..60 {
        let stuck = engine.add(format!("stuck-{number}"));
        tag(&stuck, &["drowse"]);
        let late = Step::refuse(away.clone()).late_by(Duration::from_secs(10));
        stuck.always(Action::Inspect, late);
    }
    tag(&engine.add("web"), &["drowse"]);
    let began = Instant::now();
    let mut followed = follow_cluster(&engine);
    let lists = engine.clone();
    let lists = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_mins(1)).await;
            lists.resync();
        }
    });
    let is_shown =
        |inventory: &Inventory| inventory.get("home").is_some_and(|view| view.containers.is_some());
    tokio::time::timeout(PATIENCE, followed.inventory.wait_for(is_shown)).await.unwrap().unwrap();
    assert!(began.elapsed() <= SHOWN_WITHIN + READ_TIMEOUT, "{:?}", began.elapsed());
    assert!(followed.inventory.borrow()["home"].unread.len() >= 60, "nothing is taken for absent");
    followed.shows(&["web"]).await;
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());

    // What is new is read beside those that are tried again.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let began = Instant::now();
    tag(&engine.add("new"), &["drowse"]);
    engine.resync();
    followed.shows(&["new", "web"]).await;
    assert!(began.elapsed() < READ_AGAIN, "{:?}", began.elapsed());
    lists.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_file_names_is_managed_even_while_it_cannot_be_read() {
    let engine = cluster();
    let web = engine.add("web");
    web.always(Action::Inspect, Step::refuse(ErrorKind::Forbidden { privilege: None, path: None }));
    let Reference::Id(id) = web.id() else { panic!() };
    let wanted = [Reference::Name("web".to_owned())].into();
    let in_file = watch::channel(InFile { references: wanted, ..InFile::default() }).1;
    let configured = Configured { in_file, ..configured(&engine) };
    let seen_once = read_once(&configured, &Whereabouts::default()).await.unwrap();
    let sender = Arc::new(watch::Sender::new(Inventory::new()));
    let inventory = sender.subscribe();
    let task = tokio::spawn(follow(configured, Arc::default(), sender));
    let mut followed = Followed { engine, inventory, task };
    followed.shows(&[]).await;
    let view = followed.inventory.borrow()["home"].clone();
    insta::assert_snapshot!(view.unread[&id].problem.line(), @"container `web` on engine `home`: it cannot be read, and is managed by what the file says alone until it can be: not permitted (until then requests for hosts that nobody has are told to come again)");
    assert_eq!(view.unread[&id].problem.severity, crate::config::Severity::Warning);
    for view in [view, seen_once] {
        assert!(view.is_unread(&Reference::Name("web".to_owned())) && view.is_unread(&web.id()));
        assert!(!view.is_unread(&Reference::Name("db".to_owned())));
    }
}

/// Any host may be of what it may not see.
#[tokio::test(start_paused = true)]
async fn an_empty_list_is_shown_once_it_is_known_whether_more_might_be_seen() {
    let engine = cluster();
    let inventory = Arc::new(watch::Sender::new(Inventory::new()));
    let file =
        "engines: { home: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } } }";
    let engines = crate::engines::Engines::new(&crate::config::from_text(file).unwrap()).unwrap();
    let rights = engines.discovered().next().unwrap().rights.clone();
    let configured = Configured { rights, ..configured(&engine) };
    let mut follower = Follower::new(configured, Arc::default(), inventory.clone());
    // Asked for before there was a list.
    follower.located(Here::default(), Sight::NotAsked);
    follower.synced(Vec::new());
    follower.publish();
    assert_eq!(inventory.borrow()["home"].containers, None);
    follower.located(Here::default(), Sight::Blind("it lacks `VM.Audit`".to_owned()));
    follower.publish();
    let view = inventory.borrow()["home"].clone();
    assert_eq!(view.containers, Some(Vec::new()));
    let unseen: Vec<_> = view.unseen().map(Problem::line).collect();
    assert_eq!(unseen, ["engine `home`: it lacks `VM.Audit`"]);
}
