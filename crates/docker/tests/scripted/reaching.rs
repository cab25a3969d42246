//! Engines that cannot be reached, and what is said of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use drowse_docker::{DockerEngine, DockerOptions};
use drowse_provider::{Engine, Error, ErrorKind, Reach};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::engine::patience;

async fn failure(url: &str) -> Error {
    let engine = DockerEngine::connect("home", url, DockerOptions::new()).unwrap();
    let error = engine.list(patience()).await.unwrap_err();
    assert_eq!(error.engine(), "home");
    error
}

#[track_caller]
fn assert_unavailable(error: &Error, words: &str) {
    match error.kind() {
        ErrorKind::Unavailable { reason } => assert!(reason.contains(words), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_wrong_path_is_named() {
    let error = failure("unix:///no/such/docker.sock").await;
    assert_unavailable(&error, "there is no socket at `/no/such/docker.sock`");
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_and_a_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_unavailable(&failure(socket.to_str().unwrap()).await, "nothing listens on the socket");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_unavailable(&failure(file.to_str().unwrap()).await, "is not a socket");
}

#[tokio::test]
async fn a_refused_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = failure(&format!("tcp://{address}")).await;
    assert_unavailable(&error, &format!("refuses connections on port {}", address.port()));
}

#[tokio::test]
async fn a_host_that_has_no_address_is_named() {
    let error = failure("tcp://no-such-host.invalid:2375").await;
    assert_unavailable(&error, "`no-such-host.invalid`");
}

#[test]
fn a_url_that_cannot_be_understood_is_refused_at_once() {
    let error = DockerEngine::connect("home", "ftp://nas", DockerOptions::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
}

#[cfg(not(feature = "ssh"))]
#[test]
fn without_its_feature_ssh_is_refused_by_name() {
    let error = DockerEngine::connect("home", "ssh://nas", DockerOptions::new()).unwrap_err();
    assert!(error.to_string().contains("the feature `ssh` of drowse-docker"), "{error}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_its_feature_tls_is_refused_by_name() {
    let location = drowse_docker::Location::new("tcp://nas");
    let location = location.with_tls(drowse_docker::TlsFiles::new("/ca.pem"));
    let error = DockerEngine::connect("home", location, DockerOptions::new()).unwrap_err();
    assert!(error.to_string().contains("the feature `tls` of drowse-docker"), "{error}");
}

#[tokio::test]
async fn a_remote_engine_is_reached_under_its_name() {
    let engine = DockerEngine::connect("nas", "tcp://nas:2375", DockerOptions::new()).unwrap();
    assert_eq!(engine.reach(), Reach::Remote("nas".to_owned()));
}

/// One answer to each question, as an engine on the machine `name` gives it at a port of `host`, which
/// leads to us.
async fn answering(host: &str, name: &str) -> DockerEngine {
    answering_about_itself(host, Some(name)).await.0
}

/// The same; `None`: it never says anything of itself. Also how often it was asked to.
async fn answering_about_itself(
    host: &str,
    name: Option<&str>,
) -> (DockerEngine, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{host}:{}", listener.local_addr().unwrap().port());
    let info =
        name.map(|name| format!(r#"{{"Name":"{name}","SecurityOptions":["name=seccomp"]}}"#));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (info, count) = (info.clone(), count.clone());
            tokio::spawn(async move {
                let mut head = vec![0; 4_096];
                let length = stream.read(&mut head).await.unwrap();
                let asked = String::from_utf8_lossy(&head[..length]).into_owned();
                let body = match asked.split(' ').nth(1) {
                    Some(path) if path.ends_with("/info") => {
                        count.fetch_add(1, Ordering::Relaxed);
                        match &info {
                            Some(info) => info.as_str(),
                            None => std::future::pending().await,
                        }
                    }
                    Some(path) if path.ends_with("/version") => r#"{"ApiVersion":"1.41"}"#,
                    _ => "[]",
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    let engine = DockerEngine::connect("home", &url, DockerOptions::new()).unwrap();
    engine.list(patience()).await.unwrap();
    (engine, asked)
}

#[tokio::test]
async fn row_42_a_port_of_ours_that_leads_to_another_machine_is_not_this_machine() {
    assert_eq!(answering("127.0.0.1", "nas").await.reach(), Reach::LocalPublishedOnly);
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(answering("127.0.0.1", here.trim()).await.reach(), Reach::Local);
}

/// A socket proxy looks like another machine, and may be on this one.
#[tokio::test]
async fn what_is_reached_like_another_machine_tells_its_machines_name_too() {
    // No address as it is mostly written, and so nobody's that is known.
    let engine = answering("127.1", "docker-host").await;
    assert_eq!(engine.reach(), Reach::Remote("127.1".to_owned()));
    assert_eq!(engine.machine().as_deref(), Some("docker-host"));
}

#[tokio::test]
async fn an_engine_that_says_nothing_of_itself_is_not_waited_for_with_each_list() {
    let (engine, asked) = answering_about_itself("127.1", None).await;
    for _ in 0..3 {
        engine.list(patience()).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(engine.reach(), Reach::Remote("127.1".to_owned()));
}
