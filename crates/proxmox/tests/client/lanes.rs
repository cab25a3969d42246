//! Polling that hangs does not hold up an order.

use std::sync::Arc;

use drowse_proxmox::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    patience,
    support::server::{Reply, Request, Server, eventually},
};

const UPID: &str = "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:201:root@pam!test:";

#[tokio::test]
async fn an_order_and_what_it_waits_for_pass_by_reads_that_hang() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let server = Arc::new(
        Server::start(move |request: &Request| match &*request.path {
            "/nodes/stuck/lxc" => Reply::ok(r#"{"data":[]}"#).after(&opened),
            "/nodes/pve1/lxc/201/status/current" => {
                Reply::ok(r#"{"data":{"status":"running","pid":7}}"#)
            }
            "/nodes/pve1/lxc/201/status/start" => Reply::ok(format!(r#"{{"data":"{UPID}"}}"#)),
            "/nodes/pve1/lxc" => Reply::ok(r#"{"data":[]}"#),
            _ => Reply::ok(r#"{"data":{"status":"stopped","exitstatus":"OK"}}"#),
        })
        .await,
    );
    let client = server.client();
    let mut polling = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        polling.spawn(async move { client.containers_of("stuck", patience()).await });
    }
    let stuck = || server.lines().iter().filter(|line| line.ends_with("/stuck/lxc")).count();
    // Of eight places, two are not for reading.
    eventually("all places for reading are taken", || stuck() == 6).await;

    let upid = client.start("pve1", 201, patience()).await.unwrap();
    client.finished(&upid, patience()).await.unwrap();
    let status = client.urgent().status("pve1", 201, patience()).await.unwrap();
    assert_eq!(status.status, "running");
    assert_eq!(stuck(), 6, "no further read has begun");

    // A read like any other waits.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.containers_of("pve1", patience()).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    gate.cancel();
    waiting.await.unwrap().unwrap();
    assert!(polling.join_all().await.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(stuck(), 20);
}

#[tokio::test]
async fn a_read_that_is_given_up_leaves_its_place() {
    let server = Arc::new(
        Server::start(|request: &Request| match &*request.path {
            "/nodes/stuck/lxc" => Reply::never(),
            _ => Reply::ok(r#"{"data":[]}"#),
        })
        .await,
    );
    let client = server.client();
    let mut polling = JoinSet::new();
    for _ in 0..6 {
        let client = client.clone();
        polling.spawn(async move { client.containers_of("stuck", patience()).await });
    }
    eventually("all places for reading are taken", || server.requests().len() == 6).await;
    polling.shutdown().await;
    client.containers_of("pve1", patience()).await.unwrap();
}

#[tokio::test]
async fn an_order_and_a_beat_pass_by_urgent_reads_that_hang() {
    let server = Arc::new(
        Server::start(|request: &Request| match &*request.method {
            "GET" if request.path.starts_with("/nodes/") => Reply::never(),
            "GET" => Reply::kept(r#"{"data":[]}"#),
            _ => Reply::ok(format!(r#"{{"data":"{UPID}"}}"#)),
        })
        .await,
    );
    // Whatever the bound: mere reads leave a place for urgent ones, and those one for orders.
    for (in_flight, hanging) in [(8, [6, 7]), (4, [2, 3]), (1, [1, 2])] {
        let client = Client::new(server.options().with_in_flight(in_flight)).unwrap();
        let mut reads = JoinSet::new();
        let before = server.requests().len();
        for (client, hanging) in [client.clone(), client.urgent()].into_iter().zip(hanging) {
            for _ in 0..10 {
                let client = client.clone();
                reads.spawn(async move { client.status("stuck", 201, patience()).await });
            }
            let asked = || server.requests().len() - before;
            eventually("all places for these reads are taken", || asked() == hanging).await;
        }
        // Nor does the cluster itself wait for them.
        client.resources(patience()).await.unwrap();
        client.start("pve1", 201, patience()).await.unwrap();
        assert_eq!(server.requests().len() - before, hanging[1] + 2);
        reads.shutdown().await;
    }
}
