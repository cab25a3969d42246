//! What a workload that sleeps costs in memory, with its route: bytes that are asked for, so that they are
//! the same on every machine. There may be a thousand of them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use drowse_gateway::{
    Chooser, HttpReadiness, Route, RouteSpec, RouteTable, UpstreamPolicy, Vantage,
};
use drowse_provider::{Capabilities, Engine, Port, Reach, Reference, testing::ScriptedEngine};
use drowse_watcher::{PhaseName, Policy, Workload, WorkloadSpec};
use tokio::time::timeout;

/// How much is held, at most, for a workload and its route: what the scripted engine holds for its watch
/// is in it, and neither what the engine knows of the container nor what the allocator adds.
const MOST_PER_WORKLOAD: usize = 8 * 1024;

/// Before counting: what there is once for all of them is there then.
const WARMING: usize = 20;
const COUNTED: usize = 200;

const PATIENCE: Duration = Duration::from_secs(30);

#[global_allocator]
static ALLOCATOR: Counting = Counting(AtomicUsize::new(0));

/// The system's allocator, which counts how many bytes are held.
struct Counting(AtomicUsize);

impl Counting {
    fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[expect(unsafe_code, reason = "there is no other way to count what is asked of the allocator")]
// SAFETY: every call is passed on as it came, and the system's allocator keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.0.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn a_workload_that_sleeps_holds_little_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
        for number in 0..WARMING + COUNTED {
            let container = engine.add(format!("app-{number}"));
            container.set_details(|details| details.exposed = vec![Port::tcp(80)]);
        }
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let mut routes = Vec::with_capacity(WARMING + COUNTED);
        for number in 0..WARMING {
            routes.push(asleep(&engine, number).await);
        }
        let before = ALLOCATOR.held();
        for number in WARMING..WARMING + COUNTED {
            routes.push(asleep(&engine, number).await);
        }
        let each = (ALLOCATOR.held() - before) / COUNTED;
        assert!(each <= MOST_PER_WORKLOAD, "{each} bytes of each workload");
        // All were there, and were different ones.
        assert_eq!(RouteTable::build(routes).unwrap().routes().len(), WARMING + COUNTED);
    });
}

/// A route to a workload that is known to sleep.
async fn asleep(engine: &Arc<dyn Engine>, number: usize) -> Route {
    let name = format!("app-{number}");
    let provider = engine.provider(&Reference::Name(name.clone())).unwrap();
    let chooser = Chooser::new(Arc::clone(engine), Vantage::Host, UpstreamPolicy::new());
    let readiness = HttpReadiness::new(chooser.clone()).with_host("app.test");
    let policy = Policy::new(Duration::from_hours(1));
    let workload = Workload::spawn(WorkloadSpec::new(&name, provider, Arc::new(readiness), policy));
    let mut state = workload.watch();
    let sleeps = state.wait_for(|state| state.phase == PhaseName::Asleep);
    drop(timeout(PATIENCE, sleeps).await.unwrap().unwrap());
    let hosts = [format!("{name}.test").parse().unwrap()];
    Route::new(RouteSpec::new(name, hosts, workload, chooser))
}
