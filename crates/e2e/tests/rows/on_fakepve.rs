//! The same program on a Proxmox cluster, or what stands in for one.

mod on_dockerd;

use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, Guest, ProxmoxSite, eventually};

/// A wake that meets a lock is answered after 15 s.
const LOCKED_DEADLINE: Duration = Duration::from_secs(40);

/// An idle time that never passes in a test.
const NEVER: &str = "1h";

/// A workload of the file: under the host `ctVMID.test`, asleep when it was idle so long.
fn workload(guest: &Guest, idle: &str) -> String {
    let vmid = guest.vmid();
    format!(
        "  ct{vmid}:\n    container: {{ engine: pve, vmid: {vmid} }}\n    \
         routes: [{{ host: ct{vmid}.test, port: 80 }}]\n    idle: {idle}\n"
    )
}

async fn drowse(site: &ProxmoxSite, guest: &Guest, idle: &str) -> Drowse {
    let drowse = site.drowse(&format!("workloads:\n{}", workload(guest, idle))).start().await;
    drowse.wait_until_read(&format!("ct{}", guest.vmid())).await;
    drowse
}

async fn is_served(drowse: &Drowse, guest: &Guest) {
    let host = format!("ct{}.test", guest.vmid());
    let answer = drowse.get(&host, "/").deadline(DEADLINE).send().await;
    answer.assert_served();
    let text = answer.text();
    assert!(text.contains(&format!("ct{}", guest.vmid())), "{text}");
}

#[tokio::test]
async fn a_container_sleeps_when_it_is_idle_and_wakes_on_the_first_request() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    for round in 1..=2 {
        is_served(&drowse, &guest).await;
        site.wait_until(&guest, false, DEADLINE).await;
        assert_eq!(site.taken("vzstart").await, round);
        assert_eq!(site.taken("vzshutdown").await, round);
    }
    let requests = site.pve.requests().await;
    let written = requests.iter().filter(|each| each.method != "GET");
    assert!(written.clone().all(|each| each.path.contains("/lxc/201/status/")), "only orders");
    assert_eq!(written.count(), 4);
}

#[tokio::test]
async fn row_24_a_wake_that_meets_a_backup_says_so_and_serves_when_it_is_done() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    site.pve.lock(201, "backup").await;
    let answer = drowse.get("ct201.test", "/").deadline(LOCKED_DEADLINE).send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    let text = answer.text();
    // By whom is no stranger's business.
    assert!(text.contains("\"reason\":\"locked\"") && !text.contains("backup"), "{text}");
    let row = drowse.row("ct201").await.to_string();
    assert!(row.contains("backup"), "{row}");
    assert_eq!(site.taken("vzstart").await, 0);

    // The wake goes on: nobody needs to ask again.
    site.pve.unlock(201).await;
    site.wait_until(&guest, true, DEADLINE).await;
    is_served(&drowse, &guest).await;
    assert_eq!(site.taken("vzstart").await, 1);
}

#[tokio::test]
async fn a_backup_of_a_container_that_is_idle_keeps_it_awake_and_served() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    is_served(&drowse, &guest).await;
    site.pve.lock(201, "backup").await;
    // While it may not be stopped it is idle again and again, and serves whoever comes.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        is_served(&drowse, &guest).await;
    }
    assert_eq!(site.taken("vzshutdown").await, 0, "nothing is ordered against a lock");
    assert_eq!(site.taken("vzstart").await, 1);
    site.pve.unlock(201).await;
    site.wait_until(&guest, false, LOCKED_DEADLINE).await;
}

