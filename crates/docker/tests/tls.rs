//! TLS to a server of our own, for what a real engine's certificates never are.
#![cfg(feature = "tls")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "dockerd/certificates.rs"]
mod certificates;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use drowse_docker::{DockerEngine, DockerOptions, Location, TlsFiles};
use drowse_provider::{Deadline, Engine, Error, Reach};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::certificates::{Authority, Files, Issued};

fn patience() -> Deadline {
    Deadline::after(Duration::from_mins(1))
}

fn server(ca: &Authority, names: &[&str]) -> Issued {
    ca.issue(names, |params| {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    })
}

/// An engine without containers, with this certificate.
async fn serve(issued: &Issued) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us goes away in the middle.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let is_list = head[..length].starts_with(b"GET /containers/json");
                let body = if is_list { "[]" } else { "{}" };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    address
}

fn engine(url: &str, files: TlsFiles) -> DockerEngine {
    let location = Location::new(url).with_tls(files);
    DockerEngine::connect("nas", location, DockerOptions::new()).unwrap()
}

/// What is told of an engine with this certificate, by a client that trusts `ca`.
async fn told_of(issued: &Issued, ca: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let address = serve(issued).await;
    let files = TlsFiles::new(Files(folder.path()).write("ca.pem", ca));
    let error = engine(&format!("tcp://{address}"), files).list(patience()).await.unwrap_err();
    told(&error, folder.path(), &address.port().to_string())
}

fn told(error: &Error, folder: &Path, port: &str) -> String {
    assert!(error.is_retryable(), "{error:?}: whatever is mended is found by the next attempt");
    let text = error.kind().to_string();
    text.replace(&folder.display().to_string(), "/etc/drowse").replace(port, "2376")
}

#[tokio::test]
async fn a_certificate_of_the_ca_is_trusted_by_address_and_by_name() {
    let ca = Authority::new("ca");
    let address = serve(&server(&ca, &["127.0.0.1", "localhost"])).await;
    let folder = tempfile::tempdir().unwrap();
    let file = Files(folder.path()).write("ca.pem", &ca.certificate);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        let engine = engine(&url, TlsFiles::new(&file));
        assert_eq!(engine.list(patience()).await.unwrap().len(), 0, "{url}");
        assert_eq!(engine.reach(), Reach::LocalPublishedOnly, "it does not say which machine");
    }
}

