use drowse_provider::NetworkMode;

use super::*;
use crate::engines::InFile;

/// A container of the compose project `shop` that needs these services.
fn of_shop(engine: &ScriptedEngine, name: &str, depends_on: &str) -> ScriptedContainer {
    let container = engine.add(name);
    container.set_details(|details| {
        let labels = [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", name),
            ("com.docker.compose.depends_on", depends_on),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        details.labels.extend(labels);
    });
    container
}

fn enable(container: &ScriptedContainer) {
    container.set_details(|details| {
        details.labels.insert("drowse.enable".to_owned(), "true".to_owned());
    });
}

#[tokio::test(start_paused = true)]
async fn what_is_needed_is_read_with_whatever_that_needs_and_nothing_else() {
    let engine = ScriptedEngine::new("home");
    enable(&of_shop(&engine, "web", "db:service_started:false"));
    of_shop(&engine, "db", "disk:service_started:false");
    of_shop(&engine, "disk", "");
    let other = of_shop(&engine, "other", "");
    let cache = engine.add("cache");
    let mut configured = Configured::of(Arc::new(engine.clone()), &[]);
    let needed = ["cache".to_owned()].into();
    configured.in_file = watch::channel(InFile { needed, ..InFile::default() }).1;
    let view = read_once(&configured, &Whereabouts::default()).await.unwrap();
    let names: Vec<_> = view.containers.unwrap().iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, ["web", "db", "disk", "cache"]);
    assert_eq!((other.calls(Action::Inspect), cache.calls(Action::Inspect)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_and_needs_one_or_is_needed_is_read() {
    let engine = ScriptedEngine::new("home");
    let db = of_shop(&engine, "db", "");
    let cache = of_shop(&engine, "cache", "");
    let mut followed = begin(engine.clone(), &[]);
    followed.shows(&[]).await;
    assert_eq!(db.calls(Action::Inspect) + cache.calls(Action::Inspect), 0);

    // It is told of with its labels when it is started, and what it needs was there before.
    let web = of_shop(&engine, "web", "db:service_started:false");
    enable(&web);
    web.start();
    followed.shows(&["db", "web"]).await;

    let admin = of_shop(&engine, "admin", "web:service_started:false,cache:service_started:false");
    admin.start();
    followed.shows(&["admin", "db", "web"]).await;
    assert_eq!(cache.calls(Action::Inspect), 0);

    // Of networks only a list tells.
    let guest = engine.add("guest");
    let Reference::Id(id) = web.id() else { panic!() };
    guest.set_details(|details| details.network_mode = NetworkMode::Container(id));
    engine.resync();
    followed.shows(&["admin", "db", "guest", "web"]).await;

    admin.remove();
    followed.shows(&["db", "guest", "web"]).await;
}
