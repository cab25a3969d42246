//! The keys of a workload and of a route: one definition for the file and for labels, so that the
//! same word means the same in both.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use drowse_gateway::{HostPattern, Network, PathPrefix, ProxyProtocol};
use drowse_provider::Signal;
use http::{Method, StatusCode};

use super::{
    access::{ALLOW, AccessSettings},
    duration,
    ports::{self, ListenAt},
    spoken::{self, SpokenSettings, TRUST_ANYONE},
    suggest::did_you_mean,
    tree::Place,
    usage::{self, Limit, Rate, Share},
};
use crate::schedule::{Occasion, Window, Zone, read_occasions, read_windows};

/// Where a value comes from, for messages about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the file.
    File(Place),
    /// From this label.
    Label(String),
    /// From the line of a Proxmox container's notes that begins so.
    Note(String),
}

impl Origin {
    /// Where in the file; `None` if it is not from there.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) => Some(place),
            Self::Label(_) | Self::Note(_) => None,
        }
    }
}

/// A value, and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// How a workload is put to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    Stop,
    Pause,
    PauseThenStop,
    Kill,
}

impl Sleep {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::PauseThenStop => "pause_then_stop",
            Self::Kill => "kill",
        }
    }
}

/// When a workload counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// As soon as it runs.
    Running,
    /// When the container's own health check passes.
    Healthy,
}

impl Ready {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Healthy => "healthy",
        }
    }
}

/// What is said about how a workload sleeps and wakes. Whatever is not said is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) idle: Option<Given<Duration>>,
    pub(crate) sleep: Option<Given<Sleep>>,
    pub(crate) stop_signal: Option<Given<Signal>>,
    pub(crate) stop_timeout: Option<Given<Duration>>,
    pub(crate) wake_timeout: Option<Given<Duration>>,
    pub(crate) start_grace: Option<Given<Duration>>,
    /// On which of its networks it is dialled.
    pub(crate) network: Option<Given<String>>,
    /// Whose requests neither wake nor keep awake.
    pub(crate) passive_user_agents: Option<Given<Vec<String>>>,
    /// Requests for these paths neither wake nor keep awake.
    pub(crate) passive_paths: Option<Given<Vec<PathPrefix>>>,
    /// Requests by these methods neither wake nor keep awake.
    pub(crate) passive_methods: Option<Given<Vec<Method>>>,
    /// Requests of clients in these networks neither wake nor keep awake.
    pub(crate) passive_networks: Option<Given<Vec<Network>>>,
    /// What passive requests get while it sleeps.
    pub(crate) passive_status: Option<Given<StatusCode>>,
    /// How long an upgraded connection may be quiet and still count.
    pub(crate) quiet_after: Option<Given<Duration>>,
    /// Above which use of the processor it is busy.
    pub(crate) busy_cpu: Option<Given<Limit<Share>>>,
    /// Above which use of the network it is busy.
    pub(crate) busy_network: Option<Given<Limit<Rate>>>,
    /// Where the application is asked whether it may sleep.
    pub(crate) veto_path: Option<Given<String>>,
    /// What is run to be told whether it may sleep. Only the file can say this.
    pub(crate) veto_command: Option<Given<Vec<String>>>,
    /// Whether it may sleep although high availability manages it.
    pub(crate) ha: Option<Given<bool>>,
    /// What it needs, by the names of workloads, or of containers of its own engine.
    pub(crate) needs: Option<Given<Vec<String>>>,
    /// The group whose members are woken together.
    pub(crate) group: Option<Given<String>>,
    /// When it counts as ready; nothing said: when its first route answers, or else when it runs.
    pub(crate) ready: Option<Given<Ready>>,
    /// How long it stays awake after a wake.
    pub(crate) min_awake: Option<Given<Duration>>,
    /// How long after a pause it is stopped.
    pub(crate) stop_after: Option<Given<Duration>>,
    /// After how many failures in a row no start is tried for a while.
    pub(crate) circuit_after: Option<Given<u32>>,
    /// For how long.
    pub(crate) circuit_for: Option<Given<Duration>>,
    /// When it is kept awake.
    pub(crate) awake: Option<Given<Vec<Window>>>,
    /// When it is woken.
    pub(crate) wake_at: Option<Given<Vec<Occasion>>>,
    /// By whose clock.
    pub(crate) time_zone: Option<Given<Zone>>,
    /// Who may enter by its routes.
    pub(crate) access: AccessSettings,
}

