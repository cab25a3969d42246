//! Orders: what is sent, and what is known when no answer comes.

use std::time::Duration;

use drowse_proxmox::ClientError;

use crate::{
    patience,
    support::server::{Reply, Server},
};

const UPID: &str = "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:";

fn taken() -> Reply {
    Reply::ok(format!(r#"{{"data":"{UPID}"}}"#))
}

#[tokio::test]
async fn an_order_is_a_form_with_its_length_and_booleans_are_digits() {
    let server = Server::start(|_| taken()).await;
    let client = server.client();
    let upid = client.start("pve1", 202, patience()).await.unwrap();
    assert_eq!(upid.to_string(), UPID);
    let brief = Duration::from_millis(1200);
    client.shutdown("pve1", 202, brief, true, patience()).await.unwrap();
    // Zero would make Proxmox wait for ever.
    client.shutdown("pve1", 202, Duration::ZERO, false, patience()).await.unwrap();
    client.stop("pve1", 202, false, patience()).await.unwrap();
    client.stop("pve1", 202, true, patience()).await.unwrap();
    let shown: Vec<_> = server
        .requests()
        .iter()
        .map(|request| {
            format!(
                "{} [{}] {}",
                request.line(),
                request.header("content-length").unwrap(),
                request.body
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    POST /nodes/pve1/lxc/202/status/start [0] 
    POST /nodes/pve1/lxc/202/status/shutdown [21] timeout=2&forceStop=1
    POST /nodes/pve1/lxc/202/status/shutdown [21] timeout=1&forceStop=0
    POST /nodes/pve1/lxc/202/status/stop [0] 
    POST /nodes/pve1/lxc/202/status/stop [19] overrule-shutdown=1
    ");
    for request in server.requests() {
        assert_eq!(request.header("transfer-encoding"), None);
        assert_eq!(request.header("accept-encoding"), None);
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(request.header("authorization"), Some("PVEAPIToken=drowse@pve!main=secret"));
    }
    assert_eq!(server.connections(), 5, "each order has a connection of its own");
}

#[tokio::test]
async fn no_timeout_is_too_long_to_be_said() {
    let server = Server::start(|_| taken()).await;
    server.client().shutdown("pve1", 202, Duration::MAX, true, patience()).await.unwrap();
    assert_eq!(server.requests()[0].body, "timeout=18446744073709551615&forceStop=1");
}

#[tokio::test]
async fn an_order_whose_connection_is_cut_has_an_unknown_outcome_and_is_not_repeated() {
    let after_a_part = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"da");
    for reply in [Reply::cut(), after_a_part, Reply::raw("HTTP/1.1 2"), Reply::ok("{\"data\":")] {
        let other = Server::start(|_| taken()).await;
        let server = Server::start(move |_| reply.clone()).await;
        let endpoints = vec![server.endpoint(), other.endpoint()];
        let client = client_of(endpoints, [&server, &other]);
        let error = client.start("pve1", 202, patience()).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error:?}");
        assert_eq!(server.lines(), ["POST /nodes/pve1/lxc/202/status/start"]);
        assert_eq!(other.lines(), [""; 0]);
    }
}

#[tokio::test]
async fn an_order_that_no_node_has_seen_goes_by_another_endpoint() {
    let other = Server::start(|_| taken()).await;
    let server = Server::start(|_| Reply::bare(595, "No route to host")).await;
    let client = client_of(vec![server.endpoint(), other.endpoint()], [&server, &other]);
    client.start("pve2", 202, patience()).await.unwrap();
    assert_eq!(other.lines(), ["POST /nodes/pve2/lxc/202/status/start"]);
}

#[tokio::test]
async fn an_order_that_a_node_may_have_seen_does_not() {
    let other = Server::start(|_| taken()).await;
    let server = Server::start(|_| Reply::bare(596, "Connection timed out")).await;
    let client = client_of(vec![server.endpoint(), other.endpoint()], [&server, &other]);
    let error = client.start("pve2", 202, patience()).await.unwrap_err();
    assert!(error.is_outcome_unknown());
    insta::assert_snapshot!(error, @"node `pve2` cannot be reached by the cluster: Connection timed out");
    assert_eq!(other.lines(), [""; 0]);
}

#[tokio::test]
async fn an_order_that_is_refused_was_not_taken() {
    for reply in [
        Reply::error(500, "CT 202 already running"),
        Reply::error(403, "Permission check failed (/vms/202, VM.PowerMgmt)"),
        Reply::bare(595, "Connection refused"),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let error = server.client().start("pve1", 202, patience()).await.unwrap_err();
        assert!(!error.is_outcome_unknown(), "{error:?}");
    }
}

#[tokio::test]
async fn an_order_without_an_answer_in_time_is_unresolved() {
    let server = Server::start(|_| Reply::never()).await;
    let options = server.options().with_request_timeout(Duration::from_millis(200));
    let client = drowse_proxmox::Client::new(options).unwrap();
    let error = client.start("pve1", 202, patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { was_sent: true, .. }), "{error:?}");

    let soon = drowse_provider::Deadline::after(Duration::from_millis(200));
    let error = server.client().start("pve1", 202, soon).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

fn client_of(
    endpoints: Vec<drowse_proxmox::Endpoint>,
    servers: [&Server; 2],
) -> drowse_proxmox::Client {
    crate::endpoints::client_of(endpoints, &servers)
}
