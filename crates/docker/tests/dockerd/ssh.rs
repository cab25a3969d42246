//! By a real sshd.

use std::{collections::BTreeSet, path::Path, time::Duration};

use drowse_docker::{DockerEngine, DockerOptions, Location, SshFiles};
use drowse_provider::{
    ContainerStatus, Deadline, Engine, Error, ErrorKind, Reach, StopOptions, WatchItem,
    contract::{Fixture as _, PATIENCE},
};
use futures::StreamExt as _;

use crate::{
    fixture::{RealEngine, testapp},
    sshd::Sshd,
};

mod contract {
    drowse_provider::contract_tests!(crate::fixture::RealEngine::by_ssh());
}

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Asks again and again until it is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// An engine of a test that needs no container.
fn engine(sshd: &Sshd, socket: &str, files: SshFiles) -> DockerEngine {
    let url = format!("ssh://root@{}{socket}", sshd.address);
    let location = Location::new(url).with_ssh(files);
    DockerEngine::connect("nas", location, DockerOptions::new()).unwrap()
}

fn told(error: &Error) -> String {
    assert!(error.is_retryable(), "{error:?}");
    error.kind().to_string()
}

async fn refusal(engine: &DockerEngine) -> String {
    told(&engine.list(patience()).await.unwrap_err())
}

/// The processes that forward a socket, by their command lines.
fn forwarding(to: &Path) -> BTreeSet<u32> {
    let to = format!(":{}", to.display());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(&to).then_some(pid)
    });
    processes.collect()
}

#[tokio::test]
async fn one_connection_serves_any_number_of_calls_orders_and_watches() {
    let dockerd = RealEngine::by_ssh().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(dockerd.make(&testapp(&[])).await);
    }
    let providers: Vec<_> = names.iter().map(|name| dockerd.provider(name)).collect();
    // All at once, before there is any connection.
    let reads = (0..30).map(|number| providers[number % 3].status(patience()));
    for status in futures::future::join_all(reads).await {
        assert_eq!(status.unwrap(), ContainerStatus::Stopped);
    }
    let mut watches: Vec<_> = (0..30).map(|number| providers[number % 3].watch()).collect();
    for provider in &providers {
        provider.start(patience()).await.unwrap();
        provider.stop(&StopOptions::new(), patience()).await.unwrap();
    }
    for watch in &mut watches {
        assert!(matches!(watch.next().await.unwrap().unwrap(), WatchItem::Synced(_)));
    }
    assert_eq!((dockerd.sshd().made(), dockerd.sshd().open()), (1, 1));
    assert_eq!(forwarding(&dockerd.relay.socket).len(), 1);
    drop(watches);
    dockerd.tear_down().await;
    assert_eq!(forwarding(&dockerd.relay.socket).len(), 0, "it is reaped before `close` returns");
}

