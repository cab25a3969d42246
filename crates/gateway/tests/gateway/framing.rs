//! Requests whose framing or target is malformed or says two things (RFC 9112): whatever two readers
//! could read differently reaches no application.

use std::time::Duration;

use crate::{
    client::Raw,
    site::{Plan, Site},
};

/// The answers to these bytes, after which the client has nothing more to say.
async fn answers(site: &Site, bytes: &str) -> String {
    let mut client = Raw::connect(site.address).await;
    client.write(bytes).await;
    client.read_all().await
}

#[tokio::test]
async fn heads_that_two_readers_could_read_differently_are_refused() {
    let site = Site::ready().await;
    for head in [
        // A line that goes on in the next (obs-fold), and what looks like it.
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: 1\r\n 2\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: app.test\r\n\r\n",
        // Space before the colon, and around the name.
        "GET / HTTP/1.1\r\nHost : app.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length : 4\r\n\r\nabcd",
        "GET / HTTP/1.1\r\nHost: app.test\r\nX A: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\n: 1\r\n\r\n",
        // Line ends and zero bytes within a value.
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: 1\r2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: 1\u{0}2\r\n\r\n",
        // What is no version, no target, no method.
        "GET / HTTP/2.0\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/01.1\r\nHost: app.test\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ] {
        let answers = answers(&site, head).await;
        assert!(answers.starts_with("HTTP/1.1 400"), "{head:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.").count(), 1, "{head:?}: {answers}");
    }
    assert_eq!(site.application.requests(), 0);
}

#[tokio::test]
async fn bodies_whose_end_is_in_doubt_are_refused() {
    let site = Site::ready().await;
    for framing in [
        "Content-Length: +4\r\n\r\nabcd",
        "Content-Length: 0x4\r\n\r\nabcd",
        "Content-Length: 4 4\r\n\r\nabcd",
        "Content-Length: \r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 04, 5\r\n\r\nabcd",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ] {
        let request = format!("POST /upload HTTP/1.1\r\nHost: app.test\r\n{framing}");
        let answers = answers(&site, &request).await;
        assert!(answers.starts_with("HTTP/1.1 400"), "{framing:?}: {answers}");
    }
    let old =
        "POST /upload HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answers = answers(&site, old).await;
    assert!(
        answers.starts_with("HTTP/1.1 400") || answers.starts_with("HTTP/1.0 400"),
        "{answers}"
    );
    assert_eq!(site.application.requests(), 0);
}

/// The head is through when these are found: what is sent on is cut, and nothing that follows is taken
/// for a request.
#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20 * 1024));
    for chunks in [
        "x\r\na\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        &long,
    ] {
        let site = Site::ready().await;
        let request = format!(
            "POST /upload HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}\
             GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
        );
        let answers = answers(&site, &request).await;
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{chunks:?}: {answers}");
        assert!(!answers.contains("HTTP/1.1 200"), "{chunks:?}: {answers}");
        site.has_leases(0).await;
        let seen = site.application.state.seen.lock().unwrap().clone();
        assert!(seen.iter().all(|(head, _)| head == "POST /upload"), "{chunks:?}: {seen:?}");
    }
}

#[tokio::test]
async fn each_request_names_one_host() {
    let site = Site::ready().await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test, other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: me@app.test\r\n\r\n",
        "GET http://app.test/ HTTP/1.1\r\n\r\n",
        "GET http://app.test/ HTTP/1.1\r\nHost: app.test\r\nHost: other.test\r\n\r\n",
        "GET http://me@app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\n\r\n",
    ] {
        let mut client = Raw::connect(site.address).await;
        client.write(head).await;
        let answer = client.read_until("bad-request").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
    assert_eq!(site.application.requests(), 0);

    // Of two that differ the target's counts, and is passed on (RFC 9112 section 3.2.2).
    let head = "GET http://app.test/ HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n";
    assert!(answers(&site, head).await.ends_with("hello"));
    let (target, headers) = site.application.last_seen();
    assert_eq!((&*target, headers["host"].to_str().unwrap()), ("GET /", "app.test"));
    let head = "GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert!(answers(&site, head).await.contains("no-route"));
}

/// A connection that is opened beforehand, as browsers do, is no mistake, and is not kept for ever.
#[tokio::test]
async fn a_connection_without_a_byte_is_closed_in_silence() {
    let mut plan = Plan::default();
    plan.options.header_read_timeout = Duration::from_millis(100);
    let site = Site::new(plan).await;
    assert_eq!(Raw::connect(site.address).await.read_all().await, "");
    // A part of HTTP/2's greeting is no more than that.
    let mut half = Raw::connect(site.address).await;
    half.write("PRI * HT").await;
    assert_eq!(half.read_all().await, "");
    let mut kept = Raw::connect(site.address).await;
    kept.write("GET /.well-known/drowse/ready HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let answer = kept.read_all().await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}
