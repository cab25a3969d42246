//! A gateway with one route to one workload, and what stands behind it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use drowse_gateway::{
    Chooser, Drained, Gateway, GatewayOptions, HttpReadiness, Network, Route, RouteSpec,
    RouteTable, UpstreamPolicy, Vantage,
};
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, Port, Reach, Reference,
    testing::{ScriptedContainer, ScriptedEngine},
};
use drowse_watcher::{PhaseName, Policy, Workload, WorkloadSpec};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    application::Application,
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
    pub(crate) options: GatewayOptions,
    pub(crate) policy: Policy,
    /// From where its engine's containers can be dialled.
    pub(crate) reach: Reach,
    /// Whether there is a container.
    pub(crate) is_there: bool,
    pub(crate) route: Box<dyn Fn(&mut RouteSpec)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            options: GatewayOptions::new(),
            policy: Policy::new(Duration::from_hours(1)),
            reach: Reach::Loopback,
            is_there: true,
            route: Box::new(|_| {}),
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
        let application = Application::start();
        let engine = ScriptedEngine::with("home", Capabilities::all(), plan.reach);
        let container = engine.add("app");
        let port = application.address.port();
        container.set_details(|details| details.exposed = vec![Port::tcp(port)]);
        if !plan.is_there {
            container.remove();
        }

        let engine_of_route: Arc<dyn Engine> = Arc::new(engine.clone());
        let chooser = Chooser::new(engine_of_route, Vantage::Host, UpstreamPolicy::new());
        let readiness = HttpReadiness::new(chooser.clone()).with_host("app.test");
        let provider = engine.provider(&Reference::Name("app".into())).unwrap();
        let workload =
            Workload::spawn(WorkloadSpec::new("app", provider, Arc::new(readiness), plan.policy));
        let read = |snapshot: &drowse_watcher::Snapshot| snapshot.phase != PhaseName::Unread;
        soon(workload.watch().wait_for(read)).await.unwrap();

        let hosts = ["app.test".parse().unwrap(), "*.below.test".parse().unwrap()];
        let mut spec = RouteSpec::new("app", hosts, workload.clone(), chooser);
        (plan.route)(&mut spec);
        let gateway = Gateway::new(plan.options);
        gateway.replace_routes(RouteTable::build([Route::new(spec)]).unwrap());
        gateway.set_discovering(false);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.serve(listener, shutdown).await }
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
