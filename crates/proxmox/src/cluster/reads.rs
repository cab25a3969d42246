//! Live reads: a few at a time singly, many of one node as one list.
//!
//! A read costs a TLS handshake, singly or as a list. So whoever wants a container read while others
//! of its node are being read waits for a list that serves all of them. Each read begins after it
//! was asked for, and no container has two under way: what comes later is younger.
//!
//! All that is so for each urgency by itself: what an order waits for never waits for reads that hang,
//! though they be of the same container. Of two that cross each other the one that began later counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_provider::{Action, Deadline};
use tokio::{sync::oneshot, time::Instant};

use super::{
    core::{Core, Read, broke_off},
    row::Span,
};
use crate::ClientError;

/// How many containers of one node are read singly at the same time; more are one list.
pub(super) const SINGLY: usize = 3;
/// What one read may take.
const TIMEOUT: Duration = Duration::from_secs(10);

type Told = Result<Read, ClientError>;

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Urgency {
    /// To know how things stand.
    Usual,
    /// An order waits for it: it does not queue behind others that hang.
    ForOrder,
}

impl Urgency {
    pub(super) fn of(action: Action) -> Self {
        match action {
            Action::Start | Action::Stop | Action::Kill => Self::ForOrder,
            _ => Self::Usual,
        }
    }
}

/// Who waits for a read.
type Waiter = oneshot::Sender<Told>;

/// By node, and how urgent they are.
type Lanes = HashMap<(Arc<str>, Urgency), Lane>;

#[derive(Debug, Default)]
pub(super) struct Reads {
    lanes: Mutex<Lanes>,
}

/// The reads of one node that are equally urgent.
#[derive(Debug, Default)]
struct Lane {
    /// What may be read now, by VMID.
    ready: Waiting,
    /// The same, singly: a list did not have these, and only a single read says why.
    alone: Waiting,
    /// What is to be read again when the read under way has ended.
    after: Waiting,
    under_way: HashSet<u32>,
    singles: usize,
    is_listing: bool,
}

/// Who waits for a read that has not begun, by VMID.
type Waiting = BTreeMap<u32, Vec<Waiter>>;

