//! What the engine really does, and what becomes of it.

use std::{future::ready, sync::Arc, time::Duration};

use drowse_docker::DockerOptions;
use drowse_provider::{
    ContainerStatus, Deadline, Engine, EngineItem, EngineWatch, ErrorKind, EventAction, Health,
    KillOutcome, NetworkMode, Observation, Port, Provider, PublishedPort, Reach, Reference,
    RestartPolicy, Signal, StopOptions, Unusable, Watch, WatchItem,
    contract::{Fixture, PATIENCE},
};
use futures::StreamExt;
use serde_json::json;

use crate::fixture::{RealEngine, Runtime, patience, shell, testapp, until};

pub(super) async fn until_synced(
    watch: &mut Watch,
    wanted: impl Fn(&Observation) -> bool,
) -> Observation {
    match until(watch, |item| matches!(item, WatchItem::Synced(seen) if wanted(seen))).await {
        WatchItem::Synced(observation) => observation,
        _ => unreachable!("`until` returns what was wanted"),
    }
}

/// Waits for so many lists.
async fn lists(all: &mut EngineWatch, number: usize) {
    let wait = all
        .filter(|item| ready(matches!(item, Ok(EngineItem::Synced(_)))))
        .take(number)
        .collect::<Vec<_>>();
    tokio::time::timeout(PATIENCE, wait).await.expect("lists are read");
}

/// One whose process ends at once and is started again, for ever.
async fn crash_looping(dockerd: &RealEngine) -> Arc<dyn Provider> {
    let mut definition = testapp(&["EXIT_AFTER_MS=0", "EXIT_CODE=3"]);
    definition["HostConfig"] = json!({"RestartPolicy": {"Name": "always"}});
    let name = dockerd.make(&definition).await;
    let provider = dockerd.provider(&name);
    provider.start(patience()).await.unwrap();
    let restarting = ContainerStatus::Error(Unusable::Restarting);
    let mut watch = provider.watch();
    until_synced(&mut watch, |seen| seen.status == restarting).await;
    provider
}

#[tokio::test]
async fn a_stop_ends_a_crash_loop() {
    let dockerd = RealEngine::dockerd().await;
    let provider = crash_looping(&dockerd).await;
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Stopped);
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_kill_ends_a_crash_loop() {
    let dockerd = RealEngine::dockerd().await;
    let provider = crash_looping(&dockerd).await;
    let outcome = provider.kill(Signal::KILL, patience()).await.unwrap();
    assert!(matches!(outcome, KillOutcome::Exited(_)), "{outcome:?}");
    assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Stopped);
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_chosen_stop_signal_is_sent_only_where_it_ends_the_container_for_good() {
    let dockerd = RealEngine::dockerd().await;
    dockerd.engine.list(patience()).await.unwrap();
    if dockerd.engine.capabilities().stop_signal.is_supported() {
        return dockerd.tear_down().await;
    }
    let script =
        "trap : TERM; trap 'exit 9' INT; echo ready; while :; do sleep 1000 & wait $!; done";
    let with_int = StopOptions::new().with_signal(Signal::INT).with_timeout(PATIENCE);
    for policy in ["no", "unless-stopped", "always", "on-failure"] {
        let mut definition = shell(script);
        definition["HostConfig"] = json!({"RestartPolicy": {"Name": policy}});
        let name = dockerd.make(&definition).await;
        let provider = dockerd.provider(&name);
        provider.start(patience()).await.unwrap();
        dockerd.written(&name, "ready").await;
        let answer = provider.stop(&with_int, patience()).await;
        let seen = provider.observe(patience()).await.unwrap();
        if matches!(policy, "no" | "unless-stopped") {
            answer.unwrap();
            assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(9)));
        } else {
            let error = answer.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("--stop-signal"), "{error}");
            assert_eq!(seen.status, ContainerStatus::Running, "{policy}");
        }
    }
    let mut definition = shell(script);
    definition["StopSignal"] = json!("SIGINT");
    definition["HostConfig"] = json!({"RestartPolicy": {"Name": "always"}});
    let name = dockerd.make(&definition).await;
    let provider = dockerd.provider(&name);
    provider.start(patience()).await.unwrap();
    dockerd.written(&name, "ready").await;
    provider.stop(&with_int, patience()).await.unwrap();
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(9)));
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_chosen_signal_that_is_ignored_ends_in_a_kill_after_the_timeout() {
    let dockerd = RealEngine::dockerd().await;
    let name = dockerd.make(&testapp(&["IGNORE_TERM=1"])).await;
    let provider = dockerd.provider(&name);
    provider.start(patience()).await.unwrap();
    dockerd.written(&name, "ready").await;
    let options =
        StopOptions::new().with_signal(Signal::INT).with_timeout(Duration::from_millis(300));
    provider.stop(&options, patience()).await.unwrap();
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(137)));
    dockerd.tear_down().await;
}

