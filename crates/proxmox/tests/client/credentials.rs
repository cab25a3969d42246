//! Tokens and tickets, and what is done when they are refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientError, Credentials, Secret};
use tokio::task::JoinSet;

use crate::{
    patience,
    support::server::{DEADLINE, Reply, Request, Server, eventually, later},
    told,
};

const VERSION: &str = r#"{"data":{"version":"9.2.11"}}"#;
const UPID: &str = "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam:";

fn client_of(server: &Server, credentials: Credentials) -> Client {
    Client::new(server.options_with(credentials)).unwrap()
}

fn token_in(file: PathBuf) -> Credentials {
    Credentials::Token { id: "drowse@pve!main".parse().unwrap(), secret: Secret::File(file) }
}

fn password(text: &str) -> Credentials {
    let secret = Secret::Given(text.to_owned().into());
    Credentials::Password { user: "root@pam".to_owned(), secret }
}

fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, file).unwrap();
}

/// A server that takes one token's secret and refuses others as pveproxy does.
async fn taking(secret: Arc<Mutex<&'static str>>) -> Server {
    Server::start(move |request| {
        let expected = format!("PVEAPIToken=drowse@pve!main={}", secret.lock().unwrap());
        match request.header("authorization") {
            Some(shown) if shown == expected => Reply::kept(VERSION),
            _ => Reply::bare(401, "Authentication failed!"),
        }
    })
    .await
}

#[tokio::test]
async fn a_secret_comes_from_a_file_without_its_newline_and_is_read_again_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pve.secret");
    let secret = Arc::new(Mutex::new("first"));
    let server = taking(Arc::clone(&secret)).await;
    replace(&file, "first\r\n");
    let client = client_of(&server, token_in(file.clone()));
    client.version(patience()).await.unwrap();

    // The token is made anew, and the file written.
    *secret.lock().unwrap() = "second";
    replace(&file, "second\n");
    client.version(patience()).await.unwrap();
    assert_eq!(server.requests().len(), 3, "refused once, then accepted");
}

#[tokio::test]
async fn a_secret_comes_from_the_environment() {
    let server = Server::start(|_| Reply::kept(VERSION)).await;
    // Any variable that is always there.
    let secret = Secret::Environment("PATH".to_owned());
    let id = "drowse@pve!main".parse().unwrap();
    client_of(&server, Credentials::Token { id, secret }).version(patience()).await.unwrap();
    let expected = format!("PVEAPIToken=drowse@pve!main={}", std::env::var("PATH").unwrap());
    assert_eq!(server.requests()[0].header("authorization"), Some(&*expected));
}

#[tokio::test]
async fn a_token_that_is_revoked_is_not_shown_again_for_a_while() {
    let secret = Arc::new(Mutex::new("secret"));
    let server = taking(Arc::clone(&secret)).await;
    let client = server.client();
    client.version(patience()).await.unwrap();
    *secret.lock().unwrap() = "another";
    for _ in 0..5 {
        let error = client.version(patience()).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"the credential is not accepted: Authentication failed!");
        }
    }
    assert_eq!(server.requests().len(), 2, "the server was spared");

    // Given back: after the pause it is found out.
    *secret.lock().unwrap() = "secret";
    later(Duration::from_secs(4)).await;
    client.version(patience()).await.unwrap();
}

#[tokio::test]
async fn a_new_secret_in_the_file_ends_the_pause() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pve.secret");
    let server = taking(Arc::new(Mutex::new("right"))).await;
    replace(&file, "wrong");
    let client = client_of(&server, token_in(file.clone()));
    client.version(patience()).await.unwrap_err();
    client.version(patience()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
    replace(&file, "right");
    client.version(patience()).await.unwrap();
}

#[tokio::test]
async fn many_calls_that_are_refused_at_once_are_one_refusal() {
    let server = taking(Arc::new(Mutex::new("right"))).await;
    let client = client_of(
        &server,
        Credentials::Token {
            id: "drowse@pve!main".parse().unwrap(),
            secret: Secret::Given("wrong".to_owned().into()),
        },
    );
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        calls.spawn(async move { client.version(patience()).await });
    }
    let outcomes = calls.join_all().await;
    let is_refused =
        |outcome: &Result<_, _>| matches!(outcome, Err(ClientError::Unauthorized { .. }));
    assert!(outcomes.iter().all(is_refused));
    // Those that were in flight, and none after.
    assert!(server.requests().len() <= 8 + 1, "{}", server.requests().len());
    // One refusal, so the shortest pause.
    later(Duration::from_secs(4)).await;
    let before = server.requests().len();
    client.version(patience()).await.unwrap_err();
    assert_eq!(server.requests().len(), before + 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_told_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = taking(Arc::new(Mutex::new("right"))).await;
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    };
    let secrets = [
        Secret::File(folder.path().join("missing")),
        Secret::File(write("empty", b"\n")),
        Secret::File(write("two", b"one\nhidden")),
        Secret::File(write("binary", b"\xff\xfe")),
        Secret::File(write("umlaut", "gehe\u{2028}im".as_bytes())),
        Secret::Environment("DROWSE_TEST_NO_SUCH_VARIABLE".to_owned()),
        Secret::Environment("5c1e0a4c-hidden".to_owned()),
    ];
    let mut shown = Vec::new();
    for secret in secrets {
        let id = "drowse@pve!main".parse().unwrap();
        let client = client_of(&server, Credentials::Token { id, secret });
        let error = client.version(patience()).await.unwrap_err();
        assert!(matches!(error.kind(), drowse_provider::ErrorKind::Unauthorized));
        shown.push(told(&error, &[]).replace(&folder.path().display().to_string(), "FOLDER"));
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    the credential's secret cannot be used: the secret file `FOLDER/missing` cannot be read: correct its path, or let drowse's user read it: No such file or directory (os error 2)
    the credential's secret cannot be used: the secret file `FOLDER/empty` is empty
    the credential's secret cannot be used: the secret file `FOLDER/two` has more than one line: only the secret belongs there
    the credential's secret cannot be used: the secret file `FOLDER/binary` is not UTF-8
    the credential's secret cannot be used: it has characters that no token's secret has
    the credential's secret cannot be used: the environment variable `DROWSE_TEST_NO_SUCH_VARIABLE` is not set
    the credential's secret cannot be used: what is given is no name of an environment variable
    ");
    assert_eq!(server.requests().len(), 0);
}

