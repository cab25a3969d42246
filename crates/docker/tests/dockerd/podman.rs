//! What Podman does otherwise than Docker, and what becomes of it.

use std::time::Duration;

use drowse_docker::DockerOptions;
use drowse_provider::{
    ContainerStatus, Engine, ErrorKind, EventAction, Health, Owner, Port, Provider, PublishedPort,
    Reach, Signal, StopOptions, WatchItem,
    contract::{Fixture, PATIENCE},
};
use serde_json::{Value, json};

use crate::fixture::{RealEngine, Runtime, patience, shell, testapp, until};

/// Podman's own API has no answer without a version in the path.
const OWN_API: &str = "/v4.0.0/libpod";

/// One that needs a while to end, whoever made it has not said how long it may take, and it runs.
async fn running_without_a_timeout(podman: &RealEngine) -> (String, std::sync::Arc<dyn Provider>) {
    let name = podman.make(&testapp(&["TERM_DELAY_MS=500"])).await;
    let provider = podman.provider(&name);
    provider.start(patience()).await.unwrap();
    podman.written(&name, "ready").await;
    (name, provider)
}

/// What compose makes has no timeout unless the user gave it one, and Podman takes that for zero.
#[tokio::test]
async fn one_without_a_stop_timeout_is_given_time_to_end() {
    let podman = RealEngine::podman().await;
    let (_, provider) = running_without_a_timeout(&podman).await;
    assert_eq!(provider.inspect(patience()).await.unwrap().stop_timeout, None);
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(0)));
    podman.tear_down().await;
}

/// Podman would send the signals to the frozen process, refuse, and kill it with the thaw.
#[tokio::test]
async fn one_that_is_paused_is_given_time_to_end() {
    let podman = RealEngine::podman().await;
    let (_, provider) = running_without_a_timeout(&podman).await;
    provider.pause(patience()).await.unwrap();
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(0)));
    podman.tear_down().await;
}

#[tokio::test]
async fn one_that_is_stopped_stays_so_whatever_its_restart_policy() {
    let podman = RealEngine::podman().await;
    for policy in ["always", "unless-stopped"] {
        let mut definition = testapp(&[]);
        definition["HostConfig"] = json!({"RestartPolicy": {"Name": policy}});
        let name = podman.make(&definition).await;
        let provider = podman.provider(&name);
        provider.start(patience()).await.unwrap();
        podman.written(&name, "ready").await;
        let run = provider.observe(patience()).await.unwrap().run;
        provider.stop(&StopOptions::new(), patience()).await.unwrap();
        let seen = provider.observe(patience()).await.unwrap();
        assert_eq!((seen.status, seen.run), (ContainerStatus::Stopped, run), "{policy}");
    }
    podman.tear_down().await;
}

/// Podman's `stop` takes no signal, and it restarts what ends by `kill`, also `unless-stopped`.
#[tokio::test]
async fn a_chosen_stop_signal_is_sent_only_where_nothing_is_restarted() {
    let podman = RealEngine::podman().await;
    podman.engine.list(patience()).await.unwrap();
    assert!(!podman.engine.capabilities().stop_signal.is_supported());
    let with_int = StopOptions::new().with_signal(Signal::INT).with_timeout(PATIENCE);
    for policy in ["no", "unless-stopped", "always"] {
        let mut definition = shell(
            "trap : TERM; trap 'exit 9' INT; echo ready; while :; do sleep 1000 & wait $!; done",
        );
        definition["HostConfig"] = json!({"RestartPolicy": {"Name": policy}});
        let name = podman.make(&definition).await;
        let provider = podman.provider(&name);
        provider.start(patience()).await.unwrap();
        podman.written(&name, "ready").await;
        let answer = provider.stop(&with_int, patience()).await;
        let seen = provider.observe(patience()).await.unwrap();
        if policy == "no" {
            answer.unwrap();
            assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(9)));
        } else {
            let error = answer.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert_eq!(seen.status, ContainerStatus::Running, "{policy}");
        }
    }
    podman.tear_down().await;
}

