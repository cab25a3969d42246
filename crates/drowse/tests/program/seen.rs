//! What is seen of workloads from outside: `why` and `events`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    engine::{FakeEngine, container},
    support::{PROGRAM, Place, Running, eventually, free_address, status, text},
};

/// An application that answers probes at once, and everything else by a body that never ends. It is this
/// test's own thread: the process that drowse starts beside it only runs.
fn endless_at(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut is_probe = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            is_probe |= line.to_ascii_lowercase().starts_with("drowse-probe:");
            if line.trim().is_empty() {
                break;
            }
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Length:";
        let sent = if is_probe {
            stream.write_all(format!("{head} 2\r\n\r\nok").as_bytes())
        } else {
            stream.write_all(format!("{head} 1000000\r\n\r\n{}", "x".repeat(5_000)).as_bytes())
        };
        if sent.is_err() {
            return;
        }
    }
}

/// `why --json`, once it is as `such` says.
fn why(place: &Place, name: &str, such: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("why {name} is as it should be"), || {
        let why = place.json(&["why", name, "--json"]);
        if such(&why) { Ok(why) } else { Err(why.to_string()) }
    })
}

fn said(place: &Place, name: &str) -> String {
    text(&place.output(&["why", name]).stdout)
}

#[test]
fn of_a_sleeper_its_past_is_told_and_what_wakes_it() {
    let place = Place::new();
    place.configure_app(50, "1s", "");
    let _drowse = place.run();
    place.state_of("app", "asleep");
    assert!(place.output(&["wake", "app"]).status.success());
    let why = why(&place, "app", |why| {
        why["state"] == "asleep" && why["changes"].as_array().is_some_and(|all| all.len() > 3)
    });
    assert_eq!(why["next"], json!([{ "step": "wake_on_use" }]), "{why:#}");
    let reasons: Vec<_> =
        why["changes"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    let woken = reasons.iter().position(|reason| *reason == "woken").expect("woken");
    assert_eq!(reasons[woken + 1..], ["idle for 1s", "idle: stopped"], "{why:#}");
    let told = said(&place, "app");
    for words in ["app is asleep since ", "\n  wakes when something uses it\n", "\nAT "] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn of_one_in_use_each_request_is_told() {
    let place = Place::new();
    let application = free_address();
    endless_at(application);
    let port = application.port();
    place.configure(&format!(
        "engines: {{}}\nworkloads:\n  app:\n    container: {{ process: {{ command: [sleep, \"3600\"] }} }}\n    \
         routes: [{{ host: app.example, port: {port} }}]\n"
    ));
    let _drowse = place.run();
    let mut download = TcpStream::connect(place.listen).unwrap();
    write!(download, "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    let mut some = [0; 2_000];
    download.read_exact(&mut some).unwrap();
    let why = why(&place, "app", |why| {
        why["in_flight"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["bytes"].as_u64().is_some_and(|bytes| bytes >= 5_000))
        })
    });
    assert_eq!(why["in_flight"][0]["route"], "app/0", "{why:#}");
    assert_eq!(why["in_flight"][0]["peer"], "127.0.0.1", "{why:#}");
    assert_eq!(why["holders"], json!([{ "holder": "route app/0", "leases": 1, "since": null }]));
    assert_eq!(why["next"], json!([{ "step": "sleep_after_use", "idle_seconds": 900 }]));
    let told = said(&place, "app");
    assert!(told.contains("sleeps 15m after its last use, and is in use"), "{told}");
    let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("app/0 127.0.0.1 - "), "{told}");
    drop(download);
    let why = self::why(&place, "app", |why| why["next"][0]["step"] == "sleep");
    assert_eq!(why["in_flight"], json!([]), "{why:#}");
}

#[test]
fn of_one_that_fails_it_is_told_when_it_is_tried_again() {
    let place = Place::new();
    place.configure(
        "engines: {}\nworkloads: { app: { container: { process: { command: [\"false\"] } } } }\n",
    );
    let _drowse = place.run();
    place.state_of("app", "asleep");
    // Without a route it is ready as soon as it runs, which it may be for a moment. Each attempt makes the pause longer: one of them is long enough to be seen.
    let why = eventually("it is told until when no start is tried", || {
        drop(place.output(&["wake", "app"]));
        let why = place.json(&["why", "app", "--json"]);
        if why["next"][0]["step"] == "no_start_before" { Ok(why) } else { Err(why.to_string()) }
    });
    assert_eq!(why["state"], "failed", "{why:#}");
    let reason = "the process ended while it was starting, with exit code 1";
    assert!(why["next"][0]["why"].as_str().unwrap().starts_with(reason), "{why:#}");
}

