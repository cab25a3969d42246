//! Listens on what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry as Place},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use drowse_gateway::{Drained, Gateway, TcpPort, TcpTable, UdpPort};
use drowse_provider::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    At, Troubles,
    wanted::{Leads, Port, Wanted, name_of},
};
use crate::{config::Problem, front, handed::HandedSockets};

/// How often a port that cannot be had is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How long whoever serves a port that was closed may take to let go of it, which it does in a task of its
/// own; and how soon one that is wanted again meanwhile is tried.
const LETTING_GO: Duration = Duration::from_secs(1);
const TRY_SOON: Duration = Duration::from_millis(20);

/// What the system keeps of packets that were not received yet: a burst, at the start of a wake.
const UDP_BUFFER: usize = 1024 * 1024;

/// Keeps the ports as they are wanted.
pub(super) struct Keeper {
    gateway: Gateway,
    handed: Arc<HandedSockets>,
    open: BTreeMap<At, Open>,
    serving: JoinSet<Drained>,
    /// Which port each of the tasks serves.
    tasks: HashMap<Id, At>,
    /// When those were closed that were a moment ago.
    closed: BTreeMap<At, Instant>,
    /// Those whose task has just panicked.
    fallen: BTreeSet<At>,
    troubles: watch::Sender<Troubles>,
    shutdown: CancellationToken,
}

/// A port that is listened on.
struct Open {
    port: OpenPort,
    /// What serves it.
    task: Id,
}

enum OpenPort {
    Tcp(TcpPort),
    Udp(UdpPort),
}

/// Why a port is not listened on.
enum Refused {
    /// It was closed a moment ago.
    NotYet,
    Because(String),
}

impl Keeper {
    pub(super) fn new(
        gateway: Gateway,
        handed: Arc<HandedSockets>,
        troubles: watch::Sender<Troubles>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            handed,
            open: BTreeMap::new(),
            serving: JoinSet::new(),
            tasks: HashMap::new(),
            closed: BTreeMap::new(),
            fallen: BTreeSet::new(),
            troubles,
            shutdown,
        }
    }

    /// Follows what is wanted until the shutdown, and returns when all that was in flight is through.
    pub(super) async fn follow(mut self, mut wanted: watch::Receiver<Wanted>) -> Drained {
        loop {
            let is_whole = self.apply(&wanted.borrow_and_update());
            let is_troubled = !self.troubles.borrow().is_empty();
            let again = Instant::now() + if is_whole { TRY_AGAIN } else { TRY_SOON };
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                changed = wanted.changed() => {
                    if changed.is_err() {
                        self.shutdown.cancelled().await;
                        break;
                    }
                }
                Some(ended) = self.serving.join_next_with_id() => self.ended(&ended),
                () = sleep_until(again), if is_troubled || !is_whole => {}
            }
        }
        let mut drained = Drained::Whole;
        while let Some(ended) = self.serving.join_next().await {
            if !matches!(ended, Ok(Drained::Whole)) {
                drained = Drained::Cut;
            }
        }
        drained
    }

    /// Ends all tasks as a panic would.
    #[cfg(test)]
    pub(super) async fn fail_all(&mut self) {
        self.serving.abort_all();
        while let Some(ended) = self.serving.join_next_with_id().await {
            self.ended(&ended);
        }
    }

    /// Makes it so, as far as it can be. `false`: it is to be tried again soon, and what is missing is no trouble so far.
    pub(super) fn apply(&mut self, wanted: &Wanted) -> bool {
        self.closed.retain(|_, closed| closed.elapsed() < LETTING_GO);
        self.open.retain(|at, open| {
            let is_wanted = wanted.0.contains_key(at);
            if !is_wanted {
                open.close();
                self.closed.insert(*at, Instant::now());
                info!(port = name_of(at), "listens there no longer");
            }
            is_wanted
        });
        let mut is_whole = true;
        let mut troubles = Troubles::new();
        for (at, port) in &wanted.0 {
            let served = if self.fallen.remove(at) {
                Err(Refused::Because(format!(
                    "what served {} has failed, which the log tells: it is tried again",
                    name_of(at)
                )))
            } else {
                self.serve(*at, port)
            };
            is_whole &= !matches!(served, Err(Refused::NotYet));
            if let Err(Refused::Because(why)) = served {
                let workloads = port.workloads.join("`, `");
                let problem = Problem::error(why).about(format!("workload `{workloads}`"));
                // A trouble that lasts was told when it began.
                if self.troubles.borrow().get(at) != Some(&problem) {
                    error!(workload = port.workloads.join(", "), "{}", problem.line());
                }
                troubles.insert(*at, problem);
            }
        }
        self.troubles.send_if_modified(|known| {
            let is_new = *known != troubles;
            *known = troubles;
            is_new
        });
        is_whole
    }

    /// Takes in that a task has ended. One that was not told to has panicked: its port is nobody's now.
    fn ended(&mut self, ended: &Result<(Id, Drained), JoinError>) {
        let id = match ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(at) = self.tasks.remove(&id) else { return };
        if ended.is_err() && self.open.get(&at).is_some_and(|open| open.task == id) {
            self.open.remove(&at);
            self.fallen.insert(at);
        }
    }

    /// Listens there, and leads to what is wanted now.
    fn serve(&mut self, at: At, port: &Port) -> Result<(), Refused> {
        let place = match self.open.entry(at) {
            Place::Vacant(place) => place,
            Place::Occupied(place) => {
                match (&place.get().port, &port.leads) {
                    (OpenPort::Tcp(open), Leads::Tcp(routes)) => open.replace(table(routes)?),
                    (OpenPort::Udp(open), Leads::Udp(route)) => open.replace(route.clone()),
                    // The transport is part of the key.
                    _ => {}
                }
                return Ok(());
            }
        };
        let refused = |error: io::Error| {
            let is_ours = error.kind() == io::ErrorKind::AddrInUse && self.closed.contains_key(&at);
            let because = || Refused::Because(explain(&at, &error, &self.handed));
            if is_ours { Refused::NotYet } else { because() }
        };
        let (gateway, shutdown) = (self.gateway.clone(), self.shutdown.clone());
        let (open, task) = match &port.leads {
            Leads::Tcp(routes) => {
                let open = TcpPort::new(table(routes)?);
                let listener = listen(&self.handed, at.1).map_err(refused)?;
                let serving = open.clone();
                let serve = async move { gateway.serve_tcp(listener, serving, shutdown).await };
                (OpenPort::Tcp(open), self.serving.spawn(serve))
            }
            Leads::Udp(route) => {
                let open = UdpPort::new(route.clone());
                let socket = bind_udp(&self.handed, at.1).map_err(refused)?;
                let serving = open.clone();
                let serve = async move {
                    gateway.serve_udp(socket, serving, shutdown).await;
                    Drained::Whole
                };
                (OpenPort::Udp(open), self.serving.spawn(serve))
            }
        };
        self.tasks.insert(task.id(), at);
        place.insert(Open { port: open, task: task.id() });
        info!(port = name_of(&at), workload = port.workloads.join(", "), "listening");
        Ok(())
    }
}

