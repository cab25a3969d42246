//! Holds, schedules and the store, through the program.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Place, eventually, get, status, text};

fn hold_of(place: &Place) -> serde_json::Value {
    place.json(&["list", "--json"])["workloads"][0]["hold"].clone()
}

#[test]
fn a_workload_that_is_held_awake_is_woken_and_stays_so() {
    let place = Place::new();
    place.configure_app(50, "1s", "");
    let drowse = place.run();
    place.state_of("app", "asleep");
    let held = place.output(&["hold", "app", "--reason", "demo for the board"]);
    assert!(held.status.success(), "{held:?}");
    assert_eq!(text(&held.stdout), "app is ready, and held awake until `drowse unhold app`\n");
    assert_eq!(hold_of(&place)["kind"], "awake");

    let forced = place.output(&["sleep", "app", "--force"]);
    assert_eq!(forced.status.code(), Some(1), "{forced:?}");
    assert_eq!(
        text(&forced.stderr),
        "error: it is held awake and would be woken again at once: `drowse unhold app` ends that\n"
    );
    let released = place.output(&["unhold", "app"]);
    assert_eq!(text(&released.stdout), "app is no longer held awake\n");
    // Its idle time counts from then on.
    place.state_of("app", "asleep");
    let again = place.json(&["unhold", "app", "--json"]);
    assert_eq!(again, json!({ "error": "nobody holds `app`", "class": "not_held" }));
    assert!(drowse.log().contains("held by a command"), "{}", drowse.log());
}

#[test]
fn nothing_wakes_what_is_held_asleep_over_a_kill_and_a_restart() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
    let held =
        place.json(&["hold", "app", "--asleep", "--for", "1h", "--reason", "restore", "--json"]);
    assert_eq!(
        (&held["state"], &held["hold"], &held["lasting"]),
        (&json!("asleep"), &json!("asleep"), &json!(true)),
        "{held}"
    );
    let refused = |place: &Place| {
        let answer = place.get("app.example");
        assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable", "{answer}");
        assert!(answer.contains("held asleep: restore"), "{answer}");
        let head = answer.to_lowercase();
        let after = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
        let after: u64 = after.unwrap().trim().parse().unwrap();
        assert!((1..=3_600).contains(&after), "{after}");
    };
    refused(&place);

    drowse.signal(Signal::KILL);
    drowse.ended();
    let drowse = place.run();
    place.state_of("app", "asleep");
    refused(&place);
    let woken = place.json(&["wake", "app", "--json"]);
    assert_eq!(woken["class"], "held_asleep", "{woken}");
    assert_eq!(hold_of(&place)["reason"], "restore");
    assert!(!drowse.log().contains("to=starting"), "{}", drowse.log());

    assert!(place.output(&["unhold", "app"]).status.success());
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
    assert_eq!(hold_of(&place), json!(null));
}

#[test]
fn a_hold_ends_by_itself() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let drowse = place.run();
    place.state_of("app", "asleep");
    let held = place.output(&["hold", "app", "--asleep", "--for", "1500ms"]);
    assert!(text(&held.stdout).starts_with("app is asleep, and held asleep until 20"), "{held:?}");
    drowse.says("its hold is over");
    eventually("it is served again", || {
        let answer = place.get("app.example");
        if status(&answer) == "HTTP/1.1 200 OK" { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn what_is_in_use_is_put_to_sleep_by_force_alone() {
    let place = Place::new();
    place.configure_app(30_000, "1h", "");
    let drowse = place.run();
    place.state_of("app", "asleep");
    // A request that waits is use.
    let (listen, answers) = (place.listen, std::sync::mpsc::channel());
    let (answer, answered) = answers;
    std::thread::spawn(move || answer.send(get(listen, "app.example")));
    // Long enough to be seen.
    place.state_of("app", "probing");
    for refused in [["sleep", "app"].as_slice(), &["hold", "app", "--asleep"]] {
        let refused = place.output(refused);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused.stderr).starts_with("error: in use: "), "{refused:?}");
        assert_eq!(hold_of(&place), json!(null));
    }
    let forced = place.output(&["hold", "app", "--asleep", "--force", "--reason", "moving"]);
    assert!(forced.status.success(), "{forced:?}");
    place.state_of("app", "asleep");
    let answer = answered.recv().unwrap();
    assert!(answer.contains("held asleep: moving"), "{answer}");
    assert!(drowse.log().contains("held by a command"));
    // An option without its other one.
    assert_eq!(place.output(&["hold", "app", "--force"]).status.code(), Some(64));
    assert_eq!(place.output(&["hold", "ap"]).status.code(), Some(1));
}

#[test]
fn what_a_kill_interrupts_costs_no_hold_that_was_acknowledged() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    for round in 0..6 {
        let mut drowse = place.run();
        place.state_of("app", "asleep");
        if round > 0 {
            assert_eq!(hold_of(&place)["reason"], format!("round {}", round - 1));
        }
        let reason = format!("round {round}");
        let held = place.json(&["hold", "app", "--asleep", "--reason", &reason, "--json"]);
        assert_eq!(held["lasting"], true, "{held}");
        // Something more is under way when it is killed.
        let mut more =
            place.command(&["hold", "app", "--asleep", "--reason", &reason, "--for", "1d"]);
        let mut more = more.stderr(std::process::Stdio::null()).spawn().unwrap();
        drowse.signal(Signal::KILL);
        drowse.ended();
        more.wait().unwrap();
    }
    let files = fs::read_dir(place.path("data")).unwrap().count();
    assert_eq!(files, 1, "nothing was damaged");
}