impl Reads {
    /// Reads one container on its node. Whoever watches it is told what changed, before this returns.
    /// Cancel safe; dropping it leaves the read to others.
    ///
    /// # Errors
    /// What the API said; `Closed` after close.
    pub(super) async fn read(
        &self,
        core: &Arc<Core>,
        node: &Arc<str>,
        vmid: u32,
        urgency: Urgency,
    ) -> Told {
        let (sender, told) = oneshot::channel();
        let lane = (Arc::clone(node), urgency);
        self.lanes().entry(lane.clone()).or_default().wait(vmid, sender);
        self.begin(core, &lane);
        tokio::select! {
            biased;
            () = core.closing.cancelled() => Err(ClientError::Closed),
            told = told => told.unwrap_or_else(|_| Err(broke_off())),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins whatever may begin.
    fn begin(&self, core: &Arc<Core>, lane: &(Arc<str>, Urgency)) {
        let mut lanes = self.lanes();
        while let Some(flight) = lanes.get_mut(lane).and_then(Lane::next) {
            let (core, lane) = (Arc::clone(core), lane.clone());
            core.tasks.clone().spawn(async move {
                let closing = core.closing.clone();
                closing.run_until_cancelled(fly(core, lane, flight)).await;
            });
        }
        if lanes.get(lane).is_some_and(Lane::is_idle) {
            lanes.remove(lane);
        }
    }
}

/// What is read by one request, and who waits for it.
#[derive(Debug)]
enum Flight {
    Single(u32, Vec<Waiter>),
    List(Waiting),
}

impl Lane {
    fn wait(&mut self, vmid: u32, waiter: Waiter) {
        let waiting = if self.under_way.contains(&vmid) {
            &mut self.after
        } else if self.alone.contains_key(&vmid) {
            &mut self.alone
        } else {
            &mut self.ready
        };
        waiting.entry(vmid).or_default().push(waiter);
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.alone.is_empty() && self.under_way.is_empty()
    }

    /// What may begin now.
    fn next(&mut self) -> Option<Flight> {
        loop {
            let free = SINGLY - self.singles;
            if self.ready.len() > free.max(1) && !self.is_listing {
                let mut waiting = std::mem::take(&mut self.ready);
                waiting.retain(|_, waiters| is_awaited(waiters));
                if !waiting.is_empty() {
                    self.is_listing = true;
                    self.under_way.extend(waiting.keys());
                    return Some(Flight::List(waiting));
                }
            }
            if free == 0 {
                return None;
            }
            let may_be_single = self.ready.len() <= free;
            let single = self.alone.pop_first();
            let single =
                single.or_else(|| if may_be_single { self.ready.pop_first() } else { None });
            let (vmid, waiters) = single?;
            if is_awaited(&waiters) {
                self.singles += 1;
                self.under_way.insert(vmid);
                return Some(Flight::Single(vmid, waiters));
            }
        }
    }

    /// A read of these has ended.
    fn landed(&mut self, vmids: &[u32]) {
        for vmid in vmids {
            self.under_way.remove(vmid);
            if let Some(waiters) = self.after.remove(vmid) {
                self.ready.entry(*vmid).or_default().extend(waiters);
            }
        }
    }
}

/// Whether anybody waits for it still.
fn is_awaited(waiters: &[Waiter]) -> bool {
    waiters.iter().any(|waiter| !waiter.is_closed())
}

async fn fly(core: Arc<Core>, lane: (Arc<str>, Urgency), flight: Flight) {
    let (node, api) = (&lane.0, core.api_for(lane.1));
    let deadline = Deadline::after(TIMEOUT);
    let began = Instant::now();
    let silent = |error| match error {
        // Whoever waits is told which node that was.
        ClientError::TimedOut { after, was_sent, .. } => ClientError::NodeUnreachable {
            node: node.to_string(),
            message: format!("no answer within {after:?}"),
            was_sent,
        },
        error => error,
    };
    let mut landing = Landing::of(&core, &lane, &flight);
    match flight {
        Flight::Single(vmid, waiters) => {
            let outcome = api.status(node, vmid, deadline).await.map_err(silent);
            let span = Span { began, ended: Instant::now() };
            let told = outcome.and_then(|status| core.took(status, node, span, false));
            landing.land(Waiting::new());
            tell(waiters, &told);
        }
        Flight::List(mut waiting) => {
            let outcome = api.containers_of(node, deadline).await.map_err(silent);
            let span = Span { began, ended: Instant::now() };
            let mut told: Vec<(Vec<Waiter>, Told)> = Vec::new();
            match outcome {
                Ok(rows) => {
                    for status in rows {
                        if let Some(waiters) = waiting.remove(&status.vmid) {
                            told.push((waiters, core.took(status, node, span, true)));
                        }
                    }
                }
                Err(error) => {
                    let failed = std::mem::take(&mut waiting).into_values();
                    told.extend(failed.map(|waiters| (waiters, Err(error.clone()))));
                }
            }
            landing.land(waiting);
            for (waiters, told) in told {
                tell(waiters, &told);
            }
        }
    }
}

/// Frees a read's place on its node, also where its task panics.
struct Landing<'a> {
    core: &'a Arc<Core>,
    lane: &'a (Arc<str>, Urgency),
    /// What is under way, unless it has landed.
    flight: Option<(bool, Vec<u32>)>,
}

impl<'a> Landing<'a> {
    fn of(core: &'a Arc<Core>, lane: &'a (Arc<str>, Urgency), flight: &Flight) -> Self {
        let flight = match flight {
            Flight::Single(vmid, _) => (false, vec![*vmid]),
            Flight::List(waiting) => (true, waiting.keys().copied().collect()),
        };
        Self { core, lane, flight: Some(flight) }
    }

    /// `rest`: what the answer did not tell of.
    fn land(&mut self, rest: Waiting) {
        let Some((is_list, vmids)) = self.flight.take() else { return };
        if let Some(lane) = self.core.reads.lanes().get_mut(self.lane) {
            if is_list {
                lane.is_listing = false;
            } else {
                lane.singles -= 1;
            }
            lane.landed(&vmids);
            for (vmid, mut waiters) in rest {
                // Whoever asked since is served by the same read.
                waiters.extend(lane.ready.remove(&vmid).unwrap_or_default());
                lane.alone.insert(vmid, waiters);
            }
        }
        self.core.reads.begin(self.core, self.lane);
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.core.closing.is_cancelled() {
            self.land(Waiting::new());
        }
    }
}

fn tell(waiters: Vec<Waiter>, told: &Told) {
    for waiter in waiters {
        // Fails when nobody waits any more, which is nobody's loss.
        _ = waiter.send(told.clone());
    }
}
