use std::time::Duration;

use super::*;
use crate::config::{Origin, Sleep};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn enabled(pairs: &[(&str, &str)]) -> Labelled {
    let mut all = labels(pairs);
    all.insert("drowse.enable".to_owned(), "true".to_owned());
    match Dialect::Labels.read(&all) {
        Reading::Enabled(labelled) => *labelled,
        other => panic!("{other:?}"),
    }
}

fn wrong(pairs: &[(&str, &str)]) -> String {
    let mut all = labels(pairs);
    all.entry("drowse.enable".to_owned()).or_insert_with(|| "true".to_owned());
    match Dialect::Labels.read(&all) {
        Reading::Wrong { mistakes, .. } => mistakes.join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_is_enabled_is_read() {
    assert_eq!(Dialect::Labels.read(&labels(&[])), Reading::Nothing);
    assert_eq!(
        Dialect::Labels.read(&labels(&[("drowsed", "x"), ("com.example", "y")])),
        Reading::Nothing
    );
    assert_eq!(Dialect::Labels.read(&labels(&[("drowse.host", "a")])), Reading::NotEnabled);
    assert_eq!(
        Dialect::Labels.read(&labels(&[("drowse.enable", "false"), ("drowse.nonsense", "")])),
        Reading::NotEnabled
    );
}

#[test]
fn every_key_of_a_workload_is_a_label() {
    let settings = enabled(&[
        ("drowse.idle", "15m"),
        ("drowse.sleep", "pause"),
        ("drowse.stop-signal", "SIGINT"),
        ("drowse.stop-timeout", "20s"),
        ("drowse.wake-timeout", "1m"),
        ("drowse.start-grace", "1h"),
        ("drowse.network", "proxy"),
        ("drowse.passive-user-agents", "UptimeRobot, kube-probe"),
        ("drowse.passive-paths", "/healthz"),
        ("drowse.ha", "true"),
    ])
    .settings;
    assert!(settings.ha.unwrap().value);
    assert_eq!(settings.idle.unwrap().value, Duration::from_mins(15));
    assert_eq!(settings.sleep.unwrap().value, Sleep::Pause);
    assert_eq!(settings.stop_signal.unwrap().value, drowse_provider::Signal::INT);
    assert_eq!(settings.stop_timeout.unwrap().value, Duration::from_secs(20));
    assert_eq!(settings.wake_timeout.unwrap().value, Duration::from_mins(1));
    assert_eq!(
        settings.start_grace.unwrap().origin,
        Origin::Label("drowse.start-grace".to_owned())
    );
    assert_eq!(settings.network.unwrap().value, "proxy");
    assert_eq!(settings.passive_user_agents.unwrap().value, ["UptimeRobot", "kube-probe"]);
    assert_eq!(settings.passive_paths.unwrap().value[0].as_str(), "/healthz");
}

#[test]
fn the_plain_keys_are_the_default_route_and_others_have_names() {
    let labelled = enabled(&[
        ("drowse.host", "a.example,b.example"),
        ("drowse.port", "80"),
        ("drowse.routes.api.host", "api.example"),
        ("drowse.routes.api.path", "/v1"),
        ("drowse.routes.api.port", "8081"),
        ("drowse.name", "shop"),
    ]);
    assert_eq!(labelled.name.unwrap().value, "shop");
    let [api, default] = labelled.routes.as_slice() else { panic!() };
    assert_eq!((api.name.as_str(), default.name.as_str()), ("api", "default"));
    let hosts: Vec<_> =
        default.hosts.as_ref().unwrap().value.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
    assert_eq!(api.path.as_ref().unwrap().value.as_str(), "/v1");
    assert_eq!(api.port.as_ref().unwrap().value, 8081);
}

#[test]
fn without_a_host_there_is_no_route() {
    let labelled = enabled(&[("drowse.port", "5432")]);
    assert!(labelled.routes.is_empty());
    assert_eq!(labelled.port.unwrap().value, 5432);
}

#[test]
fn every_mistake_is_told_with_its_label() {
    insta::assert_snapshot!(wrong(&[
        ("drowse.idel", "15m"),
        ("drowse.idle", "15"),
        ("drowse.stop_timeout", "5s"),
        ("drowse.engine", "home"),
        ("drowse.command", "rm -rf /"),
        ("drowse.port", "http"),
        ("drowse.routes.api.path", "/v1"),
        ("drowse.routes.api.prt", "80"),
        ("drowse.zzz", ""),
    ]), @r"
    label `drowse.command`: only the configuration file can say this
    label `drowse.engine`: only the configuration file can say this
    label `drowse.idel`: there is no such label: did you mean `drowse.idle`?
    label `drowse.idle`: a duration needs a unit: `15s`, `15m`, `15h` or `15d`
    label `drowse.port`: `http` is no port: a number from 1 to 65535 is expected
    label `drowse.routes.api.prt`: there is no such label: did you mean `drowse.routes.api.port`?
    label `drowse.stop_timeout`: there is no such label: did you mean `drowse.stop-timeout`?
    label `drowse.zzz`: there is no such label
    route `api` has no host: set `drowse.routes.api.host`
    ");
    insta::assert_snapshot!(wrong(&[("drowse.enable", "yes")]), @"label `drowse.enable`: expected `true` or `false`, found `yes`");
    insta::assert_snapshot!(wrong(&[("drowse.path", "/x")]), @"a path or an address without a host: set `drowse.host`");
}

fn notes(hosts: &[&str]) -> Dialect {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    Dialect::Notes { engine: "pve".into(), hosts }
}

#[test]
fn the_tag_enables_and_nothing_else_does() {
    let dialect = notes(&["*.example.com"]);
    let said = |pairs: &[(&str, &str)]| dialect.read(&labels(pairs));
    assert_eq!(said(&[]), Reading::Nothing);
    assert_eq!(said(&[("web", ""), ("drowse.enable", "true")]), Reading::Nothing);
    assert_eq!(said(&[("drowse", ""), ("drowse.enable", "false")]), Reading::NotEnabled);
    for pairs in [&[("drowse", "")][..], &[("drowse", ""), ("drowse.enable", "true")]] {
        assert!(matches!(said(pairs), Reading::Enabled(_)), "{pairs:?}");
    }
    // On an engine with labels the tag is a stranger's label.
    assert_eq!(Dialect::Labels.read(&labels(&[("drowse", "")])), Reading::Nothing);
}

#[test]
fn notes_speak_the_labels_language() {
    let said = labels(&[
        ("drowse", ""),
        ("drowse.name", "wiki"),
        ("drowse.host", "wiki.example.com"),
        ("drowse.port", "80"),
        ("drowse.idle", "30m"),
        ("drowse.network", "net1"),
    ]);
    let Reading::Enabled(read) = notes(&["*.example.com"]).read(&said) else { panic!() };
    assert_eq!(read.name.unwrap().value, "wiki");
    assert_eq!(read.settings.network.unwrap().value, "net1");
    let idle = read.settings.idle.unwrap();
    assert_eq!(idle.value, Duration::from_mins(30));
    assert_eq!(idle.origin, Origin::Note("drowse.idle".to_owned()));
    assert_eq!(read.routes[0].port.as_ref().unwrap().value, 80);
}

#[test]
fn notes_claim_only_the_hosts_that_they_are_given() {
    let is_allowed = |host: &str| {
        let said = labels(&[("drowse", ""), ("drowse.host", host), ("drowse.port", "80")]);
        matches!(notes(&["*.example.com", "wiki.lan"]).read(&said), Reading::Enabled(_))
    };
    for host in ["a.example.com", "A.b.Example.com", "*.example.com", "*.b.example.com", "wiki.lan"]
    {
        assert!(is_allowed(host), "{host}");
    }
    for host in
        ["example.com", "badexample.com", "*.com", "a.wiki.lan", "*.wiki.lan", "bank.example"]
    {
        assert!(!is_allowed(host), "{host}");
    }
}

#[test]
fn what_notes_must_not_say_is_refused_by_name() {
    let mut said = labels(&[
        ("drowse", ""),
        ("drowse.address", "10.0.0.9"),
        ("drowse.routes.api.address", "10.0.0.9"),
        ("drowse.ha", "true"),
        ("drowse.adress", "10.0.0.9"),
        ("drowse.command", "rm -rf /"),
        ("drowse.secret-file", "/etc/shadow"),
        ("drowse.idel", "1m"),
        ("drowse.host", "bank.example"),
        ("drowse.port", "80"),
    ]);
    let wrong = |dialect: Dialect, said: &BTreeMap<String, String>| match dialect.read(said) {
        Reading::Wrong { mistakes, .. } => mistakes.join("\n"),
        other => panic!("{other:?}"),
    };
    insta::assert_snapshot!(wrong(notes(&["*.example.com"]), &said), @r#"
    `drowse.address` in its notes: notes cannot say this, since others may edit them: take the line out of the notes, and say it of a workload in the configuration file
    `drowse.adress` in its notes: there is no such key
    `drowse.command` in its notes: only the configuration file can say this
    `drowse.ha` in its notes: notes cannot say this, since others may edit them: take the line out of the notes, and say it of a workload in the configuration file
    `drowse.idel` in its notes: there is no such key: did you mean `drowse.idle`?
    `drowse.routes.api.address` in its notes: notes cannot say this, since others may edit them: take the line out of the notes, and say it of a workload in the configuration file
    `drowse.secret-file` in its notes: there is no such key
    `bank.example` is no host that notes may claim (only `*.example.com`): add `discover_hosts: ["bank.example"]` to engine `pve` in the configuration file
    "#);
    said.retain(|key, _| ["drowse", "drowse.host", "drowse.port"].contains(&key.as_str()));
    insta::assert_snapshot!(wrong(notes(&[]), &said), @r#"`bank.example` is no host that notes may claim (none is allowed): add `discover_hosts: ["bank.example"]` to engine `pve` in the configuration file"#);
    insta::assert_snapshot!(wrong(notes(&[]), &labels(&[("drowse", ""), ("drowse.enable", "yes")])), @"`drowse.enable` in its notes: expected `true` or `false`, found `yes`");
}

#[test]
fn headers_have_labels_of_their_own_and_files_have_none() {
    let labelled = enabled(&[
        ("drowse.host", "a.example"),
        ("drowse.scheme", "h2c"),
        ("drowse.request-headers.X-From", "drowse"),
        ("drowse.routes.api.host", "api.example"),
        ("drowse.routes.api.response-headers.Server", ""),
        ("drowse.routes.api.strip-prefix", "true"),
        ("drowse.routes.api.path", "/api"),
    ]);
    let [api, default] = labelled.routes.as_slice() else { panic!() };
    assert_eq!(api.spoken.response_headers.names().collect::<Vec<_>>(), ["server"]);
    assert!(api.spoken.strip_prefix.as_ref().unwrap().value);
    assert_eq!(default.spoken.request_headers.names().collect::<Vec<_>>(), ["x-from"]);
    insta::assert_snapshot!(wrong(&[
        ("drowse.host", "a.example"),
        ("drowse.ca-file", "/etc/shadow"),
        ("drowse.routes.api.ca-file", "/etc/shadow"),
        ("drowse.request-headers.Host", "b.example"),
        ("drowse.request-headers.", "x"),
        ("drowse.request-headers", "x"),
        ("drowse.scheme", "htps"),
    ]), @r"
    label `drowse.ca-file`: only the configuration file can say this
    label `drowse.request-headers`: there is no such label
    label `drowse.request-headers.`: `` is no name of a header: letters, digits and `-` are expected
    label `drowse.request-headers.Host`: `Host` cannot be changed: it says which route a request is for
    label `drowse.routes.api.ca-file`: only the configuration file can say this
    label `drowse.scheme`: unknown scheme `htps`: did you mean `https`?
    ");
    insta::assert_snapshot!(wrong(&[("drowse.scheme", "h2c")]), @"keys of a route without a host: set `drowse.host`");
    let in_notes = labels(&[("drowse", ""), ("drowse.request-headers.Remote-User", "root")]);
    let Reading::Wrong { mistakes, .. } = notes(&["*.example"]).read(&in_notes) else { panic!() };
    assert!(mistakes.iter().any(|why| why.contains("notes cannot say this")), "{mistakes:?}");
}

/// A key that is added is none of theirs unless somebody has decided that it is.
#[test]
fn every_key_says_whether_notes_may_say_it() {
    let workload = WORKLOAD_KEYS.iter().map(|key| (key.label(), key.in_notes));
    let keys = workload.chain(ROUTE_KEYS.iter().map(|key| (key.label(), key.in_notes)));
    let (mut theirs, mut not_theirs) = (Vec::new(), Vec::new());
    for (key, in_notes) in keys {
        for label in [format!("drowse.{key}"), format!("drowse.routes.api.{key}")] {
            let reading = notes(&["*.example"]).read(&labels(&[("drowse", ""), (&label, "\u{7}")]));
            let Reading::Wrong { mistakes, .. } = &reading else { panic!("{label}: {reading:?}") };
            let is_refused = mistakes.iter().any(|why| why.contains("notes cannot say this"));
            let exists = !mistakes.iter().any(|why| why.contains("there is no such key"));
            assert_eq!(is_refused, exists && !in_notes, "{label}: {mistakes:?}");
        }
        if in_notes { theirs.push(key) } else { not_theirs.push(key) }
    }
    insta::assert_snapshot!(theirs.join(", "), @"idle, sleep, stop-signal, stop-timeout, wake-timeout, start-grace, network, passive-user-agents, passive-paths, passive-methods, passive-networks, passive-status, quiet-after, busy-cpu, busy-network, ready, min-awake, stop-after, circuit-after, circuit-for, awake, wake-at, time-zone, host, path, port, scheme, server-name, strip-prefix, https-only");
    insta::assert_snapshot!(not_theirs.join(", "), @"veto-path, ha, needs, group, address, let-anyone-impersonate-this-upstream, tcp, udp, sni, proxy-protocol, send-proxy-protocol, udp-idle, page-details, allow");
}
