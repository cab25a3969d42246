//! Behind a filtering socket proxy: what it takes, what it costs to leave something out, and a
//! stream of events that is cut again and again.

use drowse_e2e::Right::{
    Containers, Events, Info, Networks, Pause, Post, Restarts, Start, Stop, Unpause, Version,
};
use drowse_e2e::http::Response;
use drowse_e2e::{
    ContainerSpec, DEADLINE, Drowse, Precedence, Recorded, Right, Site, SocketProxy, TestContainer,
    eventually,
};

use super::NEVER;

/// The least rights for each way to sleep, as `docs/docker.md` has them.
const TO_STOP: [Right; 4] = [Containers, Events, Start, Stop];
const TO_KILL: [Right; 4] = [Containers, Events, Start, Restarts];
const TO_PAUSE: [Right; 5] = [Containers, Events, Start, Pause, Unpause];

/// Enabled, under a host of its name, and published: without `INFO` nothing else can be reached.
fn labelled(site: &Site, name: &str) -> ContainerSpec {
    let host = format!("{name}.test");
    site.container(name).publish(80).label("drowse.enable", "true").label("drowse.host", host)
}

async fn behind(site: &Site, precedence: Precedence, rights: &[Right]) -> (SocketProxy, Drowse) {
    let proxy = SocketProxy::start(site.relay.socket(), precedence, rights).await;
    let drowse = site.drowse_by_labels().docker_host(&proxy.url()).start().await;
    (proxy, drowse)
}

