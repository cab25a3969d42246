use super::super::{
    ReadyWhen,
    tests::{config, docker, enabled, lines, make},
};

const LISTEN: &str = "listen: 127.0.0.1:8080\n";

fn urls(plan: &super::super::Plan) -> Vec<String> {
    plan.workloads.iter().flat_map(super::super::Planned::urls).collect()
}

#[test]
fn a_label_has_a_port_listened_on_where_http_is() {
    let db = enabled("db", 1, &[("drowse.tcp", "5432"), ("drowse.port", "5432")]);
    let plan = make(&config(LISTEN), &docker([db]));
    assert_eq!(lines(&plan), "");
    assert_eq!(urls(&plan), ["tcp://127.0.0.1:5432"]);
    let [db] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    assert_eq!(db.port, Some(5432));
    assert!(matches!(db.ready_when(), ReadyWhen::Accepting(_)));
}

#[test]
fn a_workload_with_http_is_asked_by_that_and_one_with_udp_alone_by_nothing() {
    let both = [("drowse.host", "a.example"), ("drowse.routes.ssh.tcp", "2222")];
    let dns = [("drowse.udp", "5353"), ("drowse.port", "53")];
    let plan = make(&config(LISTEN), &docker([enabled("a", 2, &both), enabled("b", 1, &dns)]));
    assert_eq!(lines(&plan), "");
    let ready: Vec<_> = plan.workloads.iter().map(super::super::Planned::ready_when).collect();
    assert!(matches!(ready.as_slice(), [ReadyWhen::Answering(_), ReadyWhen::Running]), "{ready:?}");
    assert_eq!(urls(&plan), ["a.example", "tcp://127.0.0.1:2222", "udp://127.0.0.1:5353"]);
}

#[test]
fn labels_have_the_ports_that_the_file_allows() {
    let config = config("listen: 127.0.0.1:8080\nlabel_ports: [22, 20000-20010]\n");
    let labels = |tcp| [("drowse.tcp", tcp)];
    let plan = make(
        &config,
        &docker([
            enabled("allowed", 5, &labels("22")),
            enabled("refused", 4, &labels("5432")),
            enabled("address", 3, &labels("0.0.0.0:20000")),
        ]),
    );
    assert_eq!(urls(&plan), ["tcp://127.0.0.1:22"]);
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `refused` on engine `docker`: route `default`: labels may not have port 5432 listened on (`label_ports`: 22, 20000-20010): add it to `label_ports` in the configuration file
    error: container `address` on engine `docker`: route `default`: labels choose a port, and the configuration file the addresses (those of `listen`): write `20000`, or say it of a workload in the file
    ");
}

