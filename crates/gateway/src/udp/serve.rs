//! Receiving the packets of one port.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::UdpSocket, task::yield_now};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AT_A_TIME, Full, Place, UdpPort, UdpRoute,
    session::Session,
    socket::{Buffer, Client, PortSocket},
};
use crate::{Gateway, gateway::Inner, sources::source_of};

/// A client that has said something after a reply, not longer ago than this, stays.
const IN_USE: Duration = Duration::from_secs(10);

/// The sessions of one port.
pub(super) struct Sessions {
    gateway: Arc<Inner>,
    socket: PortSocket,
    port: UdpPort,
    open: Mutex<HashMap<Client, Arc<Session>>>,
    tasks: TaskTracker,
    /// Ends all of them.
    end: CancellationToken,
}

impl Gateway {
    /// Passes packets on by the route of `port` until it is [closed](UdpPort::close) or `shutdown`,
    /// and returns when all sessions have ended. Nothing tells whether an exchange of packets is
    /// complete: both end them at once.
    ///
    /// At most [`GatewayOptions::max_udp_sessions`](crate::GatewayOptions::max_udp_sessions) sessions
    /// of all ports, half of them of one; for a further client another's session ends, unless all are
    /// in use. Dropping the future ends the port as well.
    pub async fn serve_udp(&self, socket: UdpSocket, port: UdpPort, shutdown: CancellationToken) {
        let end = CancellationToken::new();
        let _end_when_dropped = end.clone().drop_guard();
        let sessions = Arc::new(Sessions {
            gateway: Arc::clone(self.inner()),
            socket: PortSocket::new(socket),
            port: port.clone(),
            open: Mutex::default(),
            tasks: TaskTracker::new(),
            end: end.clone(),
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = port.closed().cancelled() => {}
            () = sessions.receive() => {}
        }
        end.cancel();
        sessions.tasks.close();
        sessions.tasks.wait().await;
    }
}

impl Sessions {
    /// Never returns by itself.
    async fn receive(self: &Arc<Self>) {
        let mut buffer = Buffer::new();
        loop {
            if let Err(error) = self.socket.readable().await {
                tell(&error);
            }
            self.receive_some(&mut buffer);
            yield_now().await;
        }
    }

    /// Takes what there is, within a bound.
    fn receive_some(self: &Arc<Self>, buffer: &mut Buffer) {
        for _ in 0..AT_A_TIME {
            match self.socket.try_receive(buffer) {
                Ok((client, length)) => self.pass(client, buffer.packet(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return tell(&error),
            }
        }
    }

    fn pass(self: &Arc<Self>, client: Client, packet: &[u8]) {
        let known = self.open().get(&client).cloned();
        if known.is_some_and(|session| session.take(packet)) {
            return;
        }
        let route = self.port.route();
        let address = client.peer.ip();
        if !route.spec().networks.contain(address) {
            tracing::debug!(route = route.spec().name, client = %address, "a packet may not enter");
            return;
        }
        if let Some(session) = self.begin(client, route) {
            session.take(packet);
        }
    }

    /// A session for a new client, if there is a place for it or one can be made.
    fn begin(self: &Arc<Self>, client: Client, route: UdpRoute) -> Option<Arc<Session>> {
        let place = self.place(client.peer.ip())?;
        let cut = self.end.child_token();
        let session = Session::new(&self.gateway, route, client, place, cut);
        let session = Arc::new(session);
        self.open().insert(client, Arc::clone(&session));
        let (sessions, running) = (Arc::clone(self), Arc::clone(&session));
        self.tasks.spawn(async move {
            tokio::select! {
                () = running.run(&sessions.gateway, &sessions.socket) => {}
                () = running.cut.cancelled() => running.end(),
            }
            // There may be another by now, of the same client.
            if let Entry::Occupied(entry) = sessions.open().entry(client)
                && Arc::ptr_eq(entry.get(), &running)
            {
                entry.remove();
            }
        });
        Some(session)
    }

    /// A place for a client from this address; if need be another's, which ends for it.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let options = self.gateway.options();
        let enter = || {
            if self.open().len() >= options.max_udp_sessions.div_ceil(2) {
                return Err(Full::InAll);
            }
            self.gateway.udp.enter(address, &options)
        };
        let full = match enter() {
            Ok(place) => return Some(place),
            Err(full) => full,
        };
        let of_source = (full == Full::OfSource).then_some(address);
        let gave_way = self.make_room(of_source);
        if self.gateway.udp.crowded.is_due() {
            let (all, of_source) = (options.max_udp_sessions, options.max_udp_sessions_per_source);
            tracing::warn!(
                all,
                of_source,
                peer = %address.to_canonical(),
                gave_way,
                "no place for further UDP sessions: those that are quiet for longest end for them"
            );
        }
        enter().ok()
    }

    /// Ends the session, of this source if one is given, that is worth least; `false` if all are in use.
    fn make_room(&self, of_source: Option<IpAddr>) -> bool {
        let of_source = of_source.map(source_of);
        let mut open = self.open();
        let least = open
            .values()
            .filter(|session| of_source.is_none_or(|it| it == source_of(session.client.peer.ip())))
            .min_by_key(|session| session.worth());
        let Some(session) = least.cloned() else { return false };
        let (is_established, last) = session.worth();
        if is_established && last.elapsed() < IN_USE {
            return false;
        }
        open.remove(&session.client);
        drop(open);
        // Its place is free at once; its task follows.
        session.end();
        session.cut.cancel();
        true
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Client, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(error: &io::Error) {
    // Of a client that could not be replied to, for example.
    tracing::debug!(error = error as &dyn std::error::Error, "no packet could be received");
}
