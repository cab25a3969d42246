//! The way of a connection: to its route, to a lease, to the upstream, and until its end.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use drowse_provider::Deadline;
use drowse_watcher::{Lease, LeaseKind, ReadyRun, WakeError};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout, timeout_at},
};

use super::{
    TcpPort, TcpRoute,
    early::{Early, Gone},
    hello::{self, Asks, Hello, HelloError, UNRECOGNIZED_NAME},
    socket::Socket,
    trial::{self, Outcome},
};
use crate::{
    InFlightStage,
    crowd::TooMany,
    dial,
    flows::Flow,
    gateway::Inner,
    hold,
    proxy_protocol::{self, Addresses, HeaderError},
    tunnel::{Claim, is_same_run, pump::Pump},
    woken::WhenWoken,
};

/// How long what is to come before the connection's own bytes may take: a PROXY header, a
/// `ClientHello`.
const BEGINNING: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between attempts to connect: the first follows at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often an upstream may close a connection without a word before that is its answer, if its run is not
/// young.
const MAX_SILENT: u32 = 2;

/// How often a young run may close a connection with what it was sent unread before that is its answer:
/// some of it may have been read.
const MAX_SENT_IN_VAIN: u32 = 5;

/// What is left to be passed on may take so long when one of the two is gone.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A connection that was accepted.
pub(super) struct Connection {
    gateway: Arc<Inner>,
    port: TcpPort,
    peer: SocketAddr,
}

/// Why a connection was not carried to its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it broke")]
    Broken(#[from] io::Error),
    #[error("the client is gone")]
    Gone,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("no TLS handshake began within {BEGINNING:?}")]
    Silent,
    #[error("its client has too many open")]
    TooMany,
    #[error("there is no route for what it asks for")]
    NoRoute,
    #[error("clients at {0} may not enter")]
    NotAllowed(IpAddr),
}

/// Why a connection that has a route was not served.
#[derive(Debug, thiserror::Error)]
enum NotServed {
    #[error(transparent)]
    Wake(#[from] WakeError),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("{0}")]
    NoUpstream(String),
    #[error("too many others are being connected to its upstream")]
    Crowded,
    #[error("its upstream cannot be connected to")]
    Unreachable(#[source] io::Error),
    #[error("the client is gone")]
    Gone,
}

/// A client on its way to an upstream.
struct Passage<'a> {
    gateway: &'a Arc<Inner>,
    route: &'a TcpRoute,
    between: Addresses,
    kind: LeaseKind,
    flow: Arc<Flow>,
}

/// An upstream that was connected to, of a run, under a lease.
struct Reached {
    upstream: TcpStream,
    run: Arc<ReadyRun>,
    lease: Lease,
    /// How much of what the client has said it was sent.
    sent: usize,
}

/// An upstream that was connected to.
struct Opened {
    upstream: TcpStream,
    /// Whether somebody there may accept before the application does, and may still do so.
    is_young: bool,
}

impl Connection {
    pub(super) fn new(gateway: Arc<Inner>, port: TcpPort, peer: SocketAddr) -> Self {
        Self { gateway, port, peer }
    }

    /// Carries it to its end.
    pub(super) async fn serve(&self, stream: TcpStream) {
        let peer = self.peer;
        match self.carry(stream).await {
            Ok(()) => {}
            Err(Ended::Header(error @ HeaderError::NotTrusted { .. })) => {
                if self.gateway.may_complain_of_strangers() {
                    tracing::warn!("{error}");
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%peer, error, "a TCP connection ended");
            }
        }
    }

