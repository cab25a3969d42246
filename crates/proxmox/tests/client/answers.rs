//! What the API answers, and what becomes of it.

use std::time::Duration;

use drowse_proxmox::{Cause, ClientError, ContainerConfig, TaskOutcome, TaskStatus, Upid};

use crate::{
    patience,
    support::server::{Reply, Server},
};

const UPID: &str = "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:";

/// A server that answers everything so.
async fn answering(reply: Reply) -> Server {
    Server::start(move |_| reply.clone()).await
}

#[tokio::test]
async fn resources_are_the_containers_with_numbers_as_perl_writes_them() {
    let server = answering(Reply::kept(
        r#"{"data":[
            {"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1","name":"web","status":"running",
             "uptime":12,"template":0,"tags":"drowse;web","hastate":"started","lock":"backup"},
            {"id":"lxc/102","type":"lxc","vmid":"102","node":"pve2","name":1234,"status":"running",
             "uptime":-1,"template":"1","tags":"a, b c","cpu":"-0.1"},
            {"id":"lxc/103","type":"lxc","vmid":103,"node":"pve3","status":"unknown","uptime":null,
             "name":null,"tags":null,"lock":"","template":null,"pool":{"odd":[1]}},
            {"id":"qemu/104","type":"qemu","vmid":104,"node":"pve1","name":"vm","status":"running"},
            {"id":"node/pve1","type":"node","node":"pve1","status":"online"},
            {"id":"lxc/?","type":"lxc","node":"pve1"}
        ]}"#,
    ))
    .await;
    let resources = server.client().resources(patience()).await.unwrap();
    insta::assert_debug_snapshot!(resources, @r#"
    [
        Resource {
            vmid: 101,
            node: "pve1",
            name: Some(
                "web",
            ),
            status: "running",
            uptime: 12s,
            lock: Some(
                "backup",
            ),
            tags: [
                "drowse",
                "web",
            ],
            ha_state: Some(
                "started",
            ),
            is_template: false,
        },
        Resource {
            vmid: 102,
            node: "pve2",
            name: Some(
                "1234",
            ),
            status: "running",
            uptime: 0ns,
            lock: None,
            tags: [
                "a",
                "b",
                "c",
            ],
            ha_state: None,
            is_template: true,
        },
        Resource {
            vmid: 103,
            node: "pve3",
            name: None,
            status: "unknown",
            uptime: 0ns,
            lock: None,
            tags: [],
            ha_state: None,
            is_template: false,
        },
    ]
    "#);
    assert_eq!(server.lines(), ["GET /cluster/resources?type=vm"]);
}

#[tokio::test]
async fn a_status_is_read_however_its_numbers_are_written() {
    let server = answering(Reply::ok(
        r#"{"data":{"vmid":"201","name":"bb9","status":"running","pid":"1979","uptime":-1,
            "cpu":"0.25","cpus":2,"mem":790528.0,"netin":110,"netout":null,"ha":{"managed":"1",
            "state":null},"tags":"","pressurecpufull":null,"lock":null,"template":0}}"#,
    ))
    .await;
    let status = server.client().status("pve1", 201, patience()).await.unwrap();
    insta::assert_debug_snapshot!(status, @r#"
    CurrentStatus {
        vmid: 201,
        name: "bb9",
        status: "running",
        pid: Some(
            1979,
        ),
        uptime: 0ns,
        lock: None,
        tags: [],
        is_template: false,
        is_ha_managed: true,
        ha_state: None,
        cpu: 0.5,
        memory: 790528,
        received: 110,
        sent: 0,
    }
    "#);
}

#[tokio::test]
async fn a_list_of_a_node_is_as_live_as_a_status() {
    let server = answering(Reply::ok(
        r#"{"data":[{"vmid":201,"status":"stopped","uptime":0},{"vmid":202,"name":"b","status":"running","pid":7}]}"#,
    ))
    .await;
    let all = server.client().containers_of("pve1", patience()).await.unwrap();
    let shown: Vec<_> =
        all.iter().map(|one| (one.vmid, &*one.name, &*one.status, one.pid)).collect();
    assert_eq!(shown, [(201, "CT201", "stopped", None), (202, "b", "running", Some(7))]);
    assert_eq!(server.lines(), ["GET /nodes/pve1/lxc"]);
}

