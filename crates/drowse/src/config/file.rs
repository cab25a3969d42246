//! From the text of a configuration file to a [`Config`], with every mistake that is in it.

mod access;
mod container;
mod engine;
mod limits;
mod listen;
mod needs;
mod page;
mod proxmox;
mod spoken;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use drowse_gateway::{HostPattern, Network, NetworkError, PageOptions, PathPrefix, TrustedProxies};

use access::ACCESS_KEYS;
#[cfg(test)]
pub(crate) use limits::LIMIT_KEYS;
use listen::Listening;
#[cfg(test)]
pub(crate) use page::PAGE_KEYS;
#[cfg(test)]
pub(crate) use proxmox::PROXMOX_KEYS;
pub(crate) use proxmox::TRUST_ANYONE;

use super::{
    Config, ContainerConfig, DEFAULT_ENGINE, DEFAULT_SHUTDOWN_GRACE, Definition, EngineConfig,
    Given, LabelPorts, Lasting, Limits, Origin, Problem, Problems, ROUTE_KEYS, RouteSettings,
    Settings, Source, VETO_COMMAND, WORKLOAD_KEYS, WorkloadConfig, duration, ports,
    settings::NEEDS,
    tree,
    tree::{Key, Node, Place, Value},
    unknown,
};
use crate::schedule::Zone;

/// More than any configuration: who names a disk image by mistake is told so.
const LARGEST_FILE: u64 = 4 << 20;

/// A file that was read without an error.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) source: Source,
}

/// Reads the file. Nothing else is opened, started or changed.
///
/// # Errors
/// All mistakes, each with its place, as a text to show.
pub(crate) fn load(path: &Path) -> Result<Loaded, String> {
    let text =
        read(path).map_err(|error| format!("error: cannot read {}: {error}\n", path.display()))?;
    let mut source = Source::new(path.to_owned(), text);
    let mut problems = Problems::default();
    match interpret(&mut source, &mut problems) {
        Some(config) if !problems.has_errors() => Ok(Loaded { config, source }),
        _ => Err(problems.render(Some(&source))),
    }
}

/// The file's text.
///
/// # Errors
/// If it cannot be read, or is larger than any configuration.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(text)
}

/// Reads the text; `None` if it is not even YAML.
fn interpret(source: &mut Source, problems: &mut Problems) -> Option<Config> {
    let root = match tree::parse(&source.text) {
        Ok(root) => root,
        Err(error) => {
            problems.push(Problem { place: error.place, ..Problem::error(error.message) });
            return None;
        }
    };
    Some(Reader { problems, source }.config(&root))
}

/// A configuration from a text, for the tests of those who use one.
#[cfg(test)]
pub(crate) fn from_text(text: &str) -> Result<Config, String> {
    let mut source = Source::new("drowse.yaml".into(), text.to_owned());
    let mut problems = Problems::default();
    match interpret(&mut source, &mut problems) {
        Some(config) if !problems.has_errors() => Ok(config),
        _ => Err(problems.render(Some(&source))),
    }
}

/// Walks the tree and notes every mistake; what cannot be read is left out.
struct Reader<'a> {
    problems: &'a mut Problems,
    source: &'a mut Source,
}

const TOP_KEYS: &[&str] = &[
    "listen",
    "shutdown_grace",
    "trusted_proxies",
    "engines",
    "never_sleep",
    "time_zone",
    "defaults",
    "workloads",
    "tls",
    "label_ports",
    "page",
    "limits",
];