/// A server with tickets: `password` logs in, a ticket that it gave renews.
struct Tickets {
    logins: AtomicUsize,
    /// The ticket that is good.
    good: Mutex<String>,
    is_locked: AtomicBool,
}

impl Tickets {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            logins: AtomicUsize::new(0),
            good: Mutex::default(),
            is_locked: AtomicBool::new(false),
        })
    }

    fn answer(&self, request: &Request) -> Reply {
        if request.path == "/access/ticket" {
            let number = self.logins.fetch_add(1, Ordering::Relaxed) + 1;
            let mut good = self.good.lock().unwrap();
            let encoded: String = form_urlencoded::byte_serialize(good.as_bytes()).collect();
            let by_ticket = !good.is_empty()
                && request.body == format!("username=root%40pam&password={encoded}");
            let by_password = request.body == "username=root%40pam&password=pass+w%C3%B6rd";
            if self.is_locked.load(Ordering::Relaxed) || !(by_ticket || by_password) {
                return Reply::error(401, "authentication failure");
            }
            *good = format!("PVE:root@pam:6B04::{number}+/=");
            let body = serde_json::json!({ "data": {
                "ticket": *good, "CSRFPreventionToken": format!("csrf{number}"),
                "username": "root@pam", "cap": {},
            }});
            return Reply::ok(body.to_string());
        }
        let good = self.good.lock().unwrap();
        if request.header("cookie") != Some(&format!("PVEAuthCookie={good}")) {
            return Reply::bare(401, "No ticket");
        }
        let number = self.logins.load(Ordering::Relaxed);
        let csrf = request.header("csrfpreventiontoken");
        match &*request.method {
            "GET" if csrf.is_none() => Reply::kept(VERSION),
            "POST" if csrf == Some(&format!("csrf{number}")) => {
                Reply::ok(format!(r#"{{"data":"{UPID}"}}"#))
            }
            _ => Reply::bare(401, "Permission denied - invalid csrf token"),
        }
    }
}

async fn with_tickets(tickets: &Arc<Tickets>) -> Server {
    let tickets = Arc::clone(tickets);
    Server::start(move |request| tickets.answer(request)).await
}

fn logins(server: &Server) -> usize {
    server.lines().iter().filter(|line| *line == "POST /access/ticket").count()
}

#[tokio::test]
async fn a_password_logs_in_once_for_many_and_orders_carry_the_csrf_token() {
    let tickets = Tickets::new();
    let server = with_tickets(&tickets).await;
    let client = client_of(&server, password("pass wörd"));
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.spawn(async move { client.version(patience()).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    client.start("pve1", 202, patience()).await.unwrap();
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn a_ticket_is_renewed_at_half_its_life_with_itself() {
    let tickets = Tickets::new();
    let server = with_tickets(&tickets).await;
    let client = client_of(&server, password("pass wörd"));
    client.version(patience()).await.unwrap();
    later(Duration::from_mins(59)).await;
    client.version(patience()).await.unwrap();
    assert_eq!(logins(&server), 1);
    later(Duration::from_mins(2)).await;
    client.start("pve1", 202, patience()).await.unwrap();
    assert_eq!(logins(&server), 1, "an order does not wait for that");
    client.version(patience()).await.unwrap();
    client.start("pve1", 202, patience()).await.unwrap();
    let requests = server.requests();
    let bodies: Vec<_> = requests
        .iter()
        .filter(|request| request.path == "/access/ticket")
        .map(|request| &*request.body)
        .collect();
    assert_eq!(
        bodies,
        [
            "username=root%40pam&password=pass+w%C3%B6rd",
            "username=root%40pam&password=PVE%3Aroot%40pam%3A6B04%3A%3A1%2B%2F%3D"
        ]
    );
    // A whole life without a call: it is gone, and the password is shown.
    later(Duration::from_hours(3)).await;
    client.version(patience()).await.unwrap();
    assert_eq!(logins(&server), 3);
    assert_eq!(
        server.requests().iter().filter(|request| request.body.contains("w%C3%B6rd")).count(),
        2
    );
}

#[tokio::test]
async fn a_ticket_that_ends_in_mid_run_is_replaced_by_one_login_and_the_call_goes_on() {
    let tickets = Tickets::new();
    let server = with_tickets(&tickets).await;
    let client = client_of(&server, password("pass wörd"));
    client.version(patience()).await.unwrap();
    // The cluster's key was renewed, say.
    *tickets.good.lock().unwrap() = "another".to_owned();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let client = client.clone();
        calls.spawn(async move { client.start("pve1", 202, patience()).await });
    }
    for outcome in calls.join_all().await {
        outcome.unwrap();
    }
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_tried_again_for_a_while() {
    let tickets = Tickets::new();
    let server = with_tickets(&tickets).await;
    let client = client_of(&server, password("wrong"));
    for _ in 0..10 {
        let error = client.version(patience()).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"the credential is not accepted: authentication failure");
        }
    }
    assert_eq!(logins(&server), 1);
    // 3 s, then 6 s, then 12 s: what checks it may count.
    for (wait, tried) in [(4, 2), (1, 2), (6, 3), (1, 3), (13, 4)] {
        later(Duration::from_secs(wait)).await;
        client.version(patience()).await.unwrap_err();
        assert_eq!(logins(&server), tried);
    }
}

#[tokio::test]
async fn a_ticket_and_a_password_that_are_both_refused_are_tried_once_each() {
    let tickets = Tickets::new();
    let server = with_tickets(&tickets).await;
    let client = client_of(&server, password("pass wörd"));
    client.version(patience()).await.unwrap();
    tickets.is_locked.store(true, Ordering::Relaxed);
    "gone".clone_into(&mut tickets.good.lock().unwrap());
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.spawn(async move { client.version(patience()).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_err));
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn a_second_factor_is_refused_with_words() {
    let server = Server::start(|_| {
        Reply::ok(
            r#"{"data":{"ticket":"PVE:!tfa!x","CSRFPreventionToken":"c","NeedTFA":1,"username":"root@pam"}}"#,
        )
    })
    .await;
    let client = client_of(&server, password("right"));
    let error = client.version(patience()).await.unwrap_err();
    insta::assert_snapshot!(error, @"the credential is not accepted: user `root@pam` has a second factor, for which nobody is there to be asked: make an API token and use that");
    client.version(patience()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_order_that_was_refused_and_waits_for_a_login_has_not_been_taken() {
    let logins = AtomicUsize::new(0);
    let server = Server::start(move |request| match &*request.path {
        "/access/ticket" if logins.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Reply::ok(
            r#"{"data":{"ticket":"PVE:x","CSRFPreventionToken":"c","username":"root@pam"}}"#,
        ),
        "/access/ticket" => Reply::never(),
        _ => Reply::bare(401, "Authentication failed!"),
    })
    .await;
    // Its time is up, or that of the login.
    for deadline in [DEADLINE / 2, DEADLINE * 2] {
        let client = client_of(&server, password("right"));
        let before = server.requests().len();
        let deadline = Deadline::after(deadline);
        let ordered =
            tokio::spawn(async move { client.start("pve1", 202, deadline).await.unwrap_err() });
        eventually("the second login is under way", || server.requests().len() == before + 3).await;
        later(DEADLINE).await;
        let error = ordered.await.unwrap();
        assert!(!error.is_outcome_unknown(), "{error:?}");
    }
}

#[tokio::test]
async fn a_right_that_lacks_is_not_remembered() {
    let may = Arc::new(AtomicBool::new(false));
    let is_allowed = Arc::clone(&may);
    let server = Server::start(move |_| {
        if is_allowed.load(Ordering::Relaxed) {
            Reply::ok(format!(r#"{{"data":"{UPID}"}}"#))
        } else {
            Reply::error(403, "Permission check failed (/vms/202, VM.PowerMgmt)")
        }
    })
    .await;
    let client = server.client();
    let error = client.start("pve1", 202, patience()).await.unwrap_err();
    insta::assert_snapshot!(error, @"Permission check failed (/vms/202, VM.PowerMgmt)");
    insta::assert_snapshot!(error.kind(), @"not permitted: `VM.PowerMgmt` is needed on `/vms/202`");
    may.store(true, Ordering::Relaxed);
    client.start("pve1", 202, patience()).await.unwrap();
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let credentials = [password("hidden"), crate::support::server::token("hidden")];
    for credentials in credentials {
        let server = Server::start(|_| Reply::bare(401, "No ticket")).await;
        let options = server.options_with(credentials);
        let options_shown = format!("{options:?}");
        let client = Client::new(options).unwrap();
        let error = client.version(patience()).await.unwrap_err();
        let shown = format!("{options_shown} {client:?} {error:?} {error}");
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
