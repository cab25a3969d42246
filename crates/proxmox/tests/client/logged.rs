//! What is logged, and what never is.

use std::{fs, os::unix::fs::PermissionsExt as _};

use drowse_proxmox::{Client, ClientOptions, Credentials, Secret, Trust};

use crate::{
    patience,
    support::{
        logs::Logs,
        server::{Reply, Server, token},
    },
};

#[tokio::test]
async fn trusting_anyone_warns_at_every_start() {
    let server = Server::start(|_| Reply::cut()).await;
    let logs = Logs::collect();
    let options = ClientOptions::new(vec![server.endpoint()], token("hidden"), Trust::Anyone);
    for _ in 0..2 {
        Client::new(options.clone()).unwrap();
    }
    let port = server.endpoint().port().to_string();
    let lines: Vec<_> = logs.lines().iter().map(|line| line.replace(&port, "PORT")).collect();
    assert_eq!(lines.len(), 2);
    insta::assert_snapshot!(lines[0].trim(), @"WARN drowse_proxmox::client::shared: certificates are not verified: whoever answers there gets the credential of the cluster; pin its fingerprint instead endpoints=https://127.0.0.1:PORT");
}

#[tokio::test]
async fn a_secret_file_that_everybody_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pve.secret");
    fs::write(&file, "hidden").unwrap();
    let server = Server::start(|_| Reply::kept(r#"{"data":{"version":"9.2.11"}}"#)).await;
    for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let credentials = Credentials::Token {
            id: "drowse@pve!main".parse().unwrap(),
            secret: Secret::File(file.clone()),
        };
        let logs = Logs::collect();
        Client::new(server.options_with(credentials)).unwrap().version(patience()).await.unwrap();
        let told: Vec<_> = logs.lines().into_iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(told.len(), warnings, "{mode:o}: {told:?}");
        if let Some(line) = told.first() {
            let line = line.replace(&folder.path().display().to_string(), "FOLDER");
            insta::assert_snapshot!(line.trim(), @"WARN drowse_proxmox::client::credentials: the secret file can be read by everybody on this machine: `chmod 600` it path=FOLDER/pve.secret");
        }
    }
}

#[tokio::test]
async fn each_call_is_logged_with_its_status_and_never_with_a_secret() {
    let server = Server::start(|request| match &*request.path {
        "/version" => Reply::kept(r#"{"data":{"version":"9.2.11"}}"#),
        "/nodes/pve1/lxc/201/status/stop" => Reply::error(500, "CT 201 not running"),
        _ => Reply::bare(401, "Authentication failed!"),
    })
    .await;
    let logs = Logs::collect();
    let client = Client::new(server.options_with(token("hidden"))).unwrap();
    client.version(patience()).await.unwrap();
    client.stop("pve1", 201, false, patience()).await.unwrap_err();
    client.nodes(patience()).await.unwrap_err();
    let lines = logs.lines();
    let text = lines.join("\n").replace(&server.endpoint().port().to_string(), "PORT");
    assert!(!text.contains("hidden"), "{text}");
    let shown: Vec<String> = text
        .lines()
        .map(|line| {
            let words = line.split(' ').filter(|word| !word.starts_with("elapsed="));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    DEBUG drowse_proxmox::client::transport: asked endpoint=https://127.0.0.1:PORT method=GET path="/version" status=200
    DEBUG drowse_proxmox::client::transport: asked in vain endpoint=https://127.0.0.1:PORT method=POST path="/nodes/pve1/lxc/201/status/stop" status=500 error=CT 201 not running
    DEBUG drowse_proxmox::client::transport: asked in vain endpoint=https://127.0.0.1:PORT method=GET path="/nodes" status=401 error=the credential is not accepted: Authentication failed!
     WARN drowse_proxmox::client::session: the credential is not accepted: it is not shown again for a while answer="Authentication failed!" user="drowse@pve!main" pause=3s
    "#);
}