#[tokio::test]
async fn its_default_network_is_a_bridge_under_its_real_name() {
    let podman = RealEngine::podman().await;
    let mut definition = testapp(&["PORT=80"]);
    definition["ExposedPorts"] = json!({"80/tcp": {}});
    definition["HostConfig"] =
        json!({"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}});
    let name = podman.make(&definition).await;
    let provider = podman.provider(&name);
    let stopped = provider.inspect(patience()).await.unwrap();
    assert!(stopped.networks.iter().all(|network| network.addresses.is_empty()));
    assert!(!stopped.has_health_check, "Podman has an empty health of what has no check");

    provider.start(patience()).await.unwrap();
    let running = provider.inspect(patience()).await.unwrap();
    let [network] = running.networks.as_slice() else { panic!("{:?}", running.networks) };
    assert_eq!((network.name.as_str(), network.driver.as_deref()), ("podman", Some("bridge")));
    assert_eq!(network.addresses.len(), 1);
    assert_eq!(podman.engine.reach(), Reach::Local);
    // Podman chooses a port when the container is made, and not at each start.
    assert_eq!(running.published, stopped.published);
    let [PublishedPort { container, host_port: Some(_), .. }] = running.published.as_slice() else {
        panic!("{:?}", running.published)
    };
    assert_eq!(*container, Port::tcp(80));
    podman.tear_down().await;
}

/// Podman leaves the checks to systemd's timers: here its API runs one. It tells when a check begins,
/// and not always what it finds.
#[tokio::test]
async fn what_a_health_check_finds_is_told_at_the_next_re_read_at_the_latest() {
    let options = DockerOptions::new().with_reread_every(Duration::from_secs(1));
    let podman = RealEngine::with_options(Runtime::Podman, options).await;
    let mut definition = testapp(&["PORT=80"]);
    definition["Healthcheck"] =
        json!({"Test": ["CMD", "/drowse-testapp", "health"], "Interval": 1_000_000_000});
    let name = podman.make(&definition).await;
    let provider = podman.provider(&name);
    assert!(provider.inspect(patience()).await.unwrap().has_health_check);
    let mut watch = provider.watch();
    provider.start(patience()).await.unwrap();
    podman.written(&name, "ready").await;
    podman.api.must("GET", &format!("{OWN_API}/containers/{name}/healthcheck"), b"").await;
    until(
        &mut watch,
        |item| matches!(item, WatchItem::Synced(seen) if seen.health == Some(Health::Healthy)),
    )
    .await;
    podman.tear_down().await;
}

async fn owner_of(podman: &RealEngine, name: &str) -> Option<Owner> {
    podman.provider(name).inspect(patience()).await.unwrap().owner
}

/// Row 50. A pod is known by its own container, whose network all of its containers share.
#[tokio::test]
async fn a_pods_containers_and_a_units_are_owned() {
    let podman = RealEngine::podman().await;
    let (pod, member) = (podman.name(), podman.name());
    let make = async |what: &str, definition: Value| {
        let path = format!("{OWN_API}/{what}/create");
        podman.api.must("POST", &path, definition.to_string().as_bytes()).await
    };
    make("pods", json!({"name": pod})).await;
    make("containers", json!({"name": member, "pod": pod, "image": "drowse-testapp:1"})).await;
    let answer = podman.api.must("GET", &format!("{OWN_API}/pods/{pod}/json"), b"").await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let of_pod = |container: &&Value| container["Name"] != member.as_str();
    let infra = answer["Containers"].as_array().unwrap().iter().find(of_pod).unwrap();

    for name in [member.as_str(), infra["Name"].as_str().unwrap()] {
        let owner = owner_of(&podman, name).await;
        assert!(matches!(owner, Some(Owner::Pod(_))), "{name}: {owner:?}");
    }
    podman.api.must("DELETE", &format!("{OWN_API}/pods/{pod}?force=true"), b"").await;

    let mut definition = testapp(&[]);
    definition["Labels"] = json!({"PODMAN_SYSTEMD_UNIT": "web.service"});
    let unit = podman.make(&definition).await;
    assert_eq!(owner_of(&podman, &unit).await, Some(Owner::SystemdUnit("web.service".to_owned())));
    podman.tear_down().await;
}

/// Podman does not tell at its start that one is stopped, and at its end not always.
#[tokio::test]
async fn a_stop_by_somebody_else_is_told_as_one() {
    let podman = RealEngine::podman().await;
    let (name, provider) = running_without_a_timeout(&podman).await;
    let mut watch = provider.watch();
    until(
        &mut watch,
        |item| matches!(item, WatchItem::Synced(seen) if seen.status == ContainerStatus::Running),
    )
    .await;
    podman.api.post(&name, "stop?t=20").await;
    let (mut died, mut was_stopped) = (false, false);
    until(&mut watch, |item| {
        if let WatchItem::Event(event) = item {
            died |= matches!(event.action, EventAction::Die(Some(0)));
            was_stopped |= event.action == EventAction::Stop;
        }
        matches!(item, WatchItem::Synced(seen) if seen.status == ContainerStatus::Stopped)
    })
    .await;
    assert!(died && was_stopped, "died: {died}, was stopped: {was_stopped}");
    podman.tear_down().await;
}
