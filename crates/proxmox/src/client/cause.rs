//! What Proxmox means by its words. There are no codes: the words are all there is.

use super::Cause;

impl Cause {
    /// What a refusal's message or a task's exit status is about.
    ///
    /// The words were read in Proxmox's source and seen on real servers (8.4 and 9.2); what is not
    /// known is [`Other`](Self::Other).
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix("TASK ERROR: ").unwrap_or(text);
        if let Some(by) = lock(text) {
            return Self::Locked { by };
        }
        let guest = text.strip_prefix("CT ").or_else(|| text.strip_prefix("VM "));
        let of_guest = guest.and_then(|rest| rest.split_once(' ')).filter(|(vmid, _)| {
            !vmid.is_empty() && vmid.bytes().all(|digit| digit.is_ascii_digit())
        });
        match of_guest {
            // Not `unable to get PID for CT 203 (not running?)`: that one died while it started.
            Some((_, "not running")) => return Self::NotRunning,
            Some((_, "already running")) => return Self::AlreadyRunning,
            _ => {}
        }
        if text.starts_with("Configuration file '") && text.ends_with("' does not exist") {
            Self::NoSuchContainer
        } else if text.contains("no quorum") {
            Self::NoQuorum
        } else if is_about_a_node(text) {
            Self::NoSuchNode
        } else if text == "container did not stop" {
            Self::DidNotStop
        // The second: its worker was killed before it wrote its last line.
        } else if text == "received interrupt" || text == "unexpected status" {
            Self::Interrupted
        } else {
            Self::Other
        }
    }
}

fn is_about_a_node(text: &str) -> bool {
    text.starts_with("hostname lookup '")
        || text.starts_with("address lookup for '")
        || text.starts_with("no such cluster node '")
}

/// The name of the lock that a text tells of.
fn lock(text: &str) -> Option<String> {
    let is_locked =
        text.strip_prefix("CT is locked (").or_else(|| text.strip_prefix("VM is locked ("));
    if let Some(rest) = is_locked {
        return Some(rest.split(')').next()?.to_owned());
    }
    if !text.ends_with("got timeout") && !text.contains("got lock request timeout") {
        return None;
    }
    if let Some(rest) = text.strip_prefix("can't lock file '") {
        let path = rest.split('\'').next()?;
        let file = path.rsplit('/').next()?;
        let name = file.strip_suffix(".lock").unwrap_or(file);
        let is_config = name.starts_with("pve-config-");
        return Some(if is_config { "config".to_owned() } else { name.to_owned() });
    }
    // A lock of the whole cluster: `cfs-lock 'storage-nfs' error: got lock request timeout`.
    let rest =
        text.strip_prefix("cfs-lock '").or_else(|| text.strip_prefix("error with cfs lock '"))?;
    Some(rest.split('\'').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_real_servers_are_understood() {
        let locked = |by: &str| Cause::Locked { by: by.to_owned() };
        let cases = [
            ("CT 201 not running\n", Cause::NotRunning),
            ("VM 201 not running", Cause::NotRunning),
            ("CT 201 already running", Cause::AlreadyRunning),
            ("CT is locked (backup)", locked("backup")),
            ("TASK ERROR: CT is locked (snapshot-delete)", locked("snapshot-delete")),
            ("VM is locked (migrate)", locked("migrate")),
            ("can't lock file '/run/lock/lxc/pve-config-202.lock' - got timeout", locked("config")),
            (
                "can't lock file '/var/lock/pve-manager/pve-storage-nfs' - got timeout",
                locked("pve-storage-nfs"),
            ),
            ("cfs-lock 'storage-nfs' error: got lock request timeout", locked("storage-nfs")),
            ("error with cfs lock 'storage-nfs': got lock request timeout", locked("storage-nfs")),
            ("Configuration file 'nodes/pve1/lxc/999.conf' does not exist", Cause::NoSuchContainer),
            ("cluster not ready - no quorum?", Cause::NoQuorum),
            ("cfs-lock 'domain-ha' error: no quorum!", Cause::NoQuorum),
            (
                "hostname lookup 'nosuch' failed - failed to get address info for: nosuch: \
                 Temporary failure in name resolution",
                Cause::NoSuchNode,
            ),
            ("address lookup for 'pve4' did not find any IP address", Cause::NoSuchNode),
            ("no such cluster node 'pve7'", Cause::NoSuchNode),
            ("container did not stop", Cause::DidNotStop),
            ("received interrupt", Cause::Interrupted),
            ("unexpected status", Cause::Interrupted),
        ];
        for (text, cause) in cases {
            assert_eq!(Cause::of(text), cause, "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_something_else() {
        let others = [
            "",
            // It died while it started, and that is a failure.
            "unable to get PID for CT 203 (not running?)",
            "startup for container '203' failed",
            "volume 'local:203/subvol-203-disk-0.subvol' does not exist",
            "bridge 'vmbr9' does not exist",
            "you can't start a CT if it's a template",
            "CT not running",
            "CT abc not running",
            "the CT 201 not running",
            "problem with monitor socket, but continuing anyway: got timeout",
            "command 'lxc-stop -n 202 --nokill --timeout 3' failed: got timeout",
        ];
        for text in others {
            assert_eq!(Cause::of(text), Cause::Other, "{text}");
        }
    }
}
