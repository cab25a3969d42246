//! What real servers answered, replayed: 8.4 and 9.2.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "transcripts/format.rs"]
mod format;
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientError, CurrentStatus, TaskOutcome, TaskStatus};
use serde_json::Value;

use crate::{
    format::{Exchange, exchanges},
    support::server::{DEADLINE, Reply, Server},
};

const VMID: u32 = 201;
const UPID: &str = "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:";

/// What the client makes of each answer of a transcript, each thing once.
async fn replay(transcript: &str) -> String {
    let next = Arc::new(Mutex::new(Reply::cut()));
    let script = Arc::clone(&next);
    let server = Server::start(move |_| script.lock().unwrap().clone()).await;
    let mut rows: Vec<String> = Vec::new();
    for exchange in exchanges(transcript) {
        *next.lock().unwrap() = recorded(&exchange);
        // Of its own: what is refused is not asked again for a while.
        let outcome = made_of(&server.client(), &exchange).await;
        if let Err(ClientError::Garbled { message, .. }) = &outcome {
            panic!("{}: a real server said it: {message}", exchange.request);
        }
        let row = format!("{} => {}", plain(&exchange.request), plain(&shown(outcome)));
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows.join("\n")
}

/// The answer as it was, its bytes one by one.
fn recorded(Exchange { status, body, .. }: &Exchange) -> Reply {
    // An empty one has no length, and ends with the connection.
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    Reply::raw(format!(
        "HTTP/1.1 {status}\r\nCache-Control: max-age=0\r\nConnection: close\r\nConnection: \
         Keep-Alive\r\n{length}Content-Type: application/json;charset=UTF-8\r\n\r\n{body}"
    ))
    .slowly()
}

/// By the call whose answer it was, or by one with an answer of that shape.
async fn made_of(client: &Client, exchange: &Exchange) -> Result<String, ClientError> {
    let soon = Deadline::after(DEADLINE);
    let body: Value = serde_json::from_str(&exchange.body).unwrap_or_default();
    let data = &body["data"];
    let first = |key: &str| data.get(0).is_some_and(|row| row.get(key).is_some());
    let request = &exchange.request;
    let is_of = |path: &str| request.contains(path);
    let named = request.split_once("/nodes/").and_then(|(_, rest)| rest.split('/').next());
    let node = named.unwrap_or("pve1");
    let order = request.strip_prefix("POST ").and_then(|rest| rest.split_once("/status/"));
    let order = order.map(|(_, order)| order.split(' ').next().unwrap());
    let second = Duration::from_secs(1);
    let ordered = match order {
        Some("stop") => Some(client.stop(node, VMID, false, soon).await),
        Some("shutdown") => Some(client.shutdown(node, VMID, second, true, soon).await),
        Some("start") => Some(client.start(node, VMID, soon).await),
        _ if data.is_string() => Some(client.start(node, VMID, soon).await),
        _ => None,
    };
    if let Some(ordered) = ordered {
        return ordered.map(|upid| format!("task {}", upid.kind()));
    }
    if data.get("version").is_some() {
        return client.version(soon).await.map(|version| format!("version {version:?}"));
    }
    if data.get("upid").is_some() {
        let status = client.task_status(&UPID.parse().unwrap(), soon).await?;
        return Ok(match status {
            TaskStatus::Ended(TaskOutcome::Failed(exit)) => {
                format!("task failed: {exit} ({:?})", drowse_proxmox::Cause::of(&exit))
            }
            other => format!("task {other:?}"),
        });
    }
    if first("t") {
        let log = client.task_log(&UPID.parse().unwrap(), 100, soon).await?;
        return Ok(format!("log of {} lines, the last: {}", log.len(), log.last().unwrap()));
    }
    if is_of("/interfaces") {
        let interfaces = client.interfaces(node, VMID, soon).await?;
        return Ok(format!("{} interfaces", interfaces.len()));
    }
    if is_of("/tasks") && data.is_array() {
        let tasks = client.tasks(node, VMID, false, soon).await?;
        let tasks: Vec<_> =
            tasks.iter().map(|task| (task.upid.kind().to_owned(), &task.exit)).collect();
        return Ok(format!("tasks {tasks:?}"));
    }
    if is_of("/cluster/resources") {
        let resources = client.resources(soon).await?;
        let resources: Vec<_> = resources
            .iter()
            .map(|one| {
                format!("{} {} {:?} ha {:?}", one.vmid, one.status, one.uptime, one.ha_state)
            })
            .collect();
        return Ok(format!("containers {resources:?}"));
    }
    if request.ends_with("/lxc") && data.is_array() {
        let all = client.containers_of(node, soon).await?;
        return Ok(format!("containers {:?}", all.iter().map(status).collect::<Vec<_>>()));
    }
    if request.ends_with("GET /nodes") {
        let nodes = client.nodes(soon).await?;
        let nodes: Vec<_> = nodes.iter().map(|node| (&node.name, node.is_online)).collect();
        return Ok(format!("nodes {nodes:?}"));
    }
    if is_of("/cluster/ha/") {
        return Ok("not one of our calls".to_owned());
    }
    client.status(node, VMID, soon).await.map(|one| status(&one))
}

fn status(one: &CurrentStatus) -> String {
    let CurrentStatus { status, pid, uptime, lock, is_template, is_ha_managed, .. } = one;
    let mut text = format!("{status} for {uptime:?}");
    for (word, is_so) in [
        (", with a pid".to_owned(), pid.is_some()),
        (format!(", locked {lock:?}"), lock.is_some()),
        (", a template".to_owned(), *is_template),
        (", managed".to_owned(), *is_ha_managed),
    ] {
        if is_so {
            text.push_str(&word);
        }
    }
    text
}

fn shown(outcome: Result<String, ClientError>) -> String {
    match outcome {
        Ok(text) => text,
        Err(error) => {
            let debug = format!("{error:?}");
            let class = debug.split([' ', '{', '(']).next().unwrap();
            let cause = error.cause().map(|cause| format!(", {cause:?}")).unwrap_or_default();
            let taken = if error.is_outcome_unknown() { ", perhaps taken" } else { "" };
            format!("{class}{cause}{taken}: {error}")
        }
    }
}

/// Without what tells one container or one run from another.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for vmid in ["101", "102", "103", "201", "202", "203"] {
        for around in ["/lxc/#", "CT #", "VM #", "'#'", "-#-", "/#,", "-#.", ":#:", "\"# "] {
            text = text.replace(&around.replace('#', vmid), &around.replace('#', "N"));
        }
    }
    text
}

