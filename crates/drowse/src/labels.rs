//! What a container's labels say, or its notes where its engine has these. They speak the file's own
//! language ([`crate::config`]), and they can say less: never a command, a file, an engine or a
//! secret, since whoever may label a container must not thereby command this machine.

mod dialect;

use std::collections::BTreeMap;

use crate::config::{
    AccessSettings, Definition, Given, HEADER_KEYS, HeaderKey, ROUTE_KEYS, RouteSettings, Settings,
    SpokenSettings, WORKLOAD_KEYS, did_you_mean,
};

pub(crate) use dialect::{Dialect, covers};

const PREFIX: &str = "drowse.";
/// The tag of a Proxmox container that enables it.
pub(crate) const TAG: &str = "drowse";
const ROUTES: &str = "routes.";
/// The route that the plain keys are about.
pub(crate) const DEFAULT_ROUTE: &str = "default";

/// What only the file may say.
const FILE_ONLY: &[&str] = &[
    "container",
    "engine",
    "engines",
    "process",
    "command",
    "cwd",
    "env",
    "listen",
    "label-ports",
    "never-sleep",
    "shutdown-grace",
    "trusted-proxies",
    "veto-command",
    "ca-file",
    "basic-auth",
    "forward-auth",
];

const FILE_ALONE: &str = "only the configuration file can say this";

/// What a container's labels ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// The workload's name, if it is not to be the container's.
    pub(crate) name: Option<Given<String>>,
    pub(crate) settings: Settings,
    /// The routes that have a host or a port of drowse's.
    pub(crate) routes: Vec<RouteSettings>,
    /// Ports of routes that have no host: they tell where the application listens.
    pub(crate) port: Option<Given<u16>>,
}

/// How a container's labels read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There is not one label of ours.
    Nothing,
    /// It has labels of ours, and none that enables it.
    NotEnabled,
    /// It is to be managed so.
    Enabled(Box<Labelled>),
    /// It is to be managed, and some of its labels are wrong.
    Wrong {
        /// Each mistake, with the label's name.
        mistakes: Vec<String>,
        /// What the others ask for.
        rest: Box<Labelled>,
    },
}

/// Whether a label speaks to us.
pub(crate) fn is_ours(label: &str) -> bool {
    label.starts_with(PREFIX)
}

