use drowse_docker::{SshFiles, TlsFiles};
use drowse_provider::Reference;

use super::{from_text as read_text, *};
use crate::config::{DockerConfig, DockerEndpoint, EngineKind};

fn docker(engine: &EngineConfig) -> &DockerConfig {
    match &engine.kind {
        EngineKind::Docker(docker) => docker,
        EngineKind::Proxmox(_) => panic!("`{}` is a Proxmox engine", engine.name),
    }
}

#[test]
fn the_documented_shape_is_read() {
    let config = read_text(
        r#"
listen: [127.0.0.1:8080, "[::1]:8080"]
shutdown_grace: 5s
engines:
  home: { docker: "unix:///var/run/docker.sock" }
  other: { docker: { url: "tcp://10.0.0.2:2375" } }
defaults: { idle: 15m, wake_timeout: 2m, sleep: stop }
workloads:
  wiki:
    container: { engine: home, name: wiki }
    idle: 1h30m
    stop_signal: SIGINT
    routes: [{ host: wiki.example.com, port: 80 }, { host: [a.example, b.example], path: /wiki }]
  db:
    container: { engine: other, id: 0123abc }
  web:
    container: { engine: home, project: shop, service: web }
  local:
    container: { process: { command: [node, app.js, 8080], cwd: /srv, env: { PORT: 8080, A: "" } } }
    routes: []
"#,
    )
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.shutdown_grace, Duration::from_secs(5));
    let url = DockerEndpoint::Url("tcp://10.0.0.2:2375".to_owned());
    assert_eq!(docker(&config.engines[1]), &DockerConfig::of(url));
    let [wiki, db, web, local] = config.workloads.as_slice() else { panic!() };
    assert_eq!(wiki.settings.idle.as_ref().unwrap().value, Duration::from_mins(90));
    let routes = wiki.routes.as_ref().unwrap();
    assert_eq!(routes[0].port.as_ref().unwrap().value, 80);
    let hosts: Vec<_> =
        routes[1].hosts.as_ref().unwrap().value.iter().map(HostPattern::to_string).collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
    assert!(
        matches!(&db.container, ContainerConfig::OnEngine { engine, reference: Reference::Id(id) }
        if engine == "other" && id == "0123abc")
    );
    assert!(db.routes.is_none());
    assert!(matches!(&web.container,
        ContainerConfig::OnEngine { reference: Reference::Service { project, service }, .. }
        if project == "shop" && service == "web"));
    assert!(local.routes.as_ref().unwrap().is_empty());
    let ContainerConfig::Process(process) = &local.container else { panic!() };
    assert_eq!(process.command, ["node", "app.js", "8080"]);
    assert_eq!(
        process.environment,
        [("PORT".to_owned(), "8080".to_owned()), ("A".to_owned(), String::new())]
    );
}

#[test]
fn trusted_proxies_are_networks_and_addresses() {
    let config = read_text("trusted_proxies: [172.18.0.0/16, 10.0.0.7, \"fd00::/8\"]").unwrap();
    for (address, is_trusted) in
        [("172.18.0.5", true), ("10.0.0.7", true), ("fd00::1", true), ("10.0.0.8", false)]
    {
        assert_eq!(config.trusted_proxies.contains(address.parse().unwrap()), is_trusted);
    }
    let one = read_text("trusted_proxies: 172.18.0.5").unwrap();
    assert!(one.trusted_proxies.contains([172, 18, 0, 5].into()));
    let errors = read_text("trusted_proxies: [172.18.0.5/16, traefik, { a: b }]").unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error: `172.18.0.5/16` names an address within a network: write `172.18.0.0/16` for the whole network, or `172.18.0.5` for the one address
     --> drowse.yaml:1:19
      |
    1 | trusted_proxies: [172.18.0.5/16, traefik, { a: b }]
      |                   ^^^^^^^^^^^^^

    error: `traefik` is no network: expected an address such as `172.18.0.5`, or a network such as `172.18.0.0/16` or `fd00::/8`
     --> drowse.yaml:1:34
      |
    1 | trusted_proxies: [172.18.0.5/16, traefik, { a: b }]
      |                                  ^^^^^^^

    error: expected a network such as `172.18.0.0/16`, found a mapping
     --> drowse.yaml:1:43
      |
    1 | trusted_proxies: [172.18.0.5/16, traefik, { a: b }]
      |                                           ^
    ");
}

