//! Another machine, as far as the network is concerned, behind a cable that can be cut.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// A network namespace with an address, and ours at the other end. Goes on drop.
#[derive(Debug)]
pub struct Cable {
    namespace: String,
    number: u8,
}

impl Cable {
    /// Lays it.
    ///
    /// # Panics
    /// If this is no network namespace of our own, as `cargo xtask test` makes it.
    pub fn lay() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let cable = Self { namespace: format!("away{number}"), number };
        let (namespace, link) = (&*cable.namespace, &*format!("cable{number}"));
        ip(&["netns", "add", namespace]);
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
        ip(&["address", "add", &format!("{}/24", cable.ours()), "dev", link]);
        ip(&["link", "set", link, "up"]);
        ip(&["-n", namespace, "address", "add", &format!("{}/24", cable.its()), "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        cable
    }

    /// Our address there.
    pub fn ours(&self) -> IpAddr {
        Ipv4Addr::new(10, 219, self.number, 1).into()
    }

    fn its(&self) -> IpAddr {
        Ipv4Addr::new(10, 219, self.number, 2).into()
    }

    /// A program there.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]).stdin(Stdio::null());
        command
    }

    /// Cuts it: whatever is there goes on, and nothing comes or goes, nor does anybody hear of that.
    ///
    /// # Panics
    /// If that cannot be done.
    pub fn cut(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            let mut command = self.program("iptables");
            let output = command.args(["-A", chain, "-j", "DROP"]).output();
            let output = output.expect("`iptables` to run");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It goes with this namespace at the latest.
        Command::new("ip").args(["netns", "delete", &self.namespace]).output().ok();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("`ip` to run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", arguments.join(" "));
}
