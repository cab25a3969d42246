//! A private dockerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::certificates::Certificates;

/// Each tool that it and the tests beside it need, with Debian's package of it.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
    // For its certificates, and as a client of TLS.
    ("openssl", "openssl"),
    // Clients that are not ours.
    ("curl", "curl"),
    ("nghttp", "nghttp2-client"),
    ("h2load", "nghttp2-client"),
    ("python3", "python3"),
    ("slowhttptest", "slowhttptest"),
    // Ways to it: a shell on its host, and a filtering socket proxy.
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("haproxy", "haproxy"),
    // In front of drowse.
    ("nginx", "nginx"),
    ("caddy", "caddy"),
    // Behind its back.
    ("docker", "docker.io"),
    ("docker-compose", "docker-compose"),
    ("curl", "curl"),
];

/// Where it listens with TLS, and demands a certificate. In a network namespace of its own every port
/// is free.
pub(crate) const TLS_URL: &str = "tcp://127.0.0.1:2376";

/// The folder with a client's files for that, as Docker's own client names them.
pub(crate) fn certificates(folder: &Path) -> PathBuf {
    folder.join("tls")
}

/// The daemon, with all its state in `folder`, also the socket, and its containers in this control
/// group.
pub(crate) fn command(folder: &Path, socket: &str, cgroup: &str) -> anyhow::Result<Command> {
    // Instead of the machine's own settings in /etc/docker.
    let config = folder.join("daemon.json");
    fs::write(&config, "{}")?;
    let certificates = Certificates::make(&certificates(folder))?;
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
        .args(["--host", TLS_URL, "--tlsverify"])
        .args(certificates.for_dockerd())
        .args(["--cgroup-parent", &format!("/{cgroup}")])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args(["--bip", "10.213.0.1/16"])
        .args(["--default-address-pool", "base=10.214.0.0/16,size=24"]);
    Ok(command)
}