#[tokio::test]
async fn a_configuration_is_read_with_its_networks() {
    let server = answering(Reply::ok(
        r##"{"data":{"digest":"abc","hostname":"web","description":"# Wiki\ndrowse.port=80\n",
            "tags":"drowse;x","onboot":1,"unprivileged":1,"lock":"backup",
            "net0":"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0A:0B:0C,ip=10.99.0.101/24,ip6=auto,type=veth",
            "net1":"name=eth1,bridge=vmbr1,hwaddr=BC:24:11:0A:0B:0D,ip=dhcp,ip6=fd00::7/64",
            "net2":"name=eth2,ip=manual","net10":"name=eth10","network":"no","netx":"no",
            "lxc":[["lxc.apparmor.profile","unconfined"]]}}"##,
    ))
    .await;
    let config = server.client().config("pve1", 201, patience()).await.unwrap();
    let ContainerConfig { digest, hostname, description, tags, lock, .. } = &config;
    assert_eq!(
        (digest.as_deref(), hostname.as_deref(), &**description),
        (Some("abc"), Some("web"), "# Wiki\ndrowse.port=80\n")
    );
    assert_eq!(
        (&**tags, lock.as_deref()),
        (&["drowse".to_owned(), "x".to_owned()][..], Some("backup"))
    );
    assert_eq!((config.starts_at_boot, config.is_template), (true, false));
    insta::assert_debug_snapshot!(config.networks, @r#"
    {
        0: NetworkInterface {
            name: "eth0",
            bridge: Some(
                "vmbr0",
            ),
            hardware_address: Some(
                "bc:24:11:0a:0b:0c",
            ),
            fixed: [
                10.99.0.101,
            ],
            is_dynamic: true,
        },
        1: NetworkInterface {
            name: "eth1",
            bridge: Some(
                "vmbr1",
            ),
            hardware_address: Some(
                "bc:24:11:0a:0b:0d",
            ),
            fixed: [
                fd00::7,
            ],
            is_dynamic: true,
        },
        2: NetworkInterface {
            name: "eth2",
            bridge: None,
            hardware_address: None,
            fixed: [],
            is_dynamic: false,
        },
        10: NetworkInterface {
            name: "eth10",
            bridge: None,
            hardware_address: None,
            fixed: [],
            is_dynamic: false,
        },
    }
    "#);
}

