//! From where drowse dials.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use drowse_provider::{Details, Network, NetworkMode};

/// From where drowse dials the containers of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vantage {
    /// From the network namespace of the machine that it runs on.
    #[default]
    Host,
    /// From inside a container of that engine, which is on these networks.
    Inside(Vec<SharedNetwork>),
    /// From a network namespace that is neither its machine's nor one of this engine's containers':
    /// nothing of a local engine can be reached by what the engine tells.
    Apart,
}

/// A network that drowse's own container is on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedNetwork {
    /// Its name.
    pub name: String,
    /// The engine's host as it is seen from there; empty if it is no `bridge` network, or one
    /// without a way out.
    pub gateways: Vec<IpAddr>,
}

impl SharedNetwork {
    /// The network `name`, on which the engine's host has these addresses.
    pub fn new(name: impl Into<String>, gateways: Vec<IpAddr>) -> Self {
        Self { name: name.into(), gateways }
    }
}

impl Vantage {
    /// From inside the container with these details.
    pub fn inside(own: &Details) -> Self {
        let (mode, networks) = match (&own.network_mode, &own.holder) {
            (NetworkMode::Container(_), Some(holder)) => (&holder.network_mode, &holder.networks),
            (mode, _) => (mode, &own.networks),
        };
        match mode {
            NetworkMode::Host => Self::Host,
            NetworkMode::Networks => Self::Inside(networks.iter().map(shared).collect()),
            _ => Self::Inside(Vec::new()),
        }
    }
}

fn shared(network: &Network) -> SharedNetwork {
    let gateways = if network.is_bridge() { network.gateways.clone() } else { Vec::new() };
    SharedNetwork::new(&network.name, gateways)
}

/// The vantage on one engine's containers, for all that dial them. It may change while drowse runs:
/// when its own container is attached to a network. Clones show the same.
#[derive(Clone, Debug)]
pub struct Standpoint(Arc<ArcSwap<Vantage>>);

impl Standpoint {
    /// The vantage at present.
    pub fn vantage(&self) -> Arc<Vantage> {
        self.0.load_full()
    }

    /// Sets it, and says whether it was another one before. Connections that there are stay: build
    /// the routes anew.
    pub fn set(&self, vantage: Vantage) -> bool {
        let is_new = **self.0.load() != vantage;
        if is_new {
            self.0.store(Arc::new(vantage));
        }
        is_new
    }
}

impl From<Vantage> for Standpoint {
    fn from(vantage: Vantage) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(vantage)))
    }
}