impl Settings {
    /// These settings, and where they say nothing, those of `fallback`.
    pub(crate) fn or(self, fallback: &Self) -> Self {
        fn either<T: Clone>(ours: Option<T>, theirs: Option<&T>) -> Option<T> {
            ours.or_else(|| theirs.cloned())
        }
        Self {
            idle: either(self.idle, fallback.idle.as_ref()),
            sleep: either(self.sleep, fallback.sleep.as_ref()),
            stop_signal: either(self.stop_signal, fallback.stop_signal.as_ref()),
            stop_timeout: either(self.stop_timeout, fallback.stop_timeout.as_ref()),
            wake_timeout: either(self.wake_timeout, fallback.wake_timeout.as_ref()),
            start_grace: either(self.start_grace, fallback.start_grace.as_ref()),
            network: either(self.network, fallback.network.as_ref()),
            passive_user_agents: either(
                self.passive_user_agents,
                fallback.passive_user_agents.as_ref(),
            ),
            passive_paths: either(self.passive_paths, fallback.passive_paths.as_ref()),
            passive_methods: either(self.passive_methods, fallback.passive_methods.as_ref()),
            passive_networks: either(self.passive_networks, fallback.passive_networks.as_ref()),
            passive_status: either(self.passive_status, fallback.passive_status.as_ref()),
            quiet_after: either(self.quiet_after, fallback.quiet_after.as_ref()),
            busy_cpu: either(self.busy_cpu, fallback.busy_cpu.as_ref()),
            busy_network: either(self.busy_network, fallback.busy_network.as_ref()),
            veto_path: either(self.veto_path, fallback.veto_path.as_ref()),
            veto_command: either(self.veto_command, fallback.veto_command.as_ref()),
            ha: either(self.ha, fallback.ha.as_ref()),
            needs: either(self.needs, fallback.needs.as_ref()),
            group: either(self.group, fallback.group.as_ref()),
            ready: either(self.ready, fallback.ready.as_ref()),
            min_awake: either(self.min_awake, fallback.min_awake.as_ref()),
            stop_after: either(self.stop_after, fallback.stop_after.as_ref()),
            circuit_after: either(self.circuit_after, fallback.circuit_after.as_ref()),
            circuit_for: either(self.circuit_for, fallback.circuit_for.as_ref()),
            awake: either(self.awake, fallback.awake.as_ref()),
            wake_at: either(self.wake_at, fallback.wake_at.as_ref()),
            time_zone: either(self.time_zone, fallback.time_zone.as_ref()),
            access: self.access.or(&fallback.access),
        }
    }
}

/// What is said about one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteSettings {
    /// The route's name, for logs and lists.
    pub(crate) name: String,
    pub(crate) hosts: Option<Given<Vec<HostPattern>>>,
    pub(crate) path: Option<Given<PathPrefix>>,
    pub(crate) port: Option<Given<u16>>,
    pub(crate) address: Option<Given<String>>,
    /// How its upstream is spoken to, and what changes on the way.
    pub(crate) spoken: SpokenSettings,
    /// The TCP port that it is listened for on.
    pub(crate) tcp: Option<Given<ListenAt>>,
    /// The UDP port that it is listened for on.
    pub(crate) udp: Option<Given<ListenAt>>,
    /// For which names TLS clients of the port ask.
    pub(crate) sni: Option<Given<Vec<HostPattern>>>,
    /// Whether connections to the port begin with a PROXY protocol header.
    pub(crate) proxy_protocol: Option<Given<bool>>,
    /// In which version the application is told who is connected.
    pub(crate) send_proxy_protocol: Option<Given<ProxyProtocol>>,
    /// How long after its last packet a session ends.
    pub(crate) udp_idle: Option<Given<Duration>>,
    /// Whether the waiting page shows what engines say.
    pub(crate) page_details: Option<Given<bool>>,
    /// Who may enter.
    pub(crate) access: AccessSettings,
}

/// One key: its name in the file; as a label it has `-` for `_`.
#[derive(Debug)]
pub(crate) struct Definition<T: 'static> {
    pub(crate) name: &'static str,
    /// What is expected, for messages: "a duration such as `15m`".
    pub(crate) expected: &'static str,
    /// Whether there may be several: a list in the file, and in a text with commas between.
    pub(crate) several: bool,
    /// Whether a container's notes may say it, which more people may edit than may command the engine:
    /// not what sends traffic elsewhere, lets somebody in, or changes anything but this container.
    pub(crate) in_notes: bool,
    /// Takes the text. Fails with what is wrong: a lower-case fragment.
    pub(crate) set: fn(&mut T, &str, Origin) -> Result<(), String>,
}

