//! Control groups of a sandbox, seen from within as if there were no others.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::scratch;

const ROOT: &str = "/sys/fs/cgroup";

/// One hierarchy of control groups, as it is mounted.
#[derive(Debug)]
pub(super) struct Hierarchy {
    /// What `mount` calls it: the controllers of version 1, nothing for version 2.
    controllers: String,
    folder: PathBuf,
}

/// All of them. Read at once: what this process belongs to is about to change.
pub(super) fn hierarchies() -> anyhow::Result<Vec<Hierarchy>> {
    let own = fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")?;
    let hierarchies = own.lines().filter_map(|line| line.split(':').nth(1)).map(|controllers| {
        let unified = Path::new(ROOT).join("unified");
        let folder = match controllers {
            "" if unified.is_dir() => unified,
            "" => ROOT.into(),
            _ => Path::new(ROOT).join(controllers.trim_start_matches("name=")),
        };
        Hierarchy { controllers: controllers.to_owned(), folder }
    });
    Ok(hierarchies.filter(|hierarchy| hierarchy.folder.join("cgroup.procs").exists()).collect())
}

impl Hierarchy {
    /// Moves this process into a group below the sandbox's own.
    pub(super) fn join(&self, scratch: &Path) -> anyhow::Result<()> {
        let group = self.folder.join(scratch::cgroup_name(scratch)).join("podman");
        self.try_join(&group).with_context(|| format!("joining {}", group.display()))
    }

    fn try_join(&self, group: &Path) -> std::io::Result<()> {
        fs::create_dir_all(group)?;
        if self.controllers.split(',').any(|name| name == "cpuset") {
            // A new group of it has neither a processor nor memory, and takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let all = fs::read(self.folder.join(file))?;
                for below in [group.parent(), Some(group)].into_iter().flatten() {
                    fs::write(below.join(file), &all)?;
                }
            }
        }
        fs::write(group.join("cgroup.procs"), std::process::id().to_string())
    }

    /// Mounts it again, as it is seen from the new namespace.
    pub(super) fn remount(&self) -> anyhow::Result<()> {
        let (kind, options) = match self.controllers.as_str() {
            "" => ("cgroup2", None),
            named if named.starts_with("name=") => ("cgroup", Some(format!("none,{named}"))),
            controllers => ("cgroup", Some(controllers.to_owned())),
        };
        let options = options.map(CString::new).transpose()?;
        unmount(&self.folder, UnmountFlags::DETACH)
            .and_then(|()| mount(kind, &self.folder, kind, MountFlags::empty(), options.as_deref()))
            .with_context(|| format!("mounting {}", self.folder.display()))
    }
}