#[test]
fn of_one_held_asleep_it_is_told_why_and_until_when() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let _drowse = place.run();
    place.state_of("app", "asleep");
    let held = place.output(&["hold", "app", "--asleep", "--for", "2h", "--reason", "restore"]);
    assert!(held.status.success(), "{held:?}");
    let why = why(&place, "app", |why| why["held_asleep"] == "restore");
    assert_eq!(why["next"][0]["step"], "held_asleep", "{why:#}");
    assert_eq!(why["next"][0]["until"], why["hold"]["until"], "{why:#}");
    let told = said(&place, "app");
    assert!(told.contains("\n  held asleep until "), "{told}");
    assert!(told.contains("(in 1h): restore\n"), "{told}");
    assert!(text(&place.output(&["list"]).stdout).contains("held asleep: restore"));
}

#[test]
fn of_what_is_not_managed_it_is_told_why_not() {
    let place = Place::new();
    let bad = json!({ "drowse.enable": "true", "drowse.idle": "5" });
    let _engine = FakeEngine::start(&place.path("docker.sock"), vec![container("bad", &bad)]);
    let drowse = place.run();
    drowse.says("not managed: container `bad`");
    insta::assert_snapshot!(said(&place, "bad"), @r"
    bad is not managed
    error: container `bad` on engine `docker`: label `drowse.idle`: a duration needs a unit: `5s`, `5m`, `5h` or `5d`
    ");
    let unknown = place.output(&["why", "zzz"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let said = text(&unknown.stderr);
    assert_eq!(said, "error: there is no workload `zzz`: `drowse list` shows those there are\n");
}

#[test]
fn events_are_followed_over_a_restart_of_drowse() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    let events = Running::start(place.command(&["events", "app", "--follow"]));
    events.says("unread -> asleep");
    assert!(place.output(&["wake", "app"]).status.success());
    events.says("  woken");
    assert!(place.output(&["sleep", "app"]).status.success());
    events.says("  put to sleep on request");

    drowse.signal(Signal::KILL);
    drowse.ended();
    drop(drowse);
    events.says("drowse has ended: waiting until it runs again");
    let _next = place.run();
    events.says("drowse runs again");
    place.state_of("app", "asleep");
    assert!(place.output(&["wake", "app"]).status.success());
    eventually("the second wake is told", || {
        let log = events.log();
        if log.matches("  woken").count() == 2 { Ok(()) } else { Err(log) }
    });
    let lines = text(&place.output(&["events", "app", "--json", "--last", "1"]).stdout);
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["event"], &line["to"]), (&json!("change"), &json!("ready")), "{line}");
}

#[test]
fn why_tells_of_the_changes_before_drowse_was_started() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    assert!(place.output(&["wake", "app"]).status.success());
    drowse.signal(Signal::TERM);
    drowse.ended();
    let _next = place.run();
    place.state_of("app", "asleep");
    let why = text(&place.output(&["why", "app"]).stdout);
    assert!(why.contains("asked for by wake command"), "{why}");
}

#[test]
fn events_of_what_there_is_not_are_refused() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let _drowse = place.run();
    place.state_of("app", "asleep");
    let unknown = place.output(&["events", "ap"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert_eq!(text(&unknown.stderr), "error: there is no workload `ap`: did you mean `app`?\n");
}

/// Answers whoever asks whether it is ready, and nobody else.
fn taciturn() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4_096];
            let length = stream.read(&mut head).unwrap_or(0);
            if String::from_utf8_lossy(&head[..length]).contains("drowse-probe") {
                // The one who asked may have gone.
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    port
}

#[test]
fn what_an_application_does_not_answer_is_told_in_the_log_and_to_no_stranger() {
    let place = Place::new();
    let (port, other) = (taciturn(), free_address().port());
    place.configure(&format!(
        "engines: {{}}\nworkloads:\n  app:\n    container: {{ process: {{ command: [{PROGRAM}, \
         demo-app], env: {{ PORT: {other}, DEMO_MEMORY_MB: 1 }} }} }}\n    \
         routes: [{{ host: app.example, port: {port} }}]\n"
    ));
    let drowse = place.run();
    let answer = place.get("app.example");
    assert_eq!(status(&answer), "HTTP/1.1 502 Bad Gateway", "{answer}");
    let inside = format!("127.0.0.1:{port}");
    assert!(answer.contains("upstream-failed") && !answer.contains(&inside), "{answer}");
    let log = drowse.says("an application has not answered a request");
    assert!(log.contains(&format!("app at {inside}")), "{log}");
}