impl Reader<'_> {
    fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Problem::error(message).at(place));
    }

    /// Does not show the lines of this key and its value: it may be a secret under another name.
    fn hide(&mut self, key: &Key, value: &Node) {
        let last = last_line(&self.source.text, value);
        self.source.hide(key.place.line..=last.max(key.place.line));
    }

    fn config(&mut self, root: &Node) -> Config {
        let mut config = Config {
            listen: Vec::new(),
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            trusted_proxies: TrustedProxies::none(),
            engines: Vec::new(),
            lasting: Lasting::default(),
            never_sleep: Vec::new(),
            time_zone: None,
            defaults: Settings::default(),
            workloads: Vec::new(),
            tls: None,
            label_ports: LabelPorts::default(),
            page: PageOptions::new(),
            limits: Limits::default(),
        };
        let mut listening = Listening::unsaid();
        let mut engines = None;
        let mut workloads = None;
        for (key, value) in self.mapping(root, "the configuration") {
            match key.name.as_str() {
                "engines" => config.lasting.engines = value.fingerprint(),
                "listen" => config.lasting.listen = value.fingerprint(),
                "tls" => config.lasting.tls = value.fingerprint(),
                "shutdown_grace" => config.lasting.shutdown_grace = value.fingerprint(),
                _ => {}
            }
            match key.name.as_str() {
                "listen" => listening = self.listen(value),
                "shutdown_grace" => {
                    if let Some(grace) = self.duration(value) {
                        config.shutdown_grace = grace;
                    }
                }
                "trusted_proxies" => config.trusted_proxies = self.trusted_proxies(value),
                "engines" => engines = Some(value),
                "never_sleep" => config.never_sleep = self.never_sleep(value),
                "time_zone" => config.time_zone = self.time_zone(value),
                "defaults" => config.defaults = self.defaults(value),
                "workloads" => workloads = Some(value),
                "tls" => config.tls = Some(self.server_tls(&key.place, value)),
                "label_ports" => config.label_ports = self.label_ports(value),
                "page" => config.page = self.page(value),
                "limits" => config.limits = self.limits(value),
                other => self.error(&key.place, unknown("key", other, TOP_KEYS)),
            }
        }
        self.check_listening(listening, &mut config);
        // Workloads name engines, wherever these stand in the file, also those that cannot be read.
        let mut engine_names = vec![DEFAULT_ENGINE.to_owned()];
        match engines {
            Some(node) => (engine_names, config.engines) = self.engines(node),
            None => config.engines = vec![EngineConfig::default_docker()],
        }
        if let Some(node) = workloads {
            config.workloads = self.workloads(node, &engine_names);
            self.check_needs(&config.workloads, &config.engines);
        }
        config
    }

    fn never_sleep(&mut self, node: &Node) -> Vec<String> {
        let mut names = Vec::new();
        for item in items(node) {
            if let Some(name) = self.text(item, "the name or the VMID of a container") {
                names.push(name.strip_prefix('/').unwrap_or(name).to_owned());
            }
        }
        names
    }

    fn label_ports(&mut self, node: &Node) -> LabelPorts {
        let mut ranges = Vec::new();
        for item in items(node) {
            let Some(text) = self.text(item, "a port or a range such as `20000-20100`") else {
                continue;
            };
            match ports::range(text) {
                Ok(range) => ranges.push(range),
                Err(why) => self.error(&item.place, why),
            }
        }
        ranges.into_iter().collect()
    }

    fn time_zone(&mut self, node: &Node) -> Option<Zone> {
        let name = self.text(node, "a time zone such as `Europe/Berlin`")?;
        Zone::named(name).map_err(|why| self.error(&node.place, why)).ok()
    }

    fn trusted_proxies(&mut self, node: &Node) -> TrustedProxies {
        let mut networks: Vec<Network> = Vec::new();
        for item in items(node) {
            let Some(text) = self.text(item, "a network such as `172.18.0.0/16`") else { continue };
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.error(&item.place, NetworkError::to_string(&error)),
            }
        }
        networks.into_iter().collect()
    }

    fn defaults(&mut self, node: &Node) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in self.mapping(node, "the defaults of all workloads") {
            if key.name == NEEDS {
                let why = "`needs` is about one workload: say it there";
                self.error(&key.place, why);
                continue;
            }
            if key.name == VETO_COMMAND {
                settings.veto_command = self.veto_command(value);
            } else if !self.access(&mut settings.access, key, value)
                && !self.set(WORKLOAD_KEYS, &mut settings, key, value)
            {
                let first: Vec<_> = [VETO_COMMAND].iter().chain(ACCESS_KEYS).copied().collect();
                let known = names(WORKLOAD_KEYS, &first);
                self.error(&key.place, unknown("key", &key.name, &known));
            }
        }
        settings
    }

    fn workloads(&mut self, node: &Node, engines: &[String]) -> Vec<WorkloadConfig> {
        let mut workloads: Vec<WorkloadConfig> = Vec::new();
        let mut taken: BTreeMap<Claim, String> = BTreeMap::new();
        for (key, value) in self.mapping(node, "the workloads, each by its name,") {
            self.name(key, "a workload's name");
            let Some(workload) = self.workload(key, value, engines) else { continue };
            // Two workloads on one container would be two idle timers: one would stop it under the
            // other's requests.
            if let ContainerConfig::OnEngine { engine, reference } = &workload.container
                && let Some(other) = workloads.iter().find(|other| {
                    matches!(&other.container, ContainerConfig::OnEngine { engine: e, reference: r }
                        if e == engine && r == reference)
                })
            {
                let message = format!(
                    "`{}` and `{}` are the same container, `{reference}` on engine `{engine}`: make \
                     it one workload with several routes",
                    other.name, workload.name,
                );
                self.error(&key.place, message);
                continue;
            }
            for (claim, place) in claims(&workload) {
                let (host, path) = &claim;
                if let Some(owner) = taken.get(&claim) {
                    let why = format!("`{host}{path}` is taken by workload `{owner}` already");
                    self.error(place, why);
                } else {
                    taken.insert(claim, workload.name.clone());
                }
            }
            workloads.push(workload);
        }
        workloads
    }

    fn workload(&mut self, key: &Key, node: &Node, engines: &[String]) -> Option<WorkloadConfig> {
        let mut settings = Settings::default();
        let mut container = None;
        let mut container_given = false;
        let mut routes = None;
        let Value::Map(entries) = &node.value else {
            self.mapping(node, "a workload");
            return None;
        };
        for (key, value) in entries {
            match key.name.as_str() {
                "container" => {
                    container_given = true;
                    container = self.container(key, value, engines);
                }
                "routes" => routes = Some(self.routes(value)),
                VETO_COMMAND => settings.veto_command = self.veto_command(value),
                _ if self.access(&mut settings.access, key, value) => {}
                _ if self.set(WORKLOAD_KEYS, &mut settings, key, value) => {}
                other => {
                    let first = ["container", "routes", VETO_COMMAND];
                    let first: Vec<_> = first.iter().chain(ACCESS_KEYS).copied().collect();
                    let known = names(WORKLOAD_KEYS, &first);
                    self.error(&key.place, unknown("key", other, &known));
                }
            }
        }
        if !container_given {
            let why = "`container` is missing: say what sleeps, such as `container: {name: db}`";
            self.error(&key.place, why);
        }
        // Nobody can be asked where a process listens.
        if let Some(ContainerConfig::Process(_)) = container {
            for route in routes.iter().flatten().filter(|route| route.port.is_none()) {
                let hosts = route.hosts.as_ref();
                let place = hosts.and_then(|hosts| hosts.origin.place()).unwrap_or(&key.place);
                let place = place.clone();
                self.error(&place, "`port` is missing: say where the process listens");
            }
        }
        Some(WorkloadConfig {
            name: key.name.clone(),
            place: key.place.clone(),
            container: container?,
            settings,
            routes,
        })
    }

    fn veto_command(&mut self, node: &Node) -> Option<Given<Vec<String>>> {
        let value = self.command(node)?;
        Some(Given { value, origin: Origin::File(node.place.clone()) })
    }

    fn routes(&mut self, node: &Node) -> Vec<RouteSettings> {
        let Value::List(items) = &node.value else {
            let why = format!(
                "expected a list of routes, such as `[{{host: app.example.com}}]`, found {}",
                node.value.kind()
            );
            self.error(&node.place, why);
            return Vec::new();
        };
        let mut routes = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mut route = RouteSettings { name: index.to_string(), ..RouteSettings::default() };
            for (key, value) in self.mapping(item, "a route, such as `{host: app.example.com}`,") {
                if !self.spoken(&mut route, key, value)
                    && !self.access(&mut route.access, key, value)
                    && !self.set(ROUTE_KEYS, &mut route, key, value)
                {
                    let more: Vec<_> = spoken::names().collect();
                    self.error(&key.place, unknown("key", &key.name, &names(ROUTE_KEYS, &more)));
                }
            }
            let has_way = route.hosts.is_some() || route.tcp.is_some() || route.udp.is_some();
            if !has_way && matches!(item.value, Value::Map(_)) {
                // One that could not be read has been complained about already.
                if ["host", "tcp", "udp"].iter().all(|key| item_has_no(item, key)) {
                    let why = "`host` is missing: a route needs one, or `tcp` or `udp`";
                    self.error(&item.place, why);
                }
                continue;
            }
            routes.push(route);
        }
        routes
    }

    /// Sets the field that `key` names; `false` if no definition knows it.
    fn set<T>(
        &mut self,
        definitions: &[Definition<T>],
        target: &mut T,
        key: &Key,
        value: &Node,
    ) -> bool {
        let Some(definition) = definitions.iter().find(|known| known.name == key.name) else {
            return false;
        };
        let text = match &value.value {
            Value::List(items) if !items.is_empty() && definition.several => {
                let parts: Option<Vec<_>> =
                    items.iter().map(|item| self.one_of_several(item, definition)).collect();
                parts.map(|parts| parts.join(","))
            }
            _ => self.text(value, definition.expected).map(str::to_owned),
        };
        if let Some(text) = text
            && let Err(why) = (definition.set)(target, &text, Origin::File(value.place.clone()))
        {
            self.error(&value.place, why);
        }
        true
    }

    fn one_of_several<'n, T>(
        &mut self,
        node: &'n Node,
        definition: &Definition<T>,
    ) -> Option<&'n str> {
        if definition.takes_commas() {
            return self.text(node, definition.expected);
        }
        self.item(node, definition.expected)
    }

    /// One of several, which are put together with commas.
    fn item<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        let text = self.text(node, expected)?;
        if text.contains(',') {
            self.error(&node.place, format!("`{text}`: an item of a list cannot have a comma"));
            return None;
        }
        Some(text)
    }

    fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node, "a duration such as `30s`")?;
        duration::parse(text).map_err(|why| self.error(&node.place, why)).ok()
    }

    fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.error(&node.place, format!("expected {expected}, found {}", node.value.kind()));
        None
    }

    fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        if let Value::Map(entries) = &node.value {
            return entries;
        }
        let what = what.trim_end_matches(',');
        self.error(&node.place, format!("{what}: expected a mapping, found {}", node.value.kind()));
        &[]
    }

    fn name(&mut self, key: &Key, what: &str) {
        if let Err(why) = check_name(&key.name) {
            self.error(&key.place, format!("`{}` cannot be {what}: {why}", key.name));
        }
    }
}

