use std::path::PathBuf;

use drowse_proxmox::{Credentials, Secret, Trust};

use super::*;
use crate::config::ProxmoxConfig;

fn proxmox(text: &str) -> ProxmoxConfig {
    let config = read_text(text).unwrap_or_else(|errors| panic!("{errors}"));
    match config.engines.into_iter().next().map(|engine| engine.kind) {
        Some(EngineKind::Proxmox(proxmox)) => *proxmox,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_is_read_with_its_token() {
    let read = proxmox(
        r#"
engines:
  pve:
    proxmox:
      url: [https://pve1:8006, https://pve2]
      token: "drowse@pve!main"
      secret_file: /etc/drowse/pve.secret
      fingerprints:
        - "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA"
      interval: 10s
      discover_hosts: ["*.example.com", wiki.lan]
workloads:
  wiki: { container: { vmid: 201 }, ha: true }
  db: { container: { engine: pve, name: db } }
"#,
    );
    let endpoints: Vec<_> = read.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["https://pve1:8006", "https://pve2:8006"]);
    let Credentials::Token { id, secret: Secret::File(path) } = &read.credentials else { panic!() };
    assert_eq!(
        (id.to_string().as_str(), path),
        ("drowse@pve!main", &PathBuf::from("/etc/drowse/pve.secret"))
    );
    assert!(matches!(&read.trust, Trust::Fingerprints(all) if all.len() == 1));
    assert_eq!(read.interval, Some(Duration::from_secs(10)));
    let hosts: Vec<_> = read.discover_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["*.example.com", "wiki.lan"]);
}

#[test]
fn a_container_of_a_cluster_is_named_by_its_number() {
    let config = read_text(
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } } }\n\
         workloads:\n  wiki: { container: { vmid: 201 }, ha: true, network: net1 }\n",
    )
    .unwrap();
    let wiki = &config.workloads[0];
    assert!(matches!(&wiki.container,
        ContainerConfig::OnEngine { engine, reference: drowse_provider::Reference::Vmid(201) }
        if engine == "pve"));
    assert!(wiki.settings.ha.as_ref().unwrap().value);
}

#[test]
fn the_other_ways_to_be_somebody_and_to_know_the_cluster() {
    let with = |keys: &str| {
        proxmox(&format!("engines: {{ pve: {{ proxmox: {{ url: https://pve1, {keys} }} }} }}"))
    };
    let token = "token: drowse@pve!main, secret_env: PVE_SECRET";
    let read = with(token);
    assert!(matches!(read.credentials,
        Credentials::Token { secret: Secret::Environment(name), .. } if name == "PVE_SECRET"));
    assert_eq!((read.trust, read.interval), (Trust::System, None));
    assert!(read.discover_hosts.is_empty());
    let read = with("username: drowse@pve, password_file: /p, ca_file: /etc/pve-root-ca.pem");
    assert!(matches!(read.credentials,
        Credentials::Password { user, secret: Secret::File(_) } if user == "drowse@pve"));
    assert_eq!(read.trust, Trust::CaFile("/etc/pve-root-ca.pem".into()));
    let read = with(&format!("{token}, let_anyone_impersonate_this_cluster: true"));
    assert_eq!(read.trust, Trust::Anyone);
    let read = with(&format!("{token}, let_anyone_impersonate_this_cluster: false"));
    assert_eq!(read.trust, Trust::System);
}

