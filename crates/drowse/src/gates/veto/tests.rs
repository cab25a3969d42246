use std::sync::Arc;

use drowse_gateway::{Chooser, UpstreamPolicy, Vantage};
use drowse_provider::{
    Capabilities, ContainerStatus, Engine, Observation, Port, Reach, testing::ScriptedEngine,
};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};

use super::*;
use crate::gates::testing::Warnings;

fn details() -> Details {
    let observation = Observation::new(ContainerStatus::Running, None);
    Details::new("0123", "app", observation)
}

// === By a path ===

/// Answers each connection with the next of these, and closes it; what was asked.
async fn asked(answers: &[&str]) -> (Vec<String>, Vec<Result<(), String>>) {
    // Whoever is the first to warn where nobody listens may leave that place mute for all.
    let _listening = Warnings::listen();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let engine: Arc<dyn Engine> =
        Arc::new(ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback));
    let chooser = Chooser::new(engine, Vantage::Host, UpstreamPolicy::new().with_port(port));
    let veto = Veto::by_path("app", HttpVeto::new(chooser, "/busy?now").with_host("app.test"));
    let mut details = details();
    details.exposed = vec![Port::tcp(port)];
    let (mut heads, mut said) = (Vec::new(), Vec::new());
    for answer in answers {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        };
        let (head, answer) = tokio::join!(serve, veto.may_sleep(&details));
        heads.push(head);
        let words = |busy: Busy| busy.to_string().replace(&port.to_string(), "PORT");
        said.push(answer.map_err(words));
    }
    (heads, said)
}

