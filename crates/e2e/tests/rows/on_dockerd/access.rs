//! Who may enter, asked before anything is woken.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use drowse_e2e::{Drowse, Site, TestContainer, Workload, scratch_folder};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{NEVER, tools};

/// The user `ann` with the password `secret`, as `htpasswd -B` writes it.
const USERS: &str = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// `ann:secret`.
const ANN: &str = "Basic YW5uOnNlY3JldA==";

/// Lets in whoever has the cookie, and sends everybody else to a login.
async fn portal() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: http::Request<Incoming>| async move {
                let is_known = request.headers().get("cookie").is_some_and(|it| it == "user=ann");
                let answer = if is_known {
                    http::Response::builder().header("remote-user", "ann")
                } else {
                    let uri = request.headers()["x-forwarded-uri"].to_str().unwrap();
                    let login = format!("https://auth.test/?rd={uri}");
                    http::Response::builder().status(302).header("location", login)
                };
                Ok::<_, Infallible>(answer.body(Full::<Bytes>::default()).unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

/// By source, by password, by asking; each for a host of its own.
fn routes(users: &Path, portal: SocketAddr) -> [String; 3] {
    [
        "host: near.test, allow: 127.0.0.2".to_owned(),
        format!("host: basic.test, basic_auth: {{ users_file: \"{}\" }}", users.display()),
        format!(
            "host: portal.test, forward_auth: {{ url: \"http://{portal}/check\", response_headers: \
             Remote-User }}"
        ),
    ]
}

/// A file of users, in a folder of its own.
fn users() -> (TempDir, PathBuf) {
    let folder = scratch_folder();
    let users = folder.path().join("users");
    std::fs::write(&users, USERS).unwrap();
    (folder, users)
}

/// A container that sleeps behind these routes, and has been read.
struct Guarded {
    site: Site,
    app: TestContainer,
    drowse: Drowse,
    _users: TempDir,
    _portal: AbortOnDropHandle<()>,
}

impl Guarded {
    async fn new(name: &str) -> Self {
        let site = Site::new().await;
        let app = site.container(name).create().await;
        let (folder, users) = users();
        let (portal, serving) = portal().await;
        let routes = routes(&users, portal);
        let drowse = site.start(&[Workload::by_routes(&app, &routes).idle(NEVER)]).await;
        drowse.wait_until_read(app.name()).await;
        Self { site, app, drowse, _users: folder, _portal: serving }
    }
}

#[tokio::test]
async fn row_30_nothing_is_woken_by_who_may_not_enter() {
    let guarded = Guarded::new("guarded").await;
    let Guarded { site, app, drowse, .. } = &guarded;
    for (host, status) in [("near.test", 403), ("basic.test", 401), ("portal.test", 302)] {
        let asks = ["/headers", "/.well-known/drowse/ready?path=/headers"];
        for target in asks {
            let answer = drowse.get(host, target).navigation().send().await;
            assert_eq!(answer.status, status, "{host}{target}");
            if status == 302 {
                assert_eq!(answer.header("location"), Some("https://auth.test/?rd=/headers"));
            }
        }
    }
    site.events.catch_up(app).await;
    assert_eq!(site.starts(app).await, 0);
    assert_eq!(app.state().await.status, "created");

    let told = drowse.get("basic.test", "/headers").header("authorization", ANN).send().await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(!told.text().contains(ANN), "{}", told.text());
    let told = drowse.get("portal.test", "/headers").header("cookie", "user=ann");
    let told = told.header("remote-user", "root").send().await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(told.text().contains("ann") && !told.text().contains("root"), "{}", told.text());
    let near = drowse.get("near.test", "/headers").source([127, 0, 0, 2]);
    assert_eq!(near.send().await.status, 200);
    assert_eq!(site.starts(app).await, 1);
}

/// curl, over HTTP/2 in clear: what it was answered, and its status.
async fn curl(drowse: &Drowse, host: &str, further: &[&str]) -> (String, String) {
    let (host, url) = (format!("Host: {host}"), format!("http://{}/headers", drowse.address()));
    let common = ["-sS", "--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}"];
    let arguments = [common.as_slice(), further, &["-H", &host, &url]].concat();
    let said = tools::ask("curl", &arguments).await;
    let (body, status) = said.rsplit_once('\n').unwrap();
    (body.to_owned(), status.to_owned())
}

#[tokio::test]
async fn row_30_over_http_2_as_well() {
    let guarded = Guarded::new("guarded-h2").await;
    let Guarded { site, app, drowse, .. } = &guarded;
    let wrong = ["-u", "ann:wrong"];
    for (host, further, status) in [
        ("near.test", [].as_slice(), "2 403"),
        ("basic.test", &[], "2 401"),
        ("basic.test", &wrong, "2 401"),
        ("portal.test", &[], "2 302"),
    ] {
        assert_eq!(curl(drowse, host, further).await.1, status, "{host}");
    }
    assert_eq!(site.starts(app).await, 0);

    let (told, status) = curl(drowse, "basic.test", &["-u", "ann:secret"]).await;
    assert!(status == "2 200" && !told.contains("authorization"), "{told} {status}");
    let known = ["-b", "user=ann", "-H", "Remote-User: root"];
    let (told, status) = curl(drowse, "portal.test", &known).await;
    assert_eq!(status, "2 200");
    assert!(told.contains("ann") && !told.contains("root"), "{told}");
    let near = ["--interface", "127.0.0.2"];
    assert_eq!(curl(drowse, "near.test", &near).await.1, "2 200");
    assert_eq!(site.starts(app).await, 1);
}

#[tokio::test]
async fn check_tells_who_may_enter() {
    let site = Site::new().await;
    let app = site.container("checked").create().await;
    let (_folder, users) = users();
    let routes = routes(&users, ([127, 0, 0, 1], 9091).into());
    let workload = Workload::by_routes(&app, &routes).idle(NEVER);
    let spec = site.drowse(std::slice::from_ref(&workload));
    let output = spec.command_output(["check", "--config", "drowse.yaml"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let said = said.replace(&users.display().to_string(), "USERS");
    let routes = said.lines().filter_map(|line| line.split_once(".test")?.1.split_once("; "));
    let access: Vec<&str> = routes.map(|(_, access)| access).collect();
    insta::assert_snapshot!(access.join("\n"), @r"
    only from 127.0.0.2
    with a password of `USERS`
    if `http://127.0.0.1:9091/check` agrees
    ");

    // A file that is not there is told before anybody is refused.
    std::fs::remove_file(&users).unwrap();
    let output = spec.command_output(["check", "--config", "drowse.yaml"]).await;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(&users.display().to_string(), "USERS");
    assert!(said.contains("USERS") && said.contains("No such file"), "{said}");
}
