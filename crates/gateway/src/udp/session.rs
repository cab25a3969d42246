//! A session: the packets of one client, and what they are replied.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use drowse_provider::Deadline;
use drowse_watcher::{Lease, LeaseKind, ReadyRun, WakeError};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Place, UdpRoute,
    exchange::Outcome,
    queue::Queue,
    socket::{Client, PortSocket},
    upstream::{Sent, Upstream, Way},
};
use crate::{InFlightStage, dial, flows::Flow, gateway::Inner, hold};

/// The pauses between attempts to reach an upstream that has not replied yet.
/// How long an upstream's name may be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One client's packets.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) route: UdpRoute,
    pub(super) flow: Arc<Flow>,
    kind: LeaseKind,
    began: Instant,
    /// When a packet passed last, in milliseconds since it began.
    last: AtomicU64,
    /// When one of the client's did.
    last_said: AtomicU64,
    /// Whether there was a reply, and whether its client said something after one.
    has_replied: AtomicBool,
    is_established: AtomicBool,
    state: Mutex<State>,
    /// Something is queued, or the way to the upstream is no more.
    pub(super) news: Notify,
    /// Ends it.
    pub(super) cut: CancellationToken,
}

/// What receives and what sends share. Locked for moments.
pub(super) struct State {
    pub(super) queue: Queue,
    /// Where packets are sent to at once; without one they are queued.
    pub(super) way: Option<Way>,
    has_ended: bool,
    /// Among the open sessions, until it ends.
    place: Option<Place>,
}

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Wake(#[from] WakeError),
    #[error("{0}")]
    NoUpstream(String),
    #[error("its upstream cannot be sent to")]
    Unreachable(#[source] io::Error),
}

impl Session {
    pub(super) fn new(
        gateway: &Arc<Inner>,
        route: UdpRoute,
        client: Client,
        place: Place,
        cut: CancellationToken,
    ) -> Self {
        let spec = route.spec();
        let address = client.peer.ip().to_canonical();
        let flow = Flow::begin(gateway, &spec.name, &spec.workload, address, address);
        let kind = spec.passive.kind_of_client(address);
        let queue = Queue::new(Arc::clone(&gateway.udp.room));
        Self {
            client,
            route,
            flow,
            kind,
            began: Instant::now(),
            last: AtomicU64::new(0),
            last_said: AtomicU64::new(0),
            has_replied: AtomicBool::new(false),
            is_established: AtomicBool::new(false),
            state: Mutex::new(State { queue, way: None, has_ended: false, place: Some(place) }),
            news: Notify::new(),
            cut,
        }
    }

    /// Takes a packet of the client: sends it, or queues it. `false`: the session has ended. Never
    /// waits.
    pub(super) fn take(&self, packet: &[u8]) -> bool {
        let mut state = self.state();
        if state.has_ended {
            return false;
        }
        self.said(packet.len());
        if self.has_replied.load(Ordering::Relaxed) {
            self.is_established.store(true, Ordering::Relaxed);
        }
        if let Some(way) = &state.way
            && !self.route.spec().workload.is_in_doubt(&way.run)
        {
            match way.upstream.try_send(packet) {
                Ok(Sent::Whole) => return true,
                Ok(Sent::TooLong) => {
                    self.flow.dropped(1);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flow.dropped(1);
                    return true;
                }
                // It says so of an earlier packet: this one may still come through.
                Err(_) => {}
            }
        }
        state.way = None;
        let dropped = state.queue.push(packet);
        drop(state);
        self.flow.dropped(dropped);
        self.news.notify_one();
        true
    }

    /// Carries its packets until nothing has passed for long enough.
    pub(super) async fn run(&self, gateway: &Inner, replies: &PortSocket) {
        let ended = self.carry(gateway, replies).await;
        self.end();
        let (workload, route) = (self.route.spec().workload.name(), &self.route.spec().name);
        let client = self.client.peer.ip().to_canonical();
        let dropped = self.flow.dropped_so_far();
        if dropped > 0 {
            tracing::info!(workload, route, %client, dropped, "packets were dropped");
        }
        if let Err(error) = ended {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(workload, route, %client, error, "a UDP session was not served");
        }
    }

    /// Takes no more packets. Those that are queued are dropped, and counted.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.way = None;
        state.place = None;
        let waiting = state.queue.clear();
        drop(state);
        self.flow.dropped(waiting);
    }

    async fn carry(&self, gateway: &Inner, replies: &PortSocket) -> Result<(), Ended> {
        let spec = self.route.spec();
        let workload = &spec.workload;
        let mut deadline = Deadline::after(spec.hold);
        let mut pause = Duration::ZERO;
        loop {
            self.flow.is_at(InFlightStage::Waiting);
            let lease = self.lease(gateway, deadline).await?;
            self.flow.is_at(InFlightStage::served(self.kind));
            let run = lease.run();
            let outcome = match self.connect(&run).await? {
                Ok(upstream) => {
                    let way = Way { upstream, run: run.clone() };
                    self.exchange(way, replies, deadline).await
                }
                Err(error) => Outcome::Failed { error, has_served: false },
            };
            self.block(&outcome);
            drop(lease);
            match outcome {
                Outcome::Idle => return Ok(()),
                Outcome::Left if self.state().queue.is_empty() => return Ok(()),
                Outcome::Left => deadline = Deadline::after(spec.hold),
                Outcome::Failed { error, has_served } => {
                    tracing::debug!(
                        workload = workload.name(),
                        epoch = run.epoch,
                        error = &error as &dyn std::error::Error,
                        "upstream failed"
                    );
                    if gateway.shortage(workload.name(), &error).is_none() {
                        self.route.0.refusals.heard();
                        workload.upstream_failed(&run);
                    }
                    if has_served {
                        (deadline, pause) = (Deadline::after(spec.hold), Duration::ZERO);
                        if self.state().queue.is_empty() {
                            return Ok(());
                        }
                    }
                    if deadline.remaining() <= pause {
                        return Err(Ended::Unreachable(error));
                    }
                    sleep(pause).await;
                    pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                }
            }
        }
    }

    /// From here on packets are queued. Those that nobody may have had are to be sent again.
    fn block(&self, outcome: &Outcome) {
        let mut state = self.state();
        state.way = None;
        if !matches!(outcome, Outcome::Idle) {
            state.queue.begin_again();
        }
    }

    async fn lease(&self, gateway: &Inner, deadline: Deadline) -> Result<Lease, WakeError> {
        let (spec, holder) = (self.route.spec(), &self.route.0.holder);
        if let Some(lease) = spec.workload.try_lease(holder, self.kind) {
            return Ok(lease);
        }
        if self.kind == LeaseKind::Active && hold::is_to_announce(gateway, &spec.workload) {
            let client = self.client.peer.ip().to_canonical();
            let (workload, route) = (spec.workload.name(), &spec.name);
            tracing::info!(workload, route, %client, "woken by a packet");
        }
        spec.workload.lease(holder, self.kind, deadline).await
    }

    /// A socket that sends to the upstream of `run`.
    async fn connect(&self, run: &ReadyRun) -> Result<io::Result<Arc<Upstream>>, Ended> {
        let none = |why: String| Ended::NoUpstream(why);
        let upstream = self.route.spec().upstream.choose(&run.details);
        let upstream = upstream.map_err(|why| none(why.to_string()))?;
        let Some(target) = upstream.target else {
            return Err(none("its address is not known".to_owned()));
        };
        let connecting = async {
            let addresses = dial::resolve_within(LOOKUP, &target).await?;
            let to = addresses.first().copied().ok_or(io::ErrorKind::NotFound)?;
            Upstream::connect(to).await.map(Arc::new)
        };
        Ok(connecting.await)
    }

    /// Counts a packet of the client.
    pub(super) fn said(&self, bytes: usize) {
        self.last_said.store(self.passed(bytes), Ordering::Relaxed);
    }

    /// Counts a reply.
    pub(super) fn replied(&self, bytes: usize) {
        self.passed(bytes);
        self.has_replied.store(true, Ordering::Relaxed);
    }

    /// Counts what has passed; when it did.
    fn passed(&self, bytes: usize) -> u64 {
        self.flow.place().passed(bytes);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
        now
    }

    /// How much it deserves to stay when there is no place for another: less than one that has said
    /// something after a reply (nobody can in another's name), and then by when it was used last.
    pub(super) fn worth(&self) -> (bool, Instant) {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        (self.is_established.load(Ordering::Relaxed), self.began + last)
    }

    /// When it ends unless something passes. Replies alone prolong it once: nothing tells whether the
    /// client of an application that goes on sending is still there.
    pub(super) fn ends_at(&self) -> Instant {
        let idle = self.route.spec().idle;
        let at = |last: &AtomicU64| {
            self.began + Duration::from_millis(last.load(Ordering::Relaxed)) + idle
        };
        at(&self.last).min(at(&self.last_said) + idle)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
