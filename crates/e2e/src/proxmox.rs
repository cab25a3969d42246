//! A stand-in for a Proxmox cluster, whose containers run the test application.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use drowse_fakepve::{App, Ct, FakePve, GuestInterface, Options};

use crate::drowse::DrowseSpec;
use crate::wait::{DEADLINE, eventually, testapp};

/// Where drowse finds the token's secret.
const SECRET: &str = "PVE_SECRET";

/// One test's cluster, `pve` in drowse's configuration.
#[derive(Debug)]
pub struct ProxmoxSite {
    /// The cluster.
    pub pve: FakePve,
    network: GuestNetwork,
}

/// A container that runs the test application.
#[derive(Clone, Debug)]
pub struct Guest {
    vmid: u32,
    hardware: String,
    address: Ipv4Addr,
}

/// Where the containers of a cluster have their addresses: another machine, as far as drowse can see.
#[derive(Debug)]
struct GuestNetwork {
    number: u8,
    namespace: String,
}

impl ProxmoxSite {
    /// A cluster without containers.
    pub async fn new() -> Self {
        let network = GuestNetwork::create();
        Self { pve: FakePve::start(Options::default()).await, network }
    }

    /// Makes a stopped container with the test application on port 80 of its own address, which it
    /// has by DHCP as soon as it runs. `make` says what else it is.
    pub async fn guest(&self, vmid: u32, make: impl FnOnce(Ct) -> Ct) -> Guest {
        let guest = self.guest_without_lease(vmid, make).await;
        self.lease(&guest).await;
        guest
    }

    /// The same; its address comes when [`lease`](Self::lease) says so.
    pub async fn guest_without_lease(&self, vmid: u32, make: impl FnOnce(Ct) -> Ct) -> Guest {
        let address = self.network.add(vmid);
        let app = App::new(self.network.inside(&testapp().display().to_string()))
            .env("BIND", address.to_string())
            .env("NAME", format!("ct{vmid}"));
        let ct = Ct::new(vmid).app(app).interfaces([]);
        let hardware = ct.hardware_address();
        self.pve.add_container(make(ct)).await;
        Guest { vmid, hardware, address }
    }

    /// A container gets its address.
    pub async fn lease(&self, guest: &Guest) {
        let address = format!("{}/24", guest.address);
        let interfaces = [
            GuestInterface::new("docker0", "02:42:ac:11:00:01", ["172.17.0.1/16"]),
            GuestInterface::new("eth0", &guest.hardware, [&*address, "fe80::1/64"]),
        ];
        self.pve.set_interfaces(guest.vmid, &interfaces).await;
    }

    /// A drowse that manages this cluster. `rest` is what follows its engine in the file.
    pub fn drowse(&self, rest: &str) -> DrowseSpec {
        let config = format!(
            "engines:\n  pve:\n    proxmox:\n      url: \"{}\"\n      token: \"{}\"\n      \
             secret_env: {SECRET}\n      fingerprints: [\"{}\"]\n      interval: 1s\n      \
             discover_hosts: [\"*.test\"]\n{rest}",
            self.pve.url(),
            FakePve::TOKEN_ID,
            self.pve.fingerprint(),
        );
        DrowseSpec::default().env(SECRET, FakePve::TOKEN_SECRET).config(&config)
    }

    /// Waits until a container runs, or does not.
    pub async fn wait_until(&self, guest: &Guest, is_running: bool, deadline: Duration) {
        let what = format!("{} to {}", guest.vmid, if is_running { "run" } else { "be stopped" });
        eventually(deadline, &what, || async {
            (self.pve.state(guest.vmid).await.is_running() == is_running).then_some(())
        })
        .await;
    }

    /// How many orders of this kind of task were taken.
    pub async fn taken(&self, kind: &str) -> usize {
        self.pve.tasks().await.iter().filter(|task| task.kind == kind).count()
    }

    /// Waits until something was asked for the first time from now on.
    pub async fn wait_until_asked(&self, method: &str, path: &str) {
        let before = self.pve.count(method, path).await;
        eventually(DEADLINE, &format!("{method} {path}"), || async {
            (self.pve.count(method, path).await > before).then_some(())
        })
        .await;
    }
}

impl Guest {
    /// Its number.
    pub fn vmid(&self) -> u32 {
        self.vmid
    }
}

impl GuestNetwork {
    fn create() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = Self { number, namespace: format!("guests{number}") };
        let (namespace, link, gateway) =
            (&*network.namespace, &*format!("pve{number}"), &*format!("10.218.{number}.1/24"));
        ip(&["netns", "add", namespace]);
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
        ip(&["address", "add", gateway, "dev", link]);
        ip(&["link", "set", link, "up"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        network
    }

    /// An address of its own for a container.
    fn add(&self, vmid: u32) -> Ipv4Addr {
        let [.., low] = vmid.to_be_bytes();
        let address = Ipv4Addr::new(10, 218, self.number, low);
        ip(&["-n", &self.namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        address
    }

    /// A program there.
    fn inside<'a>(&'a self, program: &'a str) -> [&'a str; 5] {
        ["ip", "netns", "exec", &self.namespace, program]
    }
}

impl Drop for GuestNetwork {
    fn drop(&mut self) {
        // It goes with this namespace at the latest.
        Command::new("ip").args(["netns", "delete", &self.namespace]).output().ok();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("`ip` to run");
    assert!(
        output.status.success(),
        "ip {}: {}; run this by `cargo xtask test`",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
