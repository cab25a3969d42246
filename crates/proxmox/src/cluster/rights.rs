//! What the credential may see, where many containers vanish at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use drowse_provider::Deadline;
use tokio::sync::OnceCell;

use super::{beat::Beat, core::Core};

type Permissions = BTreeMap<String, BTreeSet<String>>;

/// Read at most once for each beat.
#[derive(Debug, Default)]
pub(super) struct Rights {
    of_beat: Mutex<Option<OfBeat>>,
}

#[derive(Debug)]
struct OfBeat {
    beat: Arc<Beat>,
    /// `None` within: they could not be read.
    permissions: Arc<OnceCell<Option<Permissions>>>,
}

impl Rights {
    /// Whether a container would be seen if it were there. `true` where nobody knows: then its node is
    /// asked. Cancel safe.
    pub(super) async fn let_see(&self, core: &Core, vmid: u32) -> bool {
        let Some(beat) = core.beats.latest() else { return true };
        let permissions = {
            let mut of_beat = self.of_beat.lock().unwrap_or_else(PoisonError::into_inner);
            match &*of_beat {
                Some(known) if Arc::ptr_eq(&known.beat, &beat) => Arc::clone(&known.permissions),
                _ => {
                    let permissions = Arc::new(OnceCell::new());
                    *of_beat = Some(OfBeat { beat, permissions: Arc::clone(&permissions) });
                    permissions
                }
            }
        };
        let read = async || {
            let deadline = Deadline::after(Duration::from_secs(10));
            core.api.permissions(deadline).await.ok()
        };
        permissions.get_or_init(read).await.as_ref().is_none_or(|all| is_seen(all, vmid))
    }
}

/// Whether these rights let a container be seen. What is said of the nearest path counts.
fn is_seen(permissions: &Permissions, vmid: u32) -> bool {
    let paths = [format!("/vms/{vmid}"), "/vms".to_owned(), "/".to_owned()];
    let nearest = paths.iter().find_map(|path| permissions.get(path));
    nearest.is_some_and(|privileges| privileges.contains("VM.Audit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_path_counts() {
        let of = |paths: &[(&str, &[&str])]| -> Permissions {
            let set =
                |privileges: &[&str]| privileges.iter().map(|one| (*one).to_owned()).collect();
            paths.iter().map(|(path, all)| ((*path).to_owned(), set(all))).collect()
        };
        let audit: &[&str] = &["VM.Audit", "VM.PowerMgmt"];
        assert!(is_seen(&of(&[("/", audit)]), 100));
        assert!(is_seen(&of(&[("/", &[]), ("/vms/100", audit)]), 100));
        assert!(!is_seen(&of(&[("/", &[]), ("/vms/100", audit)]), 101));
        assert!(!is_seen(&of(&[("/", audit), ("/vms/100", &["VM.PowerMgmt"])]), 100));
        assert!(!is_seen(&of(&[]), 100));
    }
}