#[tokio::test]
async fn an_application_says_whether_it_may_sleep() {
    let (heads, said) = asked(&[
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 23\r\n\r\n3 jobs \x1b[31mleft\nand more",
        "HTTP/1.1 423 Locked\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 409 Conflict\r\nContent-Length: 999999\r\n\r\nit breaks off",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
        "",
    ])
    .await;
    assert!(heads[0].starts_with("GET /busy?now HTTP/1.1\r\n"), "{heads:?}");
    for header in ["host: app.test\r\n", "drowse-veto: 1\r\n"] {
        assert!(heads[0].contains(header), "{heads:?}");
    }
    let said = said.into_iter().map(|said| said.err().unwrap_or_else(|| "may sleep".to_owned()));
    insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @r"
    may sleep
    may sleep
    its veto at `/busy?now`: 3 jobs \u{1b}[31mleft
    its veto at `/busy?now`: busy
    its veto at `/busy?now`: it breaks off
    its veto at `/busy?now`: no answer that means anything: it answers 404 Not Found
    its veto at `/busy?now`: no answer that means anything: it answers 302 Found
    its veto at `/busy?now`: no answer that means anything: 127.0.0.1:PORT: connection closed before message completed
    ");
}

#[test]
fn what_was_said_is_bounded() {
    let answer = VetoAnswer::new(StatusCode::CONFLICT, "x".repeat(1_024).into_bytes());
    assert_eq!(meaning(&answer), Answer::Busy("x".repeat(SHOWN_CHARACTERS)));
    assert_eq!(
        first_line(b"\r\n\n  it's \"so\"\xff\x07  \nx", "busy"),
        "it's \"so\"\u{fffd}\\u{7}"
    );
    assert_eq!(first_line(b" \n", "busy"), "busy");
}

#[tokio::test]
async fn who_never_answers_is_seen_and_keeps_awake() {
    let (warnings, _listening) = Warnings::listen();
    let command = vec!["/no/such/program".to_owned()];
    let veto = Veto::by_command("app", "home", command);
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(veto.may_sleep(&details()).await.unwrap_err().to_string());
    }
    said.dedup();
    insta::assert_snapshot!(said.join("\n"), @"its veto by `/no/such/program`: no answer that means anything: it cannot be started: No such file or directory (os error 2)");
    insta::assert_snapshot!(warnings.text(), @r#" WARN its veto by `/no/such/program` gives no answer, and keeps the workload awake until it does workload="app" error="it cannot be started: No such file or directory (os error 2)""#);
}

// === By a command ===

async fn run(script: &str) -> Answer {
    run_within(script, TIMEOUT).await
}

const TIMEOUT: Duration = Duration::from_secs(30);

async fn run_within(script: &str, timeout: Duration) -> Answer {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    VetoCommand::new("wiki", "home", command).within(timeout).ask(&details()).await
}

#[tokio::test]
async fn a_command_says_whether_it_may_sleep() {
    assert_eq!(run("exit 0").await, Answer::MaySleep);
    assert_eq!(run("echo; echo ' a backup runs '; echo more; exit 1").await, busy("a backup runs"));
    assert_eq!(run("echo no disk >&2; exit 99").await, busy("no disk"));
    assert_eq!(run("exit 5").await, busy("it says nothing"));
    let environment = "echo $DROWSE_WORKLOAD $DROWSE_ENGINE $DROWSE_CONTAINER_NAME \
                       $DROWSE_CONTAINER_ID $CARGO_MANIFEST_DIR; exit 1";
    assert_eq!(run(environment).await, busy("wiki home app 0123"));
    let none = [run("exit 100").await, run("kill -9 $$").await, run("no-such-program").await];
    insta::assert_debug_snapshot!(none, @r#"
    [
        None(
            "it ended with exit status: 100: it says nothing",
        ),
        None(
            "it ended with signal: 9 (SIGKILL): it says nothing",
        ),
        None(
            "it ended with exit status: 127: sh: 1: no-such-program: not found",
        ),
    ]
    "#);
}

fn busy(reason: &str) -> Answer {
    Answer::Busy(reason.to_owned())
}

#[tokio::test]
async fn a_torrent_of_output_neither_fills_memory_nor_stops_it() {
    assert_eq!(run("yes | head -c 3000000; exit 1").await, busy("y"));
}

/// Whether a process with this number runs, or stands still.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

async fn is_gone(pid: &str) {
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, gone).await.unwrap();
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_not_waited_for() {
    let Answer::Busy(pid) = run("sleep 1000 & echo $!; exit 1").await else { panic!("not busy") };
    assert!(is_alive(&pid));
    std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
}

/// A command that runs for ever, and so does its child: their numbers, once they run.
fn endless(folder: &tempfile::TempDir) -> (String, std::path::PathBuf) {
    let file = folder.path().join("pids");
    let script = format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", file.display());
    (script, file)
}

async fn pids(file: &std::path::Path) -> Vec<String> {
    let written = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(file) {
                return text.split_whitespace().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, written).await.unwrap()
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = endless(&folder);
    let said = run_within(&script, Duration::from_secs(1)).await;
    assert_eq!(said, Answer::None("it did not end within 1s".to_owned()));
    for pid in pids(&file).await {
        is_gone(&pid).await;
    }
}

#[tokio::test]
async fn nor_does_it_outlive_whoever_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (script, file) = endless(&folder);
    let asking = tokio::spawn(async move { run(&script).await });
    let pids = pids(&file).await;
    asking.abort();
    for pid in pids {
        is_gone(&pid).await;
    }
}

#[tokio::test]
async fn a_command_waits_for_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let places: &'static Semaphore = Box::leak(Box::new(Semaphore::new(1)));
    let command = |script: String| {
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        VetoCommand::new("wiki", "home", command).at(places)
    };
    let (script, file) = endless(&folder);
    let endless = command(script);
    let asking = tokio::spawn(async move { endless.ask(&details()).await });
    let pids = pids(&file).await;
    let second = command("exit 0".to_owned());
    let details = details();
    let mut second = std::pin::pin!(second.ask(&details));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(places.available_permits(), 0);
    asking.abort();
    assert_eq!(second.await, Answer::MaySleep);
    for pid in pids {
        is_gone(&pid).await;
    }
}
