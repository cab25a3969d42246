//! A private dockerd.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Each tool that it needs, with Debian's package of it.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
    // Between drowse and the engine, as a filtering socket proxy.
    ("haproxy", "haproxy"),
];

/// The daemon, with all its state in `folder`, also the socket, and its containers in this control
/// group.
pub(crate) fn command(folder: &Path, socket: &str, cgroup: &str) -> anyhow::Result<Command> {
    // Instead of the machine's own settings in /etc/docker.
    let config = folder.join("daemon.json");
    fs::write(&config, "{}")?;
    let mut command = Command::new("dockerd");
    command
        .arg("--config-file")
        .arg(config)
        .arg("--data-root")
        .arg(folder.join("data"))
        .arg("--exec-root")
        .arg(folder.join("exec"))
        .arg("--pidfile")
        .arg(folder.join("pid"))
        .args(["--host", &format!("unix://{}", folder.join(socket).display())])
        .args(["--cgroup-parent", &format!("/{cgroup}")])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args(["--bip", "10.213.0.1/16"])
        .args(["--default-address-pool", "base=10.214.0.0/16,size=24"]);
    Ok(command)
}
