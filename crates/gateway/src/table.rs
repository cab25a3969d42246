//! The table of routes: from a host and a path to the most specific route.

use std::collections::{HashMap, hash_map::Entry};

use crate::{HostPattern, PathPrefix, Route, pattern::normalised};

/// All routes, looked up most specific first: an exact host before a wildcard, a longer wildcard
/// before a shorter one; within each, a longer path before a shorter one. What an exact host's
/// routes leave over falls to the wildcards.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: HashMap<String, Host>,
    below: HashMap<String, Host>,
    routes: Vec<Route>,
}

/// The routes of one host pattern, the longest path first.
#[derive(Clone, Debug, Default)]
struct Host(Vec<Route>);

/// Two routes claim the same host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route `{second}` claims {host}{path}, which is route `{first}`'s already")]
pub struct RouteConflict {
    /// What both claim.
    pub host: HostPattern,
    /// What both claim.
    pub path: PathPrefix,
    /// The route that came first.
    pub first: String,
    /// The route that came after.
    pub second: String,
}

/// What was found for a host and a path.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Found(&'a Route),
    /// The host is known, the path is not.
    NoSuchPath,
    NoSuchHost,
}

impl RouteTable {
    /// A table of these routes.
    ///
    /// # Errors
    /// [`RouteConflict`] if two of them claim the same host and path.
    pub fn build(routes: impl IntoIterator<Item = Route>) -> Result<Self, RouteConflict> {
        let mut table = Self::default();
        for route in routes {
            for pattern in &route.spec().hosts {
                let (hosts, name) = match pattern {
                    HostPattern::Exact(name) => (&mut table.exact, name),
                    HostPattern::Below(domain) => (&mut table.below, domain),
                };
                let host = match hosts.entry(name.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(Host::default()),
                };
                host.add(pattern, route.clone())?;
            }
            table.routes.push(route);
        }
        Ok(table)
    }

    /// Its routes, in the order in which they were given.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The most specific route for a host (perhaps with a port) and a path.
    pub fn route_for(&self, host: &str, path: &str) -> Option<&Route> {
        match self.find(host, path) {
            Lookup::Found(route) => Some(route),
            Lookup::NoSuchPath | Lookup::NoSuchHost => None,
        }
    }

    /// The same, and what was missing if there is none.
    pub(crate) fn find(&self, authority: &str, path: &str) -> Lookup<'_> {
        let mut lookup = Lookup::NoSuchHost;
        for host in self.hosts(&normalised(authority)) {
            match host.find(path) {
                Some(route) => return Lookup::Found(route),
                None => lookup = Lookup::NoSuchPath,
            }
        }
        lookup
    }

    /// The entries that a host name matches, the most specific first.
    fn hosts(&self, name: &str) -> impl Iterator<Item = &Host> {
        let domains = std::iter::successors(parent(name), |domain| parent(domain));
        self.exact.get(name).into_iter().chain(domains.filter_map(|domain| self.below.get(domain)))
    }
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, domain)| domain)
}

impl Host {
    fn add(&mut self, pattern: &HostPattern, route: Route) -> Result<(), RouteConflict> {
        let path = &route.spec().path;
        if let Some(first) = self.0.iter().find(|known| known.spec().path == *path) {
            return Err(RouteConflict {
                host: pattern.clone(),
                path: path.clone(),
                first: first.spec().name.clone(),
                second: route.spec().name.clone(),
            });
        }
        let length = path.as_str().len();
        let place = self.0.partition_point(|known| known.spec().path.as_str().len() >= length);
        self.0.insert(place, route);
        Ok(())
    }

    fn find(&self, path: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.spec().path.matches(path))
    }
}
