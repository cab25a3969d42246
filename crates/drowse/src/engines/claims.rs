//! Whose each cluster is. Two engines of one cluster would be two idle timers for each of its
//! containers: one would stop it under the other's requests.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
    time::Duration,
};

use drowse_provider::{Action, Deadline, Error};
use drowse_proxmox::Cluster;
use tokio::sync::watch;

/// How long an engine waits for what those before it in the file hear of their clusters. Of two engines
/// that answer the first one has the cluster, whichever is quicker; one that does not answer keeps
/// nobody from managing what it would have.
const PRECEDENCE: Duration = Duration::from_secs(5);

/// A node as its cluster tells of it: its name and its certificate's fingerprint. Either may be
/// another's, too: most single nodes are called `pve`, and one certificate may be for many hosts.
type Node = (String, String);

/// Which engine each node was claimed for, shared by all engines.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<watch::Sender<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    owners: BTreeMap<Node, String>,
    /// The engines in the order of the file, and whether each has asked its cluster once.
    engines: Vec<(String, bool)>,
}

/// An engine's cluster, to be claimed before anything of it is managed.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    claims: Claims,
    engine: String,
    cluster: Cluster,
}

impl Claims {
    pub(super) fn about(&self, engine: &str, cluster: &Cluster) -> Claim {
        self.enter(engine);
        let (engine, cluster) = (engine.to_owned(), cluster.clone());
        Claim { claims: self.clone(), engine, cluster }
    }

    fn enter(&self, engine: &str) {
        self.0.send_modify(|ledger| ledger.engines.push((engine.to_owned(), false)));
    }

    /// An engine has asked, whatever it heard.
    fn has_asked(&self, engine: &str) {
        self.0.send_modify(|ledger| {
            for (_, has_asked) in ledger.engines.iter_mut().filter(|(name, _)| name == engine) {
                *has_asked = true;
            }
        });
    }

    /// Waits until each engine before this one has asked, or for as long as they may take.
    async fn precedence(&self, engine: &str) {
        let mut ledger = self.0.subscribe();
        let have_asked = |ledger: &Ledger| {
            let mut before = ledger.engines.iter().take_while(|(name, _)| name != engine);
            before.all(|(_, has_asked)| *has_asked)
        };
        _ = tokio::time::timeout(PRECEDENCE, ledger.wait_for(have_asked)).await;
    }

    /// Claims a cluster by its nodes; the engine that has it already, if another one has.
    fn claim(&self, engine: &str, nodes: impl IntoIterator<Item = Node>) -> Option<String> {
        let mut other = None;
        self.0.send_modify(|ledger| other = ledger.claim(engine, nodes));
        other
    }
}

impl Ledger {
    fn claim(&mut self, engine: &str, nodes: impl IntoIterator<Item = Node>) -> Option<String> {
        let mut fresh = Vec::new();
        for node in nodes {
            match self.owners.entry(node) {
                btree_map::Entry::Occupied(owner) if owner.get() != engine => {
                    return Some(owner.get().clone());
                }
                btree_map::Entry::Occupied(_) => {}
                btree_map::Entry::Vacant(free) => fresh.push(free.into_key()),
            }
        }
        self.owners.extend(fresh.into_iter().map(|node| (node, engine.to_owned())));
        None
    }
}

impl Claim {
    /// Asks for the cluster's nodes and claims them, after the engines before it in the file: who is
    /// first keeps them for as long as this process lives. Why the cluster may not be used, if another engine has it. Cancel safe.
    ///
    /// # Errors
    /// What the cluster said.
    pub(crate) async fn make(&self, deadline: Deadline) -> Result<Option<String>, Error> {
        let nodes = self.cluster.client().nodes(deadline).await;
        if nodes.is_ok() {
            self.claims.precedence(&self.engine).await;
        }
        let outcome = nodes.map(|nodes| {
            let known = nodes.into_iter().filter_map(|node| Some((node.name, node.fingerprint?)));
            self.claims.claim(&self.engine, known).map(|other| refusal(&other))
        });
        self.claims.has_asked(&self.engine);
        outcome.map_err(|error| error.into_error(&self.engine, Action::Connect, None))
    }
}

fn refusal(other: &str) -> String {
    format!(
        "it is the cluster that is engine `{other}` already, and one container must not be managed \
         twice: leave one of the two engines out, and give its `url` to the other (if they are two \
         clusters, they have a node of the same name and certificate: give one of these another \
         certificate or name, and start drowse again)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(all: &[(&str, &str)]) -> Vec<Node> {
        all.iter().map(|(name, print)| ((*name).to_owned(), (*print).to_owned())).collect()
    }

    #[test]
    fn a_cluster_is_one_engines_by_whichever_node_it_is_met() {
        let claims = Claims::default();
        let both = nodes(&[("pve1", "AA"), ("pve2", "BB")]);
        assert_eq!(claims.claim("home", both.clone()), None);
        assert_eq!(claims.claim("home", both), None, "it is asked again");
        let other = claims.claim("again", nodes(&[("pve0", "00"), ("pve2", "BB")]));
        assert_eq!(other.as_deref(), Some("home"));
        assert_eq!(claims.claim("third", nodes(&[("pve0", "00")])), None, "nothing was taken then");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_engine_of_the_file_has_a_cluster_unless_it_does_not_answer() {
        let claims = Claims::default();
        claims.enter("home");
        claims.enter("again");
        let mut is_first = std::pin::pin!(claims.precedence("again"));
        assert!(futures::poll!(is_first.as_mut()).is_pending(), "it is quicker");
        tokio::time::timeout(Duration::ZERO, claims.precedence("home")).await.unwrap();
        claims.has_asked("home");
        tokio::time::timeout(Duration::ZERO, is_first).await.unwrap();

        let claims = Claims::default();
        claims.enter("home");
        claims.enter("again");
        claims.precedence("again").await;
    }

    #[test]
    fn what_to_do_is_told_also_if_it_is_a_false_alarm() {
        insta::assert_snapshot!(refusal("home"), @"it is the cluster that is engine `home` already, and one container must not be managed twice: leave one of the two engines out, and give its `url` to the other (if they are two clusters, they have a node of the same name and certificate: give one of these another certificate or name, and start drowse again)");
    }

    #[test]
    fn a_name_or_a_certificate_alone_is_no_cluster() {
        let claims = Claims::default();
        assert_eq!(claims.claim("cellar", nodes(&[("pve", "AA")])), None);
        assert_eq!(claims.claim("attic", nodes(&[("pve", "BB")])), None);
        assert_eq!(claims.claim("garage", nodes(&[("pve3", "AA")])), None);
    }
}
