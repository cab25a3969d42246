//! The temporary folder of one sandbox, and all else that a sandbox may leave behind.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

use crate::terminal;

/// Begins the names of the folders, and of the control groups.
const PREFIX: &str = "drowse-test-";

/// How many names are tried for a folder.
const NAME_ATTEMPTS: u32 = 8;

/// How often a control group is tried again whose processes are still being buried.
const CGROUP_ATTEMPTS: u32 = 50;

/// A folder that is removed on drop, along with the control groups of the same name.
///
/// A runner that was killed cannot do that; the next one sweeps up after it. A lock, which the
/// kernel lets go when its holder dies, tells whose folder is still in use.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    pub(crate) fn create() -> anyhow::Result<Self> {
        // Not TMPDIR: a socket's path must be short.
        let parent = Path::new("/tmp");
        sweep(parent);
        let context = || format!("making a temporary folder in {}", parent.display());
        let mut result = Self::try_create(parent);
        for _ in 1..NAME_ATTEMPTS {
            if result.is_ok() {
                break;
            }
            result = Self::try_create(parent);
        }
        result.with_context(context)
    }

    /// Fails when the name is taken, or when another runner, sweeping, is faster than our lock.
    fn try_create(parent: &Path) -> std::io::Result<Self> {
        // The process id is not unique: a runner may run inside another one's namespaces.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{PREFIX}{}-{:x}", std::process::id(), now.subsec_micros());
        let path = parent.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create(lock_file(&path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::create_dir(path.join("tmp"))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The parent of the control groups of the containers of the engine that lives in `scratch`.
pub(crate) fn cgroup_name(scratch: &Path) -> String {
    scratch.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn lock_file(scratch: &Path) -> PathBuf {
    scratch.join("lock")
}

/// Removes what runners left that were killed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        // Without a lock file it is being made, or removed, this very moment.
        let Ok(lock) = File::open(lock_file(&path)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            terminal::note(&format!(
                "removing {}, left by a runner that was killed",
                path.display()
            ));
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    remove_cgroups(&cgroup_name(path));
    if let Err(error) = fs::remove_dir_all(path) {
        terminal::note(&format!("{} stays behind: {error}", path.display()));
    }
}

/// One group in each hierarchy of version 1, one in that of version 2.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for group in hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(name)) {
        // Some hierarchies are links to others (cpu -> cpu,cpuacct).
        if group.is_dir()
            && let Err(error) = remove_cgroup(&group)
        {
            terminal::note(&format!("{} stays behind: {error}", group.display()));
        }
    }
}

/// A control group is removed from its leaves up, by `rmdir` alone: the files in it are no files.
fn remove_cgroup(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    let mut result = fs::remove_dir(group);
    for _ in 0..CGROUP_ATTEMPTS {
        match &result {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                crate::sandbox::pause(std::time::Duration::from_millis(20));
                result = fs::remove_dir(group);
            }
            _ => break,
        }
    }
    result
}
