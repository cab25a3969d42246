//! Several endpoints of one cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientError, ClientOptions, Credentials, Endpoint, Secret, Trust};
use tokio_util::sync::CancellationToken;

use crate::{
    patience,
    support::server::{
        DEADLINE, Reply, Request, Server, eventually, later, nobody, patient, token,
    },
    told,
};

/// Of all these endpoints, whose certificates are pinned.
pub(crate) fn client_of(endpoints: Vec<Endpoint>, servers: &[&Server]) -> Client {
    client_with(token("secret"), endpoints, servers)
}

fn client_with(credentials: Credentials, endpoints: Vec<Endpoint>, servers: &[&Server]) -> Client {
    let pins = servers.iter().map(|server| server.fingerprint()).collect();
    let options = ClientOptions::new(endpoints, credentials, Trust::Fingerprints(pins));
    Client::new(patient(options)).unwrap()
}

fn version() -> Reply {
    Reply::kept(r#"{"data":{"version":"9.2.11"}}"#)
}

#[tokio::test]
async fn when_one_does_not_answer_the_next_is_asked_and_kept_to() {
    let server = Server::start(|_| version()).await;
    let client = client_of(vec![nobody().await, server.endpoint()], &[&server]);
    client.version(patience()).await.unwrap();
    client.version(patience()).await.unwrap();
    client.start("pve1", 201, patience()).await.unwrap_err();
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn one_that_fails_in_the_middle_is_left_for_the_next() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let first =
        Server::start(move |_| if up.load(Ordering::Relaxed) { version() } else { Reply::cut() })
            .await;
    let second = Server::start(|_| version()).await;
    let client = client_of(vec![first.endpoint(), second.endpoint()], &[&first, &second]);
    client.version(patience()).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 0));
    is_up.store(false, Ordering::Relaxed);
    client.version(patience()).await.unwrap();
    let failed = first.requests().len();
    assert_eq!(second.requests().len(), 1);
    // Back up, and not gone back to: what works is kept.
    is_up.store(true, Ordering::Relaxed);
    client.version(patience()).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (failed, 2));
}

#[tokio::test]
async fn a_node_that_one_does_not_reach_is_asked_by_one_other() {
    let away = |_: &_| Reply::bare(596, "Connection timed out");
    let first = Server::start(away).await;
    let second = Server::start(|_| Reply::ok(r#"{"data":[]}"#)).await;
    let client = client_of(vec![first.endpoint(), second.endpoint()], &[&first, &second]);
    assert_eq!(client.containers_of("pve3", patience()).await.unwrap(), []);

    let others = [Server::start(away).await, Server::start(away).await, Server::start(away).await];
    let endpoints = others.iter().map(Server::endpoint).collect();
    let client = client_of(endpoints, &others.each_ref());
    let error = client.containers_of("pve3", patience()).await.unwrap_err();
    insta::assert_snapshot!(error, @"node `pve3` cannot be reached by the cluster: Connection timed out");
    assert_eq!(others.each_ref().map(|server| server.requests().len()), [1, 1, 0]);
}

#[tokio::test]
async fn when_none_answers_all_of_them_are_told() {
    let (first, second) = (nobody().await, nobody().await);
    let ports = [first.port(), second.port()];
    let client = client_of(vec![first, second], &[&Server::start(|_| version()).await]);
    let error = client.version(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &ports), @"`https://127.0.0.1:PORT1` cannot be reached: `127.0.0.1` refuses connections on port PORT1: start pveproxy there (`systemctl start pveproxy`), or correct the address; nor can `https://127.0.0.1:PORT2`: `127.0.0.1` refuses connections on port PORT2: start pveproxy there (`systemctl start pveproxy`), or correct the address: Connection refused (os error 111)");
}

#[tokio::test]
async fn what_was_waited_out_is_told_when_the_time_is_up() {
    let endpoint = nobody().await;
    let ports = [endpoint.port()];
    let server = Server::start(|_| version()).await;
    let client = client_of(vec![endpoint], &[&server]);
    for _ in 0..6 {
        later(Duration::from_secs(5)).await;
        client.version(patience()).await.unwrap_err();
    }
    // By now it is left alone for seconds.
    let soon = Deadline::after(Duration::from_millis(20));
    let error = client.version(soon).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { was_sent: false, .. }), "{error:?}");
    insta::assert_snapshot!(told(&error, &ports), @"not done within 20ms: `https://127.0.0.1:PORT1` cannot be reached: `127.0.0.1` refuses connections on port PORT1: start pveproxy there (`systemctl start pveproxy`), or correct the address: Connection refused (os error 111)");
    // An order does not wait for what failed for others.
    let brief = Deadline::after(Duration::from_secs(2));
    let error = client.start("pve1", 201, brief).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { was_sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn one_that_is_back_is_asked_again() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let server =
        Server::start(move |_| if up.load(Ordering::Relaxed) { version() } else { Reply::cut() })
            .await;
    let client = server.client();
    client.version(patience()).await.unwrap_err();
    is_up.store(true, Ordering::Relaxed);
    // Waits for its turn by itself.
    client.version(patience()).await.unwrap();
}

