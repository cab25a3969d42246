//! What goes wrong between the client and the cluster.

use std::time::Duration;

use drowse_fakepve::{Ct, FakePve, Fault, Harm, Options, Power, Renewal};
use drowse_provider::{Action, Deadline, ErrorKind};
use drowse_proxmox::{Cause, Client, ClientError, TaskOutcome, Trust};

use crate::support::{client, client_with, eventually, password, patience, pinned, token};

const VMID: u32 = 201;
const START: &str = "/nodes/pve1/lxc/201/status/start";

async fn cluster() -> (FakePve, Client) {
    cluster_with(Options::default()).await
}

async fn cluster_with(options: Options) -> (FakePve, Client) {
    let pve = FakePve::start(options).await;
    pve.add_container(Ct::new(VMID)).await;
    let client = client(&pve);
    (pve, client)
}

#[tokio::test]
async fn a_container_is_read_started_and_stopped() {
    let (pve, client) = cluster().await;
    assert_eq!(client.version(patience()).await.unwrap().release, (9, 0));
    let resources = client.resources(patience()).await.unwrap();
    assert_eq!(resources.iter().map(|each| each.vmid).collect::<Vec<_>>(), [VMID]);
    let upid = client.start("pve1", VMID, patience()).await.unwrap();
    assert_eq!(client.finished(&upid, patience()).await.unwrap(), TaskOutcome::Ok);
    let status = client.status("pve1", VMID, patience()).await.unwrap();
    assert_eq!(status.pid, pve.state(VMID).await.pid);
    let second = Duration::from_secs(1);
    let upid = client.shutdown("pve1", VMID, second, true, patience()).await.unwrap();
    client.finished(&upid, patience()).await.unwrap();
    assert_eq!(client.status("pve1", VMID, patience()).await.unwrap().status, "stopped");
    client.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_in_mid_run_is_refused_until_it_is_back() {
    let (pve, client) = cluster().await;
    client.version(patience()).await.unwrap();
    pve.token_valid(false).await;
    let error = client.status("pve1", VMID, patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthorized), "{error:?}");
    insta::assert_snapshot!(error, @"the credential is not accepted: Authentication failed!");
    pve.token_valid(true).await;
    // What was refused is not shown again for some seconds.
    eventually("the token is accepted again", async || {
        client.status("pve1", VMID, patience()).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_ticket_that_ends_in_mid_run_is_replaced_by_one_login() {
    let pve = FakePve::start(Options::default()).await;
    pve.add_container(Ct::new(VMID)).await;
    let client = client_with(&pve, password(), pinned(&pve));
    client.status("pve1", VMID, patience()).await.unwrap();
    pve.end_tickets().await;
    pve.forget_requests().await;
    let upid = client.start("pve1", VMID, patience()).await.unwrap();
    client.finished(&upid, patience()).await.unwrap();
    assert_eq!(pve.count("POST", "/access/ticket").await, 1);
    assert_eq!(pve.tasks().await.len(), 1, "the order that was refused is given again, once");
}

#[tokio::test]
async fn a_ticket_is_renewed_before_it_ends() {
    let pve = FakePve::start(Options::default()).await;
    pve.add_container(Ct::new(VMID)).await;
    let client = client_with(&pve, password(), pinned(&pve));
    // Whoever asks again and again never sees a refusal.
    for _ in 0..3 {
        client.version(patience()).await.unwrap();
    }
    assert_eq!(pve.count("POST", "/access/ticket").await, 1);
    client.close().await;
}

#[tokio::test]
async fn a_login_that_needs_a_second_factor_says_so() {
    let pve = FakePve::start(Options::default()).await;
    pve.second_factor(true).await;
    let error = client_with(&pve, password(), pinned(&pve)).version(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthorized), "{error:?}");
    insta::assert_snapshot!(error, @"the credential is not accepted: user `drowse@pve` has a second factor, for which nobody is there to be asked: make an API token and use that");
}

#[tokio::test]
async fn without_vm_audit_the_right_and_its_path_are_named() {
    let (pve, client) = cluster().await;
    pve.grant(&[("/vms", &["VM.PowerMgmt"])]).await;
    for error in [
        client.status("pve1", VMID, patience()).await.unwrap_err(),
        client.config("pve1", VMID, patience()).await.unwrap_err(),
        client.interfaces("pve1", VMID, patience()).await.unwrap_err(),
    ] {
        assert_forbidden(&error, "VM.Audit");
    }
    assert!(client.resources(patience()).await.unwrap().is_empty(), "it is absent, and no error");
    assert!(client.containers_of("pve1", patience()).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_vm_powermgmt_the_right_and_its_path_are_named() {
    let (pve, client) = cluster().await;
    pve.power(VMID, Power::Start).await;
    pve.grant(&[("/vms", &["VM.Audit"])]).await;
    let second = Duration::from_secs(1);
    for error in [
        client.start("pve1", VMID, patience()).await.unwrap_err(),
        client.shutdown("pve1", VMID, second, true, patience()).await.unwrap_err(),
        client.stop("pve1", VMID, false, patience()).await.unwrap_err(),
    ] {
        assert_forbidden(&error, "VM.PowerMgmt");
    }
    assert!(pve.state(VMID).await.is_running());
}

#[tokio::test]
async fn rights_of_others_tasks_and_of_a_nodes_are_not_needed() {
    let (_pve, client) = cluster().await;
    let nodes = client.nodes(patience()).await.unwrap();
    assert_eq!(nodes.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["pve1", "pve2"]);
    let rights = client.permissions(patience()).await.unwrap();
    let held: Vec<_> = rights["/vms"].iter().map(String::as_str).collect();
    assert_eq!(held, ["VM.Audit", "VM.PowerMgmt"]);
}

/// As the watcher sees it.
fn is_worth_another_try(error: &ClientError) -> bool {
    error.clone().into_error("pve", Action::Start, None).is_retryable()
}

#[track_caller]
fn assert_forbidden(error: &ClientError, expected: &str) {
    match error.kind() {
        ErrorKind::Forbidden { privilege: Some(privilege), path: Some(path) } => {
            assert_eq!((&*privilege, &*path), (expected, "/vms/201"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_renewed_certificate_of_a_pinned_leaf_shows_both_fingerprints() {
    let (pve, client) = cluster().await;
    client.version(patience()).await.unwrap();
    let new = pve.renew_certificate(Renewal::SameAuthority).await;
    let error = client.status("pve1", VMID, patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&new) && text.contains(pve.fingerprint()), "{text}");
}

#[tokio::test]
async fn a_renewed_certificate_of_a_trusted_authority_is_not_noticed() {
    let pve = FakePve::start(Options::default()).await;
    pve.add_container(Ct::new(VMID)).await;
    let client = client_with(&pve, token(), Trust::CaFile(pve.ca_file().to_owned()));
    client.status("pve1", VMID, patience()).await.unwrap();
    pve.renew_certificate(Renewal::SameAuthority).await;
    client.status("pve1", VMID, patience()).await.unwrap();
    // The file is replaced with the authority, and read again.
    pve.renew_certificate(Renewal::NewAuthority).await;
    client.status("pve1", VMID, patience()).await.unwrap();
}

#[tokio::test]
async fn a_second_endpoint_takes_over_and_is_kept_to() {
    let (pve, client) = cluster_with(Options::default().endpoints(2)).await;
    client.version(patience()).await.unwrap();
    pve.reachable(0, false).await;
    for _ in 0..3 {
        client.status("pve1", VMID, patience()).await.unwrap();
    }
    let upid = client.start("pve1", VMID, patience()).await.unwrap();
    client.finished(&upid, patience()).await.unwrap();
    assert_eq!(pve.tasks().await.len(), 1);
}

#[tokio::test]
async fn without_any_endpoint_it_is_unavailable_until_one_is_back() {
    let (pve, client) = cluster_with(Options::default().endpoints(2)).await;
    client.version(patience()).await.unwrap();
    for endpoint in [0, 1] {
        pve.reachable(endpoint, false).await;
    }
    let soon = Deadline::after(Duration::from_millis(500));
    let error = client.version(soon).await.unwrap_err();
    assert!(is_worth_another_try(&error), "{error:?}");
    pve.reachable(1, true).await;
    eventually("it is reached again", async || client.version(patience()).await.ok()).await;
}

#[tokio::test]
async fn an_order_that_may_have_arrived_is_not_given_again() {
    for harm in [Harm::CutBefore, Harm::CutAfter] {
        let (pve, client) = cluster_with(Options::default().endpoints(2)).await;
        pve.fault(Fault::new(harm.clone()).of("POST", START).times(1)).await;
        let error = client.start("pve1", VMID, patience()).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{harm:?}: {error:?}");
        assert_eq!(pve.count("POST", START).await, 1, "{harm:?}");
        let taken = usize::from(matches!(harm, Harm::CutAfter));
        assert_eq!(pve.tasks().await.len(), taken, "{harm:?}");
    }
}

#[tokio::test]
async fn an_order_without_an_answer_is_unknown_at_its_deadline() {
    let (pve, client) = cluster().await;
    pve.fault(Fault::new(Harm::SilentAfter).of("POST", START)).await;
    let soon = Deadline::after(Duration::from_millis(500));
    let error = client.start("pve1", VMID, soon).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert_eq!(pve.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_read_that_is_cut_off_is_asked_again() {
    let (pve, client) = cluster_with(Options::default().endpoints(2)).await;
    let path = "/nodes/pve1/lxc/201/status/current";
    pve.fault(Fault::new(Harm::CutAfter).of("GET", path).times(1)).await;
    client.status("pve1", VMID, patience()).await.unwrap();
    assert_eq!(pve.count("GET", path).await, 2);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_errors() {
    let bodies =
        ["", "null", "[]", "{}", "<html>", "{\"data\":", "{\"data\":{\"vmid\":[]}}", "\u{0}"];
    let nonsense = bodies.map(|body| Harm::Body { body: body.into() });
    for harm in nonsense.into_iter().chain([Harm::Half, Harm::Huge]) {
        let (pve, client) = cluster().await;
        pve.fault(Fault::new(harm.clone())).await;
        let deadline = Deadline::after(Duration::from_secs(20));
        let error = client.status("pve1", VMID, deadline).await.unwrap_err();
        let is_told =
            matches!(error, ClientError::Garbled { .. } | ClientError::Unreachable { .. });
        assert!(
            is_told || matches!(error, ClientError::TimedOut { last: Some(_), .. }),
            "{harm:?}: {error:?}"
        );
        assert!(error.to_string().len() < 2_000, "{harm:?}: {error}");
        pve.clear_faults().await;
        client.status("pve1", VMID, patience()).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_that_is_answered_by_nonsense_is_unknown() {
    for harm in [Harm::Body { body: "{\"data\":null}".into() }, Harm::Half, Harm::Huge] {
        let (pve, client) = cluster().await;
        pve.fault(Fault::new(harm.clone()).of("POST", START)).await;
        let error = client.start("pve1", VMID, patience()).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{harm:?}: {error:?}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let (pve, client) = cluster().await;
    pve.fault(Fault::new(Harm::Silent)).await;
    let soon = Deadline::after(Duration::from_millis(300));
    let error = client.status("pve1", VMID, soon).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_a_day_changes_nothing() {
    for skew in [-86_400, 86_400] {
        let (pve, client) = cluster().await;
        pve.clock_skew(skew).await;
        let upid = client.start("pve1", VMID, patience()).await.unwrap();
        assert_eq!(client.finished(&upid, patience()).await.unwrap(), TaskOutcome::Ok);
        client.status("pve1", VMID, patience()).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_quorum_it_is_unavailable_and_says_so() {
    let (pve, client) = cluster().await;
    pve.quorum(false).await;
    let error = client.start("pve1", VMID, patience()).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NoQuorum));
    assert!(!error.is_outcome_unknown());
    assert!(is_worth_another_try(&error), "{error:?}");
    client.status("pve1", VMID, patience()).await.unwrap();
    pve.quorum(true).await;
    client.start("pve1", VMID, patience()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_away_is_unavailable_until_it_is_back() {
    let (pve, client) = cluster().await;
    pve.node_offline("pve1").await;
    let error = client.start("pve1", VMID, Deadline::after(Duration::from_secs(1))).await;
    let error = error.unwrap_err();
    assert!(is_worth_another_try(&error), "{error:?}");
    assert!(pve.tasks().await.is_empty());
    let resources = client.resources(patience()).await.unwrap();
    assert_eq!(resources[0].status, "unknown");
    pve.node_online("pve1").await;
    client.status("pve1", VMID, patience()).await.unwrap();
}

#[tokio::test]
async fn warnings_are_told_and_are_no_failure() {
    let (pve, client) = cluster().await;
    pve.warn(VMID, &["old systemd"]).await;
    let upid = client.start("pve1", VMID, patience()).await.unwrap();
    assert_eq!(client.finished(&upid, patience()).await.unwrap(), TaskOutcome::Warnings(1));
    let log = client.task_log(&upid, 10, patience()).await.unwrap();
    assert_eq!(log, ["WARN: old systemd", "TASK WARNINGS: 1"]);
}

/// 8.0 says nothing in the body, and lacks calls.
#[tokio::test]
async fn an_old_version_is_understood() {
    let (pve, client) = cluster_with(Options::default().version("8.0.4")).await;
    assert_eq!(client.version(patience()).await.unwrap().release, (8, 0));
    let error = client.status("pve1", 999, patience()).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NoSuchContainer));
    let error = client.interfaces("pve1", VMID, patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    pve.power(VMID, Power::Start).await;
    let error = client.stop("pve1", VMID, true, patience()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 400, .. }), "{error:?}");
    pve.grant(&[]).await;
    assert_forbidden(&client.status("pve1", VMID, patience()).await.unwrap_err(), "VM.Audit");
}

/// A hundred calls on a connection, and none on one that was closed for its age.
#[tokio::test]
async fn connections_that_the_server_closes_are_not_missed() {
    let (pve, client) = cluster().await;
    for _ in 0..250 {
        client.version(patience()).await.unwrap();
    }
    for _ in 0..5 {
        client.status("pve1", VMID, patience()).await.unwrap();
    }
    assert_eq!(pve.count("GET", "/version").await, 250);
}
