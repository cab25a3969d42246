//! Answers whose end is said in two ways, or in one that nobody here can undo: whatever two readers could
//! read differently is not passed on as it came (RFC 9112 section 6.3).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    client::{self, request},
    http2::{Connection, to_app},
    site::Site,
    stalls::leads_to,
};

/// A site whose upstream answers the first request of each connection so, keeps that open, and never
/// answers another on it; and how often that was connected to.
async fn answered_with(answer: &str) -> (Site, Arc<AtomicUsize>) {
    let site = Site::ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    leads_to(&site, listener.local_addr().unwrap());
    let connected = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (Arc::clone(&connected), answer.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await? > 0 {}
                stream.write_all(answer.as_bytes()).await?;
                stream.read_to_end(&mut head).await
            });
        }
    });
    (site, connected)
}

#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_ends_the_use_of_its_connection() {
    for length in [0, 3, 5, 9] {
        let (site, connected) = answered_with(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n"
        ))
        .await;
        let mut client = client::connect(site.address).await;
        let streams = Connection::to(site.address).await;
        for _ in 0..2 {
            let over_http1 = client::soon(client::send(&mut client, request("/", &[]))).await;
            for answer in [over_http1, streams.get("/").await] {
                assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"), "{length}");
                assert!(!answer.headers.contains_key("content-length"), "{answer:?}");
            }
        }
        assert_eq!(connected.load(Ordering::Relaxed), 4);
        site.has_leases(0).await;
    }
}

#[tokio::test]
async fn a_head_with_both_is_passed_on_without_a_length() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n";
    let (site, connected) = answered_with(head).await;
    let streams = Connection::to(site.address).await;
    for _ in 0..2 {
        let answer = streams.send(to_app("/").method("HEAD")).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("content-length"), "{answer:?}");
    }
    assert_eq!(connected.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_answer_that_is_encoded_for_the_way_is_refused() {
    for framing in [
        "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\nhello",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let (site, connected) = answered_with(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        let mut client = client::connect(site.address).await;
        let streams = Connection::to(site.address).await;
        for _ in 0..2 {
            let over_http1 = client::soon(client::send(&mut client, request("/", &[]))).await;
            for answer in [over_http1, streams.get("/").await] {
                answer.is_problem(502, "upstream-failed");
                assert!(answer.body.contains("app did not answer as it should."), "{answer:?}");
            }
        }
        // It is no sign that the application is gone, and nothing else is asked on such a connection.
        assert_eq!(site.workload.snapshot().last_error, None, "{framing}");
        assert_eq!(connected.load(Ordering::Relaxed), 4, "{framing}");
        site.has_leases(0).await;
    }
}

/// Where nothing is wrong, nothing is changed.
#[tokio::test]
async fn chunks_alone_and_a_length_alone_pass() {
    for (framing, length) in [
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""),
        ("Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""),
        ("Content-Length: 5\r\n\r\nhello", "5"),
    ] {
        let (site, _) = answered_with(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        let answer = site.get("/").await;
        assert_eq!((&*answer.body, answer.header("content-length")), ("hello", length));
    }
}
