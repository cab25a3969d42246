//! What is learnt about an engine on the way: its API version, whether it is rootless, its
//! networks.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use bollard::models::SystemVersion;
use drowse_provider::{Action, Capabilities, Deadline, Error, ErrorKind, Reach, Support};
use http::response::Parts;
use jiff::Timestamp;
use rustix::system::uname;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    client::{Call, Client},
    endpoint::{Endpoint, is_this_machine},
    wire::Info,
};

/// The oldest API that has what is needed: Docker 20.10, Podman 4.
const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };
/// The first one whose `stop` takes a signal: Docker 23. Older ones ignore it in silence.
const STOP_SIGNAL: ApiVersion = ApiVersion { major: 1, minor: 42 };

/// What `/version` and `/info` may take.
const ABOUT_MAX: usize = 1024 * 1024;
/// How long is waited for what an engine says of itself.
const ABOUT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it is believed that an engine says nothing of itself.
const SILENT_FOR: Duration = Duration::from_mins(1);
/// How long it is believed that the networks may not be read.
const FORBIDDEN_FOR: Duration = Duration::from_mins(1);

/// The version of an engine's API. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// What is known of an engine so far.
#[derive(Default)]
pub(crate) struct Facts {
    /// [`NOT_ASKED`], [`NOT_TOLD`] or major and minor version, sixteen bits each.
    api: AtomicU32,
    /// The engine's own time of its last answer, in seconds since 1970; 0 if it tells none.
    engine_time: AtomicI64,
    is_podman: AtomicBool,
    /// `None` inside: it may not be read.
    host: OnceCell<Option<Host>>,
    /// When it was asked for that last and answered nothing in time.
    silent_at: Mutex<Option<Instant>>,
    networks: Mutex<Networks>,
}

const NOT_ASKED: u32 = 0;
const NOT_TOLD: u32 = 1;

/// What is learnt of the machine that an engine runs on.
struct Host {
    name: String,
    /// Whether container addresses mean the same here as to the engine.
    is_ours: bool,
}

#[derive(Default)]
struct Networks {
    drivers: BTreeMap<String, String>,
    forbidden_at: Option<Instant>,
}

/// The header in which every answer of Podman's tells its own version.
const PODMANS_OWN: &str = "libpod-api-version";

impl Networks {
    /// Podman lists its default network under Docker's name for it, and says the real one (as a
    /// rule `podman`) everywhere else: `names`, of networks that are there.
    fn name_podmans_default(&mut self, names: &[&str]) {
        if let Some(driver) = self.drivers.get("bridge").cloned() {
            let unknown = || names.iter().filter(|name| !self.drivers.contains_key(**name));
            // Of several nobody knows which it is: a proxy may have left some out.
            if let (Some(name), 1) = (unknown().next(), unknown().count()) {
                self.drivers.insert((*name).to_owned(), driver);
            }
        }
    }
}

impl Facts {
    /// Takes what the headers of any answer tell.
    pub(crate) fn note(&self, head: &Parts) {
        let header = head.headers.get("api-version").and_then(|value| value.to_str().ok());
        if let Some(version) = header.and_then(ApiVersion::parse) {
            self.set_api(version);
        }
        if head.headers.contains_key(PODMANS_OWN) {
            self.is_podman.store(true, Ordering::Relaxed);
        }
        if let Some(time) = date_of(head) {
            self.engine_time.store(time.as_second(), Ordering::Relaxed);
        }
    }

    /// The engine's own time of its last answer, if it told.
    pub(crate) fn engine_time(&self) -> Option<Timestamp> {
        let seconds = self.engine_time.load(Ordering::Relaxed);
        (seconds != 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
    }

    /// Whether it is Podman, as far as any answer told. Only for what no state tells.
    pub(crate) fn is_podman(&self) -> bool {
        self.is_podman.load(Ordering::Relaxed)
    }

    fn set_api(&self, version: ApiVersion) {
        let packed = u32::from(version.major) << 16 | u32::from(version.minor);
        self.api.store(packed, Ordering::Relaxed);
    }

    fn api(&self) -> Option<ApiVersion> {
        match self.api.load(Ordering::Relaxed) {
            NOT_ASKED | NOT_TOLD => None,
            packed => {
                let [major_high, major_low, minor_high, minor_low] = packed.to_be_bytes();
                Some(ApiVersion {
                    major: u16::from_be_bytes([major_high, major_low]),
                    minor: u16::from_be_bytes([minor_high, minor_low]),
                })
            }
        }
    }

    /// What it can do; an engine that was never reached, what its newest release can.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all();
        if self.api.load(Ordering::Relaxed) != NOT_ASKED && !self.stop_takes_signal() {
            capabilities.stop_signal = Support::No(NO_STOP_SIGNAL.into());
        }
        capabilities
    }