#[tokio::test]
async fn interfaces_have_all_their_addresses_and_none_while_it_is_stopped() {
    let server = answering(Reply::ok(
        r#"{"data":[
            {"name":"lo","hwaddr":"00:00:00:00:00:00","inet":"127.0.0.1/8","inet6":"::1/128"},
            {"name":"eth0","hwaddr":"BC:24:11:0A:0B:0C","hardware-address":"bc:24:11:0a:0b:0c",
             "inet":"10.99.0.101/24","inet6":"fe80::1/64","ip-addresses":[
              {"ip-address":"10.99.0.101","prefix":"24","ip-address-type":"inet"},
              {"ip-address":"fd00::5","prefix":64,"ip-address-type":"inet6"},
              {"ip-address":"fe80::1","prefix":"64","ip-address-type":"inet6"}]},
            {"name":"wg0","ip-addresses":null}
        ]}"#,
    ))
    .await;
    let interfaces = server.client().interfaces("pve1", 201, patience()).await.unwrap();
    insta::assert_debug_snapshot!(interfaces, @r#"
    [
        Interface {
            name: "lo",
            hardware_address: Some(
                "00:00:00:00:00:00",
            ),
            addresses: [
                127.0.0.1,
                ::1,
            ],
        },
        Interface {
            name: "eth0",
            hardware_address: Some(
                "bc:24:11:0a:0b:0c",
            ),
            addresses: [
                10.99.0.101,
                fd00::5,
                fe80::1,
            ],
        },
        Interface {
            name: "wg0",
            hardware_address: None,
            addresses: [],
        },
    ]
    "#);

    let stopped = answering(Reply::ok(r#"{"data":null}"#)).await;
    assert_eq!(stopped.client().interfaces("pve1", 201, patience()).await.unwrap(), []);
}

#[tokio::test]
async fn nodes_versions_and_permissions() {
    let server = Server::start(|request| match &*request.path {
        "/version" => {
            Reply::kept(r#"{"data":{"version":"8.4.21","release":"8.4","repoid":"26"}}"#)
        }
        "/nodes" => Reply::kept(
            r#"{"data":[{"node":"pve1","status":"online","ssl_fingerprint":"59:BA","type":"node"},
                {"node":"pve2","status":"offline"}]}"#,
        ),
        _ => Reply::kept(
            r#"{"data":{"/":{},"/vms/201":{"VM.Audit":1,"VM.PowerMgmt":0},"/pool/a":{"VM.Audit":"1"}}}"#,
        ),
    })
    .await;
    let client = server.client();
    let version = client.version(patience()).await.unwrap();
    assert_eq!((&*version.text, version.release), ("8.4.21", (8, 4)));
    let nodes = client.nodes(patience()).await.unwrap();
    let shown: Vec<_> = nodes
        .iter()
        .map(|node| (&*node.name, node.is_online, node.fingerprint.as_deref()))
        .collect();
    assert_eq!(shown, [("pve1", true, Some("59:BA")), ("pve2", false, None)]);
    let permissions = client.permissions(patience()).await.unwrap();
    insta::assert_compact_debug_snapshot!(permissions, @r#"{"/": {}, "/pool/a": {"VM.Audit"}, "/vms/201": {"VM.Audit", "VM.PowerMgmt"}}"#);
}

#[tokio::test]
async fn tasks_are_asked_of_the_node_that_they_name() {
    let server = Server::start(|request| {
        if request.path.ends_with("/status") {
            Reply::ok(r#"{"data":{"status":"stopped","exitstatus":"WARNINGS: 2"}}"#)
        } else {
            Reply::ok(
                r#"{"total":2,"data":[
                {"upid":"UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:","status":"RUNNING"},
                {"upid":"UPID:pve1:00000218:0003BC6F:6B04681C:vzstop:202:root@pam:","endtime":1795451396,"status":"CT is locked (backup)"},
                {"upid":"nonsense"}]}"#,
            )
        }
    })
    .await;
    let client = server.client();
    let upid: Upid = UPID.parse().unwrap();
    let status = client.task_status(&upid, patience()).await.unwrap();
    assert_eq!(status, TaskStatus::Ended(TaskOutcome::Warnings(2)));
    let tasks = client.tasks("pve1", 202, true, patience()).await.unwrap();
    let shown: Vec<_> = tasks
        .iter()
        .map(|task| (task.upid.kind(), task.is_running, task.exit.as_deref()))
        .collect();
    assert_eq!(shown, [("vzstart", true, None), ("vzstop", false, Some("CT is locked (backup)"))]);
    assert_eq!(
        server.lines(),
        [
            "GET /nodes/pve1/tasks/UPID%3Apve1%3A00000217%3A0003BC6F%3A6B04681C%3Avzstart%3A202%3Aroot%40pam%21test%3A/status",
            "GET /nodes/pve1/tasks?source=active&vmid=202&limit=50",
        ]
    );
}

#[tokio::test]
async fn of_a_long_log_the_last_lines_are_read() {
    let server = Server::start(|request| {
        if request.path.contains("start=0&") {
            Reply::ok(r#"{"data":[{"n":1,"t":"first"},{"n":2,"t":""}],"total":40}"#)
        } else {
            Reply::ok(
                r#"{"data":[{"n":39,"t":"the reason"},{"n":40,"t":"TASK ERROR: no"}],"total":40}"#,
            )
        }
    })
    .await;
    let log = server.client().task_log(&UPID.parse().unwrap(), 2, patience()).await.unwrap();
    assert_eq!(log, ["the reason", "TASK ERROR: no"]);
    let queries: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.path.split_once('?').unwrap().1.to_owned())
        .collect();
    assert_eq!(queries, ["start=0&limit=2", "start=38&limit=2"]);
}

#[tokio::test]
async fn a_task_is_waited_for_and_its_failure_told_with_its_log() {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.path.contains("/log?") {
            return Reply::ok(
                r#"{"data":[{"n":1,"t":"run_buffer: 571 Script exited with status 255"},{"n":2,"t":""},
                {"n":3,"t":"TASK ERROR: startup for container '202' failed"}],"total":3}"#,
            );
        }
        match looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 2 => Reply::ok(r#"{"data":{"status":"running"}}"#),
            // What heals itself is waited out.
            1 => Reply::bare(596, "Connection timed out"),
            _ => Reply::ok(
                r#"{"data":{"status":"stopped","exitstatus":"startup for container '202' failed"}}"#,
            ),
        }
    })
    .await;
    let error = server.client().finished(&UPID.parse().unwrap(), patience()).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Other));
    assert!(!error.is_outcome_unknown());
    insta::assert_compact_debug_snapshot!(error, @r#"TaskFailed { upid: Upid(UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:), exit: "startup for container '202' failed", log: ["run_buffer: 571 Script exited with status 255", "", "TASK ERROR: startup for container '202' failed"] }"#);
    insta::assert_snapshot!(error.kind(), @"failed: startup for container '202' failed (run_buffer: 571 Script exited with status 255)");
}