#[tokio::test]
async fn without_a_timeout_the_containers_own_counts() {
    let dockerd = RealEngine::dockerd().await;
    let mut definition = testapp(&["TERM_DELAY_MS=12000"]);
    definition["StopTimeout"] = json!(25);
    let name = dockerd.make(&definition).await;
    let provider = dockerd.provider(&name);
    provider.start(patience()).await.unwrap();
    dockerd.written(&name, "ready").await;
    let details = provider.inspect(patience()).await.unwrap();
    assert_eq!(details.stop_timeout, Some(Duration::from_secs(25)));
    provider.stop(&StopOptions::new(), Deadline::after(PATIENCE * 2)).await.unwrap();
    // Had the engine's own 10 s counted, it would have been killed.
    let seen = provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.exit_code), (ContainerStatus::Stopped, Some(0)));
    dockerd.tear_down().await;
}

#[tokio::test]
async fn addresses_and_ports_are_those_of_the_run() {
    let dockerd = RealEngine::dockerd().await;
    let mut definition = testapp(&["PORT=80"]);
    definition["ExposedPorts"] = json!({"80/tcp": {}, "81/tcp": {}});
    definition["Labels"] = json!({"drowse.enable": "true"});
    definition["HostConfig"] = json!({
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "RestartPolicy": {"Name": "unless-stopped"},
    });
    let name = dockerd.make(&definition).await;
    let provider = dockerd.provider(&name);
    let stopped = provider.inspect(patience()).await.unwrap();
    let published = |port| PublishedPort {
        container: Port::tcp(80),
        host_address: "127.0.0.1".parse().unwrap(),
        host_port: port,
    };
    assert_eq!(stopped.exposed, [Port::tcp(80), Port::tcp(81)]);
    assert_eq!(stopped.published, [published(None)]);
    assert_eq!(stopped.restart, RestartPolicy::UnlessStopped);
    assert_eq!(stopped.labels["drowse.enable"], "true");
    assert_eq!(stopped.network_mode, NetworkMode::Networks);

    provider.start(patience()).await.unwrap();
    let running = provider.inspect(patience()).await.unwrap();
    let [bound] = running.published.as_slice() else { panic!("{:?}", running.published) };
    assert_eq!(*bound, published(bound.host_port));
    assert!(bound.host_port.is_some());
    let [network] = running.networks.as_slice() else { panic!("{:?}", running.networks) };
    assert_eq!((network.name.as_str(), network.driver.as_deref()), ("bridge", Some("bridge")));
    assert_eq!(network.addresses.len(), 1);
    assert_eq!(dockerd.engine.reach(), Reach::Local);
    let stats = provider.stats(patience()).await.unwrap();
    assert!(stats.memory_bytes > 0 && stats.cpu > Some(Duration::ZERO), "{stats:?}");
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_network_of_ones_own_has_its_driver() {
    let dockerd = RealEngine::dockerd().await;
    let network = dockerd.name();
    let body = json!({"Name": network, "Driver": "bridge"}).to_string();
    dockerd.api.must("POST", "/networks/create", body.as_bytes()).await;
    let mut definition = testapp(&[]);
    definition["HostConfig"] = json!({"NetworkMode": network});
    let name = dockerd.make(&definition).await;
    let details = dockerd.provider(&name).inspect(patience()).await.unwrap();
    assert_eq!(details.networks[0].driver.as_deref(), Some("bridge"));

    // That a container is attached to it is told to those who follow the whole engine.
    let other = dockerd.make(&testapp(&[])).await;
    let other = dockerd.api.inspect(&other).await["Id"].as_str().unwrap().to_owned();
    dockerd.api.post(&other, "start").await;
    let mut all = dockerd.engine.events();
    lists(&mut all, 1).await;
    let body = json!({"Container": other}).to_string();
    dockerd.api.must("POST", &format!("/networks/{network}/connect"), body.as_bytes()).await;
    let told = all.filter(|item| {
        ready(matches!(item, Ok(EngineItem::Event(told))
            if told.action == EventAction::Network && told.actor.id == other))
    });
    let told = tokio::time::timeout(PATIENCE, std::pin::pin!(told).next()).await;
    assert!(told.unwrap().is_some());
    let list = dockerd.engine.list(patience()).await.unwrap();
    let line = list.iter().find(|line| line.id == other).unwrap();
    let mut networks = ["bridge".to_owned(), network.clone()];
    networks.sort();
    assert_eq!(line.networks, networks);
    dockerd.api.remove(&other).await;
    dockerd.api.remove(&name).await;
    dockerd.api.must("DELETE", &format!("/networks/{network}"), b"").await;
    dockerd.tear_down().await;
}

#[tokio::test]
async fn what_lives_in_anothers_network_is_told_with_that_one() {
    let dockerd = RealEngine::dockerd().await;
    let mut definition = testapp(&["PORT=81"]);
    definition["ExposedPorts"] = json!({"80/tcp": {}});
    definition["HostConfig"] =
        json!({"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}});
    let holder = dockerd.make(&definition).await;
    dockerd.api.post(&holder, "start").await;
    let mut guest = testapp(&["PORT=80"]);
    guest["HostConfig"] = json!({"NetworkMode": format!("container:{holder}")});
    let guest = dockerd.make(&guest).await;
    let provider = dockerd.provider(&guest);
    provider.start(patience()).await.unwrap();

    let details = provider.inspect(patience()).await.unwrap();
    let of_holder = dockerd.provider(&holder).inspect(patience()).await.unwrap();
    assert!(matches!(details.network_mode, NetworkMode::Container(_)), "{details:?}");
    let told = details.holder.unwrap();
    assert_eq!((&told.name, &told.networks), (&holder, &of_holder.networks));
    assert_eq!(told.published, of_holder.published);
    let [network] = told.networks.as_slice() else { panic!("{:?}", told.networks) };
    assert_eq!((network.addresses.len(), network.gateways.len()), (1, 1));

    // Whoever watches the guest is told when it can no longer be reached there.
    let mut watch = provider.watch();
    until_synced(&mut watch, |seen| seen.status == ContainerStatus::Running).await;
    dockerd.api.post(&holder, "kill").await;
    let died = EventAction::Die(None);
    until(&mut watch, |item| matches!(item, WatchItem::Event(told) if told.action == died)).await;
    dockerd.api.post(&holder, "start").await;
    until(
        &mut watch,
        |item| matches!(item, WatchItem::Event(told) if told.action == EventAction::Update),
    )
    .await;
    dockerd.api.remove(&guest).await;
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure_with_the_engines_words() {
    let dockerd = RealEngine::dockerd().await;
    let mut definition = testapp(&[]);
    definition["Cmd"] = json!(["/no/such/program"]);
    let name = dockerd.make(&definition).await;
    let error = dockerd.provider(&name).start(patience()).await.unwrap_err();
    match error.kind() {
        ErrorKind::Failed { exit: Some(127), message } => {
            assert!(message.contains("/no/such/program"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    dockerd.tear_down().await;
}

#[tokio::test]
async fn one_that_is_removed_when_it_stops_is_stopped_and_then_gone() {
    let dockerd = RealEngine::dockerd().await;
    for by_kill in [true, false] {
        let mut definition = testapp(&[]);
        definition["HostConfig"] = json!({"AutoRemove": true});
        let name = dockerd.make(&definition).await;
        let provider = dockerd.provider(&name);
        provider.start(patience()).await.unwrap();
        dockerd.written(&name, "ready").await;
        assert!(provider.inspect(patience()).await.unwrap().removed_when_stopped);
        let mut watch = provider.watch();
        until_synced(&mut watch, |seen| seen.status == ContainerStatus::Running).await;
        if by_kill {
            let outcome = provider.kill(Signal::KILL, patience()).await.unwrap();
            assert!(matches!(outcome, KillOutcome::Exited(_)), "{outcome:?}");
        } else {
            provider.stop(&StopOptions::new(), patience()).await.unwrap();
        }
        until(&mut watch, |item| *item == WatchItem::Removed).await;
    }
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_health_check_is_told() {
    let dockerd = RealEngine::dockerd().await;
    let mut definition = testapp(&["PORT=80"]);
    definition["Healthcheck"] =
        json!({"Test": ["CMD", "/drowse-testapp", "health"], "Interval": 500_000_000});
    let name = dockerd.make(&definition).await;
    let provider = dockerd.provider(&name);
    assert!(provider.inspect(patience()).await.unwrap().has_health_check);
    let mut watch = provider.watch();
    provider.start(patience()).await.unwrap();
    let healthy = EventAction::Health(Health::Healthy);
    until(&mut watch, |item| matches!(item, WatchItem::Event(told) if told.action == healthy))
        .await;
    until_synced(&mut watch, |seen| seen.health == Some(Health::Healthy)).await;
    dockerd.tear_down().await;
}

/// The engine's own filter would match the beginning of a name.
#[tokio::test]
async fn a_watch_is_not_told_of_one_whose_name_begins_alike() {
    let dockerd = RealEngine::dockerd().await;
    let name = dockerd.make(&testapp(&[])).await;
    let longer = format!("{name}-db");
    let id = dockerd.api.create(&longer, &testapp(&[])).await;
    let mut watch = dockerd.provider(&name).watch();
    until_synced(&mut watch, |seen| seen.status == ContainerStatus::Stopped).await;
    dockerd.api.post(&longer, "start").await;
    dockerd.api.post(&name, "start").await;
    until(&mut watch, |item| {
        if let WatchItem::Event(told) = item {
            assert_ne!(told.actor.id, id);
        }
        matches!(item, WatchItem::Synced(seen) if seen.status == ContainerStatus::Running)
    })
    .await;
    dockerd.api.remove(&longer).await;
    dockerd.tear_down().await;
}

/// The engine takes the beginning of an id wherever it takes a name.
#[tokio::test]
async fn a_name_never_finds_a_stranger_by_the_beginning_of_its_id() {
    let dockerd = RealEngine::dockerd().await;
    let name = dockerd.make(&testapp(&[])).await;
    let id = dockerd.api.inspect(&name).await["Id"].as_str().unwrap().to_owned();
    let stranger = dockerd.provider(&id[..12]);
    for error in [
        stranger.status(patience()).await.unwrap_err(),
        stranger.start(patience()).await.unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");
    }
    let by_short_id = dockerd.engine.provider(&Reference::Id(id[..12].to_owned())).unwrap();
    by_short_id.start(patience()).await.unwrap();
    assert_eq!(by_short_id.status(patience()).await.unwrap(), ContainerStatus::Running);
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_thousand_watches_share_one_connection() {
    let dockerd = RealEngine::dockerd().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(dockerd.make(&testapp(&[])).await);
    }
    let mut watches: Vec<Watch> =
        (0..1000).map(|number| dockerd.provider(&names[number % names.len()]).watch()).collect();
    for watch in &mut watches {
        until_synced(watch, |seen| seen.status == ContainerStatus::Stopped).await;
    }
    for name in &names {
        dockerd.api.post(name, "start").await;
    }
    for watch in &mut watches {
        until_synced(watch, |seen| seen.status == ContainerStatus::Running).await;
    }
    assert_eq!(dockerd.relay.event_streams(), 1);
    dockerd.tear_down().await;
}

/// A list says of each state what `inspect` says of it, so that re-reading costs one call.
#[tokio::test]
async fn while_nothing_happens_no_container_is_read_again() {
    let options = DockerOptions::new().with_reread_every(Duration::from_millis(50));
    let dockerd = RealEngine::with_options(Runtime::Dockerd, options).await;
    let mut names = Vec::new();
    for (mode, is_started) in [("bridge", true), ("host", true), ("none", true), ("bridge", false)]
    {
        let mut definition = testapp(&["PORT=0"]);
        definition["HostConfig"] = json!({"NetworkMode": mode});
        let name = dockerd.make(&definition).await;
        if is_started {
            dockerd.api.post(&name, "start").await;
        }
        names.push(name);
    }
    let ended = dockerd.make(&testapp(&["EXIT_AFTER_MS=0", "EXIT_CODE=4"])).await;
    dockerd.api.post(&ended, "start").await;
    dockerd.api.must("POST", &format!("/containers/{ended}/wait"), b"").await;
    names.push(ended);

    let mut watches: Vec<Watch> = names.iter().map(|name| dockerd.provider(name).watch()).collect();
    for watch in &mut watches {
        until_synced(watch, |_| true).await;
    }
    let mut all = dockerd.engine.events();
    lists(&mut all, 3).await;
    let before = dockerd.relay.inspects();
    assert!(before >= names.len());
    lists(&mut all, 10).await;
    assert_eq!(dockerd.relay.inspects(), before);
    dockerd.tear_down().await;
}
