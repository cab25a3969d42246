//! Orders, and answers to them that only some engines give.

use std::time::Duration;

use drowse_provider::{
    ContainerStatus, Deadline, Engine, ErrorKind, KillOutcome, Signal, StopOptions, Unusable,
    contract::Behaviour,
};

use crate::engine::{Reply, Scripted, patience};

const WRONG_STATE: Reply =
    Reply::Status(500, "{\"message\":\"container state improper\",\"cause\":\"x\"}");

/// Podman says 500 where Docker says 304 or 409: the state decides.
#[tokio::test]
async fn a_wrong_state_answer_is_judged_by_the_state() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    for verb in ["start", "stop", "kill", "pause", "unpause"] {
        scripted.answer(&format!("POST /containers/web/{verb}"), 100, WRONG_STATE);
    }
    let stop = StopOptions::new();

    provider.stop(&stop, patience()).await.unwrap();
    let ended = provider.kill(Signal::KILL, patience()).await.unwrap();
    assert_eq!(ended, KillOutcome::Exited(None));
    for refused in [provider.pause(patience()).await, provider.unpause(patience()).await] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict { status: ContainerStatus::Stopped }),
            "{error}"
        );
    }
    let error = provider.start(patience()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Failed { message, .. } if message.contains("improper")),
        "{error}"
    );

    scripted.change("web", |container| container.state = "running");
    provider.start(patience()).await.unwrap();
    provider.unpause(patience()).await.unwrap();
    for refused in [provider.pause(patience()).await, provider.stop(&stop, patience()).await] {
        let error = refused.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Failed { .. }), "{error}");
    }
    scripted.change("web", |container| container.state = "paused");
    provider.pause(patience()).await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_be_used_refuses_everything() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    for (word, reason) in [("removing", Unusable::Removing), ("dead", Unusable::Dead)] {
        scripted.change("web", |container| container.state = word);
        let expected = ContainerStatus::Error(reason);
        for refused in [
            provider.start(patience()).await,
            provider.stop(&StopOptions::new(), patience()).await,
            provider.kill(Signal::KILL, patience()).await.map(|_| ()),
            provider.kill(Signal::HUP, patience()).await.map(|_| ()),
            provider.pause(patience()).await,
            provider.unpause(patience()).await,
        ] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Conflict { status } if *status == expected),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_start_waits_for_the_engines_own_restart() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.change("web", |container| container.state = "restarting");
    let start = provider.start(patience());
    let restart = async {
        scripted.asked(|state| state.count("GET /containers/web/json") > 2).await;
        scripted.change("web", |container| container.state = "running");
    };
    let (started, ()) = tokio::join!(start, restart);
    started.unwrap();
    assert_eq!(scripted.state().count("POST /containers/web/start"), 1);
}

#[tokio::test]
async fn a_deadline_says_what_was_being_waited_out() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.change("web", |container| container.state = "restarting");
    let error = provider.start(Deadline::after(Duration::from_millis(300))).await.unwrap_err();
    match error.kind() {
        ErrorKind::Timeout { last: Some(last), .. } => {
            let restarting = ContainerStatus::Error(Unusable::Restarting);
            assert!(matches!(last.kind(), ErrorKind::Conflict { status } if *status == restarting));
        }
        other => panic!("{other:?}"),
    }
}

/// The state is read until the engine can be asked again.
#[tokio::test]
async fn an_engine_that_falters_after_an_order_is_waited_out() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.order("web", "start");
    scripted.answer("POST /containers/web/start", 1, Reply::Status(304, ""));
    scripted.answer("GET /containers/web/json", 2, Reply::Status(503, "starting up"));
    provider.start(patience()).await.unwrap();
}

/// It ended between the engine's "already running" and the read.
#[tokio::test]
async fn a_start_of_one_that_is_just_ending_starts_it_again() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.answer("POST /containers/web/start", 1, Reply::Status(304, ""));
    provider.start(patience()).await.unwrap();
    assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Running);
}