#[test]
fn the_waiting_page_has_a_theme_and_a_language() {
    let config = read_text("page: { theme: /etc/drowse/theme, language: de }").unwrap();
    assert_eq!(config.page.theme.as_deref(), Some(Path::new("/etc/drowse/theme")));
    assert_eq!(config.page.language, Some(drowse_gateway::Language::German));
    assert_eq!(read_text("page: {}").unwrap().page, drowse_gateway::PageOptions::new());
    let errors = read_text("page: { theme: themes/mine, language: klingon, color: red }");
    insta::assert_snapshot!(errors.unwrap_err(), @r"
    error: `themes/mine` is no absolute path: begin it with `/`
     --> drowse.yaml:1:16
      |
    1 | page: { theme: themes/mine, language: klingon, color: red }
      |                ^^^^^^^^^^^

    error: the waiting page does not speak `klingon`: expected one of `en`, `de`, `fr`, `es`, `zh`
     --> drowse.yaml:1:39
      |
    1 | page: { theme: themes/mine, language: klingon, color: red }
      |                                       ^^^^^^^

    error: unknown key `color`: expected one of `theme`, `language`
     --> drowse.yaml:1:48
      |
    1 | page: { theme: themes/mine, language: klingon, color: red }
      |                                                ^^^^^
    ");
    assert!(read_text("page: dark").is_err());
}

#[test]
fn every_key_of_the_page_is_in_the_readme() {
    let readme = include_str!("../../../README.md");
    for key in super::PAGE_KEYS {
        assert!(readme.contains(&format!("`page.{key}`")), "{key}");
    }
}

#[test]
fn limits_are_set_and_those_that_make_no_sense_are_refused() {
    let text = "limits: { body_timeout: 5m, client_timeout: 10m, waiting: 100, \
                waiting_per_workload: 10, connections_per_source: 50 }";
    let limits = Limits {
        body_timeout: Duration::from_mins(5),
        client_timeout: Duration::from_mins(10),
        waiting: 100,
        waiting_per_workload: 10,
        connections_per_source: 50,
    };
    assert_eq!(read_text(text).unwrap().limits, limits);
    assert_eq!(read_text("").unwrap().limits, Limits::default());
    let errors = read_text("limits: { body_timeout: 1ms, waiting: 0, streams: 9 }").unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error: a limit in time is at least `1s`
     --> drowse.yaml:1:25
      |
    1 | limits: { body_timeout: 1ms, waiting: 0, streams: 9 }
      |                         ^^^

    error: `0` is no limit: a whole number from 1 on is expected
     --> drowse.yaml:1:39
      |
    1 | limits: { body_timeout: 1ms, waiting: 0, streams: 9 }
      |                                       ^

    error: unknown key `streams`: expected one of `body_timeout`, `client_timeout`, `waiting`, `waiting_per_workload`, `connections_per_source`
     --> drowse.yaml:1:42
      |
    1 | limits: { body_timeout: 1ms, waiting: 0, streams: 9 }
      |                                          ^^^^^^^
    ");
}

#[test]
fn every_limit_is_in_the_readme() {
    let readme = include_str!("../../../README.md");
    for key in super::LIMIT_KEYS {
        assert!(readme.contains(&format!("`limits.{key}`")), "{key}");
    }
}

#[test]
fn an_empty_file_means_the_default_engine() {
    for text in ["", "# nothing\n", "workloads: {}\n"] {
        let config = read_text(text).unwrap();
        let [engine] = config.engines.as_slice() else { panic!("{text}") };
        assert_eq!(engine.name, "docker", "{text}");
        assert_eq!(docker(engine), &DockerConfig::of(DockerEndpoint::Environment), "{text}");
    }
    assert!(read_text("engines: {}").unwrap().engines.is_empty());
}

#[test]
fn every_mistake_is_told_at_once_each_with_its_place() {
    let errors = read_text(
        r#"lisen: 127.0.0.1:80
listen: ":8080"
shutdown_grace: 30
engines:
  home: { docker: "unix:///var/run/docker.sock" }
  pve: { proxmox: { url: "https://pve1:8006" } }
  bad: {}
defaults:
  idel: 15m
  idle: -5m
  sleep: [stop]
workloads:
  wiki:
    container: { engine: hme, name: wiki }
    routes: [{ host: "http://wiki.example.com", port: 80000 }, { path: wiki }]
    needs: [db]
  db:
    idle: 300
  "a b":
    container: { engine: home }
  twin1: { container: { engine: home, name: twin } }
  twin2: { container: { engine: home, name: /twin } }
  which: { container: { name: which } }
  first: { container: { engine: home, name: first }, routes: [{ host: same.example }] }
  second: { container: { engine: home, name: second }, routes: [{ host: [x.example, Same.example] }] }
  local:
    container: { process: { command: node app.js, dir: / }, name: x }
  mute: { container: { process: { command: [x] } }, routes: [{ host: mute.example }] }
"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r#"
    error: unknown key `lisen`: did you mean `listen`?
     --> drowse.yaml:1:1
      |
    1 | lisen: 127.0.0.1:80
      | ^^^^^

    error: `:8080` is no address to listen on: expected `0.0.0.0:8080` for all interfaces, or `127.0.0.1:8080`
     --> drowse.yaml:2:9
      |
    2 | listen: ":8080"
      |         ^^^^^^^

    error: a duration needs a unit: `30s`, `30m`, `30h` or `30d`
     --> drowse.yaml:3:17
      |
    3 | shutdown_grace: 30
      |                 ^^

    error: `token` is missing: the name of an API token, such as `drowse@pve!main`, and beside it `secret_file`
     --> drowse.yaml:6:10
      |
    6 |   pve: { proxmox: { url: "https://pve1:8006" } }
      |          ^^^^^^^

    error: the engine's kind is missing: `docker: URL`, or `proxmox` with its keys, is expected
     --> drowse.yaml:7:3
      |
    7 |   bad: {}
      |   ^^^

    error: unknown key `idel`: did you mean `idle`?
     --> drowse.yaml:9:3
      |
    9 |   idel: 15m
      |   ^^^^

    error: a duration cannot be negative: `-5m`
      --> drowse.yaml:10:9
       |
    10 |   idle: -5m
       |         ^^^

    error: expected `stop`, `pause`, `pause_then_stop` or `kill`, found a list
      --> drowse.yaml:11:10
       |
    11 |   sleep: [stop]
       |          ^

    error: unknown engine `hme`: did you mean `home`?
      --> drowse.yaml:14:26
       |
    14 |     container: { engine: hme, name: wiki }
       |                          ^^^

    error: `http://wiki.example.com` is no host name: leave out the scheme
      --> drowse.yaml:15:22
       |
    15 |     routes: [{ host: "http://wiki.example.com", port: 80000 }, { path: wiki }]
       |                      ^^^^^^^^^^^^^^^^^^^^^^^^^

    error: `80000` is no port: a number from 1 to 65535 is expected
      --> drowse.yaml:15:55
       |
    15 |     routes: [{ host: "http://wiki.example.com", port: 80000 }, { path: wiki }]
       |                                                       ^^^^^

    error: `host` is missing: a route needs one, or `tcp` or `udp`
      --> drowse.yaml:15:64
       |
    15 |     routes: [{ host: "http://wiki.example.com", port: 80000 }, { path: wiki }]
       |                                                                ^

    error: `wiki` is no path prefix: it must begin with `/` and have neither query nor fragment
      --> drowse.yaml:15:72
       |
    15 |     routes: [{ host: "http://wiki.example.com", port: 80000 }, { path: wiki }]
       |                                                                        ^^^^

    error: `container` is missing: say what sleeps, such as `container: {name: db}`
      --> drowse.yaml:17:3
       |
    17 |   db:
       |   ^^

    error: a duration needs a unit: `300s`, `300m`, `300h` or `300d`
      --> drowse.yaml:18:11
       |
    18 |     idle: 300
       |           ^^^

    error: `a b` cannot be a workload's name: letters, digits, `-`, `_` and `.` are expected
      --> drowse.yaml:19:3
       |
    19 |   "a b":
       |   ^^^^^

    error: which container? give exactly one of `name`, `id`, `vmid`, `project` with `service`, or `process`
      --> drowse.yaml:20:5
       |
    20 |     container: { engine: home }
       |     ^^^^^^^^^

    error: `twin1` and `twin2` are the same container, `twin` on engine `home`: make it one workload with several routes
      --> drowse.yaml:22:3
       |
    22 |   twin2: { container: { engine: home, name: /twin } }
       |   ^^^^^

    error: on which engine? give `engine`, one of `home`, `pve`, `bad`
      --> drowse.yaml:23:12
       |
    23 |   which: { container: { name: which } }
       |            ^^^^^^^^^

    error: `same.example/` is taken by workload `first` already
      --> drowse.yaml:25:73
       |
    25 |   second: { container: { engine: home, name: second }, routes: [{ host: [x.example, Same.example] }] }
       |                                                                         ^

    error: a process has neither engine nor name: give one or the other
      --> drowse.yaml:27:18
       |
    27 |     container: { process: { command: node app.js, dir: / }, name: x }
       |                  ^^^^^^^

    error: expected a list of the program and its arguments, such as `[node, app.js]`, found text
      --> drowse.yaml:27:38
       |
    27 |     container: { process: { command: node app.js, dir: / }, name: x }
       |                                      ^^^^^^^^^^^

    error: unknown key `dir`: expected one of `command`, `cwd`, `env`
      --> drowse.yaml:27:51
       |
    27 |     container: { process: { command: node app.js, dir: / }, name: x }
       |                                                   ^^^

    error: `port` is missing: say where the process listens
      --> drowse.yaml:28:70
       |
    28 |   mute: { container: { process: { command: [x] } }, routes: [{ host: mute.example }] }
       |                                                                      ^^^^^^^^^^^^
    "#);
}

#[test]
fn an_engine_is_reached_by_url_or_context_with_its_files() {
    let config = read_text(
        r"
engines:
  secure:
    docker:
      url: tcp://nas:2376
      tls: { ca: /etc/drowse/ca.pem, cert: /etc/drowse/cert.pem, key: /etc/drowse/key.pem }
  trusting: { docker: { url: tcp://nas:2376, tls: { ca: /etc/drowse/ca.pem } } }
  far: { docker: { url: ssh://me@nas, ssh: { identity: /etc/drowse/id, known_hosts: /k, config: /c } } }
  named: { docker: { context: nas } }
",
    )
    .unwrap();
    let [secure, trusting, far, named] = config.engines.as_slice() else { panic!() };
    let ca = TlsFiles::new("/etc/drowse/ca.pem");
    let files = ca.clone().with_client("/etc/drowse/cert.pem", "/etc/drowse/key.pem");
    assert_eq!(docker(secure).tls, Some(files));
    assert_eq!(docker(trusting).tls, Some(ca));
    assert_eq!(docker(far).endpoint, DockerEndpoint::Url("ssh://me@nas".to_owned()));
    let files = SshFiles::new().with_identity("/etc/drowse/id");
    assert_eq!(docker(far).ssh, files.with_known_hosts("/k").with_config("/c"));
    assert_eq!(docker(named), &DockerConfig::of(DockerEndpoint::Context("nas".to_owned())));
}

#[test]
fn what_cannot_be_reached_is_told_with_its_place() {
    let errors = read_text(
        r"engines:
  none: { docker: {} }
  both: { docker: { url: tcp://nas, context: nas } }
  half: { docker: { url: tcp://nas, tls: { ca: /ca.pem, cert: /cert.pem } } }
  other: { docker: { url: tcp://nas, tls: { ca: /ca.pem, key: /key.pem } } }
  blind: { docker: { url: tcp://nas, tls: { cert: cert.pem, key: /key.pem, verify: no } } }
  twice: { docker: { context: nas, tls: { ca: /ca.pem } } }
  far: { docker: { url: ssh://nas, ssh: { identitiy: /id, known_hosts: ~/.ssh/known_hosts } } }
  list: { docker: [unix:///run/docker.sock] }
",
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @"
    error: `url` is missing, or `context` with the name of a Docker context
     --> drowse.yaml:2:19
      |
    2 |   none: { docker: {} }
      |                   ^

    error: `url` and `context` both say where the engine is: give one of them
     --> drowse.yaml:3:46
      |
    3 |   both: { docker: { url: tcp://nas, context: nas } }
      |                                              ^^^

    error: `key` is missing: the file with the private key that belongs to `cert`
     --> drowse.yaml:4:37
      |
    4 |   half: { docker: { url: tcp://nas, tls: { ca: /ca.pem, cert: /cert.pem } } }
      |                                     ^^^

    error: `cert` is missing: the file with the certificate that belongs to `key`
     --> drowse.yaml:5:38
      |
    5 |   other: { docker: { url: tcp://nas, tls: { ca: /ca.pem, key: /key.pem } } }
      |                                      ^^^

    error: `ca` is missing: the file with the certificate of the CA that signed the engine's
     --> drowse.yaml:6:38
      |
    6 |   blind: { docker: { url: tcp://nas, tls: { cert: cert.pem, key: /key.pem, verify: no } } }
      |                                      ^^^

    error: `cert.pem` is no absolute path: begin it with `/`
     --> drowse.yaml:6:51
      |
    6 |   blind: { docker: { url: tcp://nas, tls: { cert: cert.pem, key: /key.pem, verify: no } } }
      |                                                   ^^^^^^^^

    error: unknown key `verify`: expected one of `ca`, `cert`, `key`
     --> drowse.yaml:6:76
      |
    6 |   blind: { docker: { url: tcp://nas, tls: { cert: cert.pem, key: /key.pem, verify: no } } }
      |                                                                            ^^^^^^

    error: a context has its own files for TLS: leave this out
     --> drowse.yaml:7:36
      |
    7 |   twice: { docker: { context: nas, tls: { ca: /ca.pem } } }
      |                                    ^^^

    error: unknown key `identitiy`: did you mean `identity`?
     --> drowse.yaml:8:43
      |
    8 |   far: { docker: { url: ssh://nas, ssh: { identitiy: /id, known_hosts: ~/.ssh/known_hosts } } }
      |                                           ^^^^^^^^^

    error: `~/.ssh/known_hosts` is no absolute path: begin it with `/`
     --> drowse.yaml:8:72
      |
    8 |   far: { docker: { url: ssh://nas, ssh: { identitiy: /id, known_hosts: ~/.ssh/known_hosts } } }
      |                                                                        ^^^^^^^^^^^^^^^^^^

    error: expected a URL such as `unix:///var/run/docker.sock`, found a list
     --> drowse.yaml:9:19
      |
    9 |   list: { docker: [unix:///run/docker.sock] }
      |                   ^
    ");
}

#[test]
fn what_is_not_yaml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(read_text("listen: [127.0.0.1:80\nengines: {}\n").unwrap_err(), @r"
    error: this is not valid YAML: illegal placement of ':' indicator
     --> drowse.yaml:2:8
      |
    2 | engines: {}
      |        ^
    ");
    insta::assert_snapshot!(read_text("engines: {}\nengines: {}\n").unwrap_err(), @r"
    error: the key `engines` is given twice
     --> drowse.yaml:2:1
      |
    2 | engines: {}
      | ^^^^^^^
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Path::new("/nowhere/drowse.yaml")).unwrap_err();
    insta::assert_snapshot!(error, @"error: cannot read /nowhere/drowse.yaml: No such file or directory (os error 2)");
}

#[test]
fn the_example_of_the_readme_is_read() {
    let readme = include_str!("../../../README.md");
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let config = read_text(example.unwrap()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.workloads.len(), 2);
}

/// What is wrong with it is said without the line that it stands in.
#[test]
fn a_password_in_an_engines_url_is_not_shown() {
    let text = "engines: { nas: { docker: \"tcp://me:secret@nas:2375\" } }";
    let config = from_text(text).unwrap();
    let source = Source::new("drowse.yaml".into(), text.to_owned());
    let mut problems = crate::engines::Engines::new(&config).unwrap_err();
    let shown = problems.render(Some(&source));
    assert!(!shown.contains("secret") && shown.contains("drowse.yaml:1:"), "{shown}");
}

mod access;
mod listen;
mod needs;
mod proxmox;