#[tokio::test]
async fn of_two_that_were_down_the_one_that_is_back_is_found() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let second =
        Server::start(move |_| if up.load(Ordering::Relaxed) { version() } else { Reply::cut() })
            .await;
    let client = client_of(vec![nobody().await, second.endpoint()], &[&second]);
    client.version(patience()).await.unwrap_err();
    is_up.store(true, Ordering::Relaxed);
    // Whichever of them is left alone for longer.
    client.version(patience()).await.unwrap();
}

#[tokio::test]
async fn one_that_accepts_and_says_nothing_is_left_for_the_next() {
    let first = Arc::new(Server::start(|_| Reply::never()).await);
    let second = Server::start(|request| match &*request.path {
        "/version" => version(),
        _ => Reply::ok(r#"{"data":[]}"#),
    })
    .await;
    let client = client_of(vec![first.endpoint(), second.endpoint()], &[&first, &second]);
    // Less than an answer may take: what is left of it is for the next one.
    let deadline = Deadline::after(DEADLINE / 2);
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.version(deadline).await }
    });
    eventually("the first one is asked", || first.requests().len() == 1).await;
    later(DEADLINE / 4).await;
    asked.await.unwrap().unwrap();
    // The second is kept to, by all.
    client.version(patience()).await.unwrap();
    client.containers_of("pve1", patience()).await.unwrap();
    assert_eq!(first.requests().len(), 1);
}

#[tokio::test]
async fn the_silence_of_a_node_is_not_that_of_the_endpoint() {
    let silent = |request: &Request| match &*request.path {
        "/version" => version(),
        _ => Reply::never(),
    };
    let first = Arc::new(Server::start(silent).await);
    let second = Arc::new(Server::start(silent).await);
    let client = client_of(vec![first.endpoint(), second.endpoint()], &[&first, &second]);
    let deadline = Deadline::after(DEADLINE / 2);
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.containers_of("stuck", deadline).await }
    });
    eventually("the first one is asked", || first.requests().len() == 1).await;
    later(DEADLINE / 4).await;
    eventually("the second one is asked", || second.requests().len() == 1).await;
    later(DEADLINE / 4).await;
    asked.await.unwrap().unwrap_err();
    // Neither is left alone for it.
    client.version(patience()).await.unwrap();
    assert_eq!(first.lines(), ["GET /nodes/stuck/lxc", "GET /version"]);
}