#[test]
fn half_given_credentials_are_refused_with_what_lacks() {
    let errors = read_text(
        r#"engines:
  nothing: { proxmox: { url: https://pve1 } }
  no_secret: { proxmox: { url: https://pve1, token: "drowse@pve!main" } }
  no_token: { proxmox: { url: https://pve1, secret_file: /s } }
  no_user: { proxmox: { url: https://pve1, password_file: /s } }
  no_password: { proxmox: { url: https://pve1, username: drowse@pve } }
  both: { proxmox: { url: https://pve1, token: "a@pve!b", username: a@pve, secret_file: /s } }
  mixed: { proxmox: { url: https://pve1, token: "a@pve!b", password_file: /s } }
  twice: { proxmox: { url: https://pve1, token: "a@pve!b", secret_file: /s, secret_env: S } }
  no_url: { proxmox: { token: "a@pve!b", secret_file: /s } }
"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    error: `token` is missing: the name of an API token, such as `drowse@pve!main`, and beside it `secret_file`
     --> drowse.yaml:2:14
      |
    2 |   nothing: { proxmox: { url: https://pve1 } }
      |              ^^^^^^^

    error: `secret_file` is missing: the file with the token's secret (or `secret_env`, the environment variable that has it)
     --> drowse.yaml:3:46
      |
    3 |   no_secret: { proxmox: { url: https://pve1, token: "drowse@pve!main" } }
      |                                              ^^^^^

    error: `token` is missing: the name of the API token that `secret_file` belongs to, such as `drowse@pve!main`
     --> drowse.yaml:4:15

    error: `username` is missing: the user whose password `password_file` is about
     --> drowse.yaml:5:14

    error: `password_file` is missing: the file with the user's password (or `password_env`, the environment variable that has it)
     --> drowse.yaml:6:48
      |
    6 |   no_password: { proxmox: { url: https://pve1, username: drowse@pve } }
      |                                                ^^^^^^^^

    error: `token` and `username` both say who drowse is: give one of them
     --> drowse.yaml:7:59

    error: `password_file` does not belong to `token`: the token's secret is given by `secret_file`, `secret_env` or `secret`
     --> drowse.yaml:8:60

    error: `secret_file` and `secret_env` both give the token's secret: give one of them
     --> drowse.yaml:9:77

    error: `url` is missing: `https://` and the name of a node, or a list of them
      --> drowse.yaml:10:13
    "#);
}

#[test]
fn what_is_wrong_with_a_cluster_is_told_with_its_place() {
    let errors = read_text(
        r#"engines:
  short: { proxmox: "https://pve1" }
  wrong:
    proxmox:
      url: [http://pve1:8006, https://pve1, https://PVE1:8006/, https://pve1/api2]
      token: drowse@pve
      secret_file: pve.secret
      fingerprints: ["AB:CD"]
      ca_file: /ca.pem
      interval: 100ms
      discover_hosts: ["https://wiki.lan", "*"]
      never_sleep: [dns]
      verify: false
  two: { docker: /run/docker.sock, proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } }
  kind: { proxmx: { url: https://pve1 } }
  open:
    proxmox:
      url: []
      token: a@pve!b
      secret_env: P-S
      fingerprints: []
  maybe:
    proxmox:
      url: https://pve1
      token: a@pve!b
      secret_env: S
      let_anyone_impersonate_this_cluster: perhaps
workloads:
  low: { container: { engine: wrong, vmid: 99 } }
  word: { container: { engine: wrong, vmid: wiki } }
  two: { container: { engine: wrong, vmid: 201, name: wiki } }
  ha: { container: { engine: wrong, vmid: 202 }, ha: perhaps }
"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    error: expected a mapping with `url`, `token` and its secret, found text
     --> drowse.yaml:2:21

    error: `http://pve1:8006` is without TLS, which Proxmox's API never is: write `https://pve1:8006`
     --> drowse.yaml:5:13
      |
    5 |       url: [http://pve1:8006, https://pve1, https://PVE1:8006/, https://pve1/api2]
      |             ^^^^^^^^^^^^^^^^

    error: `https://pve1:8006` is given twice
     --> drowse.yaml:5:45
      |
    5 |       url: [http://pve1:8006, https://pve1, https://PVE1:8006/, https://pve1/api2]
      |                                             ^^^^^^^^^^^^^^^^^^

    error: `https://pve1/api2` names a path, and the API's is always the same: write `https://pve1`
     --> drowse.yaml:5:65
      |
    5 |       url: [http://pve1:8006, https://pve1, https://PVE1:8006/, https://pve1/api2]
      |                                                                 ^^^^^^^^^^^^^^^^^

    error: this is no API token's name: `user@realm!name` is expected, such as `drowse@pve!main`
     --> drowse.yaml:6:14

    error: this is no absolute path, which begins with `/`: the secret itself goes into a file, and the file's path here
     --> drowse.yaml:7:20

    error: `AB:CD` is no SHA-256 fingerprint: 32 bytes in hexadecimal are needed, as `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` shows them on the node
     --> drowse.yaml:8:22
      |
    8 |       fingerprints: ["AB:CD"]
      |                      ^^^^^^^

    error: `fingerprints` and `ca_file` both say how the cluster is known: give one of them
     --> drowse.yaml:9:7
      |
    9 |       ca_file: /ca.pem
      |       ^^^^^^^

    error: an interval is at least `1s`
      --> drowse.yaml:10:17
       |
    10 |       interval: 100ms
       |                 ^^^^^

    error: `https://wiki.lan` is no host name: leave out the scheme
      --> drowse.yaml:11:24
       |
    11 |       discover_hosts: ["https://wiki.lan", "*"]
       |                        ^^^^^^^^^^^^^^^^^^

    error: `*` is no host name: `*` can only stand for the first part, as in `*.example.com`
      --> drowse.yaml:11:44
       |
    11 |       discover_hosts: ["https://wiki.lan", "*"]
       |                                            ^^^

    error: `never_sleep` stands at the top of the file: it is about all engines
      --> drowse.yaml:12:7
       |
    12 |       never_sleep: [dns]
       |       ^^^^^^^^^^^

    error: unknown key `verify`: expected one of `url`, `token`, `secret`, `secret_file`, `secret_env`, `username`, `password`, `password_file`, `password_env`, `fingerprints`, `ca_file`, `let_anyone_impersonate_this_cluster`, `interval`, `discover_hosts`
      --> drowse.yaml:13:7

    error: an engine is of one kind: give the other one a name of its own
      --> drowse.yaml:14:36

    error: unknown kind of engine `proxmx`: did you mean `proxmox`?
      --> drowse.yaml:15:11

    error: `url` is empty: name at least one node of the cluster
      --> drowse.yaml:18:12
       |
    18 |       url: []
       |            ^

    error: this is no environment variable's name (letters, digits and `_`, such as `PVE_SECRET`): the secret itself goes into the variable, and its name here
      --> drowse.yaml:20:19

    error: `fingerprints` is empty: nobody would be believed
      --> drowse.yaml:21:21
       |
    21 |       fingerprints: []
       |                     ^

    error: expected `true` or `false`, found `perhaps`
      --> drowse.yaml:27:44
       |
    27 |       let_anyone_impersonate_this_cluster: perhaps
       |                                            ^^^^^^^

    error: `99` is no VMID: a number from 100 to 999999999 is expected
      --> drowse.yaml:29:44
       |
    29 |   low: { container: { engine: wrong, vmid: 99 } }
       |                                            ^^

    error: `wiki` is no VMID: a number from 100 to 999999999 is expected
      --> drowse.yaml:30:45
       |
    30 |   word: { container: { engine: wrong, vmid: wiki } }
       |                                             ^^^^

    error: which container? give exactly one of `name`, `id`, `vmid`, `project` with `service`, or `process`
      --> drowse.yaml:31:10
       |
    31 |   two: { container: { engine: wrong, vmid: 201, name: wiki } }
       |          ^^^^^^^^^

    error: expected `true` or `false`, found `perhaps`
      --> drowse.yaml:32:54
       |
    32 |   ha: { container: { engine: wrong, vmid: 202 }, ha: perhaps }
       |                                                      ^^^^^^^
    "#);
}

#[test]
fn every_key_of_a_cluster_is_in_the_readme() {
    let readme = include_str!("../../../../README.md");
    for key in crate::config::PROXMOX_KEYS {
        assert!(
            readme.contains(&format!("`{key}`")) || readme.contains(&format!(".{key}`")),
            "{key}"
        );
    }
}

#[test]
fn a_cluster_is_asked_often_enough() {
    let of = |interval: &str| {
        read_text(&format!(
            "engines:\n  pve:\n    proxmox:\n      url: https://pve1\n      token: a@pve!b\n      \
             secret_env: S\n      interval: {interval}\n"
        ))
    };
    assert!(of("1m").is_ok() && of("1s").is_ok());
    insta::assert_snapshot!(of("61s").unwrap_err(), @r"
    error: an interval is at most `1m`: what happens on the cluster meanwhile is not known
     --> drowse.yaml:7:17
      |
    7 |       interval: 61s
      |                 ^^^
    ");
}

/// Whatever is wrong beside it, and wherever it was put by mistake.
#[test]
fn a_secret_is_never_shown() {
    const SECRET: &str = "2f1ab0e4-1c7d";
    for text in [
        "engines: { pve: { proxmox: { url: 7, token: a, secret: SECRET, oops: 1 } } }",
        "engines: { pve: { proxmox: { url: https://pve1, token: \"a@pve!b\", secert: SECRET } } }",
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b=SECRET } } }",
        "engines: { pve: { proxmox: { url: https://pve1, token: SECRET, secret_file: /s } } }",
        "engines: { pve: { proxmox: { url: \"https://me:SECRET@pve1\", token: a@pve!b } } }",
        "engines: { pve: { proxmox: { url: https://pve1, secret: [SECRET] } } }",
        "engines: { pve: { proxmox: { url: https://pve1, secret: { a: SECRET } } } }",
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_file: SECRET } } }",
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: SECRET } } }",
        "engines: { pve: { proxmox: { url: https://pve1, username: a@pve, password_file: SECRET } } }",
        "engines: { pve: { proxmox: { url: https://pve1, username: a@pve, password_env: SECRET } } }",
        "engines:\n  pve:\n    proxmox:\n      secret_file: [SECRET]\n      secret_env:\n        - SECRET\n",
        "engines:\n  pve:\n    proxmox:\n      secret_env: SECRET: [\n",
        "engines: { pve: { docker: { url: x, secret: SECRET } } }",
        "engines: { pve: { proxmx: { secert: SECRET } } }",
        "engines: { pve: { proxmox: SECRET } }",
        "engines:\n  pve:\n    proxmox:\n      secret: |\n        SECRET\n      url: 7\n",
        "engines:\n  pve:\n    proxmox:\n      secert:\n        - SECRET\n      url: 7\n",
        "engines:\n  pve:\n    proxmox:\n      \"password\" : SECRET\n      password: SECRET\n",
        "engines: { pve: { proxmox: { secret: SECRET, : [ } } }",
        "secret: SECRET",
        "workloads: { a: { container: { engine: SECRETx } } }\nengines: { pve: { proxmox: { password: SECRET } } }",
    ] {
        let errors =
            read_text(&text.replace("SECRETx", "pvee").replace("SECRET", SECRET)).unwrap_err();
        assert!(!errors.contains(SECRET), "{text}:\n{errors}");
        assert!(errors.contains("drowse.yaml:"), "{text}:\n{errors}");
    }
}

#[test]
fn a_secret_that_is_right_is_in_no_debug_output() {
    let config = read_text(
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret: s3cr3t } } }",
    );
    let shown = format!("{:?}", config.unwrap());
    assert!(shown.contains("a@pve!b") && !shown.contains("s3cr3t"), "{shown}");
    let source = Source::new("drowse.yaml".into(), "secret: s3cr3t".to_owned());
    assert!(!format!("{source:?}").contains("s3cr3t"));
}