impl<T> Definition<T> {
    /// The key's name as part of a label.
    pub(crate) fn label(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether one of several may have commas itself, as between days of the week.
    pub(super) fn takes_commas(&self) -> bool {
        matches!(self.name, "awake" | "wake_at")
    }
}

/// Fills one field with a parsed text.
macro_rules! field {
    ($name:ident, $parse:expr) => {
        |target, text, origin| {
            target.$name = Some(Given { value: $parse(text)?, origin });
            Ok(())
        }
    };
}

/// The same of a field of [`SpokenSettings`].
macro_rules! spoken {
    ($name:ident, $parse:expr) => {
        |target, text, origin| {
            target.spoken.$name = Some(Given { value: $parse(text)?, origin });
            Ok(())
        }
    };
}

/// A key of a workload that only the file has: whoever may label a container must not command this
/// machine.
pub(crate) const VETO_COMMAND: &str = "veto_command";

const A_DURATION: &str = "a duration such as `15m` or `1h30m`";

/// The key that is about one workload, and so can be no default.
pub(super) const NEEDS: &str = "needs";

/// The keys of a workload that the file, its `defaults` and labels share.
pub(crate) const WORKLOAD_KEYS: &[Definition<Settings>] = &[
    Definition {
        name: "idle",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(idle, duration::parse),
    },
    Definition {
        name: "sleep",
        expected: "`stop`, `pause`, `pause_then_stop` or `kill`",
        several: false,
        in_notes: true,
        set: field!(sleep, sleep),
    },
    Definition {
        name: "stop_signal",
        expected: "a signal such as `SIGINT`",
        several: false,
        in_notes: true,
        set: field!(stop_signal, signal),
    },
    Definition {
        name: "stop_timeout",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(stop_timeout, duration::parse),
    },
    Definition {
        name: "wake_timeout",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(wake_timeout, positive_duration),
    },
    Definition {
        name: "start_grace",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(start_grace, duration::parse),
    },
    Definition {
        name: "network",
        expected: "the name of one of its networks, such as `proxy`",
        several: false,
        in_notes: true,
        set: field!(network, network),
    },
    Definition {
        name: "passive_user_agents",
        expected: "a part of a `User-Agent` such as `UptimeRobot`, or several",
        several: true,
        in_notes: true,
        set: field!(passive_user_agents, user_agents),
    },
    Definition {
        name: "passive_paths",
        expected: "a path prefix such as `/healthz`, or several",
        several: true,
        in_notes: true,
        set: field!(passive_paths, paths),
    },
    Definition {
        name: "passive_methods",
        expected: "a method such as `HEAD`, or several",
        several: true,
        in_notes: true,
        set: field!(passive_methods, usage::methods),
    },
    Definition {
        name: "passive_networks",
        expected: "a network such as `10.0.0.0/8`, or several",
        several: true,
        in_notes: true,
        set: field!(passive_networks, usage::networks),
    },
    Definition {
        name: "passive_status",
        expected: "a status such as `200`",
        several: false,
        in_notes: true,
        set: field!(passive_status, usage::status),
    },
    Definition {
        name: "quiet_after",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(quiet_after, positive_duration),
    },
    Definition {
        name: "busy_cpu",
        expected: "a percentage of one core such as `5%`, or `off`",
        several: false,
        in_notes: true,
        set: field!(busy_cpu, usage::share),
    },
    Definition {
        name: "busy_network",
        expected: "bytes per second such as `10kB`, or `off`",
        several: false,
        in_notes: true,
        set: field!(busy_network, usage::rate),
    },
    Definition {
        name: "veto_path",
        expected: "a path such as `/busy`",
        several: false,
        in_notes: false,
        set: field!(veto_path, usage::asked_path),
    },
    Definition {
        name: "ha",
        expected: "`true` or `false`",
        several: false,
        in_notes: false,
        set: field!(ha, yes_or_no),
    },
    Definition {
        name: NEEDS,
        expected: "the name of a workload such as `db`, or several",
        several: true,
        in_notes: false,
        set: field!(needs, needs),
    },
    Definition {
        name: "group",
        expected: "a name such as `shop`",
        several: false,
        in_notes: false,
        set: field!(group, group),
    },
    Definition {
        name: "ready",
        expected: "`running` or `healthy`",
        several: false,
        in_notes: true,
        set: field!(ready, ready),
    },
    Definition {
        name: "min_awake",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(min_awake, duration::parse),
    },
    Definition {
        name: "stop_after",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(stop_after, duration::parse),
    },
    Definition {
        name: "circuit_after",
        expected: "a number of failures such as `5`",
        several: false,
        in_notes: true,
        set: field!(circuit_after, number_of_failures),
    },
    Definition {
        name: "circuit_for",
        expected: A_DURATION,
        several: false,
        in_notes: true,
        set: field!(circuit_for, positive_duration),
    },
    Definition {
        name: "awake",
        expected: "times such as `Mon-Fri 08:00-18:00`, or several",
        several: true,
        in_notes: true,
        set: field!(awake, read_windows),
    },
    Definition {
        name: "wake_at",
        expected: "a time such as `Mon-Fri 07:45`, or several",
        several: true,
        in_notes: true,
        set: field!(wake_at, read_occasions),
    },
    Definition {
        name: "time_zone",
        expected: "a time zone such as `Europe/Berlin`",
        several: false,
        in_notes: true,
        set: field!(time_zone, Zone::named),
    },
];

/// The keys of a route that the file and labels share.
pub(crate) const ROUTE_KEYS: &[Definition<RouteSettings>] = &[
    Definition {
        name: "host",
        expected: "a host name such as `app.example.com`, or several",
        several: true,
        in_notes: true,
        set: field!(hosts, hosts),
    },
    Definition {
        name: "path",
        expected: "a path prefix such as `/app`",
        several: false,
        in_notes: true,
        set: field!(path, path),
    },
    Definition {
        name: "port",
        expected: "a port from 1 to 65535",
        several: false,
        in_notes: true,
        set: field!(port, ports::port),
    },
    Definition {
        name: "address",
        expected: "a host name or an IP address",
        several: false,
        in_notes: false,
        set: field!(address, address),
    },
    Definition {
        name: "scheme",
        expected: "`http`, `https` or `h2c`",
        several: false,
        in_notes: true,
        set: spoken!(scheme, spoken::scheme),
    },
    Definition {
        name: "server_name",
        expected: "a host name such as `app.example.com`",
        several: false,
        in_notes: true,
        set: spoken!(server_name, address),
    },
    Definition {
        name: TRUST_ANYONE,
        expected: "`true` or `false`",
        several: false,
        in_notes: false,
        set: spoken!(trust_anyone, yes_or_no),
    },
    Definition {
        name: "strip_prefix",
        expected: "`true` or `false`",
        several: false,
        in_notes: true,
        set: spoken!(strip_prefix, yes_or_no),
    },
    Definition {
        name: "https_only",
        expected: "`true` or `false`",
        several: false,
        in_notes: true,
        set: spoken!(https_only, yes_or_no),
    },
    Definition {
        name: "tcp",
        expected: "a port such as `5432`",
        several: false,
        in_notes: false,
        set: field!(tcp, ports::listen_at),
    },
    Definition {
        name: "udp",
        expected: "a port such as `5353`",
        several: false,
        in_notes: false,
        set: field!(udp, ports::listen_at),
    },
    Definition {
        name: "sni",
        expected: "a name such as `db.example.com`, or several",
        several: true,
        in_notes: false,
        set: field!(sni, hosts),
    },
    Definition {
        name: "proxy_protocol",
        expected: "`true` or `false`",
        several: false,
        in_notes: false,
        set: field!(proxy_protocol, yes_or_no),
    },
    Definition {
        name: "send_proxy_protocol",
        expected: "`v1` or `v2`",
        several: false,
        in_notes: false,
        set: field!(send_proxy_protocol, ports::proxy_protocol),
    },
    Definition {
        name: "udp_idle",
        expected: A_DURATION,
        several: false,
        in_notes: false,
        set: field!(udp_idle, positive_duration),
    },
    Definition {
        name: "page_details",
        expected: "`true` or `false`",
        several: false,
        in_notes: false,
        set: field!(page_details, yes_or_no),
    },
    Definition {
        name: ALLOW,
        expected: "a network such as `192.168.0.0/16`, or several",
        several: true,
        in_notes: false,
        set: |route, text, origin| {
            route.access.allow = Some(Given { value: usage::networks(text)?, origin });
            Ok(())
        },
    },
];

/// What to say about a key that nobody knows.
pub(crate) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    if let Some(meant) = did_you_mean(given, known.iter().copied()) {
        return format!("unknown {what} `{given}`: did you mean `{meant}`?");
    }
    let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
    format!("unknown {what} `{given}`: expected one of {}", known.join(", "))
}

