//! What one run of the application knows of itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clock::Stamp;
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    started: Stamp,
    listening: OnceLock<(Stamp, Instant)>,
    first_connection: OnceLock<Stamp>,
    first_request: OnceLock<Stamp>,
    connections: AtomicU64,
    requests: AtomicU64,
    hups: AtomicU64,
    healthy: AtomicBool,
}

impl App {
    pub(crate) fn new(settings: Settings, started: Stamp) -> Self {
        Self {
            settings,
            started,
            listening: OnceLock::new(),
            first_connection: OnceLock::new(),
            first_request: OnceLock::new(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            hups: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
        }
    }

    /// To be called right after `listen()` has returned.
    pub(crate) fn now_listening(&self) {
        self.listening.get_or_init(|| (Stamp::now(), Instant::now()));
    }

    pub(crate) fn connected(&self) {
        self.first_connection.get_or_init(Stamp::now);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requested(&self) {
        self.first_request.get_or_init(Stamp::now);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hung_up(&self) {
        self.hups.fetch_add(1, Ordering::Relaxed);
    }

    fn since_listen(&self) -> Option<Duration> {
        self.listening.get().map(|(_, at)| at.elapsed())
    }

    /// Whether `ACCEPT_THEN_CLOSE_MS` is still running.
    pub(crate) fn closes_connections(&self) -> bool {
        self.since_listen().is_none_or(|passed| passed < self.settings.accept_then_close)
    }

    /// Whether `READY_DELAY_MS` has passed.
    pub(crate) fn is_ready(&self) -> bool {
        self.since_listen().is_some_and(|passed| passed >= self.settings.ready_delay)
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_ready() && self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn set_healthy(&self, up: bool) {
        self.healthy.store(up, Ordering::Relaxed);
    }

    /// The instant of the start: process ids repeat inside containers, wall clock nanoseconds
    /// do not.
    pub(crate) fn run(&self) -> String {
        format!("{:x}", self.started.realtime_ns)
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "drowse-testapp {}\nhost {}\npid {}\nrun {}\nrequests {}\n",
            self.settings.name,
            rustix::system::uname().nodename().to_string_lossy(),
            std::process::id(),
            self.run(),
            self.requests.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn stamps(&self) -> Value {
        let stamp = |cell: &OnceLock<Stamp>| cell.get().map(|stamp| stamp.to_json());
        json!({
            "run": self.run(),
            "pid": std::process::id(),
            "process_start": self.started.to_json(),
            "listen": self.listening.get().map(|(stamp, _)| stamp.to_json()),
            "first_connection": stamp(&self.first_connection),
            "first_request": stamp(&self.first_request),
            "connections": self.connections.load(Ordering::Relaxed),
            "requests": self.requests.load(Ordering::Relaxed),
            "hups": self.hups.load(Ordering::Relaxed),
        })
    }
}
