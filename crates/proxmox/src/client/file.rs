//! Files that are read again when they change.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// What tells a file from its predecessor and successor: device, inode, size, and when it was
/// changed. That of a file that is not there is like no other's but that of another such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    /// To be taken before the file is read: if it changes meanwhile, it is read again.
    pub(super) fn of(path: &Path) -> Self {
        Self(fs::metadata(path).ok().map(|found| {
            (found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec())
        }))
    }
}

/// Works in a thread that may block: a file may lie on a network. `None`: not begun, since the
/// runtime ends.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => None,
    }
}