#[tokio::test]
async fn a_task_that_does_not_end_in_time_is_unresolved() {
    let server = answering(Reply::ok(r#"{"data":{"status":"running"}}"#)).await;
    let soon = drowse_provider::Deadline::after(Duration::from_millis(300));
    let error = server.client().finished(&UPID.parse().unwrap(), soon).await.unwrap_err();
    assert!(error.is_outcome_unknown());
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_apis_own_words() {
    let cases = [
        Reply::error(500, "CT 201 not running"),
        // Before 8.3 the reason phrase is all there is.
        Reply::raw(
            "HTTP/1.1 500 CT 201 already running\r\nConnection: close\r\nContent-Length: \
             13\r\n\r\n{\"data\":null}",
        ),
        Reply::raw(
            "HTTP/1.1 400 Parameter verification failed.\r\nConnection: close\r\n\r\n\
             {\"errors\":{\"timeout\":\"type check ('integer') failed - got 'abc'\",\"foo\":\
             \"property is not defined\\n\"},\"message\":\"Parameter verification failed.\\n\",\
             \"data\":null}",
        ),
        Reply::error(403, "Permission check failed (/vms/202, VM.PowerMgmt)"),
        Reply::error(403, "Permission check failed"),
        Reply::bare(401, "Authentication failed!"),
        Reply::bare(595, "No route to host"),
        Reply::bare(596, "Broken pipe"),
        Reply::bare(599, "Too many redirections"),
        Reply::error(501, "Method 'GET /x' not implemented"),
        Reply::raw(
            "HTTP/1.1 506 upload 'Content-Type' not implemented\r\n\r\nupload not implemented",
        ),
        Reply::raw("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>nginx</html>"),
        Reply::raw("HTTP/1.1 301 Moved Permanently\r\nLocation: https://x/\r\n\r\n"),
        Reply::raw("HTTP/1.1 500\r\n\r\n"),
        Reply::raw(b"HTTP/1.1 500 caf\xe9 zerst\xc3\xb6rt\r\n\r\n".to_vec()),
    ];
    let mut shown = Vec::new();
    for reply in cases {
        let server = answering(reply).await;
        let error = server.client().status("pve1", 201, patience()).await.unwrap_err();
        assert!(!error.is_outcome_unknown(), "a read has no outcome: {error:?}");
        let port = server.endpoint().port().to_string();
        let class = format!("{:?}", error.kind());
        let class = class.split([' ', '{']).next().unwrap();
        let kind = error.kind().to_string();
        shown.push(format!("{class}: {kind}").replace(&port, "PORT"));
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    Conflict: the container is stopped
    Conflict: the container is running
    Failed: failed: Parameter verification failed; foo: property is not defined; timeout: type check ('integer') failed - got 'abc'
    Forbidden: not permitted: `VM.PowerMgmt` is needed on `/vms/202`
    Forbidden: not permitted
    Unauthorized: the credential is not accepted
    Unavailable: unavailable: node `pve1` cannot be reached by the cluster: No route to host
    Unavailable: unavailable: node `pve1` cannot be reached by the cluster: Broken pipe
    Unavailable: unavailable: node `pve1` cannot be reached by the cluster: Too many redirections
    Unsupported: not supported: this version of Proxmox VE does not know it (Method 'GET /x' not implemented)
    Failed: failed: upload 'Content-Type' not implemented
    Unavailable: unavailable: `https://127.0.0.1:PORT` cannot be reached: what answers there says 502 (Bad Gateway)
    Failed: failed: Moved Permanently
    Failed: failed: Internal Server Error
    Failed: failed: Internal Server Error
    ");
}

#[tokio::test]
async fn an_error_of_the_contract_keeps_what_the_api_said() {
    let server = answering(Reply::error(500, "CT is locked (backup)")).await;
    let error = server.client().status("pve1", 201, patience()).await.unwrap_err();
    let error = error.into_error("pve", drowse_provider::Action::Status, Some("201"));
    insta::assert_snapshot!(error, @"status of container `201` on engine `pve`: locked by backup");
    let source = std::error::Error::source(&error).unwrap();
    let client: &ClientError = source.downcast_ref().unwrap();
    assert_eq!(client.cause(), Some(Cause::Locked { by: "backup".to_owned() }));
}