    /// Whether `stop` takes a signal. An engine that hides its version may be of any, and Podman's
    /// takes none, whichever version it speaks.
    pub(crate) fn stop_takes_signal(&self) -> bool {
        !self.is_podman() && self.api().is_some_and(|version| version >= STOP_SIGNAL)
    }

    /// From where its containers can be dialled, as far as is known, if it is on this host
    /// (`None`: on this machine).
    pub(crate) fn reach(&self, endpoint: &Endpoint, host: Option<String>) -> Reach {
        if let Some(host) = host.filter(|host| !is_this_machine(host)) {
            return Reach::Remote(host);
        }
        let is_ours = match self.host.get() {
            Some(Some(host)) => host.is_ours,
            Some(None) | None => endpoint.is_owned_by_root(),
        };
        if is_ours { Reach::Local } else { Reach::LocalPublishedOnly }
    }

    /// What its machine calls itself, as far as is known.
    pub(crate) fn machine(&self) -> Option<&str> {
        let host = self.host.get()?.as_ref()?;
        (!host.name.is_empty()).then_some(host.name.as_str())
    }

    fn silent_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an engine before API 1.42, or Podman, refuses a stop signal, and what to do instead.
pub(crate) const NO_STOP_SIGNAL: &str = "Podman, and Docker before 23 (API 1.42), ignore a stop \
    signal, and restart the container if it is sent with `kill`: give the container that stop \
    signal (`--stop-signal`) or the restart policy `no` (on Docker also `unless-stopped`)";

/// The engine's own time of an answer.
fn date_of(head: &Parts) -> Option<Timestamp> {
    let date = head.headers.get(http::header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

impl Client {
    /// Makes sure that the engine was asked for its version, so that an order never goes to one
    /// that is too old.
    pub(crate) async fn learn_version(&self, call: Call<'_>) -> Result<(), Error> {
        if self.facts.api.load(Ordering::Relaxed) == NOT_ASKED {
            self.ask_version(call).await?;
        }
        self.check_version(call)
    }

    /// Asks the engine for its version, and so for its time.
    pub(crate) async fn ask_version(&self, call: Call<'_>) -> Result<(), Error> {
        match self.get(call, "/version", ABOUT_MAX).await {
            Ok(answer) => {
                let told = serde_json::from_slice::<SystemVersion>(&answer.body)
                    .ok()
                    .and_then(|version| ApiVersion::parse(&version.api_version?));
                if let Some(version) = told {
                    self.facts.set_api(version);
                }
            }
            // It need not be permitted: every answer's headers tell as well.
            Err(error) if matches!(error.kind(), ErrorKind::Forbidden { .. }) => {}
            Err(error) => return Err(error),
        }
        _ = self.facts.api.compare_exchange(
            NOT_ASKED,
            NOT_TOLD,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.check_version(call)
    }

    /// Refuses an engine that is too old.
    pub(crate) fn check_version(&self, call: Call<'_>) -> Result<(), Error> {
        match self.facts.api() {
            Some(version) if version < OLDEST => {
                let ApiVersion { major, minor } = version;
                let why = format!(
                    "the engine speaks API {major}.{minor}, and 1.41 is needed: update it to \
                     Docker 20.10, Podman 4 or newer"
                );
                Err(self.error(call, ErrorKind::Unsupported { why }))
            }
            _ => Ok(()),
        }
    }

    /// Learns once what the engine's machine calls itself, and whether container addresses mean the
    /// same here as to the engine: not if it is rootless, nor if the port of ours at which it answers
    /// is forwarded to another machine. That it may not be asked is an answer; that it does not answer
    /// is none, and the next caller asks again: after a minute, if it was waited for.
    pub(crate) async fn learn_reach(&self, deadline: Deadline) {
        // Reads wait for it, and an engine is known to hang on this call alone.
        let deadline = Deadline::after(deadline.remaining().min(ABOUT_TIMEOUT));
        let call = Call::about_engine(Action::Connect, deadline);
        let ask = async || {
            // Whoever waited for another one's question need not wait again.
            if self.facts.silent_at().is_some_and(|at| at.elapsed() < SILENT_FOR) {
                return Err(());
            }
            match self.read::<Info>(call, "/info", ABOUT_MAX).await {
                Ok(info) => {
                    // An alias of ssh is known for what it is once it was dialled.
                    let host = self.transport.host();
                    let is_rootless = info.rootless
                        || info.security_options.iter().any(|option| option == "name=rootless");
                    let is_here = host.as_deref().is_none_or(|host| {
                        is_this_machine(host)
                            && info.name.as_bytes() == uname().nodename().to_bytes()
                    });
                    Ok(Some(Host { name: info.name, is_ours: is_here && !is_rootless }))
                }
                Err(error) if error.is_outcome_unknown() => {
                    if matches!(error.kind(), ErrorKind::Timeout { .. }) {
                        *self.facts.silent_at() = Some(Instant::now());
                    }
                    Err(())
                }
                Err(_) => Ok(None),
            }
        };
        _ = self.facts.host.get_or_try_init(ask).await;
    }

    /// The drivers of these networks, as far as they may be read.
    pub(crate) async fn drivers_of(
        &self,
        names: &[&str],
        deadline: Deadline,
    ) -> BTreeMap<String, String> {
        let must_ask = {
            let networks = self.facts.networks();
            let is_forbidden = networks.forbidden_at.is_some_and(|at| at.elapsed() < FORBIDDEN_FOR);
            let is_known = |name: &&str| networks.drivers.contains_key(*name);
            !is_forbidden && !names.iter().filter(|name| predefined(name).is_none()).all(is_known)
        };
        if must_ask {
            let answer = self.networks(Call::about_engine(Action::Inspect, deadline)).await;
            let mut networks = self.facts.networks();
            match answer {
                Ok(lines) => {
                    networks.forbidden_at = None;
                    networks.drivers =
                        lines.into_iter().map(|line| (line.name, line.driver)).collect();
                    if self.facts.is_podman() {
                        networks.name_podmans_default(names);
                    }
                }
                Err(error) if error.is_outcome_unknown() => {}
                Err(_) => networks.forbidden_at = Some(Instant::now()),
            }
        }
        let networks = self.facts.networks();
        let driver_of = |name: &str| {
            predefined(name).map(str::to_owned).or_else(|| networks.drivers.get(name).cloned())
        };
        names.iter().filter_map(|name| Some(((*name).to_owned(), driver_of(name)?))).collect()
    }
}

/// The networks that every Docker engine has, which nobody can remake with another driver.
fn predefined(name: &str) -> Option<&'static str> {
    match name {
        "bridge" => Some("bridge"),
        "host" => Some("host"),
        "none" => Some("null"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text| ApiVersion::parse(text).unwrap();
        assert!(parse("1.9") < OLDEST && OLDEST < parse("1.100"));
        assert_eq!(ApiVersion::parse("two"), None);
    }

    #[test]
    fn an_engines_time_is_read_from_its_answers() {
        let answer = http::Response::builder().header("Date", "Tue, 03 Nov 2026 08:49:37 GMT");
        let (head, ()) = answer.body(()).unwrap().into_parts();
        assert_eq!(date_of(&head), Some("2026-11-03T08:49:37Z".parse().unwrap()));
    }

    #[test]
    fn podman_is_known_by_its_header_and_takes_no_stop_signal_whatever_it_speaks() {
        let facts = Facts::default();
        for (header, takes) in [("server", true), (PODMANS_OWN, false)] {
            let answer = http::Response::builder().header("Api-Version", "1.44");
            let (head, ()) = answer.header(header, "5.0.0").body(()).unwrap().into_parts();
            facts.note(&head);
            assert_eq!(facts.stop_takes_signal(), takes, "{header}");
        }
    }

    #[test]
    fn podmans_default_network_is_found_under_its_real_name() {
        let drivers = [("bridge", "bridge"), ("lan", "macvlan")];
        let drivers = drivers.map(|(name, driver)| (name.to_owned(), driver.to_owned())).into();
        let mut networks = Networks { drivers, forbidden_at: None };
        networks.name_podmans_default(&["podman", "lan"]);
        assert_eq!(networks.drivers["podman"], "bridge");
        assert_eq!(networks.drivers["lan"], "macvlan");
    }

    #[test]
    fn a_remote_engine_is_never_local() {
        let reach = |url: &str| {
            let endpoint = Endpoint::of(&url.into()).unwrap();
            Facts::default().reach(&endpoint, endpoint.host().map(str::to_owned))
        };
        assert_eq!(reach("tcp://nas:2375"), Reach::Remote("nas".to_owned()));
        assert_eq!(reach("ssh://me@nas"), Reach::Remote("nas".to_owned()));
        assert_eq!(reach("tcp://127.0.0.1:2375"), Reach::LocalPublishedOnly, "not asked yet");
        assert_eq!(reach("/nowhere/docker.sock"), Reach::LocalPublishedOnly);
    }
}
