//! By the engine's own port for TLS, which demands certificates.

use drowse_docker::{DockerEngine, DockerOptions, Location, TlsFiles};
use drowse_provider::{
    ContainerStatus, Deadline, Engine, Error, Reference, WatchItem,
    contract::{Fixture as _, PATIENCE},
};
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::{
    certificates::{Authority, Files},
    fixture::{RealEngine, Way, testapp, tls_address, tls_folder},
};

mod contract {
    drowse_provider::contract_tests!(crate::fixture::RealEngine::by_tls());
}

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

fn engine(location: Location) -> DockerEngine {
    DockerEngine::connect("nas", location, DockerOptions::new()).unwrap()
}

/// A copy of the good files.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        let good = std::fs::read(tls_folder().join(name)).unwrap();
        Files(folder.path()).write(name, good);
    }
    folder
}

fn told(error: &Error, folder: &TempDir) -> String {
    assert!(error.is_retryable(), "{error:?}");
    error.kind().to_string().replace(&folder.path().display().to_string(), "/etc/drowse")
}

/// The engine says so only after the handshake: to a read, to an order and to a watch alike.
#[tokio::test]
async fn a_certificate_that_the_engine_refuses_is_told_as_such() {
    let dockerd = RealEngine::dockerd().await;
    let name = dockerd.make(&testapp(&[])).await;
    let folder = copied();
    Files(folder.path()).client(&Authority::new("stranger").client());
    let url = format!("tcp://{}", tls_address());
    let stranger = engine(Location::new(&url).with_tls(Files(folder.path()).named()));
    let nobody = engine(Location::new(&url).with_tls(TlsFiles::new(folder.path().join("ca.pem"))));

    let refused = told(&stranger.list(patience()).await.unwrap_err(), &folder);
    insta::assert_snapshot!(refused, @"unavailable: `127.0.0.1:2376` refuses the certificate in `/etc/drowse/cert.pem` (BadCertificate): it must be signed by the CA that the engine was started with (`--tlscacert`), be in force, and be one for clients (extended key usage `clientAuth`)");
    let lacking = told(&nobody.list(patience()).await.unwrap_err(), &folder);
    insta::assert_snapshot!(lacking, @"unavailable: `127.0.0.1:2376` demands a certificate of its clients: name one that its CA has signed, with `cert` and `key`");
    for (engine, reason) in [(stranger, refused), (nobody, lacking)] {
        let provider = engine.provider(&Reference::Name(name.clone())).unwrap();
        assert_eq!(told(&provider.start(patience()).await.unwrap_err(), &folder), reason);
        let first = provider.watch().next().await.unwrap();
        assert_eq!(told(&first.unwrap_err(), &folder), reason);
    }
    let seen = dockerd.provider(&name).status(patience()).await.unwrap();
    assert_eq!(seen, ContainerStatus::Stopped);
    dockerd.tear_down().await;
}

#[tokio::test]
async fn an_engine_of_another_ca_or_name_is_not_given_anything() {
    let folder = copied();
    Files(folder.path()).write("ca.pem", Authority::new("another").certificate);
    let url = format!("tcp://{}", tls_address());
    let stranger = engine(Location::new(&url).with_tls(Files(folder.path()).named()));
    let error = stranger.list(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &folder), @"unavailable: the certificate of `127.0.0.1:2376` is not signed by a CA in `/etc/drowse/ca.pem`: name the file with the certificate of the CA that signed it; or somebody answers in the engine's place");

    let url = format!("tcp://localhost:{}", tls_address().port());
    let folder = copied();
    let misnamed = engine(Location::new(&url).with_tls(Files(folder.path()).named()));
    let error = misnamed.list(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &folder), @"unavailable: the certificate of `localhost:2376` is not for `localhost` but for `127.0.0.1`, `engine.test`: use one of these in the URL, or make the engine a certificate with `localhost` as a subject alternative name");
}

#[tokio::test]
async fn without_files_the_engine_says_that_it_expects_tls() {
    let engine = engine(Location::new(format!("tcp://{}", tls_address())));
    let error = engine.list(patience()).await.unwrap_err();
    insta::assert_snapshot!(error.kind(), @"unexpected answer: the engine expects TLS on this port: name the files for it (`tls`)");
}

#[tokio::test]
async fn row_51_certificates_that_are_renewed_are_used_from_then_on() {
    let dockerd = RealEngine::dockerd().await;
    let name = dockerd.make(&testapp(&[])).await;
    let (old, new) = (Authority::new("stranger").client(), copied());
    let folder = copied();
    let files = Files(folder.path());
    files.client(&old);
    let url = format!("tcp://{}", tls_address());
    let engine = engine(Location::new(url).with_tls(files.named()));
    let provider = engine.provider(&Reference::Name(name)).unwrap();
    let mut watch = provider.watch();
    assert!(watch.next().await.unwrap().is_err());

    for name in ["cert.pem", "key.pem"] {
        files.write(name, std::fs::read(new.path().join(name)).unwrap());
    }
    provider.status(patience()).await.unwrap();
    let synced =
        async { while !matches!(watch.next().await.unwrap(), Ok(WatchItem::Synced(_))) {} };
    tokio::time::timeout(PATIENCE, synced).await.expect("the watch goes on");
    drop(watch);
    engine.close().await;
    dockerd.tear_down().await;
}

#[tokio::test]
async fn connections_for_reads_are_used_again() {
    let dockerd = RealEngine::by_tls().await;
    let Way::Tls(link) = &dockerd.way else { panic!() };
    for _ in 0..20 {
        dockerd.engine.list(patience()).await.unwrap();
    }
    assert!(link.made() < 5, "{}", link.made());
    dockerd.tear_down().await;
}
