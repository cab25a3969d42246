//! What goes to the application and back, by curl.

use std::process::Stdio;

use drowse_e2e::{DEADLINE, Drowse, DrowseSpec, Site, TestContainer, within};
use serde_json::{Value, json};
use tokio::process::Command;

use super::NEVER;

/// What curl has seen: the answer's head as it came, with any before it, and its body.
struct Seen {
    head: String,
    body: Vec<u8>,
    log: String,
}

impl Seen {
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}{}", self.head, self.log))
    }
}

async fn curl(drowse: &Drowse, app: &TestContainer, path: &str, arguments: &[&str]) -> Seen {
    let folder = drowse_e2e::scratch_folder();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let (host, address) = (app.host(), drowse.address());
    let run = Command::new("curl")
        .args(["--silent", "--show-error", "--verbose", "--max-time", "60"])
        .args(["--connect-to", &format!("::{address}")])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(arguments)
        .arg(format!("http://{host}{path}"))
        .stdin(Stdio::null())
        .output();
    let output =
        within(DEADLINE, "curl to end", run).await.unwrap_or_else(|error| panic!("curl: {error}"));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{path}: {}: {log}", output.status);
    let head = std::fs::read_to_string(head).unwrap().to_ascii_lowercase();
    Seen { head, body: std::fs::read(body).unwrap_or_default(), log }
}

/// A sleeping container, and a drowse before it with this route (and its host).
async fn asleep(name: &str, route: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = site.container(name).create().await;
    let (engine, name, host) = (site.relay.url(), app.name(), app.host());
    let config = format!(
        "engines: {{ home: {{ docker: \"{engine}\" }} }}\n\
         workloads:\n  {name}:\n    container: {{ name: \"{name}\" }}\n    idle: {NEVER}\n    \
         routes: [{{ host: \"{host}\", port: 80{route} }}]\n"
    );
    let drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read(app.name()).await;
    (site, app, drowse)
}

#[tokio::test]
async fn an_upload_that_wakes_arrives_whole() {
    let (site, app, drowse) = asleep("upload", "").await;
    let folder = drowse_e2e::scratch_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "0123456789abcdef".repeat(256 * 1024)).unwrap();
    let file = file.display().to_string();
    // With curl's own `Expect: 100-continue`, as one length and in chunks.
    for arguments in [&["-T", &file][..], &["-T", &file, "-H", "Transfer-Encoding: chunked"]] {
        let seen = curl(&drowse, &app, "/upload", arguments).await;
        assert_eq!(seen.json()["bytes"], 4 * 1024 * 1024, "{}", seen.log);
        assert!(seen.head.starts_with("http/1.1 100"), "{}", seen.head);
    }
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn a_body_that_the_application_does_not_want_is_not_asked_for() {
    let (_site, app, drowse) = asleep("refuses", "").await;
    curl(&drowse, &app, "/", &[]).await;
    let folder = drowse_e2e::scratch_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, vec![b'a'; 64 * 1024 * 1024]).unwrap();
    let file = file.display().to_string();
    let expecting = ["-T", &file, "--expect100-timeout", "30"];
    let seen = curl(&drowse, &app, "/refuse", &expecting).await;
    assert!(seen.head.starts_with("http/1.1 413"), "asked for it: {}", seen.head);
    // Sent without asking, the answer comes all the same.
    let seen = curl(&drowse, &app, "/refuse", &["-T", &file, "-H", "Expect:"]).await;
    assert!(seen.head.starts_with("http/1.1 413"), "{}", seen.head);
    let answer = curl(&drowse, &app, "/", &[]).await;
    assert!(answer.head.starts_with("http/1.1 200"), "{}", answer.head);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (_site, app, drowse) = asleep("trailers", "").await;
    let seen = curl(&drowse, &app, "/trailers", &["-H", "TE: trailers", "-d", "abc"]).await;
    assert!(seen.head.contains("\r\n\r\nx-sum: 3\r\n"), "{}", seen.head);
    assert_eq!(seen.json(), json!([]));
}

#[tokio::test]
async fn a_prefix_is_taken_off_and_headers_are_changed() {
    let route = ", path: /app, strip_prefix: true, request_headers: { X-From: drowse, \
                 User-Agent: null }, response_headers: { X-Frame-Options: DENY }";
    let (_site, app, drowse) = asleep("prefix", route).await;
    let seen = curl(&drowse, &app, "/app/headers?x=1", &[]).await;
    assert!(seen.head.contains("x-frame-options: deny"), "{}", seen.head);
    let told = seen.json();
    assert_eq!(told["path"], "/headers?x=1");
    let headers = told["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-forwarded-prefix", "/app"])), "{told}");
    assert!(headers.contains(&json!(["x-from", "drowse"])), "{told}");
    assert!(!headers.iter().any(|header| header[0] == "user-agent"), "{told}");
}

#[tokio::test]
async fn what_is_served_by_https_alone_is_sent_there_and_stays_asleep() {
    let (site, app, drowse) = asleep("secure", ", https_only: true").await;
    let seen = curl(&drowse, &app, "/a?b=c", &["-d", "abc"]).await;
    assert!(seen.head.starts_with("http/1.1 308"), "{}", seen.head);
    let location = format!("location: https://{}/a?b=c\r\n", app.host());
    assert!(seen.head.contains(&location), "{}", seen.head);
    assert_eq!(site.starts(&app).await, 0);
}