/// Names go into tables, logs and commands.
fn check_name(name: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 || !name.chars().all(good) || name.starts_with('-') {
        return Err("letters, digits, `-`, `_` and `.` are expected");
    }
    Ok(())
}

/// Reads an address to listen on.
///
/// # Errors
/// What is wrong, and what to write: a lower-case fragment.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = match text.strip_prefix(':').map(str::parse::<u16>) {
            Some(Ok(port)) => format!("`0.0.0.0:{port}` for all interfaces, or `127.0.0.1:{port}`"),
            _ => match text.parse::<u16>() {
                Ok(port) => format!("`127.0.0.1:{port}`, or `0.0.0.0:{port}` for all interfaces"),
                Err(_) => "an IP address and a port, such as `127.0.0.1:8080`".to_owned(),
            },
        };
        format!("`{text}` is no address to listen on: expected {hint}")
    })
}

/// A host and path that a route wants for itself.
type Claim = (HostPattern, PathPrefix);

/// What a workload claims, and where it says so.
fn claims(workload: &WorkloadConfig) -> impl Iterator<Item = (Claim, &Place)> {
    workload.routes.iter().flatten().flat_map(move |route| {
        let path = route.path.as_ref().map_or_else(PathPrefix::root, |path| path.value.clone());
        route.hosts.iter().flat_map(move |hosts| {
            let place = hosts.origin.place().unwrap_or(&workload.place);
            let path = path.clone();
            hosts.value.iter().map(move |host| ((host.clone(), path.clone()), place))
        })
    })
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// The last line of a value, as far as it is known.
fn last_line(text: &str, node: &Node) -> usize {
    let own = text.get(node.place.bytes.clone()).map_or(0, |value| value.matches('\n').count());
    let below: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        Value::Nothing | Value::Text(_) => Vec::new(),
    };
    let below = below.into_iter().map(|node| last_line(text, node));
    below.chain([node.place.line + own]).max().unwrap_or(node.place.line)
}

fn item_has_no(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().all(|(key, _)| key.name != name),
        _ => false,
    }
}

fn names<T>(definitions: &[Definition<T>], first: &[&'static str]) -> Vec<&'static str> {
    first.iter().copied().chain(definitions.iter().map(|definition| definition.name)).collect()
}

#[cfg(test)]
mod tests;
