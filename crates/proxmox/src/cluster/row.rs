//! One container as the cluster has it, from a beat or from a live read, and what that means.

use std::{fmt, sync::Arc};

use drowse_provider::{ContainerStatus, Observation, RunId, Unusable};
use tokio::time::Instant;

use crate::{CurrentStatus, Resource};

/// What a container is doing, as the API says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Running,
    Stopped,
    /// Its node has not told for minutes. Only in beats: a live read has an error instead.
    Unknown,
}

impl Doing {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "stopped" => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

/// The state of high availability of what it knows and leaves alone.
pub(super) const NOT_MANAGED: &str = "ignored";

/// One container. What beats and live reads have in common, so that they can be compared. Strings
/// are shared: a beat of ten thousand containers has few different nodes, locks and sets of tags.
#[derive(Clone, PartialEq)]
pub(super) struct Row {
    pub(super) vmid: u32,
    pub(super) doing: Doing,
    pub(super) is_template: bool,
    /// In seconds; zero while it is stopped.
    pub(super) uptime: u32,
    pub(super) node: Arc<str>,
    /// `None` if its node never told.
    pub(super) name: Option<Arc<str>>,
    pub(super) lock: Option<Arc<str>>,
    pub(super) ha_state: Option<Arc<str>>,
    pub(super) tags: Arc<[String]>,
}

/// When a read was under way: what it tells was true at some moment between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

impl Row {
    /// A line of a beat. `name`: what it was called when its node last told.
    pub(super) fn of_beat(resource: &Resource, name: Option<Arc<str>>, share: &mut Share) -> Self {
        Self {
            vmid: resource.vmid,
            doing: Doing::of(&resource.status),
            is_template: resource.is_template,
            uptime: whole_seconds(resource.uptime),
            node: share.text(&resource.node),
            name: resource.name.as_deref().map(Arc::from).or(name),
            lock: resource.lock.as_deref().map(|lock| share.text(lock)),
            ha_state: resource.ha_state.as_deref().map(|state| share.text(state)),
            tags: share.tags(&resource.tags),
        }
    }

    /// A live read on `node`.
    pub(super) fn of_status(status: &CurrentStatus, node: &Arc<str>) -> Self {
        Self {
            vmid: status.vmid,
            doing: Doing::of(&status.status),
            is_template: status.is_template,
            uptime: whole_seconds(status.uptime),
            node: Arc::clone(node),
            name: Some(status.name.as_str().into()),
            lock: status.lock.as_deref().map(Arc::from),
            ha_state: status.ha_state.as_deref().map(Arc::from),
            tags: sorted(&status.tags).into(),
        }
    }

    /// Its name, as Proxmox itself would call one without.
    pub(super) fn shown_name(&self) -> String {
        self.name.as_deref().map_or_else(|| format!("CT{}", self.vmid), str::to_owned)
    }

    /// The one table from Proxmox's states to ours. A template never runs; what high availability has
    /// given up or is at work on takes no orders, whatever its process does.
    pub(super) fn status(&self) -> ContainerStatus {
        if self.is_template {
            return ContainerStatus::Error(Unusable::Template);
        }
        if let Some(why) = self.ha_state.as_deref().and_then(ha_trouble) {
            return ContainerStatus::Error(Unusable::Other(why));
        }
        match self.doing {
            Doing::Running => ContainerStatus::Running,
            Doing::Stopped => ContainerStatus::Stopped,
            Doing::Unknown => ContainerStatus::Error(Unusable::Unreachable),
        }
    }

    /// What a live read of it tells.
    pub(super) fn observation(&self, run: Option<RunId>) -> Observation {
        Observation::new(self.status(), run).with_lock(self.lock.as_deref().map(str::to_owned))
    }

    pub(super) fn runs(&self) -> bool {
        self.doing == Doing::Running
    }
}

/// Why a container in this state of high availability takes no orders; `None` if it does.
fn ha_trouble(state: &str) -> Option<String> {
    let why = match state {
        "error" => "it failed too often: set its state to `disabled` once to clear that",
        "fence" => "its node is being fenced",
        "recovery" => "it waits to be recovered on another node",
        _ => return None,
    };
    Some(format!("high availability: {state}, {why}"))
}

/// Each once, in an order of our own: the cluster may be configured to show them in another one than a
/// node.
fn sorted(tags: &[String]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn whole_seconds(uptime: std::time::Duration) -> u32 {
    u32::try_from(uptime.as_secs()).unwrap_or(u32::MAX)
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} on {}: {:?} {}s",
            self.vmid,
            self.shown_name(),
            self.node,
            self.doing,
            self.uptime
        )?;
        if let Some(lock) = &self.lock {
            write!(formatter, ", locked: {lock}")?;
        }
        if let Some(state) = &self.ha_state {
            write!(formatter, ", ha: {state}")?;
        }
        if self.is_template {
            formatter.write_str(", template")?;
        }
        write!(formatter, ", {:?}", self.tags)
    }
}

/// Strings that many rows have in common, each kept once.
#[derive(Default)]
pub(super) struct Share {
    texts: std::collections::HashSet<Arc<str>>,
    tags: std::collections::HashSet<Arc<[String]>>,
}

impl Share {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.texts.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    fn tags(&mut self, tags: &[String]) -> Arc<[String]> {
        let tags = sorted(tags);
        if let Some(shared) = self.tags.get(&*tags) {
            return Arc::clone(shared);
        }
        let shared: Arc<[String]> = tags.into();
        self.tags.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stopped container on `pve1`.
    pub(in crate::cluster) fn row(vmid: u32) -> Row {
        Row {
            vmid,
            doing: Doing::Stopped,
            is_template: false,
            uptime: 0,
            node: "pve1".into(),
            name: Some(format!("ct{vmid}").into()),
            lock: None,
            ha_state: None,
            tags: Arc::new([]),
        }
    }

    /// The same, running for so many seconds.
    pub(in crate::cluster) fn running(vmid: u32, uptime: u32) -> Row {
        Row { doing: Doing::Running, uptime, ..row(vmid) }
    }

    #[test]
    fn each_state_of_proxmox_has_its_meaning() {
        let with = |change: &dyn Fn(&mut Row)| {
            let mut row = running(100, 5);
            change(&mut row);
            row.status().to_string()
        };
        assert_eq!(with(&|_| {}), "running");
        assert_eq!(with(&|row| row.doing = Doing::Stopped), "stopped");
        assert_eq!(
            with(&|row| row.doing = Doing::Unknown),
            "in error (on a machine that cannot be reached)"
        );
        assert_eq!(
            with(&|row| row.is_template = true),
            "in error (a template, which is never started)"
        );
        for state in ["started", "stopped", "starting", "request_stop", "migrate", "ignored"] {
            assert_eq!(with(&|row| row.ha_state = Some(state.into())), "running", "{state}");
        }
        insta::assert_snapshot!(
            ["error", "fence", "recovery"]
                .map(|state| with(&|row| row.ha_state = Some(state.into())))
                .join("\n"),
            @"
        in error (high availability: error, it failed too often: set its state to `disabled` once to clear that)
        in error (high availability: fence, its node is being fenced)
        in error (high availability: recovery, it waits to be recovered on another node)
        "
        );
    }

    #[test]
    fn words_that_nobody_knows_are_no_state() {
        assert_eq!(Doing::of("paused"), Doing::Unknown);
        assert_eq!(Doing::of(""), Doing::Unknown);
    }
}
