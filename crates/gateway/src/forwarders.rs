//! Which peers have sent forwarding headers: reverse proxies, and whoever plays one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use tokio::{sync::watch, time::Instant};

/// How many peers are remembered, of private networks and of the public one each: what strangers
/// send must not take the place of the proxy in front.
const MAX_PEERS: usize = 64;

/// The peers so far, and when each was last heard. Those beyond the bound are not remembered.
pub(crate) struct Forwarders(watch::Sender<BTreeMap<IpAddr, Instant>>);

impl Forwarders {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::default())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<IpAddr, Instant>> {
        self.0.subscribe()
    }

    /// Remembers a peer; whether it is a new one. Only a new one is news to those who follow.
    pub(crate) fn note(&self, peer: IpAddr) -> bool {
        let now = Instant::now();
        self.0.send_if_modified(|peers| {
            if let Some(last) = peers.get_mut(&peer) {
                *last = now;
                return false;
            }
            let alike = peers.keys().filter(|known| is_private(**known) == is_private(peer));
            alike.count() < MAX_PEERS && peers.insert(peer, now).is_none()
        })
    }
}

/// What is logged the first time that a peer's word is not taken.
pub(crate) fn not_believed(peer: IpAddr) -> String {
    format!(
        "the forwarding headers of this peer (X-Forwarded-For and the like) are replaced, as anybody \
         could have written them; if it is your reverse proxy, add `trusted_proxies: [\"{peer}\"]` to \
         the configuration"
    )
}

/// Whether nobody on the internet can connect from this address.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || is_shared(address)
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

/// 100.64.0.0/10 (RFC 6598), which overlay networks use.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_to_add_is_named() {
        insta::assert_snapshot!(
            not_believed([172, 18, 0, 5].into()),
            @r#"the forwarding headers of this peer (X-Forwarded-For and the like) are replaced, as anybody could have written them; if it is your reverse proxy, add `trusted_proxies: ["172.18.0.5"]` to the configuration"#
        );
    }

    #[test]
    fn strangers_leave_room_for_the_proxy_in_front() {
        let forwarders = Forwarders::new();
        let noted = (0..200).filter(|last| forwarders.note([203, 0, 113, *last].into())).count();
        assert_eq!(noted, MAX_PEERS);
        let proxy = [172, 18, 0, 5].into();
        assert!(forwarders.note(proxy));
        assert!(!forwarders.note(proxy), "it is known already");
        assert!(forwarders.subscribe().borrow().contains_key(&proxy));
        assert_eq!(forwarders.subscribe().borrow().len(), MAX_PEERS + 1);
    }
}
