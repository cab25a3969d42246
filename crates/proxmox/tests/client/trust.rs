//! Whose certificates are trusted.

use std::{fs, path::Path};

use drowse_proxmox::{Client, ClientError, ClientOptions, Trust};
use rcgen::date_time_ymd;

use crate::{
    patience,
    support::{
        certificates::{Authority, Identity},
        server::{Reply, Server, patient, token},
    },
    told,
};

async fn serving(identity: &Identity) -> Server {
    Server::start_as(identity.clone(), |_| Reply::ok(r#"{"data":{"version":"9.2.11"}}"#)).await
}

fn trusting(server: &Server, trust: Trust) -> Client {
    let options = ClientOptions::new(vec![server.endpoint()], token("secret"), trust);
    Client::new(patient(options)).unwrap()
}

/// What is told of a server that is not trusted, with the fingerprints by their names.
async fn refused(server: &Server, trust: Trust, names: &[(&str, String)]) -> String {
    let error = trusting(server, trust).version(patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 0, "nothing is sent to a stranger");
    let mut text = told(&error, &[server.endpoint().port()]);
    for (name, what) in names {
        text = text.replace(what, name);
    }
    text
}

#[tokio::test]
async fn a_pinned_certificate_is_trusted_whatever_name_and_dates_it_has() {
    let expired = Authority::new("ca").issue_with(&["another"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let server = serving(&expired).await;
    let strange = Authority::new("x").fingerprint();
    let trust = Trust::Fingerprints(vec![strange, expired.fingerprint()]);
    trusting(&server, trust).version(patience()).await.unwrap();
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_told_with_both_fingerprints() {
    let (shown, pinned) = (Authority::new("ca").issue(&["127.0.0.1"]), Authority::new("old"));
    let server = serving(&shown).await;
    let names =
        [("SHOWN", shown.fingerprint().to_string()), ("PINNED", pinned.fingerprint().to_string())];
    let trust = Trust::Fingerprints(vec![pinned.fingerprint()]);
    insta::assert_snapshot!(refused(&server, trust, &names).await, @"the certificate of `https://127.0.0.1:PORT1` is not trusted: it shows SHOWN, and PINNED is pinned; if the certificate was renewed (compare with `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` on the node, or `pveproxy-ssl.pem` if that exists), pin the new one (`fingerprints`); if a CA is pinned, the node does not send it along, so give its file instead (`/etc/pve/pve-root-ca.pem`); otherwise somebody answers in its place");
}

#[tokio::test]
async fn below_a_pinned_ca_a_certificate_must_be_signed_by_it_and_for_the_host() {
    let ca = Authority::new("ca");
    let trust = || Trust::Fingerprints(vec![ca.fingerprint()]);
    let good = ca.issue(&["127.0.0.1"]).along_with(&ca);
    trusting(&serving(&good).await, trust()).version(patience()).await.unwrap();

    // Sends the pinned CA along, and is not of it.
    let impostor = Authority::new("ca").issue(&["127.0.0.1"]).along_with(&ca);
    let names =
        [("SHOWN", impostor.fingerprint().to_string()), ("CA", ca.fingerprint().to_string())];
    let text = refused(&serving(&impostor).await, trust(), &names).await;
    insta::assert_snapshot!(text, @"the certificate of `https://127.0.0.1:PORT1` is not trusted: it shows SHOWN (and above it CA), and the pinned CA that is sent along has not signed it: somebody answers in its place, or the node sends the wrong chain");

    let elsewhere = ca.issue(&["pve7", "10.0.0.7"]).along_with(&ca);
    let names =
        [("SHOWN", elsewhere.fingerprint().to_string()), ("CA", ca.fingerprint().to_string())];
    let text = refused(&serving(&elsewhere).await, trust(), &names).await;
    insta::assert_snapshot!(text, @"the certificate of `https://127.0.0.1:PORT1` is not trusted: below the pinned CA CA, it is not for `127.0.0.1` but for `pve7`, `10.0.0.7`: use one of these in the URL, or pin the fingerprint that it shows, SHOWN (and above it CA)");

    // Does not send it along: by its fingerprint alone nothing can be checked.
    let alone = ca.issue(&["127.0.0.1"]);
    let names = [("SHOWN", alone.fingerprint().to_string()), ("CA", ca.fingerprint().to_string())];
    let text = refused(&serving(&alone).await, trust(), &names).await;
    insta::assert_snapshot!(text, @"the certificate of `https://127.0.0.1:PORT1` is not trusted: it shows SHOWN, and CA is pinned; if the certificate was renewed (compare with `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` on the node, or `pveproxy-ssl.pem` if that exists), pin the new one (`fingerprints`); if a CA is pinned, the node does not send it along, so give its file instead (`/etc/pve/pve-root-ca.pem`); otherwise somebody answers in its place");
}

#[tokio::test]
async fn a_ca_file_is_trusted_and_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pve-root-ca.pem");
    let (old, new) = (Authority::new("ca"), Authority::new("ca"));
    fs::write(&file, &old.certificate).unwrap();
    let server = serving(&old.issue(&["127.0.0.1"])).await;
    let client = trusting(&server, Trust::CaFile(file.clone()));
    client.version(patience()).await.unwrap();

    // The cluster's CA is renewed.
    let renewed = new.issue(&["127.0.0.1"]);
    server.show(&renewed);
    let error = client.version(patience()).await.unwrap_err();
    let shown = renewed.fingerprint().to_string();
    let text = told(&error, &[server.endpoint().port()]).replace(&shown, "SHOWN");
    insta::assert_snapshot!(text, @"the certificate of `https://127.0.0.1:PORT1` is not trusted: no CA that is trusted has signed it: trust the cluster's own CA (the file `/etc/pve/pve-root-ca.pem` of any node), or pin the fingerprint that it shows, SHOWN, if `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` says the same on the node; otherwise somebody answers in its place");
    replace(&file, &new.certificate);
    client.version(patience()).await.unwrap();

    // Half a renewal: what the file said last counts.
    replace(&file, "-----BEGIN CERTIFICATE-----\nMIIB");
    client.version(patience()).await.unwrap();
}

/// As a careful program does it: at once.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, file).unwrap();
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(&Authority::new("ca").issue(&["127.0.0.1"])).await;
    let names = [("FOLDER", folder.path().display().to_string())];
    let mut shown = Vec::new();
    for (name, text) in [
        ("missing.pem", None),
        ("empty.pem", Some("")),
        ("half.pem", Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")),
    ] {
        let file = folder.path().join(name);
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        shown.push(refused(&server, Trust::CaFile(file), &names).await);
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    the certificate of `https://127.0.0.1:PORT1` is not trusted: the CA file `FOLDER/missing.pem` cannot be read (No such file or directory (os error 2)): correct its path, or let drowse's user read it
    the certificate of `https://127.0.0.1:PORT1` is not trusted: there is no certificate in `FOLDER/empty.pem`: a PEM file is needed, with `-----BEGIN CERTIFICATE-----`
    the certificate of `https://127.0.0.1:PORT1` is not trusted: a certificate in `FOLDER/half.pem` cannot be understood (invalid peer certificate: BadEncoding): is the file whole?
    ");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_below_a_ca_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new("ca");
    let file = folder.path().join("ca.pem");
    fs::write(&file, &ca.certificate).unwrap();
    let mut shown = Vec::new();
    let expired = ca.issue_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let not_yet = ca.issue_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    });
    for identity in [expired, not_yet, ca.issue(&["pve7", "10.0.0.7"]), ca.issue(&[])] {
        let server = serving(&identity).await;
        let names = [("SHOWN", identity.fingerprint().to_string())];
        shown.push(refused(&server, Trust::CaFile(file.clone()), &names).await);
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    the certificate of `https://127.0.0.1:PORT1` is not trusted: it has expired: renew it (`pvecm updatecerts` on the node), or set the clock that is wrong
    the certificate of `https://127.0.0.1:PORT1` is not trusted: it is not valid yet: set the clock that is wrong, here or where it was made
    the certificate of `https://127.0.0.1:PORT1` is not trusted: it is not for `127.0.0.1` but for `pve7`, `10.0.0.7`: use one of these in the URL, or pin the fingerprint that it shows, SHOWN
    the certificate of `https://127.0.0.1:PORT1` is not trusted: it has no subject alternative name, and so is for nobody: pin the fingerprint that it shows, SHOWN
    ");
}

#[tokio::test]
async fn the_system_does_not_trust_a_clusters_own_ca() {
    let identity = Authority::new("Proxmox Virtual Environment").issue(&["127.0.0.1"]);
    let server = serving(&identity).await;
    let error = trusting(&server, Trust::System).version(patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_changes_while_running_is_noticed_at_the_next_connection() {
    let ca = Authority::new("ca");
    let (old, new) = (ca.issue(&["127.0.0.1"]), ca.issue(&["127.0.0.1"]));
    let server = serving(&old).await;
    let client = trusting(&server, Trust::Fingerprints(vec![old.fingerprint()]));
    client.version(patience()).await.unwrap();
    server.show(&new);
    let error = client.version(patience()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&new.fingerprint().to_string()), "{text}");
    assert!(text.contains(&old.fingerprint().to_string()), "{text}");
    // Whoever pins both before the renewal does not notice it.
    let both = Trust::Fingerprints(vec![old.fingerprint(), new.fingerprint()]);
    let client = trusting(&server, both);
    client.version(patience()).await.unwrap();
    server.show(&old);
    client.version(patience()).await.unwrap();
    // And back: the first client has not lost its trust for good.
    server.show(&old);
    trusting(&server, Trust::Fingerprints(vec![old.fingerprint()]))
        .version(patience())
        .await
        .unwrap();
}

#[tokio::test]
async fn anyone_is_trusted_only_where_that_is_said() {
    let server = serving(&Authority::new("ca").issue(&["another"])).await;
    trusting(&server, Trust::Anyone).version(patience()).await.unwrap();
}

#[tokio::test]
async fn a_host_is_reached_at_whichever_of_its_addresses_answers() {
    // Nobody listens at `::1`, which comes first where there is one.
    let server = serving(&Authority::new("ca").issue(&["localhost"])).await;
    let endpoint = format!("https://localhost:{}", server.endpoint().port()).parse().unwrap();
    let trust = Trust::Fingerprints(vec![server.fingerprint()]);
    let options = ClientOptions::new(vec![endpoint], token("secret"), trust);
    Client::new(patient(options)).unwrap().version(patience()).await.unwrap();
}
