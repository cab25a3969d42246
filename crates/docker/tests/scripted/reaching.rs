//! Engines that cannot be reached, and what is said of it.

use drowse_docker::{DockerEngine, DockerOptions};
use drowse_provider::{Engine, Error, ErrorKind, Reach};

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
    let error = DockerEngine::connect("home", "ssh://nas", DockerOptions::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn a_remote_engine_is_reached_under_its_name() {
    let engine = DockerEngine::connect("nas", "tcp://nas:2375", DockerOptions::new()).unwrap();
    assert_eq!(engine.reach(), Reach::Remote("nas".to_owned()));
}
