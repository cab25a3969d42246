//! Folders of drowse's own: made for its user alone, and refused if anybody else may write to them.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};

/// A folder that nobody but its user may write to.
#[derive(Clone, Debug)]
pub(crate) struct OwnFolder {
    path: PathBuf,
    /// What it is called in messages: "state folder".
    what: &'static str,
    /// The option that names another one.
    option: &'static str,
}

impl OwnFolder {
    pub(crate) fn new(path: &Path, what: &'static str, option: &'static str) -> Self {
        // Without a slash at the end, which would have a link followed before it is seen.
        Self { path: path.components().collect(), what, option }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, for this user alone, if it is not there; one that is there must be this
    /// user's, and nobody else may write to it.
    ///
    /// # Errors
    /// What is wrong with the folder, and how to mend it.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        let Self { path, what, option } = self;
        DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
            let folder = path.display();
            format!("cannot make the {what} `{folder}` (choose another with `{option}`)")
        })?;
        self.check(&[rustix::process::geteuid().as_raw()])
    }

    /// Whether it is a folder, of one of these users, to which nobody else may write.
    ///
    /// # Errors
    /// What is wrong with it, and how to mend it.
    pub(crate) fn check(&self, users: &[u32]) -> anyhow::Result<()> {
        let Self { path, what, option } = self;
        let folder = path.display();
        let metadata = fs::symlink_metadata(path)
            .with_context(|| format!("cannot read the {what} `{folder}`"))?;
        if metadata.is_symlink() {
            return Err(anyhow!(
                "the {what} `{folder}` is a symbolic link, which is not followed: remove it, or name \
                 the folder itself with `{option}`"
            ));
        }
        if !metadata.is_dir() {
            return Err(anyhow!("the {what} `{folder}` is not a folder: remove it"));
        }
        // In a folder that anybody may write to, somebody else may have been first.
        let owner = metadata.uid();
        if !users.contains(&owner) {
            return Err(anyhow!(
                "the {what} `{folder}` belongs to another user (uid {owner}): run as that user, or \
                 choose another folder with `{option}`"
            ));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(anyhow!(
                "others may write to the {what} `{folder}` (mode {mode:04o}): close it with `chmod \
                 0700 {folder}`, or choose another with `{option}`"
            ));
        }
        Ok(())
    }

    /// Whether nobody but one of these users can have put it there: all folders above it are theirs,
    /// and nobody else may write to them.
    pub(crate) fn is_given_by(&self, users: &[u32]) -> bool {
        self.path.is_absolute()
            && self.path.ancestors().skip(1).all(|above| {
                fs::symlink_metadata(above).is_ok_and(|above| {
                    above.is_dir() && users.contains(&above.uid()) && above.mode() & 0o022 == 0
                })
            })
    }
}