#[tokio::test]
async fn a_handle_that_is_dropped_leaves_no_process() {
    let dockerd = RealEngine::by_ssh().await;
    dockerd.engine.list(patience()).await.unwrap();
    let socket = dockerd.relay.socket.clone();
    assert_eq!(forwarding(&socket).len(), 1);
    drop(dockerd);
    eventually("it is gone", || forwarding(&socket).is_empty()).await;
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again_and_what_happened_meanwhile_is_told() {
    let dockerd = RealEngine::by_ssh().await;
    let name = dockerd.make(&testapp(&[])).await;
    let provider = dockerd.provider(&name);
    let mut watch = provider.watch();
    assert!(matches!(watch.next().await.unwrap().unwrap(), WatchItem::Synced(_)));

    dockerd.sshd().down();
    insta::assert_snapshot!(down(&dockerd).await, @"unavailable: `127.0.0.1` has closed the ssh connection: is the machine, or its sshd, restarting?");
    dockerd.api.post(&name, "start").await;
    dockerd.sshd().up();
    let back = async {
        loop {
            if let Ok(WatchItem::Synced(seen)) = watch.next().await.unwrap()
                && seen.status == ContainerStatus::Running
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("the watch goes on");
    assert_eq!(dockerd.sshd().open(), 1);
    drop(watch);
    dockerd.tear_down().await;
}

/// What is told while it is down, once the end of the last connection was noticed.
async fn down(dockerd: &RealEngine) -> String {
    let wait = async {
        loop {
            if let Err(error) = dockerd.engine.list(patience()).await
                && !told(&error).contains("is the engine restarting")
            {
                return told(&error);
            }
        }
    };
    let text = tokio::time::timeout(PATIENCE, wait).await.expect("it fails");
    text.replace(&dockerd.sshd().address.port().to_string(), "22")
}

#[tokio::test]
async fn a_host_that_is_not_known_is_given_nothing() {
    let sshd = Sshd::new().await;
    sshd.know_nobody();
    let unknown = engine(&sshd, "", sshd.files());
    insta::assert_snapshot!(refusal(&unknown).await, @"unavailable: the host key of `127.0.0.1` is not known: compare its fingerprint, and accept it with `ssh 127.0.0.1` as the user that drowse runs as, or put it into the file that `known_hosts` names");
    sshd.know_another();
    let changed = engine(&sshd, "", sshd.files());
    insta::assert_snapshot!(refusal(&changed).await, @"unavailable: `127.0.0.1` shows another host key than before: either the machine was set up anew, and then the old key is to be removed from the file of known hosts (`ssh-keygen -R`), or somebody answers in its place");
}

#[tokio::test]
async fn a_key_that_is_not_let_in_is_told() {
    let sshd = Sshd::new().await;
    let stranger = engine(&sshd, "", sshd.files().with_identity(sshd.strangers_key()));
    insta::assert_snapshot!(refusal(&stranger).await, @"unavailable: `127.0.0.1` accepts none of the keys that ssh has: put the public key into `~/.ssh/authorized_keys` there, or name the private key with `identity`; one with a passphrase needs an agent");
    let missing = engine(&sshd, "", sshd.files().with_identity("/no/such/key"));
    insta::assert_snapshot!(refusal(&missing).await, @"unavailable: the private key for `127.0.0.1` cannot be used (Identity file /no/such/key not accessible: No such file or directory.): correct its path, and let only the user that drowse runs as read it; one with a passphrase needs an agent");
}

#[tokio::test]
async fn a_socket_that_is_not_there_or_forbidden_is_told() {
    let sshd = Sshd::new().await;
    let missing = engine(&sshd, "/no/such/docker.sock", sshd.files());
    insta::assert_snapshot!(refusal(&missing).await, @"unavailable: ssh reaches `127.0.0.1`, and sshd there cannot open `/no/such/docker.sock`: start the engine, or correct the socket's path in the URL; let `root` open it (the group `docker`); or let sshd forward to it (`AllowStreamLocalForwarding`, and no `restrict` at the key)");
    assert_eq!((sshd.made(), sshd.open()), (1, 1), "the connection stays");

    let dockerd = RealEngine::by_ssh().await;
    dockerd.sshd().restrict();
    let error = dockerd.engine.list(patience()).await.unwrap_err();
    assert!(told(&error).contains("no `restrict` at the key"), "{error}");
    dockerd.tear_down().await;
}

#[tokio::test]
async fn nobody_who_answers_is_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let location = Location::new(format!("ssh://127.0.0.1:{port}"));
    let location = location.with_ssh(SshFiles::new().with_config("/dev/null"));
    let engine = DockerEngine::connect("nas", location, DockerOptions::new()).unwrap();
    insta::assert_snapshot!(refusal(&engine).await, @"unavailable: `127.0.0.1` refuses ssh connections: start sshd there, or correct the port in the URL");
    let location = Location::new("ssh://no-such-host.invalid");
    let engine = DockerEngine::connect("nas", location, DockerOptions::new()).unwrap();
    insta::assert_snapshot!(refusal(&engine).await, @"unavailable: ssh cannot resolve the host name `no-such-host.invalid`: correct it");
    let location = Location::new("ssh://nas").with_ssh(SshFiles::new().with_config("/no/config"));
    let engine = DockerEngine::connect("nas", location, DockerOptions::new()).unwrap();
    insta::assert_snapshot!(refusal(&engine).await, @"unavailable: ssh does not accept its configuration (Can't open user config file /no/config: No such file or directory): correct it");
}

/// sshd locks out whoever knocks too often.
#[tokio::test]
async fn all_who_ask_in_vain_at_once_are_one_attempt() {
    let sshd = Sshd::new().await;
    let stranger = engine(&sshd, "", sshd.files().with_identity(sshd.strangers_key()));
    let reads = (0..8).map(|_| stranger.list(patience()));
    for refused in futures::future::join_all(reads).await {
        refused.unwrap_err();
    }
    assert_eq!(sshd.made(), 1);
}

#[tokio::test]
async fn the_users_configuration_counts_but_not_against_what_is_needed() {
    let dockerd = RealEngine::by_ssh().await;
    let sshd = dockerd.sshd();
    let files = sshd.files().with_config(sshd.write_alias());
    let location = Location::new(format!("ssh://nas{}", dockerd.relay.socket.display()));
    let engine =
        DockerEngine::connect("nas", location.with_ssh(files), DockerOptions::new()).unwrap();
    assert_eq!(engine.reach(), Reach::Remote("nas".to_owned()), "not asked yet");
    engine.list(patience()).await.unwrap();
    engine.list(patience()).await.unwrap();
    assert_eq!(engine.reach(), Reach::Local, "the alias is this very machine");
    engine.close().await;
    let closed = engine.list(patience()).await.unwrap_err();
    assert!(matches!(closed.kind(), ErrorKind::Closed), "{closed}");
    dockerd.tear_down().await;
}
