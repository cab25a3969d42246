//! Proxmox clusters.

use std::sync::Arc;

use drowse_proxmox::{Client, ClientOptions, Cluster, ClusterOptions, Endpoint};

use super::{Made, Rights};
use crate::{config::ProxmoxConfig, labels::Dialect};

/// The error is a lower-case fragment.
pub(super) fn make(name: &str, config: &ProxmoxConfig) -> Result<Made, String> {
    let client = client(config, config.endpoints.clone())?;
    let mut options = ClusterOptions::new();
    if let Some(interval) = config.interval {
        options = options.with_interval(interval);
    }
    let rights = Rights::of(client.clone(), &config.credentials);
    let cluster = Cluster::connect(name, client, options);
    Ok(Made {
        engine: Arc::new(cluster.clone()),
        endpoints: config.endpoints.iter().map(Endpoint::to_string).collect(),
        urls: config.endpoints.iter().map(Endpoint::to_string).collect(),
        dialect: Dialect::Notes {
            engine: name.into(),
            hosts: config.discover_hosts.iter().cloned().collect(),
        },
        cluster: Some((cluster, rights)),
    })
}

/// A client that knows these endpoints of the cluster. The error is a lower-case fragment.
pub(crate) fn client(config: &ProxmoxConfig, endpoints: Vec<Endpoint>) -> Result<Client, String> {
    let (credentials, trust) = (config.credentials.clone(), config.trust.clone());
    Client::new(ClientOptions::new(endpoints, credentials, trust))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::{config, engines::Engines, state::StateFolder};

    fn engines(clusters: &[(&str, &str)]) -> Result<Engines, String> {
        let all = clusters.iter().map(|(name, url)| {
            format!("  {name}: {{ proxmox: {{ url: [{url}], token: a@pve!b, secret_env: S }} }}\n")
        });
        let config = config::from_text(&format!("engines:\n{}", all.collect::<String>())).unwrap();
        Engines::new(&config).map_err(|mut problems| problems.render(None))
    }

    #[tokio::test]
    async fn a_node_is_one_engines() {
        assert!(
            engines(&[("pve", "https://pve1, https://pve2"), ("attic", "https://pve3")]).is_ok()
        );
        let twice = [("pve", "https://pve1, https://pve2"), ("again", "https://PVE2:8006/")];
        insta::assert_snapshot!(
            engines(&twice).unwrap_err(),
            @"error: engine `again`: its `url` is of engine `pve` already: a cluster is one engine, with all its nodes in one `url`"
        );
    }

    #[tokio::test]
    async fn no_two_drowses_manage_a_cluster_by_one_of_its_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::locate(Some(&folder.path().join("state")));
        state.create().unwrap();
        let first = engines(&[("pve", "https://pve1, https://pve2")]).unwrap();
        let _locks = first.lock(&state).unwrap();
        let second = engines(&[("home", "https://pve3, https://pve2")]).unwrap();
        let refused = second.lock(&state).unwrap_err().to_string();
        let refused = refused.replace(&std::process::id().to_string(), "PID");
        insta::assert_snapshot!(
            refused,
            @"another drowse (pid PID) manages engine `home` (https://pve2:8006) already: stop it first"
        );
    }
}
