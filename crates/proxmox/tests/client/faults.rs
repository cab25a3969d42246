//! An API that answers nonsense, too much, or nothing.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientError};

use crate::{
    patience,
    support::server::{Reply, Server},
    told,
};

async fn failing(reply: Reply) -> (ClientError, String) {
    let server = Server::start(move |_| reply.clone()).await;
    let error = server.client().resources(patience()).await.unwrap_err();
    let told = told(&error, &[server.endpoint().port()]);
    (error, told)
}

#[tokio::test]
async fn garbage_is_garbled_and_half_an_answer_unreachable() {
    let cases = [
        Reply::raw("SSH-2.0-OpenSSH_9.2p1\r\n"),
        Reply::kept("<html>hello</html>"),
        Reply::kept(r#"{"data":[{"vmid":101"#),
        Reply::kept(r#"{"data":"a text"}"#),
        Reply::kept(r#"{"data":null}"#),
        Reply::kept("{}"),
        Reply::kept(""),
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"data\":["),
        Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1_000_000))),
        Reply::cut(),
    ];
    let mut shown = Vec::new();
    for reply in cases {
        shown.push(failing(reply).await.1);
    }
    insta::assert_snapshot!(shown.join("\n"), @r#"
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not HTTP: invalid HTTP version parsed
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: expected value at line 1 column 1
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: EOF while parsing an object at line 1 column 20
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: invalid type: string "a text", expected a sequence at line 1 column 16
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: invalid type: null, expected a sequence at line 1 column 12
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: missing field `data` at line 1 column 2
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not the API's JSON: EOF while parsing a value at line 1 column 0
    `https://127.0.0.1:PORT1` cannot be reached: the connection broke in the middle of an answer: error reading a body from connection: end of file before message length reached
    the answer makes no sense: `https://127.0.0.1:PORT1` answers what is not HTTP: message head is too large
    `https://127.0.0.1:PORT1` cannot be reached: the connection broke before an answer came: is pveproxy restarting?
    "#);
}

#[tokio::test]
async fn a_hundred_megabytes_are_not_read() {
    let announced = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n{").and_hang();
    let (error, text) = failing(announced).await;
    assert!(matches!(error, ClientError::Garbled { .. }));
    insta::assert_snapshot!(text, @"the answer makes no sense: `https://127.0.0.1:PORT1` answers more than 33554432 bytes");

    // Not announced, and without end.
    let mut body = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    body.resize(40 * 1024 * 1024, b' ');
    let (error, _) = failing(Reply::raw(body).and_hang()).await;
    assert!(matches!(error, ClientError::Garbled { .. }));
}

#[tokio::test]
async fn one_container_is_not_a_megabyte() {
    let mut body = b"HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n".to_vec();
    body.resize(2 * 1024 * 1024, b' ');
    let server = Server::start(move |_| Reply::raw(body.clone())).await;
    let error = server.client().status("pve1", 201, patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Garbled { .. }));
}

#[tokio::test]
async fn ten_thousand_containers_are_read() {
    let row = |vmid| {
        format!(
            r#"{{"netout":0,"vmid":{vmid},"mem":0,"type":"lxc","cpu":0,"memhost":0,"status":"stopped","id":"lxc/{vmid}","diskread":0,"netin":0,"uptime":0,"maxmem":67108864,"maxdisk":4294967296,"maxcpu":2,"node":"pve1","disk":0,"name":"container-{vmid}","template":0,"diskwrite":0,"tags":"drowse;a;b","pool":"{}"}}"#,
            "p".repeat(200)
        )
    };
    let rows: Vec<String> = (100..10_100).map(row).collect();
    let body = format!(r#"{{"data":[{}]}}"#, rows.join(","));
    assert!(body.len() > 4_000_000);
    let server = Server::start(move |_| Reply::kept(&body)).await;
    assert_eq!(server.client().resources(patience()).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn no_answer_at_all_is_waited_for_until_the_requests_own_time_or_the_deadline() {
    let server = Server::start(|_| Reply::never()).await;
    let port = server.endpoint().port();
    let options = server.options().with_request_timeout(Duration::from_millis(100));
    let client = Client::new(options).unwrap();
    let error = client.version(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &[port]), @"`https://127.0.0.1:PORT1` cannot be reached: it has not answered for 100ms");

    let soon = Deadline::after(Duration::from_millis(100));
    let error = server.client().version(soon).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &[port]), @"not done within 100ms");
    let past = Deadline::after(Duration::ZERO);
    let error = server.client().version(past).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }));
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for_long() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = format!("https://127.0.0.1:{port}").parse().unwrap();
    let options = drowse_proxmox::ClientOptions::new(
        vec![endpoint],
        crate::support::server::token("secret"),
        drowse_proxmox::Trust::Anyone,
    );
    let client = Client::new(options.with_connect_timeout(Duration::from_millis(100))).unwrap();
    let error = client.version(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &[port]), @"`https://127.0.0.1:PORT1` cannot be reached: no answer from `127.0.0.1` on port PORT1: check the address, the network and the firewalls: timed out");
}

#[tokio::test]
async fn answers_come_byte_by_byte() {
    let server = Server::start(|_| Reply::kept(r#"{"data":{"version":"9.2.11"}}"#).slowly()).await;
    assert_eq!(server.client().version(patience()).await.unwrap().release, (9, 2));
    let server = Server::start(|_| Reply::error(500, "CT 201 not running").slowly()).await;
    let error = server.client().stop("pve1", 201, false, patience()).await.unwrap_err();
    assert_eq!(error.cause(), Some(drowse_proxmox::Cause::NotRunning));
}
