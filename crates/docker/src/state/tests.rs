use super::*;

fn unusable(reason: Unusable) -> ContainerStatus {
    ContainerStatus::Error(reason)
}

macro_rules! rows {
    ($($test:ident: $word:literal => $status:expr;)*) => {
        $(#[test] fn $test() { assert_eq!(status_of($word), $status); })*
    };
}

rows! {
    created_is_stopped: "created" => ContainerStatus::Stopped;
    running_is_running: "running" => ContainerStatus::Running;
    paused_is_paused: "paused" => ContainerStatus::Paused;
    restarting_is_an_error_that_passes: "restarting" => unusable(Unusable::Restarting);
    removing_is_an_error: "removing" => unusable(Unusable::Removing);
    exited_is_stopped: "exited" => ContainerStatus::Stopped;
    dead_is_an_error: "dead" => unusable(Unusable::Dead);
    stopping_still_runs: "stopping" => ContainerStatus::Running;
    configured_is_stopped: "configured" => ContainerStatus::Stopped;
    initialized_is_stopped: "initialized" => ContainerStatus::Stopped;
    stopped_is_stopped: "stopped" => ContainerStatus::Stopped;
    nothing_is_an_error: "" => unusable(Unusable::Other("in no state".to_owned()));
    an_unknown_word_is_an_error_that_says_it: "asleep" =>
        unusable(Unusable::Other("in the state `asleep`".to_owned()));
}

fn state(json: &str) -> State {
    serde_json::from_str(json).unwrap()
}

#[test]
fn one_that_was_never_started_has_no_run_and_no_exit_code() {
    let state = state(
        r#"{"Status":"created","StartedAt":"0001-01-01T00:00:00Z",
            "FinishedAt":"0001-01-01T00:00:00Z","ExitCode":0}"#,
    );
    assert_eq!(observation_of(&state), Observation::new(ContainerStatus::Stopped, None));
    assert_eq!(span_of(&state), None);
}

#[test]
fn what_runs_has_no_exit_code_though_the_engine_says_zero() {
    let observation = observation_of(&state(
        r#"{"Status":"running","StartedAt":"2026-01-02T03:04:05.6Z","ExitCode":0,
            "Health":{"Status":"starting","Log":null}}"#,
    ));
    assert_eq!(observation.exit_code, None);
    assert_eq!(observation.health, Some(Health::Starting));
    assert_eq!(observation.run, Some(RunId::new("2026-01-02T03:04:05.6Z")));
}

fn line(state: &str, status: &str, endpoint: &str) -> Listed {
    serde_json::from_value(serde_json::json!({
        "Id": "1", "Names": ["/web"], "State": state, "Status": status,
        "NetworkSettings": {"Networks": {"bridge": {"EndpointID": endpoint}}},
    }))
    .unwrap()
}

#[test]
fn time_that_passes_leaves_the_fingerprint_and_all_else_changes_it() {
    let of = |state, status, endpoint| Fingerprint::of_list(&line(state, status, endpoint));
    let up = of("running", "Up 2 seconds", "a");
    assert_eq!(up, of("running", "Up 3 hours", "a"));
    assert_ne!(up, of("running", "Up 2 seconds", "b"), "a restart");
    assert_ne!(up, of("running", "Up 2 seconds (healthy)", "a"));
    assert_ne!(up, of("paused", "Up 2 seconds (Paused)", "a"));
    let exited = of("exited", "Exited (0) 1 second ago", "");
    assert_eq!(exited, of("exited", "Exited (0) 2 days ago", ""));
    assert_ne!(exited, of("exited", "Exited (1) 1 second ago", ""));
}

#[test]
fn a_list_and_an_inspect_of_the_same_state_have_one_fingerprint() {
    let endpoints = [Endpoint { id: "a".to_owned(), ..Endpoint::default() }];
    let running = Observation::new(ContainerStatus::Running, Some(RunId::new("1")));
    assert_eq!(
        Fingerprint::of_inspect(&running.with_health(Some(Health::Healthy)), endpoints.iter()),
        Fingerprint::of_list(&line("running", "Up 1 hour (healthy)", "a")),
    );
    let ended = Observation::new(ContainerStatus::Stopped, Some(RunId::new("1")));
    assert_eq!(
        Fingerprint::of_inspect(&ended.with_exit_code(Some(137)), [].iter()),
        Fingerprint::of_list(&line("exited", "Exited (137) 1 hour ago", "")),
    );
}

#[test]
fn where_a_restart_would_not_show_the_fingerprint_says_so() {
    let of = |state, endpoint| Fingerprint::of_list(&line(state, "", endpoint)).shows_restarts;
    assert!(of("running", "a"));
    assert!(!of("running", ""), "it lives in another container's network");
    assert!(of("exited", ""));
}
