//! A gateway with one route to one workload, and what stands behind it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use drowse_gateway::{
    Chooser, Drained, Gateway, GatewayOptions, HttpReadiness, ListenerOptions, Network, Route,
    RouteSpec, RouteTable, UpstreamPolicy, UpstreamScheme, Vantage,
};
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, Port, Reach, Reference,
    testing::{ScriptedContainer, ScriptedEngine},
};
use drowse_watcher::{
    Condition, Memory, Need, Needs, PhaseName, Policy, ReadyWhenHealthy, Workload, WorkloadSpec,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    application::{Application, Speaks},
    client::{self, Answer, PATIENCE, soon},
};

pub(crate) struct Site {
    pub(crate) engine: ScriptedEngine,
    pub(crate) container: ScriptedContainer,
    pub(crate) application: Application,
    pub(crate) workload: Workload,
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<Drained>,
}

/// What differs from a plain site.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) options: GatewayOptions,
    pub(crate) policy: Policy,
    /// From where its engine's containers can be dialled.
    pub(crate) reach: Reach,
    /// Whether there is a container.
    pub(crate) is_there: bool,
    pub(crate) route: Box<dyn Fn(&mut RouteSpec)>,
    pub(crate) listener: ListenerOptions,
    /// What its application speaks, and how it is spoken to.
    pub(crate) speaks: Speaks,
    pub(crate) scheme: UpstreamScheme,
    /// How long its last wakes took.
    pub(crate) wakes: Vec<Duration>,
    /// What it needs, by name: ready when its health check is said to pass.
    pub(crate) needs: Option<&'static str>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: "app",
            options: GatewayOptions::new(),
            policy: Policy::new(Duration::from_hours(1)),
            reach: Reach::Loopback,
            is_there: true,
            route: Box::new(|_| {}),
            listener: ListenerOptions::default(),
            speaks: Speaks::Http1,
            scheme: UpstreamScheme::Http,
            wakes: Vec::new(),
            needs: None,
        }
    }
}

impl Site {
    /// Its container sleeps.
    pub(crate) async fn asleep() -> Self {
        Self::new(Plan::default()).await
    }

    /// Its container runs, and was observed to serve.
    pub(crate) async fn ready() -> Self {
        let site = Self::asleep().await;
        site.wake().await;
        site
    }

    /// It has no container.
    pub(crate) async fn gone() -> Self {
        let site = Self::new(Plan { is_there: false, ..Plan::default() }).await;
        site.is(PhaseName::Gone).await;
        site
    }

    pub(crate) async fn with_route(route: impl Fn(&mut RouteSpec) + 'static) -> Self {
        Self::new(Plan { route: Box::new(route), ..Plan::default() }).await
    }

    /// Ready, and whoever connects from these networks is a proxy that it trusts.
    pub(crate) async fn behind(proxies: &[&str]) -> Self {
        let mut options = GatewayOptions::new();
        let networks = proxies.iter().map(|network| network.parse::<Network>().unwrap());
        options.trusted_proxies = networks.collect();
        let site = Self::new(Plan { options, ..Plan::default() }).await;
        site.wake().await;
        site
    }

    pub(crate) async fn new(plan: Plan) -> Self {
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let application = Application::start_speaking(anywhere, plan.speaks);
        let engine = ScriptedEngine::with("home", Capabilities::all(), plan.reach);
        let container = engine.add("app");
        let port = application.address.port();
        container.set_details(|details| details.exposed = vec![Port::tcp(port)]);
        if !plan.is_there {
            container.remove();
        }

        let engine_of_route: Arc<dyn Engine> = Arc::new(engine.clone());
        let chooser = Chooser::new(engine_of_route, Vantage::Host, UpstreamPolicy::new());
        let readiness =
            HttpReadiness::new(chooser.clone()).with_host("app.test").with_scheme(&plan.scheme);
        let provider = engine.provider(&Reference::Name("app".into())).unwrap();
        let mut memory = Memory::default();
        memory.wakes = plan.wakes;
        let mut spec = WorkloadSpec::new(plan.name, provider, Arc::new(readiness), plan.policy)
            .with_memory(memory);
        if let Some(name) = plan.needs {
            spec = spec.with_needs(Needs::Of(vec![needed(&engine, name)]));
        }
        let workload = Workload::spawn(spec);
        let read = |snapshot: &drowse_watcher::Snapshot| snapshot.phase != PhaseName::Unread;
        soon(workload.watch().wait_for(read)).await.unwrap();

        let hosts = ["app.test".parse().unwrap(), "*.below.test".parse().unwrap()];
        let mut spec = RouteSpec::new("app", hosts, workload.clone(), chooser);
        spec.scheme = plan.scheme;
        (plan.route)(&mut spec);
        let gateway = Gateway::new(plan.options);
        gateway.replace_routes(RouteTable::build([Route::new(spec)]).unwrap());
        gateway.set_discovering(false);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.serve_as(listener, plan.listener, shutdown).await }
        });
        Self { engine, container, application, workload, gateway, address, shutdown, serving }
    }

    pub(crate) async fn wake(&self) {
        let holder = self.workload.holder("test");
        let deadline = Deadline::after(PATIENCE);
        self.workload.lease(&holder, drowse_watcher::LeaseKind::Active, deadline).await.unwrap();
        self.has_leases(0).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        client::get(self.address, path).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::get_with(self.address, path, headers).await
    }

    pub(crate) async fn is(&self, phase: PhaseName) {
        soon(self.workload.watch().wait_for(|now| now.phase == phase)).await.unwrap();
    }

    /// Waits until an attempt to use it met this.
    pub(crate) async fn has_met(&self, error: &str) {
        let is_met = |now: &drowse_watcher::Snapshot| {
            now.last_error.as_ref().is_some_and(|last| last.contains(error))
        };
        soon(self.workload.watch().wait_for(is_met)).await.unwrap();
    }

    pub(crate) async fn has_waiting(&self, waiting: usize) {
        soon(self.workload.watch().wait_for(|now| now.waiting == waiting)).await.unwrap();
    }

    pub(crate) async fn has_leases(&self, leases: u32) {
        client::eventually(&format!("{leases} leases"), || self.workload.leases() == leases).await;
    }

    pub(crate) fn starts(&self) -> usize {
        self.container.calls(Action::Start)
    }
}

/// It starts, and counts as ready when its health check is said to pass.
fn needed(engine: &ScriptedEngine, name: &str) -> Need {
    engine.add(name);
    let provider = engine.provider(&Reference::Name(name.into())).unwrap();
    let policy = Policy::new(Duration::from_hours(1));
    let spec = WorkloadSpec::new(name, provider, Arc::new(ReadyWhenHealthy), policy);
    Need::new(name, Some(Workload::spawn(spec)), Condition::Ready)
}
