//! What passes through, and how it changes.

use crate::{
    client::{Raw, soon},
    site::Site,
};

#[tokio::test]
async fn what_proxies_say_is_said_by_the_gateway_alone() {
    let site = Site::ready().await;
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/evil"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("drowse-probe", "1"),
        ("drowse_veto", "1"),
    ];
    assert_eq!(site.get_with("/", &forged[..7]).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-host"], "app.test");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-port"], site.address.port().to_string());
    assert_eq!(headers["forwarded"], "for=127.0.0.1;host=\"app.test\";proto=http");
    assert_eq!(headers["host"], "app.test");
    for gone in ["x-real-ip", "x-forwarded-prefix", "x_forwarded_for"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    let before = site.application.requests();
    assert_eq!(site.get_with("/", &forged[7..]).await.status, 200);
    assert_eq!(site.application.requests(), before + 1, "it was not taken for a probe");
    assert!(!site.application.last_seen().1.contains_key("drowse_veto"));
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let site = Site::ready().await;
    let answer = site
        .get_with(
            "/hop",
            &[
                ("connection", "x-mine, host, close"),
                ("keep-alive", "timeout=5"),
                ("x-mine", "1"),
                ("x-kept", "1"),
                ("proxy-authorization", "Basic x"),
                ("te", "gzip, trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABk"),
            ],
        )
        .await;
    let (_, headers) = site.application.last_seen();
    for gone in ["x-mine", "keep-alive", "proxy-authorization", "upgrade", "http2-settings"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(headers["x-kept"], "1");
    assert_eq!(headers["host"], "app.test");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["connection"], "TE");

    for gone in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(answer.header("x-end"), "1");
}

#[tokio::test]
async fn an_upgrade_to_http2_is_not_passed_on() {
    let site = Site::ready().await;
    let headers = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c")];
    assert_eq!(site.get_with("/", &headers).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = Site::asleep().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write(
            "GET /missing HTTP/1.1\r\nHost: app.test\r\n\r\n\
             POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\necho\
             GET / HTTP/1.1\r\nHost: other.test\r\n\r\n\
             GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
        )
        .await;
    let answers = client.read_all().await;
    let order: Vec<_> = ["own 404", "echo", "no-route", "hello"]
        .iter()
        .map(|text| answers.find(text).unwrap_or_else(|| panic!("{text} in {answers}")))
        .collect();
    assert!(order.is_sorted(), "{answers}");
    site.has_leases(0).await;
}

#[tokio::test]
async fn conflicting_framing_reaches_no_application() {
    let site = Site::ready().await;
    for framing in [
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "Content-Length: 4, 5\r\n\r\nabcde",
        "Content-Length: -1\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
    ] {
        let mut client = Raw::connect(site.address).await;
        client.write(&format!("POST /upload HTTP/1.1\r\nHost: app.test\r\n{framing}")).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{framing}: {answer}");
    }
    assert_eq!(site.application.requests(), 0);
}

/// RFC 9112 section 6.3: the chunks count, the length is not passed on, and the connection is not
/// used further: what follows may have been meant as another request's.
#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on_and_ends_the_connection() {
    let site = Site::ready().await;
    for framing in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let before = site.application.requests();
        let mut client = Raw::connect(site.address).await;
        client
            .write(&format!(
                "POST /upload HTTP/1.1\r\nHost: app.test\r\n{framing}\r\n0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
            ))
            .await;
        let answers = client.read_all().await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        if site.application.requests() > before {
            assert_eq!(site.application.requests(), before + 1);
            let (target, headers) = site.application.last_seen();
            assert_eq!(target, "POST /upload");
            assert!(!headers.contains_key("content-length"));
        }
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    let long = "x".repeat(70 * 1024);
    client.write(&format!("GET / HTTP/1.1\r\nHost: app.test\r\nX-Long: {long}\r\n\r\n")).await;
    assert!(client.read_all().await.starts_with("HTTP/1.1 431"));

    let many = "X-Many: 1\r\n".repeat(101);
    let mut client = Raw::connect(site.address).await;
    client.write(&format!("GET / HTTP/1.1\r\nHost: app.test\r\n{many}\r\n")).await;
    assert!(client.read_all().await.starts_with("HTTP/1.1 431"));
    assert_eq!(site.application.requests(), 0);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_served() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /echo HTTP/1.0\r\nHost: app.test\r\n\r\n").await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test]
async fn trailers_pass_through() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write("GET /trailers HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        .await;
    let answer = client.read_all().await.to_ascii_lowercase();
    assert!(answer.contains("trailer: x-sum"), "{answer}");
    assert!(answer.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_trailer_says_nothing_that_a_header_may_not() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write(
            "POST /trailers-seen HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\
             Trailer: x-sum, x-forwarded-for, x_forwarded_proto, forwarded, host, authorization, \
             drowse_probe\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-Sum: 9\r\n\
             X-Forwarded-For: 1.2.3.4\r\nX_Forwarded_Proto: https\r\nForwarded: for=1.2.3.4\r\n\
             Host: admin.test\r\nAuthorization: Basic eDp5\r\nDrowse_Probe: 1\r\n\r\n",
        )
        .await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nx-sum"), "{answer}");
}

#[tokio::test]
async fn bodies_of_any_size_pass_through_both_ways() {
    let site = Site::ready().await;
    let size = 8 * 1024 * 1024;
    let body = "0123456789abcdef".repeat(size / 16);
    let mut client = Raw::connect(site.address).await;
    let (mut read, mut write) = client.0.split();
    let writing = async {
        use tokio::io::AsyncWriteExt as _;
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        );
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(body.as_bytes()).await.unwrap();
    };
    let reading = async {
        use tokio::io::AsyncReadExt as _;
        let mut answer = Vec::new();
        read.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let ((), answer) = soon(async { tokio::join!(writing, reading) }).await;
    let (head, echoed) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {size}")) || head.contains("chunked"),
        "{head}"
    );
    let echoed_bytes = echoed.matches("0123456789abcdef").count();
    assert!(echoed.len() >= size && echoed_bytes > size / 16 - 4_096, "{} bytes", echoed.len());
}