#[tokio::test]
async fn an_engine_that_cannot_be_trusted_is_told_with_how_to_mend_it() {
    let ca = Authority::new("ca");
    let good = server(&ca, &["127.0.0.1"]);
    insta::assert_snapshot!(told_of(&good, &Authority::new("another").certificate).await, @"unavailable: the certificate of `127.0.0.1:2376` is not signed by a CA in `/etc/drowse/ca.pem`: name the file with the certificate of the CA that signed it; or somebody answers in the engine's place");
    let same_name = Authority::new("ca").certificate;
    assert_eq!(
        told_of(&good, &same_name).await,
        told_of(&good, &Authority::new("another").certificate).await,
        "one that has been made anew"
    );
    let ca_file = &ca.certificate;
    let named = server(&ca, &["nas.lan", "10.0.0.2"]);
    insta::assert_snapshot!(told_of(&named, ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` is not for `127.0.0.1` but for `nas.lan`, `10.0.0.2`: use one of these in the URL, or make the engine a certificate with `127.0.0.1` as a subject alternative name");
    insta::assert_snapshot!(told_of(&server(&ca, &[]), ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` has no subject alternative name, and so is for nobody: make the engine one with `127.0.0.1`");
    let expired = ca.issue(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    insta::assert_snapshot!(told_of(&expired, ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` has expired: renew it there, or set the clock that is wrong");
    let early = ca.issue(&["127.0.0.1"], |params| params.not_before = date_time_ymd(3000, 1, 1));
    insta::assert_snapshot!(told_of(&early, ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` is not valid yet: set the clock that is wrong, here or where it was made");
    let for_clients = ca.issue(&["127.0.0.1"], |params| {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    });
    insta::assert_snapshot!(told_of(&for_clients, ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` is not one for servers: make the engine one with the extended key usage `serverAuth`");
    let itself = ca.issue(&["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    insta::assert_snapshot!(told_of(&itself, ca_file).await, @"unavailable: the certificate of `127.0.0.1:2376` is a CA's own, which is none for servers: make the engine one that the CA in `/etc/drowse/ca.pem` has signed");
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            // So that it is not reset before the words were read.
            tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = Files(folder.path()).write("ca.pem", &Authority::new("ca").certificate);
    let engine = engine(&format!("tcp://{address}"), TlsFiles::new(ca));
    let error = engine.list(patience()).await.unwrap_err();
    insta::assert_snapshot!(told(&error, folder.path(), &address.port().to_string()), @"unavailable: what `127.0.0.1:2376` says is not TLS: the engine's port for TLS is another one, usually 2376");
}

/// A folder with good files, of which one is spoilt.
struct Spoilt {
    folder: TempDir,
    address: SocketAddr,
}

impl Spoilt {
    async fn new() -> Self {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
        let files = Files(folder.path());
        files.write("ca.pem", &ca.certificate);
        files.client(&ca.client());
        let address = serve(&server(&ca, &["127.0.0.1"])).await;
        Self { folder, address }
    }

    async fn told(&self, name: &str, text: Option<&str>) -> String {
        let files = Files(self.folder.path());
        let path = self.folder.path().join(name);
        let good = std::fs::read(&path).unwrap();
        match text {
            Some(text) => _ = files.write(name, text),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let engine = engine(&format!("tcp://{}", self.address), files.named());
        let error = engine.list(patience()).await.unwrap_err();
        files.write(name, good);
        // The same handle finds the file that was mended.
        engine.list(patience()).await.unwrap();
        told(&error, self.folder.path(), &self.address.port().to_string())
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_how_to_mend_it() {
    let spoilt = Spoilt::new().await;
    let other_key = Authority::new("other").client().key;
    insta::assert_snapshot!(spoilt.told("ca.pem", None).await, @"unavailable: the file `/etc/drowse/ca.pem` for TLS cannot be read: correct its path, or let drowse's user read it");
    insta::assert_snapshot!(spoilt.told("ca.pem", Some("")).await, @"unavailable: there is no certificate in `/etc/drowse/ca.pem`: a PEM file is needed, with `-----BEGIN CERTIFICATE-----`");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    insta::assert_snapshot!(spoilt.told("ca.pem", Some(broken)).await, @"unavailable: a certificate in `/etc/drowse/ca.pem` cannot be understood: is the file whole?");
    insta::assert_snapshot!(spoilt.told("cert.pem", Some(&other_key)).await, @"unavailable: there is no certificate in `/etc/drowse/cert.pem`: a PEM file is needed, with `-----BEGIN CERTIFICATE-----`");
    insta::assert_snapshot!(spoilt.told("key.pem", Some("secret")).await, @"unavailable: there is no private key in `/etc/drowse/key.pem`: a PEM file is needed, with `-----BEGIN PRIVATE KEY-----`");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    insta::assert_snapshot!(spoilt.told("key.pem", Some(locked)).await, @"unavailable: the private key in `/etc/drowse/key.pem` has a passphrase, and nobody is there to be asked for it: write it without one (`openssl pkey -in /etc/drowse/key.pem -out FILE`), for drowse's user alone");
    let strange = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    insta::assert_snapshot!(spoilt.told("key.pem", Some(strange)).await, @"unavailable: the private key in `/etc/drowse/key.pem` is of a kind that is not known: make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and a certificate for it");
    insta::assert_snapshot!(spoilt.told("key.pem", Some(&other_key)).await, @"unavailable: the certificate in `/etc/drowse/cert.pem` is not that of the key in `/etc/drowse/key.pem`: were they renewed together?");
}

#[tokio::test]
async fn a_renewal_that_is_half_done_changes_nothing() {
    let spoilt = Spoilt::new().await;
    let files = Files(spoilt.folder.path());
    let engine = engine(&format!("tcp://{}", spoilt.address), files.named());
    engine.list(patience()).await.unwrap();
    files.write("key.pem", "");
    engine.list(patience()).await.unwrap();
    std::fs::remove_file(spoilt.folder.path().join("ca.pem")).unwrap();
    engine.list(patience()).await.unwrap();
}
