//! What would be drowse's own end: its own container put to sleep, or its port wanted by one that
//! wakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use drowse_gateway::{Target, Upstream, Vantage};
use drowse_provider::{Details, NetworkMode, PublishedPort, Reach, Transport};

use super::EngineView;
use crate::{
    entrance::is_here,
    whereabouts::{Here, NAME_VARIABLE, Own},
};

/// Whether drowse itself runs in this container, or may.
pub(super) fn is_drowse(details: &Details, here: &Here) -> bool {
    let is_own = here.own.as_ref().is_some_and(|own| {
        details.id == own.id || own.may_be_holder && lives_in_network_of(details, own)
    });
    is_own || here.machine.is(details).is_some()
}

fn lives_in_network_of(details: &Details, own: &Own) -> bool {
    matches!(
        &details.network_mode,
        NetworkMode::Container(holder) if *holder == own.id || *holder == own.name
    )
}

/// Notes why this container cannot be a workload, if drowse needs it to run.
pub(super) fn refuse_our_own(details: &Details, here: &Here, mistakes: &mut Vec<String>) {
    if let Some(how) = here.machine.is(details) {
        let or_else = if here.machine.hardware.is_empty() {
            "; if that is another machine in another network, let drowse read its own hardware \
             addresses (`/sys/class/net`)"
        } else {
            ""
        };
        mistakes.push(format!(
            "drowse itself runs in it ({how} is this machine's own): it would stop itself, and nobody \
             would be left to wake it; take its tag off, or take it out of the file{or_else}"
        ));
    }
    let Some(own) = &here.own else { return };
    if own.may_be_holder && lives_in_network_of(details, own) {
        mistakes.push(format!(
            "drowse itself may run in it: it lives in the network of `{}`, and from inside the two \
             cannot be told apart; set `{NAME_VARIABLE}` to the name of drowse's own container",
            own.name
        ));
    } else if details.id == own.id {
        mistakes.push(
            "drowse itself runs in it: it would stop itself, and nobody would be left to wake it; \
             take its labels off, or take it out of the file"
                .to_owned(),
        );
    } else if own
        .holder
        .as_ref()
        .is_some_and(|(id, name)| details.id == *id || details.name == *name)
    {
        mistakes.push(format!(
            "drowse itself lives in its network (its container `{}` has `network_mode: \
             container:…`): without it drowse would be cut off; give drowse a network of its own",
            own.name
        ));
    }
}

/// Notes which port of its own this container could never have, because drowse has it. `listen`:
/// where it listens by that transport.
pub(super) fn refuse_our_port(
    details: &Details,
    view: &EngineView,
    transport: Transport,
    listen: &[SocketAddr],
    mistakes: &mut Vec<String>,
) {
    let is_meant = |port: &&PublishedPort| port.container.transport == transport;
    for published in details.published.iter().filter(is_meant) {
        let Some(host_port) = published.host_port else { continue };
        let wanted = SocketAddr::new(published.host_address, host_port);
        if let Some(whose) = who_has(wanted, view, transport, listen) {
            mistakes.push(format!(
                "it publishes its port {} at {wanted}, and {whose}: it could never be started; \
                 let it publish none (requests come through drowse) or another one",
                published.container.number,
            ));
            // The same port on the other family says no more.
            return;
        }
    }
}

fn who_has(
    wanted: SocketAddr,
    view: &EngineView,
    transport: Transport,
    listen: &[SocketAddr],
) -> Option<String> {
    match (&view.here.vantage, &view.reach) {
        (Vantage::Host, Reach::Local | Reach::LocalPublishedOnly) => {
            let ours = listen.iter().find(|ours| overlap(**ours, wanted))?;
            Some(format!("drowse itself listens on {ours}"))
        }
        (Vantage::Inside(_), _) => {
            let own = view.here.own.as_ref()?;
            let at =
                |port: &PublishedPort| Some(SocketAddr::new(port.host_address, port.host_port?));
            let alike = own.published.iter().filter(|port| port.container.transport == transport);
            let ours = alike.filter_map(at).find(|ours| overlap(*ours, wanted))?;
            Some(format!("drowse's own container `{}` publishes {ours}", own.name))
        }
        _ => None,
    }
}

/// Why a route's bytes would come back to drowse itself, if they would: its own answer to a probe would
/// pass for the application's, and each request for another one.
pub(super) fn leads_to_us(
    upstream: &Upstream,
    view: &EngineView,
    listen: &[SocketAddr],
) -> Option<String> {
    let spot = spot(upstream, view)?;
    let ours = listen.iter().find(|ours| spot.comes_to(**ours))?;
    let at = spot.at;
    Some(format!(
        "it would lead to {at}, where drowse itself listens ({ours}): let the application listen on \
         another port, or drowse (`listen`)"
    ))
}

/// Where an upstream is, for who connects to it from the machine that drowse runs on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) at: SocketAddr,
    /// Whether that is an address of this machine, whichever of them.
    is_here: bool,
}

/// Where an upstream is, if that may be an address of the machine that drowse runs on.
pub(super) fn spot(upstream: &Upstream, view: &EngineView) -> Option<Spot> {
    let at = match upstream.target.as_ref().filter(|_| view.here.vantage == Vantage::Host)? {
        Target::Socket(address) => *address,
        Target::Name(name, port) if name.eq_ignore_ascii_case("localhost") => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, *port))
        }
        Target::Name(..) => return None,
    };
    let address = match at.ip().to_canonical() {
        // Linux takes it for this.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let is_here = is_here(address, &view.own_addresses);
    Some(Spot { at: SocketAddr::new(address, at.port()), is_here })
}

impl Spot {
    /// Whether who connects there comes to what drowse listens on as `ours`.
    pub(super) fn comes_to(self, ours: SocketAddr) -> bool {
        let is_any = self.is_here && includes(ours.ip(), self.at.ip());
        ours.port() == self.at.port() && (is_any || ours.ip() == self.at.ip())
    }
}

/// Whether what listens on `all` listens on `one` as well. All of IPv6 includes IPv4.
fn includes(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

/// Whether both cannot be had at once.
pub(super) fn overlap(ours: SocketAddr, wanted: SocketAddr) -> bool {
    let is_same_family = ours.is_ipv4() == wanted.is_ipv4();
    ours.port() == wanted.port()
        && (ours.ip() == wanted.ip()
            || includes(ours.ip(), wanted.ip())
            || (is_same_family && wanted.ip().is_unspecified()))
}
