//! A private Podman: its API service, of root or of another user.
//!
//! Podman has options for most of its folders, but not for all, and none for the parent of its
//! control groups. So it gets namespaces of its own, in which the sandbox's control group is the
//! root of all, and what it writes elsewhere is nobody else's.

mod cgroups;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::cargo;

/// Each tool that one of root's needs, with Debian's package of it.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("podman", "podman"),
    ("runc", "runc"),
    ("/usr/lib/podman/netavark", "netavark"),
    // Of which Podman makes the image of a pod's own container.
    ("catatonit", "catatonit"),
];

/// The same for another user's.
pub(crate) const ROOTLESS_TOOLS: &[(&str, &str)] = &[
    ("podman", "podman"),
    ("runc", "runc"),
    ("newuidmap", "uidmap"),
    ("slirp4netns", "slirp4netns"),
];

/// crun refuses hybrid control groups; the default limits may not be raised in every sandbox; the
/// journal is the machine's own. The networks meet neither dockerd's nor, likely, the machine's.
const CONTAINERS_CONF: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"

[network]
network_backend = "netavark"
default_subnet = "10.215.0.0/16"
default_subnet_pools = [{ base = "10.216.0.0/16", size = 24 }]
"#;

/// Whose service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum User {
    Root,
    /// `daemon`, which every Debian has, and which owns nothing.
    Daemon,
}

/// The user `daemon`, and its group.
const DAEMON: &str = "1";
/// Which users its containers may have.
const SUBORDINATES: &str = "1:100000:65536\n";

impl User {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Daemon => "daemon",
        }
    }

    /// Where the service sees its folder: another user cannot look into root's.
    fn home(self, folder: &Path) -> PathBuf {
        match self {
            Self::Root => folder.to_owned(),
            Self::Daemon => "/run/rootless".into(),
        }
    }
}

/// The service, with all its state in `folder`. Its socket is there too, and called `socket`.
pub(crate) fn command(user: User, folder: &Path, socket: &str) -> anyhow::Result<Command> {
    for name in ["tmp", "xdg"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let home = user.home(folder);
    fs::write(folder.join("containers.conf"), CONTAINERS_CONF)?;
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
        home.display()
    );
    fs::write(folder.join("storage.conf"), storage)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["sandbox-podman", "--user", user.name(), "--folder"]).arg(folder).arg("--");
    if user == User::Daemon {
        let ids = [format!("--reuid={DAEMON}"), format!("--regid={DAEMON}")];
        command.arg("setpriv").args(ids).arg("--clear-groups");
    }
    command
        .args(["podman", "--network-config-dir"])
        .arg(home.join("networks"))
        .args(["system", "service", "--time=0"])
        .arg(format!("unix://{}", home.join(socket).display()))
        .env("CONTAINERS_CONF", home.join("containers.conf"))
        .env("CONTAINERS_STORAGE_CONF", home.join("storage.conf"))
        .env("TMPDIR", home.join("tmp"))
        .env("XDG_RUNTIME_DIR", home.join("xdg"));
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, &home);
    }
    Ok(command)
}

/// Becomes `command`, in namespaces of its own.
pub(crate) fn enter(user: User, folder: &Path, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let scratch = folder.parent().context("a folder in no sandbox")?;
    let hierarchies = cgroups::hierarchies()?;
    hierarchies.iter().try_for_each(|hierarchy| hierarchy.join(scratch))?;
    // SAFETY: what is unshared is neither memory nor descriptors, and there is no other thread.
    #[expect(unsafe_code, reason = "rustix marks all flags unsafe for the sake of a few others")]
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP | UnshareFlags::NEWNS) }
        .context("making namespaces for podman")?;
    hierarchies.iter().try_for_each(cgroups::Hierarchy::remount)?;
    // There it keeps a cache of what blobs it has seen, whatever it is told.
    mount("tmpfs", "/var/lib", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)
        .context("mounting an empty /var/lib")?;
    if user == User::Daemon {
        let_daemon_in(folder)?;
    }
    let (program, arguments) = command.split_first().context("no command")?;
    let error = Command::new(program).args(arguments).current_dir("/").exec();
    Err(error).with_context(|| program.display().to_string())
}

/// What a user who is not root lacks in a sandbox that root made.
fn let_daemon_in(folder: &Path) -> anyhow::Result<()> {
    let home = User::Daemon.home(folder);
    fs::create_dir_all(&home)?;
    mount_bind(folder, &home).with_context(|| home.display().to_string())?;

    let subordinates = folder.join("subordinates");
    fs::write(&subordinates, SUBORDINATES)?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        mount_bind(&subordinates, file).context(file)?;
    }
    // Everybody's on a usual machine, but not on every one.
    let tun = folder.join("tun");
    cargo::run_quietly(
        Command::new("mknod").args(["-m", "666"]).arg(&tun).args(["c", "10", "200"]),
    )?;
    mount_bind(&tun, "/dev/net/tun").context("/dev/net/tun")?;

    let owner = format!("{DAEMON}:{DAEMON}");
    cargo::run_quietly(Command::new("chown").args(["-R", &owner]).arg(folder))
}
