//! Connections that are kept, and those that are not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    patience,
    support::server::{Reply, Server, eventually, later},
};

const VERSION: &str = r#"{"data":{"version":"9.2.11"}}"#;

#[tokio::test]
async fn what_pveproxy_answers_itself_goes_over_one_connection() {
    let server = Server::start(|request| match &*request.path {
        "/version" => Reply::kept(VERSION),
        _ => Reply::kept(r#"{"data":[]}"#),
    })
    .await;
    let client = server.client();
    for _ in 0..3 {
        client.version(patience()).await.unwrap();
        client.nodes(patience()).await.unwrap();
        client.resources(patience()).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    let asked_to_close =
        |request: &crate::support::server::Request| request.header("connection") == Some("close");
    assert!(!server.requests().iter().any(asked_to_close));
}

#[tokio::test]
async fn ninety_requests_are_the_most_for_one_connection() {
    let server = Server::start(|_| Reply::kept(VERSION)).await;
    let client = server.client();
    for _ in 0..100 {
        client.version(patience()).await.unwrap();
    }
    let of_first = server.requests().iter().filter(|request| request.connection == 1).count();
    assert_eq!((of_first, server.connections()), (90, 2));
}

#[tokio::test]
async fn close_counts_even_beside_keep_alive() {
    // It says both, and stays open all the same.
    let server = Server::start(|_| Reply::ok(VERSION).and_hang()).await;
    let client = server.client();
    client.version(patience()).await.unwrap();
    client.version(patience()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_is_passed_on_has_a_connection_of_its_own() {
    let server = Server::start(|_| Reply::kept(r#"{"data":[]}"#)).await;
    let client = server.client();
    client.containers_of("pve1", patience()).await.unwrap();
    client.containers_of("pve1", patience()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_not_an_error() {
    // The second request on a connection finds it closed.
    let counted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counted);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        1 => Reply::cut(),
        _ => Reply::kept(VERSION),
    })
    .await;
    let client = server.client();
    client.version(patience()).await.unwrap();
    client.version(patience()).await.unwrap();
    assert_eq!(counted.load(Ordering::Relaxed), 3, "asked once more, on a new connection");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_fresh_connection_that_is_cut_is_one() {
    let server = Server::start(|_| Reply::cut()).await;
    server.client().version(patience()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_is_used_for_three_seconds_only() {
    let server = Server::start(|_| Reply::kept(VERSION)).await;
    let client = server.client();
    client.version(patience()).await.unwrap();
    later(Duration::from_secs(3)).await;
    client.version(patience()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn closing_ends_the_calls_in_flight_and_those_after() {
    let server = Arc::new(Server::start(|_| Reply::never()).await);
    let client = server.client();
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.start("pve1", 201, patience()).await }
    });
    eventually("the call is under way", || !server.requests().is_empty()).await;
    client.close().await;
    eventually("the connection has ended", || server.open() == 0).await;
    insta::assert_snapshot!(calling.await.unwrap().unwrap_err(), @"the client is closed");
    let after = client.version(patience()).await.unwrap_err();
    assert!(matches!(after, drowse_proxmox::ClientError::Closed));
}

#[tokio::test]
async fn the_last_handle_that_is_dropped_ends_the_connections() {
    let server = Server::start(|_| Reply::kept(VERSION)).await;
    let client = server.client();
    let other = client.urgent();
    client.version(patience()).await.unwrap();
    drop(client);
    other.version(patience()).await.unwrap();
    assert_eq!((server.connections(), server.open()), (1, 1));
    drop(other);
    eventually("the connection has ended", || server.open() == 0).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_connection() {
    let server = Arc::new(Server::start(|_| Reply::never()).await);
    let client = server.client();
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.version(patience()).await }
    });
    eventually("the call is under way", || !server.requests().is_empty()).await;
    calling.abort();
    eventually("the connection has ended", || server.open() == 0).await;
}
