//! The state folder: the locks that keep two drowses apart, and the control socket.
//!
//! What is in it lives as long as the machine runs, and nothing of it must outlive that: a folder
//! in memory is right. A client finds it by the same rules as the daemon, without being told.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::anyhow;

use crate::folder::OwnFolder;

/// Where locks and socket are.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder(OwnFolder);

/// Held until it is dropped, or this process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it; its id, if it has written it.
    Held { pid: Option<u32> },
    /// It could not be tried.
    Failed(anyhow::Error),
}

impl StateFolder {
    /// The folder that was asked for, else the first of: `$RUNTIME_DIRECTORY` (set by systemd for
    /// `RuntimeDirectory=drowse`, and then the same as the next), `/run/drowse` for root,
    /// `$XDG_RUNTIME_DIR/drowse`, and `drowse-UID` in the folder for temporary files.
    pub(crate) fn locate(asked: Option<&Path>) -> Self {
        let user = rustix::process::geteuid();
        let from = |variable| env::var_os(variable).filter(|value| !value.is_empty());
        let folder = asked
            .map(Path::to_owned)
            .or_else(|| from("RUNTIME_DIRECTORY").map(PathBuf::from))
            .or_else(|| user.is_root().then(|| PathBuf::from("/run/drowse")))
            .or_else(|| from("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("drowse")))
            .unwrap_or_else(|| env::temp_dir().join(format!("drowse-{}", user.as_raw())));
        Self(OwnFolder::new(&folder, "state folder", "--state-dir"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("drowse.sock")
    }

    /// Makes the folder for this user alone, or checks the one that is there: whoever else could write
    /// to it could take our locks and our socket away.
    ///
    /// # Errors
    /// What is wrong with the folder, and how to mend it.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        self.0.create()
    }

    /// Whether a client may believe what answers at the control socket: folder and socket must be
    /// this user's or root's. Root believes whomever it has given a folder to, as systemd does for the
    /// user of a service (`RuntimeDirectory=`). What is not there is found out when connecting.
    ///
    /// # Errors
    /// Whose it is, and what to do.
    pub(crate) fn check_as_client(&self) -> anyhow::Result<()> {
        let user = rustix::process::geteuid();
        let mut trusted = vec![user.as_raw(), 0];
        if user.is_root() && self.0.is_given_by(&[0]) {
            trusted.extend(fs::symlink_metadata(self.path()).map(|folder| folder.uid()));
        }
        let socket = self.socket();
        let metadata = match fs::symlink_metadata(&socket) {
            Ok(metadata) => Some(metadata),
            Err(error) if is_absent(&error) => return Ok(()),
            // The folder may be closed to us: it is the folder then that tells whose it is.
            Err(_) => None,
        };
        self.0.check(&trusted)?;
        match metadata {
            Some(metadata) if !trusted.contains(&metadata.uid()) => Err(anyhow!(
                "the control socket `{}` belongs to another user (uid {}): run the command as that \
                 user, or name another folder with `--state-dir`",
                socket.display(),
                metadata.uid()
            )),
            _ => Ok(()),
        }
    }

    /// Takes the lock of the folder itself: one running drowse per folder.
    pub(crate) fn lock(&self) -> Result<Lock, LockError> {
        self.take("drowse.lock")
    }

    /// Takes the lock of an engine, named by its endpoint: one running drowse per engine.
    pub(crate) fn lock_engine(&self, endpoint: &str) -> Result<Lock, LockError> {
        let mut hasher = DefaultHasher::new();
        endpoint.hash(&mut hasher);
        self.take(&format!("engine-{:016x}.lock", hasher.finish()))
    }

    fn take(&self, name: &str) -> Result<Lock, LockError> {
        let path = self.path().join(name);
        let failed = |what: &str, error: io::Error| {
            LockError::Failed(anyhow!(error).context(format!("cannot {what} `{}`", path.display())))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => LockError::Failed(anyhow!(
                    "`{}` is a symbolic link, which is not followed: remove it",
                    path.display()
                )),
                _ => failed("open", error),
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                _ = (&file).take(32).read_to_string(&mut text);
                return Err(LockError::Held { pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        // The file stays when the lock goes: removing it would let two processes lock two files.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|error| failed("write", error))?;
        Ok(Lock { _file: file })
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl LockError {
    /// Who holds it, for messages: "another drowse (pid 12)".
    pub(crate) fn describe(self, what: &str) -> anyhow::Error {
        match self {
            Self::Failed(error) => error,
            Self::Held { pid } => {
                let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
                anyhow!("another drowse{pid} {what}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("deep/er")));
        state.create().unwrap();
        let lock = state.lock_engine("unix:///a.sock").unwrap();
        let refused = state.lock_engine("unix:///a.sock").unwrap_err();
        assert_eq!(
            refused.describe("manages it").to_string(),
            format!("another drowse (pid {}) manages it", std::process::id())
        );
        state.lock_engine("unix:///b.sock").unwrap();
        drop(lock);
        state.lock_engine("unix:///a.sock").unwrap();
    }

    #[test]
    fn the_folder_is_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("state")));
        state.create().unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_is_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("state");
        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        symlink(folder.path().join("elsewhere"), &link).unwrap();
        for path in [link.clone(), link.join("")] {
            let state = StateFolder::locate(Some(&path));
            let error = state.create().unwrap_err().to_string();
            assert!(error.contains("is a symbolic link"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path().join("elsewhere")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("state")));
        state.create().unwrap();
        fs::write(state.socket(), "").unwrap();
        for (mode, is_good) in [(0o755, true), (0o770, false), (0o1777, false)] {
            fs::set_permissions(state.path(), fs::Permissions::from_mode(mode)).unwrap();
            for checked in [state.create(), state.check_as_client()] {
                assert_eq!(checked.is_ok(), is_good, "{mode:o}: {checked:?}");
                if let Err(error) = checked {
                    assert!(error.to_string().contains("chmod 0700"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("state")));
        state.create().unwrap();
        let another = fs::metadata(state.path()).unwrap().uid() + 1;
        let error = state.0.check(&[another]).unwrap_err().to_string();
        assert!(error.contains("belongs to another user"), "{error}");
    }

    #[test]
    fn a_folder_below_one_that_others_may_write_to_is_given_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("given/state")));
        state.create().unwrap();
        let above = state.path().parent().unwrap();
        let users = [fs::metadata(above).unwrap().uid(), 0];
        // The folder for temporary files is above it.
        assert!(!state.0.is_given_by(&users));
        assert!(!StateFolder::locate(Some(Path::new("relative/state"))).0.is_given_by(&users));
        let system = StateFolder::locate(Some(Path::new("/usr/drowse")));
        assert!(system.0.is_given_by(&[0]));
        assert!(!system.0.is_given_by(&users[..0]));
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("state")));
        state.create().unwrap();
        let target = folder.path().join("precious");
        fs::write(&target, "precious").unwrap();
        symlink(&target, state.path().join("drowse.lock")).unwrap();
        let error = state.lock().unwrap_err().describe("").to_string();
        assert!(error.contains("is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