    async fn carry(&self, mut stream: TcpStream) -> Result<(), Ended> {
        // No `TCP_USER_TIMEOUT`: it would end also who acknowledges all and takes its time, such as a
        // client that is paused.
        dial::tune(&stream)?;
        let table = arc_swap::Guard::into_inner(self.port.table());
        let mut between = Addresses { source: self.peer, destination: stream.local_addr()? };
        let deadline = Deadline::after(BEGINNING);
        if table.expects_proxy_protocol() {
            let options = self.gateway.options();
            let trusted = &options.trusted_proxies;
            let said =
                proxy_protocol::accept(&mut stream, self.peer.ip(), trusted, deadline).await?;
            between = said.unwrap_or(between);
        }
        let _share = self.gateway.share(between.source.ip()).ok_or(Ended::TooMany)?;
        let mut said = Vec::new();
        let mut asked = None;
        if table.has_names() {
            let hello = timeout_at(deadline.at(), hello::read(&mut stream)).await;
            let Hello { bytes, asks } = hello.map_err(|_| Ended::Silent)??;
            (said, asked) = (bytes, Some(asks));
        }
        let name = match &asked {
            Some(Asks::ForName(name)) => Some(name.as_str()),
            _ => None,
        };
        let Some(route) = table.find(name).cloned() else {
            refuse(&mut stream, asked).await?;
            return Err(Ended::NoRoute);
        };
        let is_tls = matches!(asked, Some(Asks::ForName(_) | Asks::ForNone));
        drop(table);

        let spec = route.spec();
        let (workload, client) = (&spec.workload, between.source.ip());
        if !spec.networks.contain(client) {
            return Err(Ended::NotAllowed(client));
        }
        let passage = Passage {
            gateway: &self.gateway,
            route: &route,
            between,
            kind: spec.passive.kind_of_client(client),
            flow: Flow::begin(&self.gateway, &spec.name, workload, self.peer.ip(), client),
        };
        let mut early = Early::new(stream, said, is_tls);
        match passage.reach(&mut early).await {
            Ok(reached) => Ok(passage.pass(early, reached).await?),
            Err(NotServed::Gone) => Err(Ended::Gone),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                let (workload, route) = (workload.name(), &spec.name);
                tracing::debug!(workload, route, %client, error, "a connection was not served");
                Ok(())
            }
        }
    }
}

/// Tells a TLS client why it is not served.
async fn refuse(stream: &mut TcpStream, asked: Option<Asks>) -> io::Result<()> {
    match asked {
        Some(Asks::ForName(_) | Asks::ForNone) => stream.write_all(UNRECOGNIZED_NAME).await?,
        Some(Asks::Otherwise(mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes)?;
            stream.write_all(&bytes).await?;
        }
        None => {}
    }
    stream.shutdown().await
}