#[tokio::test]
async fn a_credential_that_one_sick_node_refuses_is_shown_at_another() {
    let first = Server::start(|_| Reply::bare(401, "Authentication failed!")).await;
    let second = Server::start(|request| match &*request.path {
        "/version" => version(),
        _ => Reply::ok(r#"{"data":"UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:1:a@pve!b:"}"#),
    })
    .await;
    let client = client_of(vec![first.endpoint(), second.endpoint()], &[&first, &second]);
    client.start("pve1", 201, patience()).await.unwrap();
    client.version(patience()).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_credential_that_two_refuse_is_refused() {
    let refusing = |_: &Request| Reply::bare(401, "Authentication failed!");
    let all = [
        Server::start(refusing).await,
        Server::start(refusing).await,
        Server::start(refusing).await,
    ];
    let client = client_of(all.iter().map(Server::endpoint).collect(), &all.each_ref());
    for _ in 0..3 {
        let error = client.version(patience()).await.unwrap_err();
        assert!(matches!(error, ClientError::Unauthorized { .. }), "{error:?}");
    }
    assert_eq!(all.each_ref().map(|server| server.requests().len()), [1, 1, 0]);
}

#[tokio::test]
async fn a_sick_one_shuts_nobody_out_while_a_node_is_away() {
    let away: fn() -> Reply = || Reply::bare(595, "No route to host");
    // One that passes a call on says what it got, or the connection breaks meanwhile.
    for answer in [away, Reply::cut] {
        let healthy = Server::start(move |request| match &*request.path {
            "/version" => version(),
            _ => answer(),
        })
        .await;
        let sick = Server::start(|_| Reply::bare(401, "Authentication failed!")).await;
        for sick_is_first in [false, true] {
            let mut endpoints = vec![healthy.endpoint(), sick.endpoint()];
            if sick_is_first {
                endpoints.reverse();
            }
            let client = client_of(endpoints, &[&healthy, &sick]);
            for _ in 0..2 {
                let error = client.containers_of("pve3", patience()).await.unwrap_err();
                assert!(matches!(error, ClientError::NodeUnreachable { .. }), "{error:?}");
                client.version(patience()).await.unwrap();
            }
        }
    }
}

/// Of four, that answer together.
async fn four(reply: impl Fn() -> Reply + Send + Sync + Clone + 'static) -> Arc<[Server; 4]> {
    let start = || {
        let reply = reply.clone();
        Server::start(move |_| reply())
    };
    Arc::new([start().await, start().await, start().await, start().await])
}

fn asked(servers: &[Server; 4]) -> usize {
    servers.iter().map(|server| server.requests().len()).sum()
}

#[tokio::test]
async fn a_refusal_that_comes_late_is_waited_for() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let refusing = move || Reply::bare(401, "Authentication failed!").after(&opened);
    let servers = four(refusing).await;
    let client = client_of(servers.iter().map(Server::endpoint).collect(), &servers.each_ref());
    let deadline = Deadline::after(Duration::from_secs(7));
    let refused = tokio::spawn(async move { client.version(deadline).await.unwrap_err() });
    eventually("the first one is asked", || asked(&servers) == 1).await;
    later(Duration::from_secs(3)).await;
    gate.cancel();
    let error = refused.await.unwrap();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error:?}");
    assert_eq!(asked(&servers), 2);
}

#[tokio::test]
async fn a_password_is_shown_to_one_of_them_and_to_the_next_only_after_its_time() {
    let servers = four(Reply::never).await;
    let secret = Secret::Given("secret".to_owned().into());
    let credentials = Credentials::Password { user: "root@pam".to_owned(), secret };
    let endpoints = servers.iter().map(Server::endpoint).collect();
    let client = client_with(credentials, endpoints, &servers.each_ref());
    for attempt in 1..=4 {
        let deadline = Deadline::after(DEADLINE / 2);
        let asking = client.clone();
        let refused = tokio::spawn(async move { asking.version(deadline).await.unwrap_err() });
        eventually("one is asked", || asked(&servers) == attempt).await;
        later(DEADLINE / 2).await;
        let error = refused.await.unwrap();
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
        assert_eq!(asked(&servers), attempt);
    }
    let each = servers.each_ref().map(|server| server.requests().len());
    assert_eq!(each, [1, 1, 1, 1], "one that says nothing is left for the next");
}
