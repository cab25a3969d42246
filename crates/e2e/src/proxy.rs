//! A filtering proxy before an engine's socket, as cautious people have one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::wait::{DEADLINE, eventually, free_port, scratch_folder};

/// What may pass, by the names that the usual images have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// `CONTAINERS`: everything below `/containers`, as far as the method may pass.
    Containers,
    /// `EVENTS`.
    Events,
    /// `INFO`.
    Info,
    /// `NETWORKS`.
    Networks,
    /// `VERSION`.
    Version,
    /// `POST`: also other methods than `GET`.
    Post,
    /// `ALLOW_START`.
    Start,
    /// `ALLOW_STOP`.
    Stop,
    /// `ALLOW_RESTARTS`: stop, restart and kill.
    Restarts,
    /// `ALLOW_PAUSE`.
    Pause,
    /// `ALLOW_UNPAUSE`.
    Unpause,
}

/// Which comes first: `POST`, or what is allowed by name. Their rules are else the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// `lscr.io/linuxserver/socket-proxy`: orders that are allowed by name need no `POST`.
    Names,
    /// `tecnativa/docker-socket-proxy`: without `POST` there are no orders at all; with it,
    /// everything below a section that is allowed.
    Post,
}

/// `HAProxy` with the rules of those images, at a port of the loopback.
#[derive(Debug)]
pub struct SocketProxy {
    address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl SocketProxy {
    /// One that lets these pass to this socket, and cuts a stream of events as soon as it has been
    /// silent for two seconds (those images: for ten minutes).
    ///
    /// # Panics
    /// If there is no `HAProxy`, or it does not listen within the usual deadline.
    pub async fn start(socket: &Path, precedence: Precedence, rights: &[Right]) -> Self {
        let folder = scratch_folder();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, config(address, socket, &rules(precedence, rights)))
            .expect("the proxy's configuration to be written");
        let process = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("haproxy to start");
        eventually(DEADLINE, "the socket proxy to listen", || async move {
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self { address, _process: process, _folder: folder }
    }

    /// The URL to give to drowse.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

fn config(address: SocketAddr, socket: &Path, rules: &str) -> String {
    let socket = socket.display();
    format!(
        "global\n  maxconn 200\n\
         defaults\n  mode http\n  option http-server-close\n  timeout connect 10s\n  \
         timeout client 10m\n  timeout server 10m\n\
         frontend proxy\n  bind {address}\n{rules}  http-request deny\n  \
         use_backend events if {{ path_reg ^(/v[0-9.]+)?/events }}\n  default_backend engine\n\
         backend engine\n  server engine unix@{socket}\n\
         backend events\n  timeout server 2s\n  server engine unix@{socket}\n"
    )
}

/// In HAProxy's words: the first that fits counts.
fn rules(precedence: Precedence, rights: &[Right]) -> String {
    let orders = rights.iter().filter_map(|right| right.order());
    let orders: String =
        orders.map(|order| allow(&format!("containers/[a-zA-Z0-9_.-]+/{order}"))).collect();
    let sections: String = rights.iter().filter_map(|right| right.section()).map(allow).collect();
    let only_reads = if rights.contains(&Right::Post) {
        String::new()
    } else {
        "  http-request deny unless METH_GET\n".to_owned()
    };
    match precedence {
        Precedence::Names => [orders, only_reads, sections].concat(),
        Precedence::Post => [only_reads, orders, sections].concat(),
    }
}

fn allow(path: &str) -> String {
    format!("  http-request allow if {{ path_reg ^(/v[0-9.]+)?/{path} }}\n")
}

impl Right {
    /// The orders that it allows by name.
    fn order(self) -> Option<&'static str> {
        match self {
            Self::Start => Some("start"),
            Self::Stop => Some("stop"),
            Self::Restarts => Some("(stop|restart|kill)"),
            Self::Pause => Some("pause"),
            Self::Unpause => Some("unpause"),
            _ => None,
        }
    }

    /// The section of the API that it opens.
    fn section(self) -> Option<&'static str> {
        match self {
            Self::Containers => Some("containers"),
            Self::Events => Some("events"),
            Self::Info => Some("info"),
            Self::Networks => Some("networks"),
            Self::Version => Some("version"),
            _ => None,
        }
    }
}
