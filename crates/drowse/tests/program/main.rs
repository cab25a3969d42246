//! The program from outside: its commands, its exit codes, and what it serves. Needs no Docker: what
//! sleeps here are processes.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on panics")]

mod engine;
mod handed;
mod page;
mod seen;
mod support;
mod time;

use std::{fs, os::unix::fs::PermissionsExt as _, thread};

use rustix::process::Signal;
use serde_json::json;

use engine::{FakeEngine, container};
use support::{Place, Running, eventually, free_address, get, get_as, is_alive, status, text};

#[test]
fn the_whole_round_asleep_woken_served_idle_asleep() {
    let place = Place::new();
    place.configure_app(50, "1s", "");
    let drowse = place.run();
    place.state_of("app", "asleep");
    let answer = place.get("app.example");
    assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{answer}");
    assert!(answer.contains("I am awake"), "{answer}");
    place.state_of("app", "asleep");
    let log = drowse.log();
    for words in ["from=asleep to=starting", "to=ready", "from=ready to=stopping", "idle for 1s"] {
        assert!(log.contains(words), "{words}");
    }
    // And again.
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
}

#[test]
fn an_unknown_host_is_404_and_wakes_nothing() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let drowse = place.run();
    place.state_of("app", "asleep");
    assert_eq!(status(&place.get("other.example")), "HTTP/1.1 404 Not Found");
    assert!(!drowse.log().contains("to=starting"));
}