#[tokio::test]
async fn tagged_containers_are_found_and_their_notes_say_how() {
    let site = ProxmoxSite::new().await;
    let notes =
        "# Wiki\n\n- `drowse.host=wiki.test`\n- drowse.port=80\ndrowse.idle=1s\n\nCall Eve.";
    let wiki = site.guest(201, |ct| ct.tag("drowse").tag("office").notes(notes)).await;
    // Not of the hosts that notes may claim; not tagged.
    let foreign =
        site.guest(202, |ct| ct.tag("drowse").notes("drowse.host=bank.example\ndrowse.port=80"));
    let untagged = site.guest(203, |ct| ct.notes("drowse.host=plain.test\ndrowse.port=80"));
    let (foreign, untagged) = (foreign.await, untagged.await);
    let drowse = site.drowse("").start().await;
    eventually(DEADLINE, "wiki.test to be served", || async {
        (drowse.get("wiki.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    for host in ["bank.example", "plain.test"] {
        assert_eq!(drowse.get(host, "/").send().await.status, 404, "{host}");
    }
    site.wait_until(&wiki, false, DEADLINE).await;
    for guest in [foreign, untagged] {
        assert_eq!(site.pve.state(guest.vmid()).await.app_starts, 0);
    }
}

#[tokio::test]
async fn an_address_that_comes_late_is_waited_for() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest_without_lease(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    let late = async {
        site.wait_until(&guest, true, DEADLINE).await;
        site.wait_until_asked("GET", "/nodes/pve1/lxc/201/interfaces").await;
        site.lease(&guest).await;
    };
    tokio::join!(is_served(&drowse, &guest), late);
    assert_eq!(site.taken("vzstart").await, 1);
}

#[tokio::test]
async fn row_25_a_container_that_has_moved_is_woken_where_it_is() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    site.pve.migrate(201, "pve2").await;
    is_served(&drowse, &guest).await;
    // It moves again while it serves, and is put to sleep there.
    site.pve.migrate(201, "pve1").await;
    site.wait_until(&guest, false, DEADLINE).await;
    is_served(&drowse, &guest).await;
}

/// Its application is gone with it; nobody tells before the next beat.
#[tokio::test]
async fn row_49_a_request_to_one_that_died_unseen_is_held_until_it_is_back() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, NEVER).await;
    is_served(&drowse, &guest).await;
    site.pve.hold_broadcast(true).await;
    site.pve.power_off_inside(201).await;
    is_served(&drowse, &guest).await;
    assert_eq!(site.taken("vzstart").await, 2);
}

/// What high availability manages sleeps only where its user says so, by its requested state.
#[tokio::test]
async fn what_high_availability_manages_sleeps_if_its_user_says_so() {
    let site = ProxmoxSite::new().await;
    let asked = site.guest(201, |ct| ct.ha("stopped")).await;
    let unasked = site.guest(202, |ct| ct.running().ha("started")).await;
    let workloads = workload(&asked, "1s") + "    ha: true\n" + &workload(&unasked, "1s");
    let drowse = site.drowse(&format!("workloads:\n{workloads}")).start().await;
    drowse.wait_until_read("ct201").await;
    is_served(&drowse, &asked).await;
    assert_eq!(site.pve.state(201).await.ha_state.as_deref(), Some("started"));
    site.wait_until(&asked, false, DEADLINE).await;
    assert_eq!(site.pve.state(201).await.ha_state.as_deref(), Some("stopped"));
    assert!(site.pve.state(202).await.is_running());
    let orders = site.pve.requests().await.into_iter().filter(|each| each.method != "GET");
    assert!(orders.map(|each| each.path).all(|path| path.contains("/201/")), "none for the other");
}

/// Nothing is deleted that cannot be seen, and nothing is lost.
#[tokio::test]
async fn row_46_a_container_whose_rights_are_taken_away_for_a_while_sleeps_and_wakes_again() {
    let site = ProxmoxSite::new().await;
    let guest = site.guest(201, |ct| ct).await;
    let drowse = drowse(&site, &guest, "1s").await;
    is_served(&drowse, &guest).await;
    site.wait_until(&guest, false, DEADLINE).await;
    // Not before drowse has seen that it is stopped.
    drowse.wait_until("ct201", |state| state == "asleep", DEADLINE).await;
    site.pve.grant(&[]).await;
    let answer = eventually(DEADLINE, "the right that lacks to be told", || async {
        let answer = drowse.get("ct201.test", "/").send().await;
        answer.text().contains("drowse lacks a right").then_some(answer)
    })
    .await;
    answer.assert_problem(503);
    assert!(!answer.text().contains("VM."), "which one is no stranger's business: {answer:?}");
    drowse.logs().wait_for(&[" ERROR ", "VM.Audit"], DEADLINE).await;
    site.pve.grant(&[("/vms/201", &["VM.Audit", "VM.PowerMgmt"])]).await;
    eventually(DEADLINE, "it to be served again", || async {
        (drowse.get("ct201.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    site.wait_until(&guest, false, DEADLINE).await;
}