fn sleep(text: &str) -> Result<Sleep, String> {
    const WORDS: [Sleep; 4] = [Sleep::Stop, Sleep::Pause, Sleep::PauseThenStop, Sleep::Kill];
    // In labels `-` stands for `_`.
    let written = text.replace('-', "_");
    WORDS
        .into_iter()
        .find(|word| word.as_str() == written)
        .ok_or_else(|| unknown("way to sleep", text, &WORDS.map(Sleep::as_str)))
}

fn ready(text: &str) -> Result<Ready, String> {
    const WORDS: [Ready; 2] = [Ready::Running, Ready::Healthy];
    WORDS
        .into_iter()
        .find(|word| word.as_str() == text)
        .ok_or_else(|| unknown("way to be ready", text, &WORDS.map(Ready::as_str)))
}

/// Names of workloads, and of containers as engines name them.
fn needs(text: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !is_name(name) {
            let shown = name.escape_debug();
            return Err(format!(
                "`{shown}` is no name of a workload: letters, digits, `_`, `.` and `-` are expected"
            ));
        }
        if names.iter().any(|other| other == name) {
            return Err(format!("`{name}` is given twice"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn group(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    let shown = text.escape_debug();
    Err(format!("`{shown}` is no name of a group: letters, digits, `_`, `.` and `-` are expected"))
}

fn is_name(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(is_good)
}

fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|error: drowse_provider::ParseSignalError| error.to_string())
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("expected `true` or `false`, found `{}`", text.escape_debug()))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("this duration must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn number_of_failures(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!(
            "`{}` is no number of failures: a whole number from 1 on is expected",
            text.escape_debug()
        )),
    }
}

