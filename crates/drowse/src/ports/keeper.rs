//! Listens on what is wanted.

use std::{
    collections::{BTreeMap, btree_map::Entry as Place},
    io,
    net::SocketAddr,
    time::Duration,
};

use drowse_gateway::{Drained, Gateway, TcpPort, TcpTable, UdpPort};
use drowse_provider::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    At, Troubles,
    wanted::{Leads, Port, Wanted, name_of},
};
use crate::{config::Problem, front};

/// How often a port that cannot be had is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What the system keeps of packets that were not received yet: a burst, at the start of a wake.
const UDP_BUFFER: usize = 1024 * 1024;

/// Keeps the ports as they are wanted.
pub(super) struct Keeper {
    gateway: Gateway,
    open: BTreeMap<At, Open>,
    serving: JoinSet<Drained>,
    troubles: watch::Sender<Troubles>,
    shutdown: CancellationToken,
}

/// A port that is listened on.
enum Open {
    Tcp(TcpPort),
    Udp(UdpPort),
}

impl Keeper {
    pub(super) fn new(
        gateway: Gateway,
        troubles: watch::Sender<Troubles>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { gateway, open: BTreeMap::new(), serving: JoinSet::new(), troubles, shutdown }
    }

    /// Follows what is wanted until the shutdown, and returns when all that was in flight is through.
    pub(super) async fn follow(mut self, mut wanted: watch::Receiver<Wanted>) -> Drained {
        loop {
            self.apply(&wanted.borrow_and_update());
            let again = Instant::now() + TRY_AGAIN;
            let is_troubled = !self.troubles.borrow().is_empty();
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                changed = wanted.changed() => {
                    if changed.is_err() {
                        self.shutdown.cancelled().await;
                        break;
                    }
                }
                Some(_) = self.serving.join_next() => {}
                () = sleep_until(again), if is_troubled => {}
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

    fn apply(&mut self, wanted: &Wanted) {
        self.open.retain(|at, open| {
            let is_wanted = wanted.0.contains_key(at);
            if !is_wanted {
                open.close();
                info!(port = name_of(at), "listens there no longer");
            }
            is_wanted
        });
        let mut troubles = Troubles::new();
        for (at, port) in &wanted.0 {
            if let Err(why) = self.serve(*at, port) {
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
    }

    /// Listens there, and leads to what is wanted now.
    fn serve(&mut self, at: At, port: &Port) -> Result<(), String> {
        match (self.open.entry(at), &port.leads) {
            (Place::Occupied(place), leads) => match (place.get(), leads) {
                (Open::Tcp(open), Leads::Tcp(routes)) => open.replace(table(routes)?),
                (Open::Udp(open), Leads::Udp(route)) => open.replace(route.clone()),
                // The transport is part of the key.
                _ => {}
            },
            (Place::Vacant(place), Leads::Tcp(routes)) => {
                let open = TcpPort::new(table(routes)?);
                let listener = front::bind(at.1).map_err(|error| explain(&at, &error))?;
                let (gateway, shutdown) = (self.gateway.clone(), self.shutdown.clone());
                let serving = open.clone();
                self.serving
                    .spawn(async move { gateway.serve_tcp(listener, serving, shutdown).await });
                place.insert(Open::Tcp(open));
                tell_of(&at, port);
            }
            (Place::Vacant(place), Leads::Udp(route)) => {
                let open = UdpPort::new(route.clone());
                let socket = bind_udp(at.1).map_err(|error| explain(&at, &error))?;
                let (gateway, shutdown) = (self.gateway.clone(), self.shutdown.clone());
                let serving = open.clone();
                self.serving.spawn(async move {
                    gateway.serve_udp(socket, serving, shutdown).await;
                    Drained::Whole
                });
                place.insert(Open::Udp(open));
                tell_of(&at, port);
            }
        }
        Ok(())
    }
}

impl Open {
    fn close(&self) {
        match self {
            Self::Tcp(port) => port.close(),
            Self::Udp(port) => port.close(),
        }
    }
}

fn tell_of(at: &At, port: &Port) {
    info!(port = name_of(at), workload = port.workloads.join(", "), "listening");
}

/// The plan lets those alone share a port that can: an error would be a mistake of ours.
fn table(routes: &[drowse_gateway::TcpRoute]) -> Result<TcpTable, String> {
    TcpTable::build(routes.iter().cloned()).map_err(|conflict| conflict.to_string())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // As much as the system allows.
    _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn explain((transport, address): &At, error: &io::Error) -> String {
    let kind = if *transport == Transport::Udp { "UDP" } else { "TCP" };
    let why = match error.kind() {
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
    };
    format!("cannot listen on {}: {why}", name_of(&(*transport, *address)))
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
        let explained = kinds.map(|kind| explain(&at, &kind.into()));
        insta::assert_snapshot!(explained.join("\n"), @r"
        cannot listen on udp://192.0.2.1:53: UDP port 53 is in use; stop what listens there, or choose another one
        cannot listen on udp://192.0.2.1:53: port 53 is reserved; choose one from 1024 on, or give drowse the capability CAP_NET_BIND_SERVICE
        cannot listen on udp://192.0.2.1:53: this machine has no address 192.0.2.1
        ");
    }
}
