//! Those who use workloads, as the gateway does for its clients.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_watcher::{LeaseKind, Role, WakeError, Workload};
use tokio::time::timeout;

use crate::{checks::Invariant, plan::Request, world::Shared};

const CLIENT: u64 = 8;
/// How much later than its deadline an answer may be noticed.
const MARGIN: Duration = Duration::from_millis(500);
/// How often a request goes back of which nothing was sent.
const ATTEMPTS: usize = 50;

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Served,
    Refused(WakeError),
    /// Given again and again, by what did not serve.
    NeverServed,
}

/// Uses a workload, until it is through or its client goes away.
pub(crate) async fn request(world: Shared, workload: Workload, number: u64, request: Request) {
    let index = request.workload;
    let using = use_it(&world, &workload, number, &request);
    match request.abandoned {
        Some(after) => {
            if timeout(after, using).await.is_err() {
                world.lock().step(format_args!("client {number} of w{index} goes away"));
            }
        }
        None => drop(using.await),
    }
}

/// The same, of one who stays.
pub(crate) async fn use_it(
    world: &Shared,
    workload: &Workload,
    number: u64,
    request: &Request,
) -> Answer {
    let index = request.workload;
    let kind = if request.is_passive { LeaseKind::Passive } else { LeaseKind::Active };
    let holder = workload.holder("route");
    let (asked, is_job) = {
        let world = world.lock();
        (world.now(), world.plan.workloads[index].policy.role == Role::Job)
    };
    let deadline = Deadline::after(request.patience);
    let mut dice = world.lock().dice(&[CLIENT, number]);
    for _ in 0..ATTEMPTS {
        let asked_again = world.lock().now();
        let answer = workload.lease(&holder, kind, deadline).await;
        {
            let mut world = world.lock();
            let due = (asked + request.patience).max(world.resumed_at);
            if world.now() > due + MARGIN {
                world.violated(
                    Invariant::Answered,
                    format_args!("client {number} of w{index} was to be answered by {due:?}"),
                );
            }
            if request.is_passive && world.now() > asked_again.max(world.resumed_at) {
                world.violated(
                    Invariant::Passive,
                    format_args!("client {number} of w{index} is passive, and waited"),
                );
            }
        }
        let lease = match answer {
            Ok(lease) => lease,
            Err(error) => {
                let mut world = world.lock();
                world.step(format_args!("client {number} of w{index} is refused: {error}"));
                return Answer::Refused(error);
            }
        };
        if is_job {
            // It leads nowhere.
            world.lock().job_granted(index);
            return Answer::Served;
        }
        let run = lease.run();
        let using = Use::begin(world, index, request.is_passive, run.run.as_ref());
        let mut left = request.held;
        let mut serves = world.lock().serves(index);
        // Whoever uses it for long notices its end.
        while serves && !left.is_zero() {
            let slice = left.min(Duration::from_secs(20));
            left -= slice;
            tokio::time::sleep(slice).await;
            let world = world.lock();
            serves = world.serves(index) && world.containers[index].run_id == run.run;
        }
        let report = if !serves && dice.percent(70) {
            world.lock().step(format_args!("client {number} of w{index} finds it dead"));
            Some(workload.upstream_failed(&run))
        } else {
            None
        };
        // It says so of the whole of it, which is well.
        if serves && dice.percent(20) {
            world.lock().step(format_args!("client {number} of w{index} finds a part of it dead"));
            workload.upstream_failed(&run);
        }
        drop(using);
        drop(lease);
        if serves || left != request.held {
            return Answer::Served;
        }
        if let Some(report) = report {
            workload.is_refuted(report, deadline).await;
        }
        if deadline.has_passed() {
            break;
        }
        // As quick as a refused connection.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Answer::NeverServed
}

/// Looks in again and again, as those do who want to know whether it is up.
pub(crate) async fn monitor(world: Shared, workload: Workload, index: usize) {
    let idle = world.lock().records[index].policy.idle;
    let pause = (idle / 2).max(Duration::from_secs(1));
    let holder = workload.holder("monitor");
    while let Some(lease) = workload.try_lease(&holder, LeaseKind::Passive) {
        world.lock().step(format_args!("a monitor looks at w{index}"));
        drop(lease);
        tokio::time::sleep(pause).await;
    }
}

/// The client's own record of its use: ended before the lease, also when the client goes away.
struct Use<'a> {
    world: &'a Shared,
    index: usize,
    is_passive: bool,
}

impl<'a> Use<'a> {
    fn begin(
        world: &'a Shared,
        index: usize,
        is_passive: bool,
        run: Option<&drowse_provider::RunId>,
    ) -> Self {
        world.lock().granted(index, is_passive, run);
        Self { world, index, is_passive }
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        if world.is_living() {
            world.given_back(self.index, self.is_passive);
        }
    }
}