#[test]
fn a_port_claimed_twice_goes_to_the_file_then_to_the_oldest() {
    let config = config(
        "listen: [127.0.0.1:8080, \"[::1]:8080\"]\n\
         workloads: { f: { container: { name: f }, routes: [{ tcp: 0.0.0.0:5000, port: 1 }] } }",
    );
    let plan = make(
        &config,
        &docker([
            enabled("f", 9, &[]),
            enabled("file", 8, &[("drowse.tcp", "5000")]),
            enabled("young", 1, &[("drowse.tcp", "5001")]),
            enabled("old", 2, &[("drowse.tcp", "5001")]),
            enabled("packets", 3, &[("drowse.udp", "5001"), ("drowse.port", "53")]),
            enabled("http", 4, &[("drowse.tcp", "8080")]),
        ]),
    );
    insta::assert_snapshot!(urls(&plan).join("\n"), @r"
    tcp://0.0.0.0:5000
    udp://127.0.0.1:5001
    udp://[::1]:5001
    tcp://127.0.0.1:5001
    tcp://[::1]:5001
    ");
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `file` on engine `docker`: route `default`: tcp port 5000 is taken by workload `f`: choose another one, or let TLS clients be told apart by `sni`
    error: container `http` on engine `docker`: route `default`: drowse listens for HTTP at 127.0.0.1:8080: choose another port
    error: container `young` on engine `docker`: route `default`: tcp port 5001 is taken by workload `old`: choose another one, or let TLS clients be told apart by `sni`
    ");
}

#[test]
fn tls_clients_of_one_port_are_told_apart_by_name() {
    let labels = |names| [("drowse.tcp", "5000"), ("drowse.sni", names)];
    let proxied =
        [("drowse.tcp", "5000"), ("drowse.sni", "c.example"), ("drowse.proxy-protocol", "true")];
    let plan = make(
        &config("listen: 127.0.0.1:8080\ntrusted_proxies: 10.9.9.9\n"),
        &docker([
            enabled("a", 9, &labels("a.example,*.b.example")),
            enabled("rest", 8, &[("drowse.tcp", "5000")]),
            enabled("twice", 7, &labels("c.example, a.example")),
            enabled("other", 6, &[("drowse.tcp", "5000")]),
            enabled("proxied", 5, &proxied),
            enabled("c", 4, &labels("c.example")),
        ]),
    );
    insta::assert_snapshot!(urls(&plan).join("\n"), @r"
    tcp://127.0.0.1:5000 (a.example, *.b.example)
    tcp://127.0.0.1:5000
    tcp://127.0.0.1:5000 (c.example)
    ");
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `twice` on engine `docker`: route `default`: `a.example` at tcp port 5000 is taken by workload `a`
    error: container `other` on engine `docker`: route `default`: tcp port 5000 is taken by workload `rest`: choose another one, or let TLS clients be told apart by `sni`
    error: container `proxied` on engine `docker`: route `default`: it shares tcp port 5000 with workload `a`, and only one of them has `proxy_protocol`
    ");
}

#[test]
fn what_means_nothing_on_a_route_is_an_error() {
    let config = config(
        "listen: 127.0.0.1:8080\n\
         workloads:\n  \
           f:\n    \
             container: { name: f }\n    \
             routes:\n      \
             - { tcp: 5000, udp: 5000, port: 1 }\n      \
             - { tcp: 5001, host: a.example, port: 1, udp_idle: 1s }\n      \
             - { udp: 5002, port: 1, sni: a.example, send_proxy_protocol: v1 }\n      \
             - { host: b.example, port: 1, udp_idle: 1s, sni: a.example }\n      \
             - { tcp: 5003, port: 1, proxy_protocol: true }\n      \
             - { tcp: 5003, port: 2 }\n      \
             - { tcp: 5004 }\n",
    );
    let mut f = enabled("f", 1, &[]);
    f.exposed = Vec::new();
    let plan = make(&config, &docker([f]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: workload `f`: route `0`: it is one of `tcp` or of `udp`: make it two routes
    error: workload `f`: route `1`: `host` and `path` are about HTTP, `tcp` and `udp` about ports: make it two routes (TLS clients that ask for a name are told apart by `sni`)
    error: workload `f`: route `1`: `udp_idle` goes with `udp`
    error: workload `f`: route `2`: `sni` goes with `tcp`
    error: workload `f`: route `2`: `send_proxy_protocol` goes with `tcp`
    error: workload `f`: route `4`: `proxy_protocol` believes who connects, and `trusted_proxies` in the configuration file names nobody: nobody could connect
    error: workload `f`: route `5`: two of its routes claim the same: tcp port 5003 is taken by workload `f`: choose another one, or let TLS clients be told apart by `sni`
    error: workload `f`: route `6`: which port? the container exposes none: set `port`
    error: workload `f`: route `3`: `sni` goes with `tcp`
    error: workload `f`: route `3`: `udp_idle` goes with `udp`
    ");
}

#[test]
fn a_container_cannot_publish_what_drowse_listens_on_for_it() {
    let mut db = enabled("db", 1, &[("drowse.tcp", "5432"), ("drowse.port", "5432")]);
    db.published = vec![drowse_provider::PublishedPort {
        container: drowse_provider::Port::tcp(5432),
        host_address: [0, 0, 0, 0].into(),
        host_port: Some(5432),
    }];
    let other = enabled("other", 2, &[("drowse.tcp", "5432")]);
    let plan = make(&config(LISTEN), &docker([db, other]));
    insta::assert_snapshot!(lines(&plan), @r"
    error: container `other` on engine `docker`: route `default`: container `db` publishes a port at 127.0.0.1:5432, and could never be started: choose another one
    error: container `db` on engine `docker`: route `default`: it publishes its port 5432 at 0.0.0.0:5432, and drowse itself listens on 127.0.0.1:5432: it could never be started; let it publish none (requests come through drowse) or another one
    ");
}