#[test]
fn a_damaged_store_is_told_and_put_aside() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    fs::create_dir(place.path("data")).unwrap();
    fs::write(place.path("data/drowse.redb"), [7; 10_000]).unwrap();
    let drowse = place.run();
    drowse.says("put aside as");
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
    let listed = place.json(&["list", "--json"]);
    let problem = listed["problems"][0]["message"].as_str().unwrap_or_default();
    assert!(problem.contains("was damaged"), "{listed}");
    assert!(place.path("data/drowse.redb.corrupt-1").exists());
    assert!(place.output(&["hold", "app"]).status.success());
}

#[test]
fn without_a_folder_holds_last_as_long_as_drowse_and_say_so() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    fs::write(place.path("data"), "no folder").unwrap();
    let drowse = place.run();
    drowse.says("are not kept over a restart of drowse");
    place.state_of("app", "asleep");
    let held = place.output(&["hold", "app", "--asleep"]);
    assert!(held.status.success(), "{held:?}");
    assert!(text(&held.stderr).starts_with("warning: it ends with drowse"), "{held:?}");
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 503 Service Unavailable");
}

#[test]
fn a_hold_of_what_is_not_there_is_shown_and_can_be_released() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    assert!(place.output(&["hold", "app", "--asleep"]).status.success());
    drowse.signal(Signal::TERM);
    drowse.ended();
    let config = fs::read_to_string(place.path("drowse.yaml")).unwrap();
    place.configure(&config.replace("  app:", "  other:"));
    let _drowse = place.run();
    place.state_of("other", "asleep");
    let listed = place.json(&["list", "--json"]);
    assert_eq!(
        listed["problems"][0]["message"],
        "workload `app`: there is none of that name now, and it is held asleep until `drowse unhold` \
         when there is one again; `drowse unhold app` ends that"
    );
    assert!(place.output(&["unhold", "app"]).status.success());
    assert_eq!(place.json(&["list", "--json"])["problems"], json!([]));
}

#[test]
fn a_schedule_wakes_and_keeps_awake() {
    let place = Place::new();
    let always = "defaults: { awake: \"00:00-24:00\", time_zone: Europe/Berlin }";
    place.configure_app(50, "1s", always);
    let drowse = place.run();
    place.state_of("app", "ready");
    drowse.says("kept awake by its schedule");
    let forced = place.output(&["sleep", "app", "--force"]);
    assert!(text(&forced.stderr).contains("its schedule 00:00-24:00 keeps it awake"), "{forced:?}");
    // A hold counts more.
    let held = place.output(&["hold", "app", "--asleep"]);
    assert!(held.status.success(), "{held:?}");
    place.state_of("app", "asleep");
    assert!(place.output(&["unhold", "app"]).status.success());
    place.state_of("app", "ready");

    let checked = place.output(&["check", "--config", place.path("drowse.yaml").to_str().unwrap()]);
    let checked = text(&checked.stdout);
    assert!(checked.contains("awake 00:00-24:00  Europe/Berlin  -"), "{checked}");
}

#[test]
fn a_schedule_without_a_zone_goes_by_this_systems() {
    let place = Place::new();
    place.configure_app(50, "1s", "defaults: { wake_at: \"Mon 07:45\" }");
    let config = place.path("drowse.yaml");
    let check = |zone: &str| {
        let mut command = place.command(&["check", "--json", "--config", config.to_str().unwrap()]);
        let output = command.env("TZ", zone).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let checked = check("Asia/Tokyo");
    let schedule = &checked["workloads"][0]["schedule"];
    assert_eq!(schedule["time_zone"], "Asia/Tokyo", "{checked}");
    assert!(schedule["next"][0]["at"].as_str().unwrap().ends_with("T07:45:00+09:00"), "{checked}");
    let refused = check("Nowhere/Nothing");
    assert_eq!(
        refused["problems"][0]["message"],
        "workload `app`: `wake_at` goes by a clock, and `TZ` says `Nowhere/Nothing`, which is no time \
         zone: set `time_zone`, such as `time_zone: Europe/Berlin`"
    );
}