impl Dialect {
    /// Whether any label is ours: cheap, for lists of many containers.
    pub(crate) fn concerns_us(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Labels => {
                let first = labels.range(PREFIX.to_owned()..).next();
                first.is_some_and(|(key, _)| is_ours(key))
            }
            // Notes are only read for those that have the tag.
            Self::Notes { .. } => labels.contains_key(TAG),
        }
    }

    /// Reads a container's labels.
    pub(crate) fn read(&self, labels: &BTreeMap<String, String>) -> Reading {
        if !self.concerns_us(labels) {
            return Reading::Nothing;
        }
        match (self, labels.get("drowse.enable").map(|value| value.trim())) {
            (_, Some("true")) | (Self::Notes { .. }, None) => {}
            (Self::Labels, None) | (_, Some("false")) => return Reading::NotEnabled,
            (_, Some(other)) => {
                let label = self.names("drowse.enable");
                let why = format!("{label}: expected `true` or `false`, found `{other}`");
                return Reading::Wrong { mistakes: vec![why], rest: Box::default() };
            }
        }
        let mut labelled = Labelled::default();
        let mut routes: BTreeMap<&str, RouteSettings> = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (label, value) in labels {
            let Some(key) = label.strip_prefix(PREFIX) else { continue };
            if let Err(why) = self.apply(&mut labelled, &mut routes, label, key, value.trim()) {
                mistakes.push(format!("{}: {why}", self.names(label)));
            }
        }
        for (name, mut route) in routes {
            name.clone_into(&mut route.name);
            if let Some(hosts) = &route.hosts {
                // All of it is in error: what sleeps and has no route any more, nobody could wake.
                let refused: Vec<_> =
                    hosts.value.iter().filter_map(|host| self.permits_host(host).err()).collect();
                if refused.is_empty() {
                    labelled.routes.push(route);
                }
                mistakes.extend(refused);
            } else if route.tcp.is_some() || route.udp.is_some() {
                labelled.routes.push(route);
            } else if name != DEFAULT_ROUTE {
                mistakes
                    .push(format!("route `{name}` has no host: set `drowse.routes.{name}.host`"));
            } else if route.path.is_some() || route.address.is_some() {
                mistakes.push("a path or an address without a host: set `drowse.host`".to_owned());
            } else if route.spoken != SpokenSettings::default() {
                mistakes.push("keys of a route without a host: set `drowse.host`".to_owned());
            } else if route.access != AccessSettings::default() {
                mistakes.push("who may enter, without a host: set `drowse.host`".to_owned());
            } else {
                labelled.port = route.port;
            }
        }
        let labelled = Box::new(labelled);
        if mistakes.is_empty() {
            Reading::Enabled(labelled)
        } else {
            Reading::Wrong { mistakes, rest: labelled }
        }
    }

    /// What a container says that it needs, whether or not it is to be managed, and whatever is wrong
    /// with its other labels.
    ///
    /// # Errors
    ///
    /// What is wrong with that label.
    pub(crate) fn needs(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Given<Vec<String>>>, String> {
        let key = "needs";
        let label = format!("{PREFIX}{key}");
        let Some(value) = labels.get(&label) else { return Ok(None) };
        let (mut labelled, mut routes) = (Labelled::default(), BTreeMap::new());
        self.apply(&mut labelled, &mut routes, &label, key, value.trim())
            .map_err(|why| format!("{}: {why}", self.names(&label)))?;
        Ok(labelled.settings.needs)
    }

    /// What can be read of that: what is wrong with one name is no reason to stop the others under it.
    pub(crate) fn readable_needs(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Option<Given<Vec<String>>> {
        let label = format!("{PREFIX}needs");
        let alone = |name: &str| BTreeMap::from([(label.clone(), name.to_owned())]);
        let names = labels.get(&label)?.split(',');
        let each = names.filter_map(|name| self.needs(&alone(name)).ok().flatten());
        each.reduce(|mut all, one| {
            let new = one.value.into_iter().filter(|name| !all.value.contains(name));
            let new: Vec<String> = new.collect();
            all.value.extend(new);
            all
        })
    }

    fn apply<'a>(
        &self,
        labelled: &mut Labelled,
        routes: &mut BTreeMap<&'a str, RouteSettings>,
        label: &'a str,
        key: &'a str,
        value: &str,
    ) -> Result<(), String> {
        let origin = self.origin(label);
        if let Some((route, changes, name)) = header_key(key) {
            self.permits_headers()?;
            let changes = (changes.of)(routes.entry(route).or_default());
            return changes.change(name, value).map_err(|error| error.to_string());
        }
        let in_route = key.strip_prefix(ROUTES).and_then(|rest| rest.rsplit_once('.'));
        let route_key = |key: &str| ROUTE_KEYS.iter().find(|known| known.label() == key);
        if let Some((name, key)) = in_route {
            if FILE_ONLY.contains(&key) {
                return Err(FILE_ALONE.to_owned());
            }
            let definition =
                route_key(key).ok_or_else(|| self.unknown(label, &format!("routes.{name}.")))?;
            self.permits(definition)?;
            return (definition.set)(routes.entry(name).or_default(), value, origin);
        }
        if let Some(definition) = route_key(key) {
            self.permits(definition)?;
            return (definition.set)(routes.entry(DEFAULT_ROUTE).or_default(), value, origin);
        }
        if let Some(definition) = WORKLOAD_KEYS.iter().find(|known| known.label() == key) {
            self.permits(definition)?;
            return (definition.set)(&mut labelled.settings, value, origin);
        }
        match key {
            "enable" => Ok(()),
            "name" if is_name(value) => {
                labelled.name = Some(Given { value: value.to_owned(), origin });
                Ok(())
            }
            "name" => {
                Err(format!("`{value}` is no name: letters, digits, `-`, `_` and `.` are expected"))
            }
            _ if FILE_ONLY.contains(&key) => Err(FILE_ALONE.to_owned()),
            _ => Err(self.unknown(label, "")),
        }
    }

    /// The names of those keys that may be said so.
    fn may_say<T>(&self, keys: &'static [Definition<T>]) -> impl Iterator<Item = String> {
        keys.iter().filter(|key| self.permits(key).is_ok()).map(Definition::label)
    }

    /// What to say about a label that nobody knows; `route` is the part before a route's key.
    fn unknown(&self, label: &str, route: &str) -> String {
        let known: Vec<String> = if route.is_empty() {
            let own = ["enable", "name"].map(str::to_owned).into_iter();
            own.chain(self.may_say(WORKLOAD_KEYS)).chain(self.may_say(ROUTE_KEYS)).collect()
        } else {
            self.may_say(ROUTE_KEYS).map(|key| format!("{route}{key}")).collect()
        };
        let key = label.strip_prefix(PREFIX).unwrap_or(label);
        let what = self.one();
        match did_you_mean(key, known.iter().map(String::as_str)) {
            Some(meant) => format!("there is no such {what}: did you mean `{PREFIX}{meant}`?"),
            None => format!("there is no such {what}"),
        }
    }
}

/// The route, the key and the header's name of a label that changes one.
fn header_key(key: &str) -> Option<(&str, &'static HeaderKey, &str)> {
    HEADER_KEYS.iter().find_map(|known| {
        let (before, name) = key.split_once(&format!("{}.", known.label()))?;
        let route = match before {
            "" => DEFAULT_ROUTE,
            before => before.strip_prefix(ROUTES)?.strip_suffix('.')?,
        };
        Some((route, known, name))
    })
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && text.chars().all(good)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