/// As engines name networks.
fn network(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_good) {
        return Ok(text.to_owned());
    }
    let shown = text.escape_debug();
    Err(format!(
        "`{shown}` is no name of a network: letters, digits, `_`, `.` and `-` are expected"
    ))
}

fn path(text: &str) -> Result<PathPrefix, String> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is no path prefix: it contains blanks", text.escape_debug()));
    }
    text.parse().map_err(|error: drowse_gateway::PathPrefixError| error.to_string())
}

fn paths(text: &str) -> Result<Vec<PathPrefix>, String> {
    text.split(',').map(|path| self::path(path.trim())).collect()
}

fn user_agents(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|agent| user_agent(agent.trim())).collect()
}

/// A part of a `User-Agent`. An empty one would be a part of them all.
fn user_agent(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        let shown = text.escape_debug();
        return Err(format!("`{shown}` is no part of a user agent: such as `UptimeRobot`"));
    }
    Ok(text.to_owned())
}

pub(super) fn hosts(text: &str) -> Result<Vec<HostPattern>, String> {
    text.split(',').map(|host| self::host(host.trim())).collect()
}

/// A host name, or one with `*` for its first part. Stricter than the gateway, which takes what
/// clients send: here a slip of the keyboard is refused with words about it.
fn host(text: &str) -> Result<HostPattern, String> {
    let refuse = |why: &str| Err(format!("`{text}` is no host name: {why}"));
    if text.is_empty() {
        return refuse("a name such as `app.example.com` is expected");
    }
    if text.contains("://") {
        return refuse("leave out the scheme");
    }
    if text.contains('/') {
        return refuse("a path has a key of its own, `path`");
    }
    let bare = text.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains('*') {
        return refuse("`*` can only stand for the first part, as in `*.example.com`");
    }
    if name.contains(':') {
        return refuse("leave out the port: the gateway's own is given by `listen`");
    }
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 || !name.split('.').all(is_part) {
        return refuse("letters, digits and `-`, in parts with dots between, are expected");
    }
    text.parse().map_err(|error: drowse_gateway::HostPatternError| error.to_string())
}

