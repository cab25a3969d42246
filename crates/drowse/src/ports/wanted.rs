//! Which ports are wanted, and what leads where from them.

use std::{
    collections::{BTreeMap, btree_map::Entry as Place},
    sync::Arc,
};

use drowse_gateway::{TcpRoute, TcpTable, UdpRoute};
use drowse_provider::Transport;
use tracing::error;

use super::{At, PortRoute};
use crate::view::Entry;

/// The ports that are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted(pub(super) BTreeMap<At, Port>);

/// A port that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) leads: Leads,
    /// The workloads to which it leads.
    pub(super) workloads: Vec<String>,
}

/// Where it leads.
#[derive(Clone, Debug)]
pub(super) enum Leads {
    Tcp(Vec<TcpRoute>),
    Udp(UdpRoute),
}

impl Wanted {
    pub(super) fn of(entries: &[Arc<Entry>], in_between: &[Arc<Entry>]) -> Self {
        let mut wanted = Self::default();
        for (entries, is_in_between) in [(entries, false), (in_between, true)] {
            for entry in entries {
                for (planned, route) in entry.planned.port_routes.iter().zip(&entry.port_routes) {
                    for address in &planned.listen {
                        let at = (planned.transport(), *address);
                        let is_added = wanted.add(at, route, &entry.planned.name);
                        // The plan gives each to one workload: this would be a mistake of ours.
                        if !is_added && !is_in_between {
                            let workload = &entry.planned.name;
                            error!(workload, %address, "two routes have the same port");
                        }
                    }
                }
            }
        }
        wanted
    }

    /// Whether there is room for it.
    fn add(&mut self, at: At, route: &PortRoute, workload: &str) -> bool {
        match (self.0.entry(at), route) {
            (Place::Vacant(place), PortRoute::Tcp(route)) => {
                let leads = Leads::Tcp(vec![route.clone()]);
                place.insert(Port { leads, workloads: vec![workload.to_owned()] });
            }
            (Place::Vacant(place), PortRoute::Udp(route)) => {
                let leads = Leads::Udp(route.clone());
                place.insert(Port { leads, workloads: vec![workload.to_owned()] });
            }
            (Place::Occupied(mut place), PortRoute::Tcp(route)) => {
                let port = place.get_mut();
                let Leads::Tcp(routes) = &mut port.leads else { return false };
                let all = routes.iter().chain([route]).cloned();
                if TcpTable::build(all).is_err() {
                    return false;
                }
                routes.push(route.clone());
                port.workloads.push(workload.to_owned());
            }
            (Place::Occupied(_), PortRoute::Udp(_)) => return false,
        }
        true
    }
}

/// What is listened on, for people.
pub(crate) fn name_of((transport, address): &At) -> String {
    let scheme = if *transport == Transport::Udp { "udp" } else { "tcp" };
    format!("{scheme}://{address}")
}