macro_rules! transcript {
    ($name:literal) => {
        include_str!(concat!("transcripts/", $name))
    };
}

#[test]
fn no_answer_is_overlooked() {
    let transcripts = [
        transcript!("pve8-errors.txt"),
        transcript!("pve9-errors.txt"),
        transcript!("pve-behaviour-8.txt"),
        transcript!("pve-behaviour-9.txt"),
        transcript!("pve-lifecycle.txt"),
        transcript!("pve-locks-perms.txt"),
        transcript!("pve-proxy-ha-8.txt"),
        transcript!("pve-proxy-ha-9.txt"),
        transcript!("pve-freeze.txt"),
        transcript!("start-failures-9.txt"),
    ];
    for text in transcripts {
        let answers = text.lines().filter(|line| line.starts_with("HTTP/1.1")).count();
        let packed = text.lines().filter(|line| line.starts_with("Content-Encoding")).count();
        let bodies = text.lines().filter(|line| line.starts_with('{')).count();
        let found = exchanges(text);
        let with_status = found.iter().filter(|one| !one.request.starts_with("after ")).count();
        assert_eq!(with_status, answers - packed);
        // A token that was made is told in JSON as well.
        let made = text.lines().filter(|line| line.starts_with("{\"full-tokenid\"")).count();
        let with_body = found.iter().filter(|one| one.body.starts_with('{')).count();
        assert_eq!(with_body, bodies - made);
    }
}