#[test]
fn row_44_a_monitor_neither_wakes_nor_keeps_awake() {
    let place = Place::new();
    let passive = "defaults: { passive_user_agents: [UptimeRobot, kube-probe], passive_paths: \
                   [/healthz] }";
    place.configure_app(50, "1s", passive);
    let drowse = place.run();
    place.state_of("app", "asleep");
    let by_agent = || get_as(place.listen, "app.example", "/", "Mozilla/5.0 (uptimerobot/2.0)");
    let by_path = || get_as(place.listen, "app.example", "/healthz", "curl/8");
    for answer in [by_agent(), by_path()] {
        assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable", "{answer}");
        assert!(answer.to_lowercase().contains("\r\nretry-after:"), "{answer}");
    }
    assert!(!drowse.log().contains("to=starting"), "{}", drowse.log());

    let woken = place.output(&["wake", "app"]);
    assert!(woken.status.success(), "{woken:?}");
    let mut served = 0;
    // It falls asleep under a monitor that never leaves off.
    eventually("it sleeps although it is asked", || {
        let answer = by_agent();
        if answer.contains("I am awake") {
            served += 1;
        }
        if drowse.log().contains("idle for 1s") && answer.starts_with("HTTP/1.1 503") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    assert!(served > 0, "it was not served while it was awake");
    place.state_of("app", "asleep");
    assert_eq!(drowse.log().matches("to=starting").count(), 1, "{}", drowse.log());
}

#[test]
fn list_wake_and_sleep_talk_to_the_running_daemon() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let _drowse = place.run();
    place.state_of("app", "asleep");

    let woken = place.output(&["wake", "app"]);
    assert!(woken.status.success(), "{woken:?}");
    assert!(text(&woken.stdout).starts_with("app is ready ("), "{woken:?}");
    let table = text(&place.output(&["list"]).stdout);
    assert!(table.starts_with("WORKLOAD  STATE"), "{table}");
    assert!(table.contains("app       ready"), "{table}");
    let slept = place.json(&["sleep", "app", "--json"]);
    assert_eq!((&slept["workload"], &slept["state"]), (&json!("app"), &json!("asleep")));

    let unknown = place.output(&["wake", "ap"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(text(&unknown.stderr), "error: there is no workload `ap`: did you mean `app`?\n");
    let unknown = place.json(&["sleep", "zzz", "--json"]);
    assert_eq!(unknown["class"], "unknown_workload");
}

#[test]
fn waking_all_tells_of_each_and_of_what_is_not_managed() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let _drowse = place.run();
    let woken = place.output(&["wake", "--all"]);
    assert!(woken.status.success(), "{woken:?}");
    assert!(text(&woken.stdout).starts_with("app is ready ("), "{woken:?}");
    place.state_of("app", "ready");

    for wrong in [["wake"].as_slice(), &["wake", "app", "--all"], &["sleep", "--all"]] {
        assert_eq!(place.output(wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn releasing_an_engine_with_a_container_in_error_takes_force() {
    let place = Place::new();
    let bad = json!({ "drowse.enable": "true", "drowse.idle": "5" });
    let _engine = FakeEngine::start(&place.path("docker.sock"), vec![container("bad", &bad)]);
    let mut drowse = place.run();
    drowse.says("not managed: container `bad`");
    let refused = place.json(&["release", "--json"]);
    assert_eq!(refused["ended"], false, "{refused}");
    assert_eq!(refused["workloads"][0]["class"], "not_managed", "{refused}");
    let forced = place.output(&["release", "--force"]);
    assert_eq!(forced.status.code(), Some(1), "{forced:?}");
    insta::assert_snapshot!(text(&forced.stderr), @r"
    error: not managed, and left as it is: container `bad` on engine `docker`: label `drowse.idle`: a duration needs a unit: `5s`, `5m`, `5h` or `5d`
    error: no workload is awake, 1 failed (see above); drowse has ended
    ");
    assert!(drowse.ended().success());
    assert!(!place.path("state/drowse.sock").exists());
}

#[test]
fn what_an_engine_has_that_was_never_read_is_not_taken_for_awake() {
    let place = Place::new();
    let drowse = place.run();
    drowse.says("out of reach");
    let said = text(&place.output(&["wake", "--all"]).stderr);
    let socket = place.path("docker.sock").display().to_string();
    insta::assert_snapshot!(said.replace(&socket, "SOCKET"), @r"
    error: engine `docker` was never read, and what it has may sleep: watch on engine `docker`: unavailable: there is no socket at `SOCKET`: start the engine, or correct the path (`DOCKER_HOST`)
    error: no workload is awake, 1 failed (see above)
    ");
}

#[test]
fn processes_end_with_drowse_and_are_not_woken_for_that() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    let released = place.output(&["release"]);
    assert!(released.status.success(), "{released:?}");
    assert!(text(&released.stdout).ends_with("no workload is awake: drowse has ended\n"));
    assert!(drowse.ended().success());
    assert!(!drowse.log().contains("to=starting"), "{}", drowse.log());
}

#[test]
fn the_control_socket_is_for_its_user_alone() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    let socket = place.path("state/drowse.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    drowse.signal(Signal::TERM);
    assert!(drowse.ended().success());
    assert!(!socket.exists());
}

#[test]
fn without_a_daemon_the_socket_is_named_and_the_code_is_69() {
    let place = Place::new();
    let commands: [&[&str]; 8] = [
        &["list", "--json"],
        &["why", "x"],
        &["events"],
        &["events", "--follow"],
        &["wake", "x"],
        &["wake", "--all"],
        &["sleep", "x"],
        &["release"],
    ];
    for command in commands {
        let output = place.output(command);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let socket = place.path("state/drowse.sock").display().to_string();
        assert!(text(&output.stderr).contains(&socket), "{output:?}");
    }
}

#[test]
fn a_second_daemon_is_refused_and_names_the_first() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let first = place.run();
    let config = place.path("drowse.yaml");
    let second =
        place.output(&["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("another drowse (pid {})", first.pid())), "{said}");
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK", "the first goes on");
}

#[test]
fn sigterm_lets_what_is_in_flight_end() {
    let place = Place::new();
    place.configure_app(1_000, "1h", "shutdown_grace: 30s");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    let listen = place.listen;
    let request = thread::spawn(move || get(listen, "app.example"));
    drowse.says("to=starting");
    drowse.signal(Signal::TERM);
    drowse.says("ending");
    assert_eq!(status(&request.join().unwrap()), "HTTP/1.1 200 OK");
    assert!(drowse.ended().success());
}

#[test]
fn without_grace_and_without_requests_the_end_is_whole() {
    let place = Place::new();
    place.configure_app(50, "1h", "shutdown_grace: 0s");
    let mut drowse = place.run();
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
    drowse.signal(Signal::TERM);
    assert_eq!(drowse.ended().code(), Some(0), "{}", drowse.log());
}

#[test]
fn a_second_signal_ends_at_once_and_says_so() {
    let place = Place::new();
    place.configure_app(600_000, "1h", "shutdown_grace: 1h");
    let mut drowse = place.run();
    place.state_of("app", "asleep");
    let listen = place.listen;
    let request = thread::spawn(move || get(listen, "app.example"));
    drowse.says("to=starting");
    drowse.signal(Signal::TERM);
    drowse.says("ending");
    drowse.signal(Signal::INT);
    assert_eq!(drowse.ended().code(), Some(1));
    // What it wrote last is read after its end, perhaps.
    drowse.says("connections were cut");
    // Whatever it was told, it was not left waiting.
    drop(request.join());
}

#[test]
fn after_a_kill_the_next_one_takes_over_and_no_process_is_left() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let mut first = place.run();
    let answer = place.get("app.example");
    let pid = answer.split("process ").nth(1).and_then(|rest| rest.split(',').next());
    let pid: u32 = pid.unwrap().parse().unwrap();
    assert!(is_alive(pid));
    first.signal(Signal::KILL);
    first.ended();
    eventually("the process ends with it", || {
        if is_alive(pid) { Err(pid.to_string()) } else { Ok(()) }
    });
    drop(first);
    let _second = place.run();
    assert_eq!(status(&place.get("app.example")), "HTTP/1.1 200 OK");
}

#[test]
fn a_wrong_configuration_ends_with_64_and_every_mistake() {
    let place = Place::new();
    let config = place.configure("lisen: x\nengines: {}\nworkloads: { a: { idle: 5 } }\n");
    for command in ["run", "check"] {
        let output = place.output(&[command, "--config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let said = text(&output.stderr);
        for words in ["drowse.yaml:1:1", "did you mean `listen`?", "`5s`", "`container` is missing"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn a_wrong_command_line_ends_with_64() {
    let place = Place::new();
    for command in [["rnu"].as_slice(), &["run", "--listen", "80"], &["run", "--log", "=x="]] {
        let output = place.output(command);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
    }
    let version = place.output(&["--version"]);
    assert_eq!(text(&version.stdout), format!("drowse {}\n", env!("CARGO_PKG_VERSION")));
    let completions = place.output(&["completions", "bash"]);
    assert!(text(&completions.stdout).contains("_drowse"), "{completions:?}");
}

#[test]
fn an_address_in_use_is_named() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let _other = std::net::TcpListener::bind(place.listen).unwrap();
    let config = place.path("drowse.yaml");
    let listen = place.listen.to_string();
    let output = place.output(&["run", "--config", config.to_str().unwrap(), "--listen", &listen]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {listen}")), "{output:?}");
}

/// Row 32: reading the configuration or validating it has no side effects.
#[test]
fn checking_starts_nothing_and_only_reads_the_engine() {
    let place = Place::new();
    let trace = place.path("trace");
    let config = place.configure(&format!(
        "engines: {{ home: {{ docker: 'unix://{}' }} }}\n\
         workloads:\n  \
           touch: {{ container: {{ process: {{ command: [touch, {}] }} }} }}\n  \
           db: {{ container: {{ name: db }}, routes: [{{ host: db.example }}] }}\n",
        place.path("docker.sock").display(),
        trace.display(),
    ));
    let good = json!({ "drowse.enable": "true", "drowse.host": "web.example" });
    let bad = json!({ "drowse.enable": "true", "drowse.idel": "5m" });
    let engine = FakeEngine::start(
        &place.path("docker.sock"),
        vec![container("db", &json!({})), container("web", &good), container("bad", &bad)],
    );
    let output = place.output(&["check", "--json", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> =
        report["workloads"].as_array().unwrap().iter().map(|line| &line["workload"]).collect();
    assert_eq!(names, ["touch", "db", "web"], "{report:#}");
    let problem = report["problems"][0]["message"].as_str().unwrap();
    assert!(problem.contains("container `bad`") && problem.contains("drowse.idle"), "{problem}");

    assert!(!trace.exists(), "a process was started");
    let requests = engine.requests();
    assert!(!requests.is_empty());
    for request in &requests {
        assert!(request.starts_with("GET "), "{requests:#?}");
    }
    assert!(!place.path("state").exists(), "a state folder was made");
}

#[test]
fn checking_an_engine_out_of_reach_ends_with_69() {
    let place = Place::new();
    let output = place.output(&["check"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(text(&output.stderr).contains("docker.sock"), "{output:?}");
}

/// Row 9: the engine is down when drowse starts.
#[test]
fn an_engine_that_comes_late_is_found_and_its_labels_count() {
    let place = Place::new();
    let drowse = place.run();
    let answer = place.get("web.example");
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable", "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after:"), "{answer}");
    assert!(place.output(&["list"]).status.success());

    let good = json!({ "drowse.enable": "true", "drowse.host": "web.example" });
    let bad = json!({ "drowse.enable": "true", "drowse.idle": "5" });
    let engine = FakeEngine::start(
        &place.path("docker.sock"),
        vec![container("web", &good), container("bad", &bad)],
    );
    place.state_of("web", "asleep");
    assert_eq!(status(&place.get("other.example")), "HTTP/1.1 404 Not Found");
    drowse.says("not managed: container `bad` on engine `docker`");
    for request in engine.requests() {
        assert!(request.starts_with("GET "), "{request}");
    }
}

#[test]
fn the_demo_tells_what_happens() {
    let place = Place::new();
    let listen = free_address();
    let demo =
        Running::start(place.command(&["demo", "--idle", "1s", "--listen", &listen.to_string()]));
    demo.says(&format!("http://{listen}/"));
    demo.says("waiting for a request");
    let answer = get(listen, &listen.to_string());
    assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{answer}");
    demo.says("a request from 127.0.0.1: waking it");
    demo.says("ready after");
    demo.says("idle for 1s: putting it to sleep");
    demo.says("MB given back");
    let mut demo = demo;
    demo.signal(Signal::INT);
    assert!(demo.ended().success());
}

#[test]
fn the_demo_takes_another_port_if_the_usual_one_is_taken() {
    let place = Place::new();
    // Whoever has it, it is taken from here on.
    let _other = std::net::TcpListener::bind("127.0.0.1:8080");
    let mut demo = Running::start(place.command(&["demo"]));
    demo.says("port 8080 is taken, so another one is used");
    demo.says("waiting for a request");
    demo.signal(Signal::TERM);
    assert!(demo.ended().success());
}

#[test]
fn the_log_is_json_if_asked() {
    let place = Place::new();
    place.configure_app(50, "1h", "");
    let config = place.path("drowse.yaml");
    let listen = place.listen.to_string();
    let drowse = Running::start(place.command(&[
        "run",
        "--log-format",
        "json",
        "--config",
        config.to_str().unwrap(),
        "--listen",
        &listen,
    ]));
    let log = drowse.says("\"to\":\"asleep\"");
    let line = log.lines().find(|line| line.contains("\"to\":\"asleep\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    for (key, value) in [("workload", "app"), ("engine", "processes"), ("from", "unread")] {
        assert_eq!(line[key], value, "{line}");
    }
}

/// The reference in the README names every key and every label.
#[test]
fn the_readme_names_what_the_help_names() {
    let readme = include_str!("../../README.md");
    let place = Place::new();
    let help = text(&place.output(&["--help"]).stdout);
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names = commands.map_while(|line| line.strip_prefix("  ")?.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        assert!(readme.contains(&format!("`drowse {name}")), "{name}");
    }
}
