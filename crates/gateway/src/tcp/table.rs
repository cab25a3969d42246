//! The routes of one TCP port: by the name that a TLS client asks for, or the only one.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{HostPattern, TcpRoute, pattern::normalised};

/// The routes of one port: an exact name before a wildcard, a longer wildcard before a shorter one, and
/// the route without names for whatever is left.
#[derive(Clone, Debug, Default)]
pub struct TcpTable {
    exact: HashMap<String, TcpRoute>,
    below: HashMap<String, TcpRoute>,
    default: Option<TcpRoute>,
    expects_proxy_protocol: bool,
}

/// Two routes cannot share a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TcpConflict {
    /// Both claim the same name, or both claim whatever has no other route.
    #[error(
        "routes `{first}` and `{second}` of one port both claim {}",
        server_name.as_ref().map_or_else(|| "all names".to_owned(), |name| format!("`{name}`"))
    )]
    Claimed {
        /// What both claim; `None`: the rest.
        server_name: Option<HostPattern>,
        /// The route that came first.
        first: String,
        /// The route that came after.
        second: String,
    },
    /// One expects the PROXY protocol and the other does not: whether a header comes must be known
    /// before it is known which route it is.
    #[error(
        "routes `{first}` and `{second}` share a port, and only one of them expects the PROXY protocol"
    )]
    ProxyProtocol {
        /// The route that came first.
        first: String,
        /// The route that came after.
        second: String,
    },
}

impl TcpTable {
    /// A table of these routes.
    ///
    /// # Errors
    /// [`TcpConflict`] if two of them claim the same, or expect different things.
    pub fn build(routes: impl IntoIterator<Item = TcpRoute>) -> Result<Self, TcpConflict> {
        let mut table = Self::default();
        let mut first: Option<TcpRoute> = None;
        for route in routes {
            let spec = route.spec();
            if let Some(first) = &first
                && first.spec().expects_proxy_protocol != spec.expects_proxy_protocol
            {
                let (first, second) = (first.spec().name.clone(), spec.name.clone());
                return Err(TcpConflict::ProxyProtocol { first, second });
            }
            table.expects_proxy_protocol = spec.expects_proxy_protocol;
            table.add(&route)?;
            first.get_or_insert(route);
        }
        Ok(table)
    }

    fn add(&mut self, route: &TcpRoute) -> Result<(), TcpConflict> {
        let claimed = |server_name: Option<&HostPattern>, first: &TcpRoute| TcpConflict::Claimed {
            server_name: server_name.cloned(),
            first: first.spec().name.clone(),
            second: route.spec().name.clone(),
        };
        if route.spec().server_names.is_empty() {
            if let Some(first) = &self.default {
                return Err(claimed(None, first));
            }
            self.default = Some(route.clone());
        }
        for pattern in &route.spec().server_names {
            let (names, name) = match pattern {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Below(domain) => (&mut self.below, domain),
            };
            match names.entry(name.clone()) {
                Entry::Occupied(first) => return Err(claimed(Some(pattern), first.get())),
                Entry::Vacant(new) => {
                    new.insert(route.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether its routes are told apart by what the client says first.
    pub(super) fn has_names(&self) -> bool {
        !(self.exact.is_empty() && self.below.is_empty())
    }

    pub(super) fn expects_proxy_protocol(&self) -> bool {
        self.expects_proxy_protocol
    }

    /// The route for a client that asks for this name, or for none.
    pub(super) fn find(&self, server_name: Option<&str>) -> Option<&TcpRoute> {
        let named = server_name.and_then(|name| self.named(&normalised(name)));
        named.or(self.default.as_ref())
    }

    fn named(&self, name: &str) -> Option<&TcpRoute> {
        let parent = |name: &str| name.find('.').map(|dot| dot + 1);
        let mut domain = parent(name).map(|start| &name[start..]);
        if let Some(route) = self.exact.get(name) {
            return Some(route);
        }
        while let Some(known) = domain {
            if let Some(route) = self.below.get(known) {
                return Some(route);
            }
            domain = parent(known).map(|start| &known[start..]);
        }
        None
    }
}

/// A TCP port: its routes, which may change while it is listened on. A cheap handle; clones are the
/// same port.
#[derive(Clone, Debug)]
pub struct TcpPort(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: ArcSwap<TcpTable>,
    closed: CancellationToken,
}

impl TcpPort {
    /// A port with these routes.
    pub fn new(table: TcpTable) -> Self {
        let (table, closed) = (ArcSwap::from_pointee(table), CancellationToken::new());
        Self(Arc::new(Inner { table, closed }))
    }

    /// Serves by these routes from now on. Connections in flight end by those that they began with.
    pub fn replace(&self, table: TcpTable) {
        self.0.table.store(Arc::new(table));
    }

    /// Accepts nothing new. Connections in flight go on until their own end.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    pub(super) fn table(&self) -> arc_swap::Guard<Arc<TcpTable>> {
        self.0.table.load()
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }
}