async fn is_served(drowse: &Drowse, host: &str) {
    let what = format!("{host} to be served");
    eventually(DEADLINE, &what, || async {
        let answer = drowse.get(host, "/").send().await;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
}

/// What somebody who reads the log would worry about.
fn complaints(drowse: &Drowse) -> Vec<String> {
    let lines = drowse.logs().lines();
    lines.into_iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect()
}

async fn goes_round(way: &str, asleep: &str, precedence: Precedence, rights: &[Right]) {
    let site = Site::new().await;
    let app = labelled(&site, way).label("drowse.idle", "1s").label("drowse.sleep", way);
    let app = app.create().await;
    let (_proxy, drowse) = behind(&site, precedence, rights).await;
    let host = format!("{way}.test");
    for _ in 1..=2 {
        is_served(&drowse, &host).await;
        app.wait_for(asleep, DEADLINE).await;
    }
    assert_eq!(complaints(&drowse), Vec::<String>::new());
}

#[tokio::test]
async fn the_least_rights_to_stop_suffice() {
    goes_round("stop", "exited", Precedence::Names, &TO_STOP).await;
}

#[tokio::test]
async fn the_least_rights_to_kill_suffice() {
    goes_round("kill", "exited", Precedence::Names, &TO_KILL).await;
}

#[tokio::test]
async fn the_least_rights_to_pause_suffice() {
    goes_round("pause", "paused", Precedence::Names, &TO_PAUSE).await;
}

/// There the names of orders count for nothing: `POST` with `CONTAINERS` allows them all.
#[tokio::test]
async fn where_post_comes_first_it_and_the_section_suffice() {
    goes_round("stop", "exited", Precedence::Post, &[Containers, Events, Post]).await;
}

/// The addresses of containers are believed of an engine that says that it is this machine's.
#[tokio::test]
async fn with_info_and_networks_nothing_needs_to_be_published() {
    let site = Site::new().await;
    let network = format!("proxied-{}", std::process::id());
    let body = serde_json::json!({"Name": network});
    site.engine.call(http::Method::POST, "/networks/create", Some(&body)).await;
    let app = site.container("inside").network(&network).label("drowse.enable", "true");
    let app = app.label("drowse.host", "inside.test").create().await;
    {
        let rights = [TO_STOP.as_slice(), &[Info, Networks, Version]].concat();
        let (_proxy, drowse) = behind(&site, Precedence::Names, &rights).await;
        is_served(&drowse, "inside.test").await;
        assert_eq!(complaints(&drowse), Vec::<String>::new());
    }
    app.stop_within(0).await;
    // Without the one nobody knows whose addresses these are, without the other what they are.
    for (rights, words) in [
        ([TO_STOP.as_slice(), &[Networks]].concat(), "`GET /info`"),
        ([TO_STOP.as_slice(), &[Info]].concat(), "unknown kind"),
    ] {
        let (_proxy, drowse) = behind(&site, Precedence::Names, &rights).await;
        drowse.logs().wait_for(&["ERROR not managed", app.name(), words], DEADLINE).await;
    }
    drop(app);
    site.engine.call(http::Method::DELETE, &format!("/networks/{network}"), None).await;
}

/// A site whose proxy lets pass what is needed to sleep in some way, but for one right.
struct Less {
    app: TestContainer,
    drowse: Drowse,
    _proxy: SocketProxy,
    _site: Site,
}

impl Less {
    async fn than(way: &str, needed: &[Right], right: Right) -> Self {
        let site = Site::new().await;
        let app = labelled(&site, "less").label("drowse.idle", "1s").label("drowse.sleep", way);
        let app = app.create().await;
        let rights: Vec<_> = needed.iter().copied().filter(|one| *one != right).collect();
        let (proxy, drowse) = behind(&site, Precedence::Names, &rights).await;
        Self { app, drowse, _proxy: proxy, _site: site }
    }

    async fn ask(&self) -> Response {
        self.drowse.get("less.test", "/").send().await
    }

    /// A visitor is told that a right lacks; which one, is for the log.
    async fn is_not_woken(&self, refused: &str) {
        let answer = eventually(DEADLINE, "a request to fail", || async {
            Some(self.ask().await).filter(|answer| answer.text().contains("not-permitted"))
        })
        .await;
        assert!(!answer.assert_problem(503).contains(refused), "{}", answer.text());
        self.is_told(" ERROR ", refused).await;
    }

    /// It is awake for good, and served.
    async fn does_not_fall_asleep(&self, refused: &str) {
        is_served(&self.drowse, "less.test").await;
        self.is_told(" ERROR ", refused).await;
        assert_eq!(self.app.state().await.status, "running");
        self.ask().await.assert_served();
    }

    /// A line, which nobody overlooks, that names what was refused.
    async fn is_told(&self, level: &str, refused: &str) {
        let refused = format!("not permitted on `{refused}`");
        self.drowse.logs().wait_for(&[level, &refused], DEADLINE).await;
    }

    fn order(&self, verb: &str) -> String {
        format!("POST /containers/{}/{verb}", self.app.name())
    }
}

#[tokio::test]
async fn without_containers_nothing_can_be_seen() {
    let less = Less::than("stop", &TO_STOP, Containers).await;
    less.is_told(" WARN ", "GET /containers/json").await;
    less.ask().await.assert_problem(503);
}

#[tokio::test]
async fn without_events_nothing_is_believed() {
    let less = Less::than("stop", &TO_STOP, Events).await;
    less.is_told(" WARN ", "GET /events").await;
    less.ask().await.assert_problem(503);
}

#[tokio::test]
async fn without_start_nothing_wakes() {
    let less = Less::than("stop", &TO_STOP, Start).await;
    less.is_not_woken(&less.order("start")).await;
    assert_eq!(less.app.state().await.status, "created");
}

#[tokio::test]
async fn without_unpause_nothing_thaws() {
    let less = Less::than("pause", &TO_PAUSE, Unpause).await;
    is_served(&less.drowse, "less.test").await;
    less.app.wait_for("paused", DEADLINE).await;
    less.is_not_woken(&less.order("unpause")).await;
}

#[tokio::test]
async fn without_stop_nothing_is_stopped() {
    let less = Less::than("stop", &TO_STOP, Stop).await;
    less.does_not_fall_asleep(&less.order("stop")).await;
}

#[tokio::test]
async fn without_restarts_nothing_is_killed() {
    let less = Less::than("kill", &TO_KILL, Restarts).await;
    less.does_not_fall_asleep(&less.order("kill")).await;
}

#[tokio::test]
async fn without_pause_nothing_is_frozen() {
    let less = Less::than("pause", &TO_PAUSE, Pause).await;
    less.does_not_fall_asleep(&less.order("pause")).await;
}

/// A proxy ends a stream of events when it has been silent for a while. Whatever happens while
/// nobody is told is found out; and that the stream is back at once is nobody's worry.
#[tokio::test]
async fn a_stream_of_events_that_is_cut_again_and_again_loses_nothing_and_worries_nobody() {
    let site = Site::new().await;
    let app = labelled(&site, "cut").label("drowse.idle", NEVER).create().await;
    let rights = [TO_STOP.as_slice(), &[Info, Version]].concat();
    let (_proxy, drowse) = behind(&site, Precedence::Names, &rights).await;
    is_served(&drowse, "cut.test").await;
    let streams = || site.relay.count(Recorded::is_event_stream);
    let cut = async |times: usize| {
        let enough = streams() + times;
        let what = "the stream to be cut, and to be back";
        eventually(DEADLINE, what, || async { (streams() >= enough).then_some(()) }).await;
    };
    cut(3).await;
    for (order, state) in [("stop", "asleep"), ("start", "ready")] {
        site.relay.lose_events(true);
        match order {
            "stop" => app.stop().await,
            _ => app.start().await,
        }
        eventually(DEADLINE, "the event to be lost", || async {
            site.relay.lost().contains(if order == "stop" { "die" } else { "start" }).then_some(())
        })
        .await;
        site.relay.lose_events(false);
        let what = format!("an outside {order} to be found out");
        eventually(DEADLINE, &what, || async {
            (drowse.row(app.name()).await["state"] == state).then_some(())
        })
        .await;
    }
    is_served(&drowse, "cut.test").await;
    cut(1).await;
    assert_eq!(complaints(&drowse), Vec::<String>::new());
}
