//! What the private engines need of the machine, and how to get it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::engine::Kind;
use crate::{cargo, chromium, fakepve, terminal};

/// Where tools of the administrator lie. Not on every root's search path.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Which private engines can be started, after what is missing was installed where it can be. Says
/// of the others what they lack.
///
/// # Errors
/// Without dockerd, which most tests need, nothing else is worth a sandbox.
pub(crate) fn engines() -> anyhow::Result<Vec<Kind>> {
    if !rustix::process::geteuid().is_root() {
        bail!("private engines need root: run this as root, or with sudo");
    }
    install_what_is_missing();
    let mut engines = Vec::new();
    for kind in Kind::ALL {
        match missing_packages(&[kind]).as_slice() {
            [] => engines.push(kind),
            missing => {
                let list = missing.join(" ");
                let lack = format!("missing, by the names of Debian's packages: {list}");
                if kind == Kind::Dockerd {
                    bail!("{lack}; install them by hand");
                }
                terminal::note(&format!("no {}: {lack}", kind.name()));
            }
        }
    }
    Ok(engines)
}

/// Installs what drives Chromium. Takes it out of the engines where that cannot be had, and says why.
pub(crate) fn chromium(engines: &mut Vec<Kind>) {
    if engines.contains(&Kind::Chromium)
        && let Err(reason) = chromium::prepare()
    {
        terminal::note(&format!("no chromium: {reason:#}"));
        engines.retain(|kind| *kind != Kind::Chromium);
    }
}

/// Installs what takes pictures, and makes them small.
///
/// # Errors
/// What is missing, and cannot be installed.
pub(crate) fn install_for_pictures(shrink: &'static str) -> anyhow::Result<()> {
    let mut missing = missing_packages(&[Kind::Chromium]);
    missing.extend((!has_tool(shrink)).then_some(shrink));
    if missing.is_empty() {
        return Ok(());
    }
    if !is_debian_like() {
        bail!("missing, by the names of Debian's packages: {}", missing.join(" "));
    }
    install(&missing)
}

/// Installs what fuzz targets are built with.
///
/// # Errors
/// This is no Debian, or they cannot be installed.
pub(crate) fn install_for_fuzzing(packages: &[&str]) -> anyhow::Result<()> {
    if !is_debian_like() {
        bail!("missing, by the names of Debian's packages: {}", packages.join(" "));
    }
    install(packages)
}

/// Sees to it that these programs are there: each with Debian's package of it.
///
/// # Errors
/// If one is missing and cannot be installed.
pub(crate) fn tools(tools: &[(&str, &str)]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a sandbox needs root: run this as root, or with sudo");
    }
    let missing = || -> BTreeSet<String> {
        let missing = tools.iter().filter(|(tool, _)| !has_tool(tool));
        missing.map(|(_, package)| (*package).to_owned()).collect()
    };
    let packages: Vec<_> = missing().into_iter().collect();
    if !packages.is_empty() && is_debian_like() {
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        install(&packages)?;
    }
    match missing().into_iter().collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        missing => {
            let list = missing.join(" ");
            bail!("missing, by the names of Debian's packages: {list}; install them by hand")
        }
    }
}

fn install_what_is_missing() {
    let all = missing_packages(&Kind::ALL);
    if all.is_empty() || !is_debian_like() || install(&all).is_ok() {
        return;
    }
    // One package that cannot be had takes the others down with it.
    for kind in Kind::ALL {
        let packages = missing_packages(&[kind]);
        if !packages.is_empty()
            && let Err(error) = install(&packages)
        {
            terminal::note(&format!("{error:#}; try `apt-get install {}`", packages.join(" ")));
        }
    }
    // From Debian 13 on the client is a package of its own.
    if !has_tool("docker")
        && let Err(error) = install(&["docker-cli"])
    {
        terminal::note(&format!("{error:#}; try `apt-get install docker-cli`"));
    }
}

/// The search path, with the administrator's folders.
pub(crate) fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ADMIN_FOLDERS.map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(path)
}

/// Whether a program of this name, or at this path, can be found.
pub(crate) fn has_tool(name: &str) -> bool {
    std::env::split_paths(&search_path()).any(|folder| folder.join(name).is_file())
}

fn missing_packages(engines: &[Kind]) -> Vec<&'static str> {
    let tools = engines.iter().flat_map(|kind| kind.tools());
    let missing = tools.filter(|(tool, _)| !has_tool(tool)).map(|(_, package)| *package);
    // It is no program that could be looked for.
    let venv = engines.contains(&Kind::Fakepve) && fakepve::lacks_venv();
    let missing = missing.chain(venv.then_some(fakepve::VENV_PACKAGE));
    missing.collect::<BTreeSet<_>>().into_iter().collect()
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