impl Passage<'_> {
    /// Connects to an upstream that is ready, however often it turns out not to be: until the
    /// connection's deadline. What the client said was not read whole by anybody before.
    async fn reach(&self, early: &mut Early) -> Result<Reached, NotServed> {
        let spec = self.route.spec();
        let workload = &spec.workload;
        let deadline = Deadline::after(spec.hold);
        let mut pause = Duration::ZERO;
        let (mut silent, mut sent_in_vain, mut first) = (0, 0, None);
        loop {
            self.flow.is_at(InFlightStage::Waiting);
            let lease = self.lease(early, deadline).await?;
            self.flow.is_at(InFlightStage::served(self.kind));
            let run = lease.run();
            let connected = tokio::select! {
                connected = self.connect(&run, deadline) => connected?,
                Gone = early.is_gone() => return Err(NotServed::Gone),
            };
            let failure = match connected {
                // It took until after the run's end: whoever has its address now may be another.
                Ok(_) if workload.is_in_doubt(&run) => io::ErrorKind::ConnectionAborted.into(),
                Ok(Opened { upstream, is_young }) => {
                    // What ends one run after the other, or what it has read in part, is not to go on so.
                    let first = first.get_or_insert_with(|| Arc::clone(&run));
                    let is_young =
                        is_young && is_same_run(first, &run) && sent_in_vain < MAX_SENT_IN_VAIN;
                    if !is_young && silent + 1 == MAX_SILENT {
                        return Ok(Reached { upstream, run, lease, sent: 0 });
                    }
                    let tried = trial::watch(&upstream, early, is_young).await;
                    match tried.map_err(|Gone| NotServed::Gone)? {
                        Outcome::Stays { sent } => {
                            return Ok(Reached { upstream, run, lease, sent });
                        }
                        Outcome::Closed { was_sent } => sent_in_vain += u32::from(was_sent),
                    }
                    silent += u32::from(!is_young);
                    workload.upstream_failed(&run);
                    io::ErrorKind::UnexpectedEof.into()
                }
                Err(error) => {
                    if self.gateway.shortage(workload.name(), &error).is_none() {
                        workload.upstream_failed(&run);
                    }
                    error
                }
            };
            tracing::debug!(
                workload = workload.name(),
                epoch = run.epoch,
                error = &failure as &dyn std::error::Error,
                "upstream failed"
            );
            drop(lease);
            if deadline.remaining() <= pause {
                return Err(NotServed::Unreachable(failure));
            }
            tokio::select! {
                () = sleep(pause) => {}
                Gone = early.is_gone() => return Err(NotServed::Gone),
            }
            pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
    }

    async fn lease(&self, early: &mut Early, deadline: Deadline) -> Result<Lease, NotServed> {
        let (spec, holder) = (self.route.spec(), &self.route.0.holder);
        if let Some(lease) = spec.workload.try_lease(holder, self.kind) {
            return Ok(lease);
        }
        let name = spec.workload.name();
        let _waiting = self.gateway.wait(&spec.workload, self.between.source.ip(), 0)?;
        if self.kind == LeaseKind::Active && hold::is_to_announce(self.gateway, &spec.workload) {
            let client = self.between.source.ip();
            let (workload, route) = (name, &spec.name);
            tracing::info!(workload, route, %client, "woken by a connection");
        }
        tokio::select! {
            lease = spec.workload.lease(holder, self.kind, deadline) => Ok(lease?),
            Gone = early.is_gone() => Err(NotServed::Gone),
        }
    }

    /// A connection to the upstream of `run`, with its header, if its turn comes by `deadline`.
    async fn connect(
        &self,
        run: &ReadyRun,
        deadline: Deadline,
    ) -> Result<io::Result<Opened>, NotServed> {
        let spec = self.route.spec();
        let none = |why: String| NotServed::NoUpstream(why);
        let upstream = spec.upstream.choose(&run.details).map_err(|why| none(why.to_string()))?;
        let Some(target) = upstream.target else {
            return Err(none("its address is not known".to_owned()));
        };
        let openings = self.route.0.openings_of(run);
        let turn = timeout_at(deadline.at(), openings.turns.acquire()).await;
        // The semaphore is never closed.
        let _turn = turn.map_err(|_| NotServed::Crowded)?.ok();
        // Others may have found meanwhile that nobody is there.
        if spec.workload.is_in_doubt(run) {
            return Ok(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let connecting = async {
            let addresses = openings.lookup.addresses(&target, CONNECT_TIMEOUT).await?;
            let mut stream = match dial::connect(&addresses, CONNECT_TIMEOUT).await {
                Ok(stream) => stream,
                Err(error) => {
                    openings.lookup.was_in_vain();
                    return Err(error);
                }
            };
            if let Some(version) = spec.send_proxy_protocol {
                stream.write_all(&proxy_protocol::header(version, self.between)).await?;
            }
            let is_young = upstream.accepts_early && self.route.0.is_young(run);
            Ok(Opened { upstream: stream, is_young })
        };
        Ok(connecting.await)
    }

    /// Lets bytes pass until both have said that they are done, or one is gone.
    async fn pass(&self, early: Early, reached: Reached) -> io::Result<()> {
        let Reached { upstream, run, lease, sent } = reached;
        let spec = self.route.spec();
        let (client, mut said, has_ended) = early.into_parts();
        let upstream = Socket::new(upstream);
        let place = self.flow.place();
        place.passed(said.len());
        said.drain(..sent);
        let up = client.splice_to(&upstream, self.gateway);
        let down = upstream.splice_to(&client, self.gateway);
        let pump = Pump::new(client.clone(), upstream.clone(), place)
            .half_closing(said, has_ended)
            .splicing(up, down);
        let claim = Claim {
            workload: &spec.workload,
            holder: &self.route.0.holder,
            kind: self.kind,
            run,
            quiet_after: spec.quiet_after,
            stage: InFlightStage::served(self.kind),
        };
        let mut passing = pin!(claim.hold_while_used(pump, lease, place));
        let (client_gone, upstream_gone) = (pin!(client.is_gone()), pin!(upstream.is_gone()));
        tokio::select! {
            biased;
            ended = passing.as_mut() => return ended,
            () = WhenWoken::new(client_gone) => {}
            () = WhenWoken::new(upstream_gone) => {}
        }
        timeout(LAST_BYTES, passing).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests;