impl Open {
    fn close(&self) {
        match &self.port {
            OpenPort::Tcp(port) => port.close(),
            OpenPort::Udp(port) => port.close(),
        }
    }
}

/// The plan lets those alone share a port that can: an error would be a mistake of ours.
fn table(routes: &[drowse_gateway::TcpRoute]) -> Result<TcpTable, Refused> {
    let table = TcpTable::build(routes.iter().cloned());
    table.map_err(|conflict| Refused::Because(conflict.to_string()))
}

fn listen(handed: &HandedSockets, address: SocketAddr) -> io::Result<TcpListener> {
    match handed.listener_at(address) {
        Some(socket) => TcpListener::from_std(socket?),
        None => front::bind(address),
    }
}

fn bind_udp(handed: &HandedSockets, address: SocketAddr) -> io::Result<UdpSocket> {
    if let Some(socket) = handed.socket_at(address) {
        return UdpSocket::from_std(socket?);
    }
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // As much as the system allows.
    _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn explain(at: &At, error: &io::Error, handed: &HandedSockets) -> String {
    let (transport, address) = at;
    let kind = if *transport == Transport::Udp { "UDP" } else { "TCP" };
    let mut others = handed.bound();
    let other = others.find(|(other, bound)| other == transport && bound.port() == address.port());
    let why = match (error.kind(), other) {
        (io::ErrorKind::AddrInUse, Some((_, other))) => format!(
            "the service manager listens at {other}: let it listen where the route does, at {address}"
        ),
        _ => refusal(kind, address, error),
    };
    format!("cannot listen on {}: {why}", name_of(at))
}

fn refusal(kind: &str, address: &SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{kind} port {} is in use; stop what listens there, or choose another one",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {} is reserved; choose one from 1024 on, or give drowse the capability \
             CAP_NET_BIND_SERVICE",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!("this machine has no address {}", address.ip()),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_explained() {
        let at = (Transport::Udp, SocketAddr::from(([192, 0, 2, 1], 53)));
        let kinds = [
            io::ErrorKind::AddrInUse,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::AddrNotAvailable,
        ];
        let none = HandedSockets::default();
        let explained = kinds.map(|kind| explain(&at, &kind.into(), &none));
        insta::assert_snapshot!(explained.join("\n"), @r"
        cannot listen on udp://192.0.2.1:53: UDP port 53 is in use; stop what listens there, or choose another one
        cannot listen on udp://192.0.2.1:53: port 53 is reserved; choose one from 1024 on, or give drowse the capability CAP_NET_BIND_SERVICE
        cannot listen on udp://192.0.2.1:53: this machine has no address 192.0.2.1
        ");
    }
}
