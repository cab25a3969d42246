//! What is asked before each sleep of a workload, beside leases.

use drowse_gateway::{HostPattern, UpstreamScheme};
use drowse_provider::{Capabilities, Support};

use super::{PlannedRoute, policy::key_of};
use crate::config::{Limit, Rate, Settings, Share};

/// Above what waking threads, health checks and collectors of metrics need: half a second of ten.
const DEFAULT_CPU: Share = Share(50);

/// Above what a network of a hundred machines sends to everybody (ARP, mDNS, SSDP, router
/// advertisements: 1 to 5 kB/s), which the container of a bridged network receives without being
/// used. One page of the web within ten seconds is more.
const DEFAULT_NETWORK: Rate = Rate(10_000);

const NO_PORT: &str = "which port? it has no route, and its container does not tell its only one";

/// What is asked before each sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedGates {
    /// What is said of it.
    cpu: Option<Limit<Share>>,
    network: Option<Limit<Rate>>,
    /// Why its engine cannot tell what it uses, if it cannot.
    no_stats: Option<String>,
    /// The keys that ask for more than its engine can tell, as they were given.
    in_vain: Vec<String>,
    /// The default `veto_path` has nobody to ask here.
    is_unasked: bool,
    /// Boxed, as few have one, and this is kept for each of many workloads.
    pub(crate) veto_path: Option<Box<VetoPath>>,
    pub(crate) veto_command: Option<Vec<String>>,
}

/// Where an application is asked whether it may sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VetoPath {
    pub(crate) path: String,
    pub(crate) host: Option<HostPattern>,
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    pub(crate) scheme: UpstreamScheme,
}

/// Above which use of its machine a workload is busy; `None`: it is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UseLimits {
    pub(crate) cpu: Option<Share>,
    pub(crate) network: Option<Rate>,
}

impl PlannedGates {
    /// Nobody is asked: it is never put to sleep.
    pub(crate) fn none() -> Self {
        Self {
            cpu: Some(Limit::Off),
            network: Some(Limit::Off),
            no_stats: None,
            in_vain: Vec::new(),
            is_unasked: false,
            veto_path: None,
            veto_command: None,
        }
    }

    /// What its use is compared with. `is_open`: it can be reached past the gateway, where nobody sees
    /// that it is used. `None`: its use is not looked at.
    pub(crate) fn use_limits(&self, is_open: bool) -> Option<UseLimits> {
        fn limit<T>(said: Option<Limit<T>>, by_default: T, is_open: bool) -> Option<T> {
            match said {
                Some(Limit::Above(limit)) => Some(limit),
                Some(Limit::Off) => None,
                None => is_open.then_some(by_default),
            }
        }
        let cpu = limit(self.cpu, DEFAULT_CPU, is_open);
        let network = limit(self.network, DEFAULT_NETWORK, is_open);
        let is_any = self.no_stats.is_none() && (cpu.is_some() || network.is_some());
        is_any.then_some(UseLimits { cpu, network })
    }

    /// All of it in words.
    pub(crate) fn words(&self, is_open: bool) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(veto) = &self.veto_path {
            words.push(format!("the application, at `{}`", veto.path));
        }
        if let Some(program) = self.veto_command.as_ref().and_then(|command| command.first()) {
            words.push(format!("the command `{}`", program.escape_debug()));
        }
        if let Some(limits) = self.use_limits(is_open) {
            words.extend(
                limits.cpu.map(|share| format!("its processor use, above {share} of a core")),
            );
            words.extend(limits.network.map(|rate| format!("its network use, above {rate}")));
        }
        words
    }

    /// What is asked for and cannot be had.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let why = self.no_stats.as_ref().filter(|_| !self.in_vain.is_empty());
        let in_vain =
            why.map(|why| format!("{} changes nothing: {why}", self.in_vain.join(" and ")));
        let unasked = self.is_unasked.then(|| {
            let what = "`veto_path` of `defaults` has nobody to ask, and it sleeps unasked";
            format!("{what}: {NO_PORT}: give it a route")
        });
        in_vain.into_iter().chain(unasked).collect()
    }
}

/// What is asked before each sleep, of what is said; and what of it cannot be. `routes`: its routes;
/// `port`: where it listens otherwise.
pub(super) fn gates(
    own: &Settings,
    defaults: &Settings,
    capabilities: &Capabilities,
    (routes, port): (&[PlannedRoute], Option<u16>),
    is_there: bool,
    mistakes: &mut Vec<String>,
) -> PlannedGates {
    let settings = own.clone().or(defaults);
    let no_stats = match &capabilities.stats {
        Support::Yes => None,
        Support::No(why) => Some(why.to_string()),
    };
    // A default may be meant for others.
    let in_vain = if no_stats.is_some() {
        let cpu = own.busy_cpu.as_ref().filter(|cpu| cpu.value != Limit::Off);
        let network = own.busy_network.as_ref().filter(|network| network.value != Limit::Off);
        let cpu = cpu.map(key_of("busy_cpu"));
        cpu.into_iter().chain(network.map(key_of("busy_network"))).collect()
    } else {
        Vec::new()
    };
    let first = routes.first();
    let port = first.map_or(port, |route| route.port);
    let mut is_unasked = false;
    let veto_path = settings.veto_path.and_then(|path| {
        if port.is_none() && is_there {
            if let Some(own) = own.veto_path.as_ref().map(key_of("veto_path")) {
                mistakes.push(format!("{own} has nobody to ask: {NO_PORT}: give it a route"));
            } else {
                // A default is meant for others, too, but somebody may rely on it.
                is_unasked = true;
            }
            return None;
        }
        Some(VetoPath {
            path: path.value,
            host: first.and_then(|route| route.hosts.first().cloned()),
            port,
            address: first.and_then(|route| route.address.clone()),
            scheme: first.map(|route| route.spoken.scheme.clone()).unwrap_or_default(),
        })
    });
    PlannedGates {
        cpu: settings.busy_cpu.map(|cpu| cpu.value),
        network: settings.busy_network.map(|network| network.value),
        no_stats,
        in_vain,
        is_unasked,
        veto_path: veto_path.map(Box::new),
        veto_command: settings.veto_command.map(|command| command.value),
    }
}

#[cfg(test)]
mod tests;
