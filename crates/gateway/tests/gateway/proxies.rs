//! Behind another proxy: what it says about its client is kept and continued if it is trusted.

use drowse_provider::{Action, testing::Step};

use crate::{
    client::{Raw, soon},
    site::Site,
};

#[tokio::test]
async fn what_a_trusted_proxy_says_is_continued() {
    let site = Site::behind(&["127.0.0.0/8"]).await;
    let said = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.test"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-prefix", "/app"),
        ("x-real-ip", "203.0.113.7"),
    ];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 203.0.113.7, 127.0.0.1");
    assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    for (name, value) in &said[2..] {
        assert_eq!(headers[*name], value, "{name}");
    }
    assert_eq!(
        headers["forwarded"],
        "for=203.0.113.7;host=\"public.test\";proto=https, for=127.0.0.1"
    );
    assert_eq!(headers["host"], "app.test");
}

#[tokio::test]
async fn a_trusted_proxy_that_speaks_the_standard_is_continued_too() {
    let site = Site::behind(&["127.0.0.1"]).await;
    let said = [("forwarded", "for=\"[2001:db8::7]:4711\";proto=https"), ("forwarded", "")];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["forwarded"], "for=\"[2001:db8::7]:4711\";proto=https, for=127.0.0.1");
    assert_eq!(headers.get_all("forwarded").iter().count(), 1);
    assert_eq!(headers["x-forwarded-for"], "2001:db8::7, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-port"], "443");
}

#[tokio::test]
async fn what_a_trusted_proxy_leaves_unsaid_is_filled_in() {
    let site = Site::behind(&["127.0.0.1"]).await;
    for (said, scheme, port) in [
        (&[][..], "http", "80"),
        (&[("x-forwarded-proto", "https")], "https", "443"),
        (&[("x-forwarded-proto", "wss")], "https", "443"),
        (&[("x-forwarded-proto", "gopher")], "http", "80"),
        (&[("x-forwarded-host", "app.test:8443")], "http", "8443"),
    ] {
        assert_eq!(site.get_with("/", said).await.status, 200);
        let (_, headers) = site.application.last_seen();
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], scheme, "{said:?}");
        assert_eq!(headers["x-forwarded-port"], port, "{said:?}");
        assert!(!headers.contains_key("x-real-ip"));
    }
}

/// What most proxies do: `X-Forwarded-For` is theirs, and `Forwarded` may still be their client's.
#[tokio::test]
async fn of_two_accounts_the_one_that_proxies_write_counts() {
    let site = Site::behind(&["127.0.0.1"]).await;
    let said = [
        ("x-forwarded-for", "203.0.113.7"),
        ("forwarded", "for=6.6.6.6;host=evil.test;proto=https"),
    ];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["forwarded"], "for=203.0.113.7;host=\"app.test\";proto=http, for=127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
}

#[tokio::test]
async fn what_no_proxy_writes_is_taken_off_of_trusted_ones_too() {
    let site = Site::behind(&["127.0.0.1"]).await;
    let before = site.application.requests();
    let said = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x_forwarded-host", "evil.test"),
        ("x_real_ip", "6.6.6.6"),
        ("drowse-probe", "1"),
        ("drowse_probe", "1"),
        ("connection", "x-forwarded-for, x-forwarded-proto"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    assert_eq!(site.application.requests(), before + 1, "it was not taken for a probe");
    let (_, headers) = site.application.last_seen();
    for gone in ["x_forwarded_for", "x_forwarded-host", "x_real_ip", "drowse_probe"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(headers["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");

    let mut client = Raw::connect(site.address).await;
    client
        .write(
            "POST /trailers-seen HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\
             Trailer: x-sum, x-forwarded-for\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\
             X-Sum: 9\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
        )
        .await;
    let answer = client.read_all().await;
    assert!(answer.ends_with("\r\n\r\nx-sum"), "{answer}");
}

#[tokio::test]
async fn a_proxy_elsewhere_is_not_believed() {
    let site = Site::behind(&["10.0.0.0/8", "::1"]).await;
    let said = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
}

#[tokio::test]
async fn peers_that_forward_are_known_whether_they_are_trusted_or_not() {
    for proxies in [&["127.0.0.1"][..], &[]] {
        let site = Site::behind(proxies).await;
        let forwarders = site.gateway.forwarders();
        assert_eq!(site.get("/").await.status, 200);
        assert!(forwarders.borrow().is_empty());
        for _ in 0..2 {
            assert_eq!(site.get_with("/", &[("x-real-ip", "203.0.113.7")]).await.status, 200);
        }
        let known: Vec<_> = forwarders.borrow().keys().map(ToString::to_string).collect();
        assert_eq!(known, ["127.0.0.1"]);
    }
}

/// Whoever is to be kept awake since it forwards to here must be known before anything is woken.
#[tokio::test]
async fn a_peer_that_forwards_is_known_while_its_request_waits() {
    let site = Site::asleep().await;
    site.container.always(Action::Start, Step::hang());
    let waiting = site.get_with("/", &[("x-forwarded-for", "203.0.113.7")]);
    let mut forwarders = site.gateway.forwarders();
    tokio::select! {
        answer = waiting => panic!("{answer:?}"),
        known = soon(forwarders.wait_for(|known| known.len() == 1)) => drop(known),
    }
}
