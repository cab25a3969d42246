//! A workload behind a TCP or a UDP port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use drowse_gateway::{
    Chooser, Drained, Gateway, GatewayOptions, TcpPort, TcpRoute, TcpRouteSpec, TcpTable, UdpPort,
    UdpRoute, UdpRouteSpec, UpstreamPolicy, Vantage,
};
use drowse_provider::{
    Action, Capabilities, Engine, Port, Reach, Reference, Transport,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use drowse_watcher::{PhaseName, Policy, ReadyWhenRunning, Workload, WorkloadSpec};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::client::{eventually, soon};

/// A workload that sleeps, and is ready as soon as it runs.
pub(crate) struct Sleeper {
    pub(crate) container: ScriptedContainer,
    pub(crate) workload: Workload,
    pub(crate) chooser: Chooser,
}

impl Sleeper {
    /// Its application is at `application`, on the loopback.
    pub(crate) async fn new(name: &str, transport: Transport, application: SocketAddr) -> Self {
        Self::with_idle(name, transport, application, Duration::from_hours(1)).await
    }

    pub(crate) async fn with_idle(
        name: &str,
        transport: Transport,
        application: SocketAddr,
        idle: Duration,
    ) -> Self {
        let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
        let container = engine.add(name);
        let mut policy = UpstreamPolicy::new();
        policy.transport = transport;
        let handle: Arc<dyn Engine> = Arc::new(engine.clone());
        let chooser = Chooser::new(handle, Vantage::Host, policy);
        let provider = engine.provider(&Reference::Name(name.into())).unwrap();
        let (readiness, policy) = (Arc::new(ReadyWhenRunning), Policy::new(idle));
        let workload = Workload::spawn(WorkloadSpec::new(name, provider, readiness, policy));
        let sleeper = Self { container, workload, chooser };
        sleeper.moves_to(transport, application);
        sleeper.is(PhaseName::Asleep).await;
        sleeper
    }

    /// Its application is there from its next run on.
    pub(crate) fn moves_to(&self, transport: Transport, application: SocketAddr) {
        let number = application.port();
        self.container.set_details(|details| details.exposed = vec![Port { number, transport }]);
    }

    /// It never starts.
    pub(crate) fn hangs(self) -> Self {
        self.container.always(Action::Start, Step::hang());
        self
    }

    pub(crate) async fn is(&self, phase: PhaseName) {
        soon(self.workload.watch().wait_for(|now| now.phase == phase)).await.unwrap();
    }

    pub(crate) async fn has_leases(&self, leases: u32) {
        eventually(&format!("{leases} leases"), || self.workload.leases() == leases).await;
    }

    pub(crate) async fn has_waiting(&self, waiting: usize) {
        soon(self.workload.watch().wait_for(|now| now.waiting == waiting)).await.unwrap();
    }

    pub(crate) fn starts(&self) -> usize {
        self.container.calls(Action::Start)
    }

    pub(crate) fn tcp(&self) -> TcpRouteSpec {
        TcpRouteSpec::new(self.workload.name(), self.workload.clone(), self.chooser.clone())
    }

    pub(crate) fn udp(&self) -> UdpRouteSpec {
        UdpRouteSpec::new(self.workload.name(), self.workload.clone(), self.chooser.clone())
    }
}

/// A TCP port that is served.
pub(crate) struct ServedTcp {
    pub(crate) gateway: Gateway,
    pub(crate) port: TcpPort,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<Drained>,
}

impl ServedTcp {
    pub(crate) async fn new(routes: impl IntoIterator<Item = TcpRouteSpec>) -> Self {
        Self::with(GatewayOptions::new(), routes).await
    }

    pub(crate) async fn with(
        options: GatewayOptions,
        routes: impl IntoIterator<Item = TcpRouteSpec>,
    ) -> Self {
        let gateway = Gateway::new(options);
        let table = TcpTable::build(routes.into_iter().map(TcpRoute::new)).unwrap();
        let port = TcpPort::new(table);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (gateway, port, shutdown) = (gateway.clone(), port.clone(), shutdown.clone());
            async move { gateway.serve_tcp(listener, port, shutdown).await }
        });
        Self { gateway, port, address, shutdown, serving }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A UDP port that is served.
pub(crate) struct ServedUdp {
    pub(crate) gateway: Gateway,
    pub(crate) port: UdpPort,
    pub(crate) address: SocketAddr,
    pub(crate) serving: JoinHandle<()>,
    _end: tokio_util::sync::DropGuard,
}

impl ServedUdp {
    pub(crate) async fn new(gateway: Gateway, route: UdpRouteSpec) -> Self {
        Self::at("127.0.0.1:0", gateway, route).await
    }

    pub(crate) async fn at(address: &str, gateway: Gateway, route: UdpRouteSpec) -> Self {
        let port = UdpPort::new(UdpRoute::new(route));
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let end = shutdown.clone().drop_guard();
        let (serves, served) = (gateway.clone(), port.clone());
        let serving = tokio::spawn(async move { serves.serve_udp(socket, served, shutdown).await });
        Self { gateway, port, address, serving, _end: end }
    }

    /// A client of it, at an address of its own.
    pub(crate) async fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(self.address).await.unwrap();
        client
    }
}

/// A UDP port that is kept from others: who sends there is told that nobody listens.
pub(crate) struct Reserved {
    pub(crate) address: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = reusable(([127, 0, 0, 1], 0).into());
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        // It hears nobody but itself.
        socket.connect(&address.into()).unwrap();
        Self { address, _socket: socket }
    }

    /// From now on somebody listens, until this is dropped.
    pub(crate) fn listen(&self) -> UdpSocket {
        UdpSocket::from_std(reusable(self.address).into()).unwrap()
    }
}

fn reusable(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}
