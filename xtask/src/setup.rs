//! What the private engines need of the machine, and how to get it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{cargo, terminal};

/// Each tool that is needed, with Debian's package of it.
const TOOLS: [(&str, &str); 10] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("docker-compose", "docker-compose"),
    ("curl", "curl"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
];

/// Where tools of the administrator lie. Not on every root's search path.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Makes sure that private engines can be started, and installs what is missing where it can.
///
/// # Errors
/// What is missing, and how to mend it.
pub(crate) fn engines() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("private engines need root: run this as root, or with sudo");
    }
    let mut packages = missing_packages();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !is_debian_like() {
        bail!("missing, by the names of Debian's packages: {list}; install them by hand");
    }
    install(&packages).with_context(|| format!("try `apt-get install {list}` by hand"))?;
    if !has_tool("docker") {
        // From Debian 13 on the client is a package of its own.
        install(&["docker-cli"]).context("try `apt-get install docker-cli` by hand")?;
    }
    match missing_packages().as_slice() {
        [] => Ok(()),
        still => bail!("still missing after `apt-get install {list}`: {}", still.join(" ")),
    }
}

/// The search path, with the administrator's folders.
pub(crate) fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ADMIN_FOLDERS.map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(path)
}

/// Whether a program of this name can be found.
pub(crate) fn has_tool(name: &str) -> bool {
    std::env::split_paths(&search_path()).any(|folder| folder.join(name).is_file())
}

fn missing_packages() -> Vec<&'static str> {
    TOOLS.iter().filter(|(tool, _)| !has_tool(tool)).map(|(_, package)| *package).collect()
}

fn is_debian_like() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .any(|ids| ids.trim_matches('"').split(' ').any(|id| id == "debian"));
    debian && Path::new("/usr/bin/apt-get").exists()
}

/// Tried twice: a mirror that fails once is common.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    let attempt = || {
        apt_get(&["update", "-qq"])?;
        apt_get(
            &[["install", "-y", "-qq", "--no-install-recommends"].as_slice(), packages].concat(),
        )
    };
    attempt().or_else(|error| {
        terminal::note(&format!("{error:#}; trying again"));
        attempt()
    })
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    cargo::run(&mut command)
}
