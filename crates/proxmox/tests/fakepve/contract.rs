//! A cluster as the contract suite needs it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_fakepve::{Ct, FakePve, Fault, Harm, Options, Power};
use drowse_provider::{
    Engine, Reference, Signal,
    contract::{Behaviour, Fixture, Outside},
};
use drowse_proxmox::Cluster;

use crate::{
    scene::cluster_options,
    support::{PATIENCE, client, patience},
};

/// How the containers are named to the engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Vmid,
    Name,
}

/// A cluster, and the engine of it that is under test.
pub(crate) struct Proxmox {
    pve: FakePve,
    engine: Cluster,
    by: By,
    next: AtomicU32,
}

impl Proxmox {
    pub(crate) async fn new(by: By) -> Self {
        let pve = FakePve::start(Options::default()).await;
        let engine = Cluster::connect("pve", client(&pve), cluster_options());
        Self { pve, engine, by, next: AtomicU32::new(101) }
    }

    async fn is_asked_to_end(&self) -> bool {
        let tasks = self.pve.tasks().await;
        tasks.iter().any(|task| task.kind == "vzshutdown" && task.status == "running")
    }

    fn reference(&self, vmid: u32) -> Reference {
        match self.by {
            By::Vmid => Reference::Vmid(vmid),
            By::Name => Reference::Name(format!("ct{vmid}")),
        }
    }
}

fn vmid(reference: &Reference) -> u32 {
    match reference {
        Reference::Vmid(vmid) => *vmid,
        Reference::Name(name) => name.trim_start_matches("ct").parse().unwrap(),
        other => panic!("no such reference was made: {other}"),
    }
}

fn container(vmid: u32, behaviour: Behaviour) -> Ct {
    match behaviour {
        Behaviour::Serves => Ct::new(vmid),
        // The suite waits in real time for what it gives a timeout.
        Behaviour::IgnoresTerm => Ct::new(vmid).ignores_shutdown().timed_really(),
        Behaviour::Exits(_) => Ct::new(vmid).exits(),
        other => panic!("unknown behaviour {other:?}"),
    }
}

#[async_trait]
impl Fixture for Proxmox {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    async fn create(&self, behaviour: Behaviour) -> Reference {
        let vmid = self.next.fetch_add(1, Ordering::Relaxed);
        self.pve.add_container(container(vmid, behaviour)).await;
        self.reference(vmid)
    }

    async fn serving(&self, _: &Reference) {
        // It is asked to end by its node, which its init always understands.
    }

    async fn sees_stop_begin(&self, _: &Reference) -> bool {
        let begun = async {
            while !self.is_asked_to_end().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.unwrap();
        true
    }

    async fn remove(&self, reference: &Reference) {
        self.pve.delete(vmid(reference)).await;
    }

    async fn outside(&self, reference: &Reference, act: Outside) -> bool {
        let power = match act {
            Outside::Start => Power::Start,
            Outside::Kill(Signal::KILL) => Power::Stop,
            _ => return false,
        };
        assert_eq!(self.pve.power(vmid(reference), power).await, "OK");
        true
    }

    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        self.pve.add_container(container(vmid(name), behaviour)).await;
        true
    }

    /// High availability has given up on it.
    async fn create_unusable(&self) -> Option<Reference> {
        let vmid = self.next.fetch_add(1, Ordering::Relaxed);
        self.pve.add_container(Ct::new(vmid).ha("error")).await;
        let reference = self.reference(vmid);
        let provider = self.engine.provider(&reference).unwrap();
        provider.observe(patience()).await.unwrap();
        Some(reference)
    }

    /// Until the engine has met the break: one that no beat falls into is none.
    async fn break_events(&self) -> bool {
        let beat = "/cluster/resources";
        self.pve.forget_requests().await;
        self.pve.fault(Fault::new(Harm::CutBefore)).await;
        // The first of them may have been under way.
        let is_met = async {
            while self.pve.count("GET", beat).await < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, is_met).await.is_ok(), "nobody watches");
        true
    }

    async fn mend_events(&self) {
        self.pve.clear_faults().await;
    }

    async fn tear_down(&self) {
        self.engine.close().await;
    }
}