fn address(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    match host(text) {
        Ok(HostPattern::Exact(name)) => Ok(name),
        _ => Err(format!("`{text}` is no address: a host name or an IP address is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_readme() {
        let readme = include_str!("../../README.md");
        for key in WORKLOAD_KEYS {
            assert!(readme.contains(&format!("`workloads.NAME.{}`", key.name)), "{}", key.name);
            assert!(readme.contains(&format!("`drowse.{}`", key.label())), "{}", key.label());
        }
        assert!(readme.contains(&format!("`workloads.NAME.{VETO_COMMAND}`")));
        for key in ROUTE_KEYS {
            assert!(readme.contains(&format!("| `{}` |", key.name)), "{}", key.name);
            assert!(readme.contains(&format!("`drowse.{}`", key.label())), "{}", key.label());
        }
    }

    #[test]
    fn host_names_are_read_as_the_gateway_compares_them() {
        for (text, expected) in [
            ("app.example.com", vec!["app.example.com"]),
            ("App.Example.com.", vec!["app.example.com"]),
            ("*.example.com", vec!["*.example.com"]),
            ("a.example, b.example", vec!["a.example", "b.example"]),
            ("localhost", vec!["localhost"]),
            ("127.0.0.1", vec!["127.0.0.1"]),
            ("::1", vec!["[::1]"]),
        ] {
            let hosts: Vec<_> = hosts(text).unwrap().iter().map(HostPattern::to_string).collect();
            assert_eq!(hosts, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_words() {
        let words: Vec<_> = ["", "http://a", "a/b", "a:80", "*", "a.*.b", "a..b", "ä"]
            .into_iter()
            .map(|text| hosts(text).unwrap_err())
            .collect();
        insta::assert_snapshot!(words.join("\n"), @r"
        `` is no host name: a name such as `app.example.com` is expected
        `http://a` is no host name: leave out the scheme
        `a/b` is no host name: a path has a key of its own, `path`
        `a:80` is no host name: leave out the port: the gateway's own is given by `listen`
        `*` is no host name: `*` can only stand for the first part, as in `*.example.com`
        `a.*.b` is no host name: `*` can only stand for the first part, as in `*.example.com`
        `a..b` is no host name: letters, digits and `-`, in parts with dots between, are expected
        `ä` is no host name: letters, digits and `-`, in parts with dots between, are expected
        ");
    }

    #[test]
    fn what_is_passive_is_named_by_words_and_paths() {
        assert_eq!(user_agents("UptimeRobot, kube-probe").unwrap(), ["UptimeRobot", "kube-probe"]);
        let paths_read: Vec<_> =
            paths("/healthz, /metrics").unwrap().iter().map(PathPrefix::to_string).collect();
        assert_eq!(paths_read, ["/healthz", "/metrics"]);
        for wrong in ["", "a,,b", "a,", "a\u{7}b"] {
            assert!(user_agents(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "healthz", "/a,b", "/a b", "/a,"] {
            assert!(paths(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_needed_is_named_once_each() {
        assert_eq!(needs("db, /cache,ct_1").unwrap(), ["db", "cache", "ct_1"]);
        let words: Vec<_> = ["", "db,", "a b", "-x", "db, cache, db"]
            .into_iter()
            .map(|text| needs(text).unwrap_err())
            .collect();
        insta::assert_snapshot!(words.join("\n"), @r"
        `` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
        `` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
        `a b` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
        `-x` is no name of a workload: letters, digits, `_`, `.` and `-` are expected
        `db` is given twice
        ");
        assert_eq!(group("shop").unwrap(), "shop");
        insta::assert_snapshot!(
            [group("a,b").unwrap_err(), ready("health").unwrap_err()].join("\n"),
            @r"
            `a,b` is no name of a group: letters, digits, `_`, `.` and `-` are expected
            unknown way to be ready `health`: did you mean `healthy`?
            "
        );
    }

    #[test]
    fn what_a_workload_says_wins_over_its_fallback_key_by_key() {
        let given = |value| Some(Given { value, origin: Origin::Label("drowse.idle".to_owned()) });
        let ours = Settings { idle: given(Duration::from_secs(1)), ..Settings::default() };
        let theirs = Settings {
            idle: given(Duration::from_secs(2)),
            wake_timeout: given(Duration::from_secs(3)),
            ..Settings::default()
        };
        let merged = ours.or(&theirs);
        assert_eq!(merged.idle, given(Duration::from_secs(1)));
        assert_eq!(merged.wake_timeout, given(Duration::from_secs(3)));
    }
}