#[tokio::test]
async fn only_what_the_user_set_is_sent_with_a_stop() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    let quick = Duration::from_millis(1500);
    for (options, expected) in [
        (StopOptions::new(), "POST /containers/web/stop"),
        (StopOptions::new().with_timeout(quick), "POST /containers/web/stop?t=2"),
        (StopOptions::new().with_signal(Signal::TERM), "POST /containers/web/stop"),
    ] {
        scripted.order("web", "start");
        provider.stop(&options, patience()).await.unwrap();
        let last =
            scripted.state().requests.iter().rfind(|asked| asked.starts_with("POST")).cloned();
        assert_eq!(last.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn from_api_1_42_on_a_stop_takes_a_signal() {
    let scripted = Scripted::new().await;
    scripted.state().api = "1.42";
    let provider = scripted.make("web", Behaviour::IgnoresTerm);
    scripted.change("web", |container| container.restart = "always");
    scripted.order("web", "start");
    provider.stop(&StopOptions::new().with_signal(Signal::INT), patience()).await.unwrap();
    assert_eq!(scripted.state().count("POST /containers/web/stop?signal=2"), 1);
    assert!(provider.capabilities().stop_signal.is_supported());
}

#[tokio::test]
async fn before_api_1_42_a_signal_is_refused_where_the_engine_would_restart_the_container() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::IgnoresTerm);
    scripted.change("web", |container| {
        (container.restart, container.stop_signal) = ("always", "SIGQUIT");
    });
    scripted.order("web", "start");
    let with_int = StopOptions::new().with_signal(Signal::INT);
    let error = provider.stop(&with_int, patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    assert_eq!(scripted.state().count("POST"), 0);
    assert!(!provider.capabilities().stop_signal.is_supported());

    scripted.change("web", |container| container.restart = "unless-stopped");
    provider.stop(&with_int, patience()).await.unwrap();
    assert_eq!(scripted.state().count("POST /containers/web/kill?signal=2"), 1);
}

#[tokio::test]
async fn an_engine_older_than_api_1_41_is_refused_before_anything_is_ordered() {
    let scripted = Scripted::new().await;
    scripted.state().api = "1.40";
    let provider = scripted.make("web", Behaviour::Serves);
    for error in [
        provider.start(patience()).await.unwrap_err(),
        provider.status(patience()).await.unwrap_err(),
        scripted.engine.list(patience()).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(
            matches!(error.kind(), ErrorKind::Unsupported { why } if why.contains("API 1.40")),
            "{error}"
        );
    }
    assert_eq!(scripted.state().count("POST"), 0);
}

/// A proxy that allows containers, events and the orders, and nothing else.
#[tokio::test]
async fn the_least_privileges_are_enough() {
    let scripted = Scripted::new().await;
    for path in ["GET /_ping", "GET /version", "GET /info", "GET /networks"] {
        scripted.answer(path, 100, Reply::Status(403, "<html>Forbidden</html>"));
    }
    let provider = scripted.make("web", Behaviour::Serves);
    provider.start(patience()).await.unwrap();
    let details = provider.inspect(patience()).await.unwrap();
    assert_eq!(details.networks[0].driver.as_deref(), Some("bridge"));
    assert_eq!(scripted.state().count("GET /_ping"), 0);
}

#[tokio::test]
async fn a_right_that_lacks_is_named() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.answer("POST /containers/web/stop", 1, Reply::Status(403, "<html>Forbidden</html>"));
    scripted.order("web", "start");
    let options = StopOptions::new().with_timeout(Duration::from_secs(3));
    let error = provider.stop(&options, patience()).await.unwrap_err();
    match error.kind() {
        ErrorKind::Forbidden { path: Some(path), .. } => {
            assert_eq!(path, "POST /containers/web/stop");
        }
        other => panic!("{other:?}"),
    }
    scripted.answer("POST /containers/web/stop", 1, Reply::Status(401, ""));
    let error = provider.stop(&options, patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthorized), "{error}");
}

/// The order is not repeated: only a read could tell what became of it.
#[tokio::test]
async fn an_order_whose_answer_breaks_off_is_given_once() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.answer("POST /containers/web/start", 1, Reply::Raw(Vec::new()));
    let error = provider.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
    assert!(error.is_outcome_unknown());
    assert_eq!(scripted.state().count("POST"), 1);
}
