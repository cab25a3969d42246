//! The containers, and what is told of them.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{clock, http::Answer};

/// The number of the first.
const FIRST: usize = 100;
const NODES: usize = 3;
/// One container in this many runs, and serves: as in the scripted Docker engine.
const ONE_RUNS_OF: usize = 10;
/// The port of all that run.
const PORT: u16 = 8077;
/// How long those that run have run.
const UPTIME: u64 = 100_000;

pub(crate) struct Cluster {
    /// On the clock of all.
    began: u64,
    /// Whether it runs, by its number.
    running: Vec<AtomicBool>,
}

impl Cluster {
    pub(crate) fn of(containers: usize) -> Self {
        let running = |number: usize| AtomicBool::new(number.is_multiple_of(ONE_RUNS_OF));
        Self { began: clock::now(), running: (0..containers).map(running).collect() }
    }

    /// A container is powered off from inside.
    pub(crate) fn end(&self, vmid: usize) -> anyhow::Result<()> {
        let number = vmid.checked_sub(FIRST).filter(|number| *number < self.running.len());
        let number = number.with_context(|| format!("there is no container {vmid}"))?;
        self.running[number].store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Paths are below `/api2/json`.
    pub(crate) fn answer(&self, method: &str, path: &str) -> Answer {
        let path = path.split('?').next().unwrap_or(path);
        let parts: Vec<_> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("GET", ["version"]) => {
                let version = json!({ "version": "9.2.11", "release": "9.2", "repoid": "0" });
                Answer::Own(version.to_string())
            }
            ("GET", ["access", "permissions"]) => {
                let rights = json!({ "VM.Audit": 1, "VM.PowerMgmt": 1 });
                Answer::Own(json!({ "/vms": rights }).to_string())
            }
            ("GET", ["nodes"]) => {
                let node = |node| json!({ "node": node, "status": "online", "type": "node" });
                Answer::Own(
                    Value::from((0..NODES).map(name_of).map(node).collect::<Vec<_>>()).to_string(),
                )
            }
            ("GET", ["cluster", "resources"]) => Answer::Own(self.all(|number| self.row(number))),
            ("GET", ["nodes", node, "lxc"]) => {
                let of_node = (0..self.running.len()).filter(|number| node_of(*number) == *node);
                let rows: Vec<_> = of_node.map(|number| self.status(number)).collect();
                Answer::PassedOn(Value::from(rows).to_string())
            }
            ("GET", ["nodes", node, "lxc", vmid, what @ ..]) => self.of_one(node, vmid, what),
            _ => Answer::Refused(501, format!("Method '{method} {path}' not implemented")),
        }
    }

    fn of_one(&self, node: &str, vmid: &str, what: &[&str]) -> Answer {
        let number = vmid.parse().ok().and_then(|vmid: usize| vmid.checked_sub(FIRST));
        let is_there = |number: &usize| *number < self.running.len() && node_of(*number) == node;
        match (number.filter(is_there), what) {
            (Some(number), ["status", "current"]) => {
                let mut status = self.status(number);
                status["ha"] = json!({ "managed": 0 });
                Answer::PassedOn(status.to_string())
            }
            (Some(number), ["config"]) => Answer::PassedOn(config(number).to_string()),
            (Some(number), ["interfaces"]) => Answer::PassedOn(self.interfaces(number).to_string()),
            (Some(_), _) => Answer::Refused(501, "Method not implemented".to_owned()),
            (None, _) => {
                let file = format!("nodes/{node}/lxc/{vmid}.conf");
                Answer::Refused(500, format!("Configuration file '{file}' does not exist"))
            }
        }
    }

    fn all(&self, row: impl Fn(usize) -> Value) -> String {
        Value::from((0..self.running.len()).map(row).collect::<Vec<_>>()).to_string()
    }

    fn runs(&self, number: usize) -> bool {
        self.running[number].load(Ordering::Relaxed)
    }

    /// A line of `/cluster/resources`.
    fn row(&self, number: usize) -> Value {
        let mut row = self.figures(number);
        row["id"] = format!("lxc/{}", FIRST + number).into();
        row["node"] = node_of(number).into();
        row["maxcpu"] = 2.into();
        row["template"] = 0.into();
        row
    }

    /// As its node tells it, live.
    fn status(&self, number: usize) -> Value {
        let mut status = self.figures(number);
        status["cpus"] = 2.into();
        status["maxswap"] = 536_870_912.into();
        status["swap"] = 0.into();
        if self.runs(number) {
            status["pid"] = (10_000 + number).into();
        }
        status
    }

    /// What both tell.
    fn figures(&self, number: usize) -> Value {
        let runs = self.runs(number);
        let when_it_runs = |figure: u64| if runs { figure } else { 0 };
        json!({
            "vmid": FIRST + number,
            "name": host_name(number),
            "type": "lxc",
            "status": if runs { "running" } else { "stopped" },
            "tags": "drowse;web",
            "uptime": when_it_runs(UPTIME + (clock::now() - self.began) / 1_000_000_000),
            "cpu": 0.001_5 * f64::from(u8::from(runs)),
            "mem": when_it_runs(83_886_080),
            "maxmem": 536_870_912,
            "disk": when_it_runs(734_003_200),
            "maxdisk": 8_589_934_592_u64,
            "netin": when_it_runs(12_345_678),
            "netout": when_it_runs(2_345_678),
            "diskread": when_it_runs(45_678_901),
            "diskwrite": when_it_runs(5_678_901),
        })
    }

    fn interfaces(&self, number: usize) -> Value {
        if !self.runs(number) {
            return Value::Null;
        }
        let hardware_address = hardware_address(number).to_lowercase();
        json!([{
            "name": "eth0",
            "hwaddr": hardware_address,
            "hardware-address": hardware_address,
            "inet": format!("{}/15", address(number)),
            "ip-addresses": [
                { "ip-address": address(number), "prefix": "15", "ip-address-type": "inet" },
            ],
        }])
    }
}

fn config(number: usize) -> Value {
    let host = format!("{}.example.com", host_name(number));
    json!({
        "arch": "amd64",
        "cores": 2,
        "description": format!("- `drowse.host={host}`\n- `drowse.port={PORT}`\n- `drowse.idle=1h`\n"),
        "digest": format!("{number:040x}"),
        "hostname": host_name(number),
        "memory": 512,
        "net0": format!(
            "name=eth0,bridge=vmbr0,hwaddr={},ip=dhcp,type=veth", hardware_address(number)
        ),
        "onboot": 0,
        "ostype": "debian",
        "rootfs": format!("local-lvm:vm-{}-disk-0,size=8G", FIRST + number),
        "swap": 512,
        "tags": "drowse;web",
        "unprivileged": 1,
    })
}

fn node_of(number: usize) -> String {
    name_of(number % NODES)
}

fn name_of(node: usize) -> String {
    format!("pve{}", node + 1)
}

fn host_name(number: usize) -> String {
    format!("service{number}")
}

fn hardware_address(number: usize) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!("BC:24:11:00:{high:02X}:{low:02X}")
}

/// Of the networks that are set apart for benchmarks; the bench gives them to this machine.
fn address(number: usize) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!("198.18.{high}.{low}")
}