#[tokio::test]
async fn both_versions_refuse_alike() {
    let eight = replay(transcript!("pve8-errors.txt")).await;
    assert_eq!(eight, replay(transcript!("pve9-errors.txt")).await);
    insta::assert_snapshot!(eight, @"
    POST /nodes/pve1/lxc/N/status/stop => Refused, NotRunning: CT N not running
    POST /nodes/pve1/lxc/N/status/shutdown => Refused, NotRunning: CT N not running
    POST /nodes/pve1/lxc/N/status/reboot => Refused, NotRunning: VM N not running
    POST /nodes/pve1/lxc/N/status/suspend => Refused, NotRunning: CT N not running
    GET /nodes/pve1/lxc/999/status/current => Refused, NoSuchContainer: Configuration file 'nodes/pve1/lxc/999.conf' does not exist
    POST /nodes/pve1/lxc/999/status/start => task vzstart
    POST /nodes/pve1/lxc/999/status/stop => Refused, NotRunning: CT 999 not running
    GET /nodes/nosuch/lxc/N/status/current => Refused, NoSuchNode: hostname lookup 'nosuch' failed - failed to get address info for: nosuch: Temporary failure in name resolution
    GET /nodes/pve1/lxc/abc/status/current => Refused, Other: Parameter verification failed; vmid: type check ('integer') failed - got 'abc'
    GET /nodes/pve1/lxc/99/status/current => Refused, Other: Parameter verification failed; vmid: invalid format - value does not look like a valid VM ID
    POST /nodes/pve1/lxc/N/status/shutdown timeout=-1 => Refused, Other: Parameter verification failed; timeout: value must have a minimum value of 0
    POST /nodes/pve1/lxc/N/status/shutdown timeout=abc foo=bar => Refused, Other: Parameter verification failed; foo: property is not defined in schema and the schema does not allow additional properties; timeout: type check ('integer') failed - got 'abc'
    POST /nodes/pve1/lxc/N/status/shutdown forceStop=true timeout=1 => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got 'true'
    POST /nodes/pve1/lxc/N/status/shutdown forceStop=maybe => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got 'maybe'
    POST /nodes/pve1/lxc/N/status/pause => Refused, Other: Method 'POST /nodes/pve1/lxc/N/status/pause' not implemented
    POST /nodes/pve1/lxc/N/status/kill => Refused, Other: Method 'POST /nodes/pve1/lxc/N/status/kill' not implemented
    PUT /nodes/pve1/lxc/N/status/start => Refused, Other: Method 'PUT /nodes/pve1/lxc/N/status/start' not implemented
    PATCH /nodes/pve1/lxc/N/status/start => Refused, Other: method 'PATCH' not available
    GET /nodes/pve1/tasks/UPID:bogus/status => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/tasks/UPID:pve1:00000105:0003020C:6B04663E:vzshutdown:N:root@pam!test:/status => Refused, Other: Parameter verification failed; upid: no such task
    GET /nope => Refused, Other: Method 'GET /nope' not implemented
    GET /nodes/pve1/lxc/N/interfaces => 0 interfaces
    GET /nodes/pve1/lxc/999/interfaces => 0 interfaces
    GET /version => Unauthorized: the credential is not accepted: Authentication failed!
    ");
}

#[tokio::test]
async fn the_behaviour_of_8() {
    insta::assert_snapshot!(replay(transcript!("pve-behaviour-8.txt")).await, @r#"
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/start => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/lxc/N/status/current => running for 0ns, with a pid
    GET /nodes/pve1/tasks source=all limit=1 => tasks [("vzstart", Some("OK"))]
    GET with cookie => stopped for 0ns
    POST with cookie, no CSRF => Unauthorized: the credential is not accepted: Permission denied - invalid csrf token
    POST with cookie, bad CSRF => Unauthorized: the credential is not accepted: Permission denied - invalid csrf token
    POST with cookie, CSRF => task vzstart
    stale/invalid cookie => Unauthorized: the credential is not accepted: Authentication failed!
    wrong password => Unauthorized: the credential is not accepted: authentication failure
    no realm => Unauthorized: the credential is not accepted: authentication failure
    missing password => Refused, Other: Parameter verification failed; password: property is missing and it is not optional
    auth header variants => version Version { text: "8.4.21", release: (8, 4) }
    auth header variants => Unauthorized: the credential is not accepted: No ticket
    auth header variants => Unauthorized: the credential is not accepted: Authentication failed!
    ticket endpoint with token => Forbidden: Permission check failed (URI '/access/ticket' not available with API token, need proper ticket. )
    JSON: CT=application/json body={"timeout":"abc"} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got 'abc'
    JSON: CT=application/json body={"forceStop":"maybe"} => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got 'maybe'
    JSON: CT=application/json body={"forceStop":[1]} => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got ARRAY
    JSON: CT=application/json body={"timeout":5,"forceStop":true,"zz":1} => Refused, Other: Parameter verification failed; zz: property is not defined in schema and the schema does not allow additional properties
    JSON: CT=application/json body={"timeout":5.5} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got '5.5'
    JSON: CT=application/json body= => Refused, Other: malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0 (before "(end of string)") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.
    JSON: CT=application/json body=null => task vzshutdown
    JSON: CT=application/json body=[] => Refused, Other: Not a HASH reference at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 957.
    JSON: CT=application/json body={bad => Refused, Other: '"' expected, at character offset 1 (before "bad") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.
    JSON: CT=application/json; charset=utf-8 body={"timeout":"abc"} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got 'abc'
    JSON: CT=application/x-www-form-urlencoded body=timeout=abc&timeout=3 => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got ARRAY
    JSON: CT=text/plain body=timeout=abc => Refused, Other: upload 'Content-Type 'text/plain' not implemented
    JSON: CT=application/json body={"timeout":3,"forceStop":true} => task vzshutdown
    query params on POST => Refused, Other: Parameter verification failed; debug: type check ('boolean') failed - got 'zz'
    GET with body-less, Content-Type json => version Version { text: "8.4.21", release: (8, 4) }
    POST without content-length (start) => task vzstart
    chunked POST => Refused, Other: chunked transfer encoding not supported
    HEAD => Refused, Other: method 'HEAD' not available
    upid percent-encoded => task Ended(Ok)
    GET /nodes/pve1/tasks/UPID:pve1:0000063E:0005D8E6:6B046D84:vzstart:N:root@pam!test:/log start=0 limit=1 => log of 1 lines, the last: TASK OK
    "#);
}

#[tokio::test]
async fn the_behaviour_of_9() {
    insta::assert_snapshot!(replay(transcript!("pve-behaviour-9.txt")).await, @r#"
    after POST /nodes/pve1/lxc/N/status/start => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    GET /nodes/pve1/lxc/N/status/current => running for 0ns, with a pid
    GET /nodes/pve1/tasks source=all limit=1 => tasks [("vzstart", Some("OK"))]
    GET with cookie => stopped for 0ns
    POST with cookie, no CSRF => Unauthorized: the credential is not accepted: Permission denied - invalid csrf token
    POST with cookie, bad CSRF => Unauthorized: the credential is not accepted: Permission denied - invalid csrf token
    POST with cookie, CSRF => task vzstart
    stale/invalid cookie => Unauthorized: the credential is not accepted: Authentication failed!
    wrong password => Unauthorized: the credential is not accepted: authentication failure
    no realm => Unauthorized: the credential is not accepted: authentication failure
    missing password => Refused, Other: Parameter verification failed; password: property is missing and it is not optional
    auth header variants => version Version { text: "9.2.11", release: (9, 2) }
    auth header variants => Unauthorized: the credential is not accepted: No ticket
    auth header variants => Unauthorized: the credential is not accepted: Authentication failed!
    ticket endpoint with token => Forbidden: Permission check failed (URI '/access/ticket' not available with API token, need proper ticket. )
    JSON: CT=application/json body={"timeout":"abc"} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got 'abc'
    JSON: CT=application/json body={"forceStop":"maybe"} => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got 'maybe'
    JSON: CT=application/json body={"forceStop":[1]} => Refused, Other: Parameter verification failed; forceStop: type check ('boolean') failed - got ARRAY
    JSON: CT=application/json body={"timeout":5,"forceStop":true,"zz":1} => Refused, Other: Parameter verification failed; zz: property is not defined in schema and the schema does not allow additional properties
    JSON: CT=application/json body={"timeout":5.5} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got '5.5'
    JSON: CT=application/json body= => Refused, Other: malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0 (before "(end of string)") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.
    JSON: CT=application/json body=null => task vzshutdown
    JSON: CT=application/json body=[] => Refused, Other: Not a HASH reference at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 978.
    JSON: CT=application/json body={bad => Refused, Other: '"' expected, at character offset 1 (before "bad") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.
    JSON: CT=application/json; charset=utf-8 body={"timeout":"abc"} => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got 'abc'
    JSON: CT=application/x-www-form-urlencoded body=timeout=abc&timeout=3 => Refused, Other: Parameter verification failed; timeout: type check ('integer') failed - got ARRAY
    JSON: CT=text/plain body=timeout=abc => Refused, Other: upload 'Content-Type 'text/plain' not implemented
    JSON: CT=application/json body={"timeout":3,"forceStop":true} => task vzshutdown
    query params on POST => Refused, Other: Parameter verification failed; debug: type check ('boolean') failed - got 'zz'
    GET with body-less, Content-Type json => version Version { text: "9.2.11", release: (9, 2) }
    POST without content-length (start) => task vzstart
    chunked POST => Refused, Other: chunked transfer encoding not supported
    HEAD => Refused, Other: method 'HEAD' not available
    upid percent-encoded => task Ended(Ok)
    GET /nodes/pve1/tasks/UPID:pve1:00000837:00059170:6B046CCD:vzstart:N:root@pam!test:/log start=0 limit=1 => log of 1 lines, the last: TASK OK
    "#);
}

#[tokio::test]
async fn lives() {
    insta::assert_snapshot!(replay(transcript!("pve-lifecycle.txt")).await, @"
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=3 => task failed: container did not stop (DidNotStop)
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=3 => log of 2 lines, the last: TASK ERROR: container did not stop
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=3 forceStop=1 => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=3 forceStop=1 => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/stop overrule-shutdown=1 => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/stop overrule-shutdown=1 => log of 2 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/reboot timeout=2 => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/reboot timeout=2 => log of 1 lines, the last: TASK OK
    GET /nodes/pve1/lxc/N/status/current => running for 0ns, with a pid
    after POST /nodes/pve1/lxc/N/status/suspend => task failed: command 'lxc-checkpoint -n 202 -s -D /var/lib/vz/dump' failed: exit code 1 (Other)
    after POST /nodes/pve1/lxc/N/status/suspend => log of 4 lines, the last: TASK ERROR: command 'lxc-checkpoint -n 202 -s -D /var/lib/vz/dump' failed: exit code 1
    after POST /nodes/pve1/lxc/N/status/stop => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/stop => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/resume => task failed: command 'lxc-checkpoint -n 202 -r --foreground -D /var/lib/vz/dump' failed: exit code 1 (Other)
    after POST /nodes/pve1/lxc/N/status/resume => log of 7 lines, the last: TASK ERROR: command 'lxc-checkpoint -n 202 -r --foreground -D /var/lib/vz/dump' failed: exit code 1
    after POST /nodes/pve1/lxc/N/status/suspend => task failed: command 'lxc-checkpoint -n 102 -s -D /var/lib/vz/dump' failed: exit code 1 (Other)
    after POST /nodes/pve1/lxc/N/status/suspend => log of 4 lines, the last: TASK ERROR: command 'lxc-checkpoint -n 102 -s -D /var/lib/vz/dump' failed: exit code 1
    after POST /nodes/pve1/lxc/N/status/resume => task failed: command 'lxc-checkpoint -n 102 -r --foreground -D /var/lib/vz/dump' failed: exit code 1 (Other)
    after POST /nodes/pve1/lxc/N/status/resume => log of 7 lines, the last: TASK ERROR: command 'lxc-checkpoint -n 102 -r --foreground -D /var/lib/vz/dump' failed: exit code 1
    ");
}

#[tokio::test]
async fn locks_and_rights() {
    insta::assert_snapshot!(replay(transcript!("pve-locks-perms.txt")).await, @r#"
    GET /nodes/pve1/lxc/N/status/current => stopped for 0ns, locked Some("backup")
    after POST /nodes/pve1/lxc/N/status/start => task failed: CT is locked (backup) (Locked { by: "backup" })
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK ERROR: CT is locked (backup)
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/stop => task failed: CT is locked (backup) (Locked { by: "backup" })
    after POST /nodes/pve1/lxc/N/status/stop => log of 1 lines, the last: TASK ERROR: CT is locked (backup)
    after POST /nodes/pve1/lxc/N/status/shutdown forceStop=1 timeout=2 => task failed: CT is locked (backup) (Locked { by: "backup" })
    after POST /nodes/pve1/lxc/N/status/shutdown forceStop=1 timeout=2 => log of 1 lines, the last: TASK ERROR: CT is locked (backup)
    after POST /nodes/pve1/lxc/N/status/reboot timeout=2 => task failed: startup for container 'N' failed (Other)
    after POST /nodes/pve1/lxc/N/status/reboot timeout=2 => log of 4 lines, the last: TASK ERROR: startup for container 'N' failed
    POST /nodes/pve1/lxc/N/status/stop skiplock=1 => Refused, Other: Parameter verification failed; skiplock: Only root may use this option.
    GET /nodes/pve1/lxc/N/status/current => stopped for 0ns
    GET /nodes/pve1/lxc/N/status/current => Forbidden: Permission check failed (/vms/N, VM.Audit)
    POST /nodes/pve1/lxc/N/status/start => Forbidden: Permission check failed (/vms/N, VM.PowerMgmt)
    GET /nodes/pve1/lxc => containers []
    GET /cluster/resources => containers []
    GET /cluster/tasks => tasks []
    GET /nodes/pve1/tasks => tasks []
    GET /nodes => nodes [("pve1", true)]
    GET /version => version Version { text: "9.2.11", release: (9, 2) }
    GET /nodes/pve1/lxc/N/interfaces => Forbidden: Permission check failed (/vms/N, VM.Audit)
    GET /nodes/pve1/lxc/N/config => Forbidden: Permission check failed (/vms/N, VM.Audit)
    GET /cluster/status => Forbidden: Permission check failed (/, Sys.Audit)
    POST /nodes/pve1/lxc/N/status/stop skiplock=1 => Forbidden: Permission check failed (/vms/N, VM.PowerMgmt)
    GET /nodes/pve1/lxc => containers ["stopped for 0ns"]
    GET /cluster/resources => containers ["N running 3s ha None"]
    GET /nodes/pve1/lxc/N/interfaces => 0 interfaces
    after POST /nodes/pve1/lxc/N/status/stop => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/tasks/UPID:pve1:00000579:00047A4D:6B046A02:vzstart:N:root@pam!test:/status => Forbidden: Permission check failed (/nodes/pve1, Sys.Audit)
    GET /version => version Version { text: "8.4.21", release: (8, 4) }
    GET /cluster/resources => containers ["N running 1s ha None"]
    GET /nodes/pve1/tasks/UPID:pve1:000003DD:00047E37:6B046A0C:vzstart:N:root@pam!test:/status => Forbidden: Permission check failed (/nodes/pve1, Sys.Audit)
    "#);
}

#[tokio::test]
async fn nodes_that_are_away_and_high_availability_in_8() {
    insta::assert_snapshot!(replay(transcript!("pve-proxy-ha-8.txt")).await, @r#"
    GET /nodes/pve2/lxc/N/status/current => NodeUnreachable: node `pve2` cannot be reached by the cluster: No route to host
    GET /nodes/pve3/lxc/N/status/current => NodeUnreachable: node `pve3` cannot be reached by the cluster: Connection refused
    GET /nodes/pve4/lxc/N/status/current => Refused, NoSuchNode: address lookup for 'pve4' did not find any IP address
    POST /nodes/pve2/lxc/N/status/start => NodeUnreachable: node `pve2` cannot be reached by the cluster: No route to host
    GET /nodes/pve1/lxc/N/status/current => running for 11s, with a pid, managed
    POST /nodes/pve1/lxc/N/status/stop overrule-shutdown=1 => Refused, Other: Parameter verification failed; overrule-shutdown: Not applicable for HA resources.
    after POST /nodes/pve1/lxc/N/status/stop => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/stop => log of 3 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=7 => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=7 => log of 3 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/start => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/lxc/N/status/current => running for 17s, with a pid, managed
    GET /cluster/ha/resources => not one of our calls
    GET /cluster/ha/status/current => not one of our calls
    GET /nodes/pve1/lxc/N/status/current => NodeUnreachable: node `pve1` cannot be reached by the cluster: Connection refused
    POST /nodes/pve1/lxc/N/status/start => NodeUnreachable: node `pve1` cannot be reached by the cluster: Connection refused
    GET /cluster/resources => containers ["N running 23s ha None", "N stopped 0ns ha None"]
    GET /cluster/resources => NodeUnreachable: node `127.0.0.1` cannot be reached by the cluster: Connection refused
    GET /nodes/pve1/lxc/N/status/current => running for 32s, with a pid
    "#);
}

#[tokio::test]
async fn nodes_that_are_away_and_high_availability_in_9() {
    insta::assert_snapshot!(replay(transcript!("pve-proxy-ha-9.txt")).await, @r#"
    GET /nodes/pve2/lxc/N/status/current => NodeUnreachable: node `pve2` cannot be reached by the cluster: No route to host
    GET /nodes/pve3/lxc/N/status/current => NodeUnreachable: node `pve3` cannot be reached by the cluster: Connection refused
    GET /nodes/pve4/lxc/N/status/current => Refused, NoSuchNode: address lookup for 'pve4' did not find any IP address
    POST /nodes/pve2/lxc/N/status/start => NodeUnreachable: node `pve2` cannot be reached by the cluster: No route to host
    GET /nodes/pve1/lxc/N/status/current => running for 51s, with a pid, managed
    POST /nodes/pve1/lxc/N/status/stop overrule-shutdown=1 => Refused, Other: Parameter verification failed; overrule-shutdown: Not applicable for HA resources.
    after POST /nodes/pve1/lxc/N/status/stop => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/stop => log of 2 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=7 => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=7 => log of 2 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/start => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/lxc/N/status/current => running for 55s, with a pid, managed
    GET /cluster/ha/resources => not one of our calls
    GET /cluster/ha/status/current => not one of our calls
    GET /nodes/pve1/lxc/N/status/current => NodeUnreachable: node `pve1` cannot be reached by the cluster: Connection refused
    POST /nodes/pve1/lxc/N/status/start => NodeUnreachable: node `pve1` cannot be reached by the cluster: Connection refused
    GET /cluster/resources => containers ["N running 59s ha None", "N stopped 0ns ha None"]
    GET /cluster/resources => NodeUnreachable: node `127.0.0.1` cannot be reached by the cluster: Connection refused
    GET /nodes/pve1/lxc/N/status/current => running for 67s, with a pid
    "#);
}

#[tokio::test]
async fn frozen_containers() {
    insta::assert_snapshot!(replay(transcript!("pve-freeze.txt")).await, @"
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    GET /nodes/pve1/lxc/N/status/current => running for 1s, with a pid
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=2 => task failed: container did not stop (DidNotStop)
    after POST /nodes/pve1/lxc/N/status/shutdown timeout=2 => log of 2 lines, the last: TASK ERROR: container did not stop
    GET /nodes/pve1/lxc/N/status/current => running for 11s, with a pid
    after POST /nodes/pve1/lxc/N/status/start => Refused, Other: Parameter verification failed; upid: unable to parse worker upid
    GET /nodes/pve1/lxc/N/status/current => running for 51s, with a pid
    GET /nodes/pve1/lxc/N/status/current => running for 2s, with a pid
    GET /nodes/pve1/lxc/N/status/current => running for 12s, with a pid
    GET /nodes/pve1/lxc/N/status/current => running for 53s, with a pid
    ");
}

#[tokio::test]
async fn starts_that_fail() {
    insta::assert_snapshot!(replay(transcript!("start-failures-9.txt")).await, @r#"
    after POST /nodes/pve1/lxc/N/status/start => task failed: unable to get PID for CT N (not running?) (Other)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK ERROR: unable to get PID for CT N (not running?)
    GET /nodes/pve1/lxc/N/status/current => stopped for 0ns
    after POST /nodes/pve1/lxc/N/status/start => task failed: startup for container 'N' failed (Other)
    after POST /nodes/pve1/lxc/N/status/start => log of 2 lines, the last: TASK ERROR: startup for container 'N' failed
    after POST /nodes/pve1/lxc/N/status/start => task failed: volume 'local:203/subvol-N-disk-0.subvol' does not exist (Other)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK ERROR: volume 'local:203/subvol-N-disk-0.subvol' does not exist
    after POST /nodes/pve1/lxc/N/status/start => task failed: bridge 'vmbr9' does not exist (Other)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK ERROR: bridge 'vmbr9' does not exist
    after POST /nodes/pve1/lxc/N/status/start => task failed: you can't start a CT if it's a template (Other)
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK ERROR: you can't start a CT if it's a template
    GET /nodes/pve1/lxc/N/status/current => stopped for 0ns, a template
    after POST /nodes/pve1/lxc/N/status/start => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/start => log of 2 lines, the last: TASK OK
    GET /nodes/pve1/lxc/N/status/current => stopped for 0ns, managed
    GET /cluster/resources type=vm => containers ["N running 648s ha None", "N stopped 0ns ha None", "N stopped 0ns ha Some(\"started\")"]
    after POST /nodes/pve1/lxc/N/status/start => log of 1 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/start => log of 5 lines, the last: TASK OK
    after POST /nodes/pve1/lxc/N/status/stop => task Ended(Ok)
    after POST /nodes/pve1/lxc/N/status/stop => log of 1 lines, the last: TASK OK
    "#);
}
