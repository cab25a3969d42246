use drowse_gateway::SharedNetwork;
use drowse_provider::{Network, testing::ScriptedEngine};

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn candidates(mountinfo: &str, cgroup: &str, host_name: &str) -> Vec<String> {
    let text = |text: &str| text.replace("ID-A", A).replace("ID-B", B);
    let whereabouts = Whereabouts::from_texts(&text(mountinfo), &text(cgroup), host_name);
    let id = |candidate: &Candidate| candidate.reference.to_string();
    whereabouts.candidates.iter().map(id).collect()
}

#[test]
fn docker_tells_by_its_mounts() {
    let mountinfo = "\
1034 790 0:97 / / rw,relatime master:336 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X
1043 1034 8:1 /var/lib/docker/containers/ID-A/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
1044 1034 8:1 /var/lib/docker/containers/ID-A/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
1045 1034 8:1 /var/lib/docker/containers/ID-A/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
1046 1034 0:24 /docker.sock /run/docker.sock rw,nosuid,nodev - tmpfs tmpfs rw,size=1g";
    // cgroup v2 in a namespace of its own tells nothing.
    assert_eq!(candidates(mountinfo, "0::/\n", "web"), [A]);
    // Its own host name is the beginning of its id, and no second candidate.
    assert_eq!(candidates(mountinfo, "0::/\n", &A[..12]), [A]);
}

#[test]
fn podman_tells_by_its_mounts() {
    let mountinfo = "\
702 642 0:52 /containers/overlay-containers/ID-A/userdata/resolv.conf /etc/resolv.conf rw - tmpfs tmpfs rw
703 642 0:52 /containers/overlay-containers/ID-A/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw
704 642 0:52 /containers/overlay-containers/ID-A/userdata/.containerenv /run/.containerenv rw - tmpfs tmpfs rw";
    assert_eq!(candidates(mountinfo, "0::/\n", "web"), [A]);
}

#[test]
fn control_groups_tell_where_they_are_not_hidden() {
    for cgroup in [
        "12:memory:/docker/ID-A\n1:name=systemd:/docker/ID-A\n0::/system.slice/containerd.service\n",
        "0::/system.slice/docker-ID-A.scope\n",
        "0::/machine.slice/libpod-ID-A.scope/container\n",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID-A.scope\n",
        "0::/some-parent/ID-A\n",
    ] {
        assert_eq!(candidates("", cgroup, "web"), [A], "{cgroup}");
    }
    // Docker inside of Docker: the innermost is ours, and the others are not lost.
    assert_eq!(
        candidates("", "1:cpu:/docker/ID-B/docker/ID-A\n2:pids:/docker/ID-B\n", "web"),
        [A, B]
    );
}

#[test]
fn the_host_name_is_the_last_hint() {
    assert_eq!(candidates("", "0::/\n", "0123456789ab"), ["0123456789ab"]);
    for host_name in ["web", "deadbeef", "0123456789AB", "0123456789abc"] {
        assert_eq!(candidates("", "0::/\n", host_name), [""; 0], "{host_name}");
    }
}

/// The files that are mounted are those of the container whose network it lives in.
#[test]
fn control_groups_come_before_mounts() {
    let mountinfo = "1044 1034 8:1 /var/lib/docker/containers/ID-B/hostname /etc/hostname rw - ext4 /dev/sda1 rw";
    assert_eq!(candidates(mountinfo, "4:memory:/docker/ID-A\n", "web"), [A, B]);
}

/// The engine's machine itself has mounts of every container.
#[test]
fn the_host_is_no_container() {
    let mountinfo = "\
22 27 0:20 / /proc rw,nosuid - proc proc rw
510 27 0:49 / /var/lib/docker/containers/ID-A/mounts/shm rw - tmpfs shm rw,size=65536k
511 27 0:50 / /var/lib/docker/overlay2/ID-B/merged rw - overlay overlay rw";
    let cgroup = "0::/user.slice/user-0.slice/session-3.scope\n";
    assert_eq!(candidates(mountinfo, cgroup, "nas"), [""; 0]);
}

fn inside(id: &str) -> Whereabouts {
    let candidate = Candidate { reference: Reference::Id(id.to_owned()), may_be_holder: true };
    Whereabouts { candidates: vec![candidate], host_name: "0123456789ab".to_owned() }
}

fn soon() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(5))
}

#[tokio::test]
async fn an_engine_that_knows_our_container_tells_its_networks() {
    let engine = ScriptedEngine::new("home");
    let container = engine.add("drowse");
    container.set_details(|details| {
        let network = Network::new("proxy", Some("bridge".to_owned()), Vec::new());
        details.networks = vec![network.with_gateways(vec!["172.20.0.1".parse().unwrap()])];
    });
    let Reference::Id(id) = container.id() else { panic!("{container:?}") };
    // One that does not run is not us, whatever its id.
    let here = inside(&id).seen_by(&engine, soon()).await.unwrap();
    assert_eq!(here, Here { vantage: Vantage::Apart, ..Here::default() });

    container.start();
    let here = inside(&id).seen_by(&engine, soon()).await.unwrap();
    let gateway = vec!["172.20.0.1".parse().unwrap()];
    assert_eq!(here.vantage, Vantage::Inside(vec![SharedNetwork::new("proxy", gateway)]));
    let own = here.own.unwrap();
    assert_eq!((own.id.as_str(), own.name.as_str()), (id.as_str(), "drowse"));
    assert_eq!(own.networks, ["proxy"]);
}

#[tokio::test]
async fn in_no_container_the_engine_is_not_even_asked() {
    let engine = ScriptedEngine::new("home");
    let here = Whereabouts::default().seen_by(&engine, soon()).await.unwrap();
    assert_eq!(here, Here::default());
    assert_eq!(here.vantage, Vantage::Host);
}

#[tokio::test]
async fn an_engine_that_is_away_is_to_be_asked_again() {
    let engine = ScriptedEngine::new("home");
    engine.go_down("gone");
    assert!(inside(A).seen_by(&engine, soon()).await.is_err());
}
