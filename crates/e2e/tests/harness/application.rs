//! The clients and the process wrapper, on the test application as a process. It stands in for
//! drowse: all that the wrapper needs is something that listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use drowse_e2e::http::{self, RawConnection};
use drowse_e2e::websocket::{self, Message};
use drowse_e2e::{DEADLINE, Drowse, DrowseSpec, scratch_folder, testapp};
use futures::{SinkExt, StreamExt};
use rustix::process::Signal;
use tempfile::TempDir;

/// A program that takes drowse's arguments and is the test application.
async fn start() -> (Drowse, TempDir) {
    let folder = scratch_folder();
    let program = folder.path().join("stand-in");
    let testapp = testapp().display().to_string();
    fs::write(&program, format!("#!/bin/sh\nexec {testapp}\n")).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let spec = DrowseSpec::of(program);
    let port = spec.address().port().to_string();
    let spec = spec.env("PORT", port).env("BIND", "127.0.0.1").env("HANDLE_HUP", "1");
    (spec.start().await, folder)
}

#[tokio::test]
async fn a_process_is_signalled_killed_and_started_again() {
    let (mut program, _folder) = start().await;
    program.logs().wait_for(&["ready"], DEADLINE).await;
    let first = http::get(program.address(), "/stamp").send().await.json();

    program.signal(Signal::HUP);
    program.logs().wait_for(&["signal HUP"], DEADLINE).await;
    program.kill().await;
    assert!(http::get(program.address(), "/").try_send().await.is_err());

    program.start_again().await;
    let second = http::get(program.address(), "/stamp").send().await.json();
    assert_ne!(first["run"], second["run"]);
    assert!(program.terminate(DEADLINE).await.success());
}

#[tokio::test]
async fn requests_carry_their_headers_and_bodies() {
    let (program, _folder) = start().await;
    let request = http::get(program.address(), "/headers").host("wiki.test").navigation();
    let seen = request.header("x-two", "a").header("x-two", "b").send().await.json();
    let headers = seen["headers"].to_string();
    for header in [r#"["host","wiki.test"]"#, r#"["x-two","a"],["x-two","b"]"#, "navigate"] {
        assert!(headers.contains(header), "{header} in {headers}");
    }
    let answer = http::post(program.address(), "/upload", vec![b'a'; 100_000]).send().await;
    assert_eq!(answer.json()["bytes"], 100_000);
    let answer = http::get(program.address(), "/status/503").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-length")), (503, Some("24")));
}

#[tokio::test]
async fn a_body_is_read_as_it_comes() {
    let (program, _folder) = start().await;
    let mut events = http::get(program.address(), "/sse?ms=1").open().await;
    for number in 0..3 {
        let event = events.chunk(DEADLINE).await.unwrap().unwrap();
        assert_eq!(event, format!("data: {number}\n\n"));
    }
    let mut stream = http::get(program.address(), "/stream?bytes=1000&ms=20").open().await;
    let mut length = 0;
    while let Some(chunk) = stream.chunk(DEADLINE).await.unwrap() {
        length += chunk.len();
    }
    assert_eq!(length, 1_000);
}

#[tokio::test]
async fn a_raw_connection_says_and_hears_each_byte() {
    let (program, _folder) = start().await;
    let mut connection = RawConnection::open(program.address()).await;
    connection.send("GET /status/204 HTTP/1.1\r\nHo").await;
    connection.send("st: a\r\n\r\nGET /keepalive-close HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(connection.read_head(DEADLINE).await.starts_with("HTTP/1.1 204"));
    let head = connection.read_head(DEADLINE).await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("connection: close"), "{head}");
    assert_eq!(connection.read_to_end(DEADLINE).await, "and gone\n");

    let mut connection = RawConnection::open(program.address()).await;
    connection.send("GET /close HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(connection.read_to_end(DEADLINE).await, "");
}

#[tokio::test]
async fn a_websocket_echoes() {
    let (program, _folder) = start().await;
    let mut socket = websocket::connect(program.address(), "wiki.test", "/ws").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    assert!(websocket::connect(program.address(), "wiki.test", "/").await.is_err());
}
