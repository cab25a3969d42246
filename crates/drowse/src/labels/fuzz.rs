//! The labels of containers, and the notes of those of Proxmox.

use drowse_fuzz::Input;
use drowse_gateway::HostPattern;

use super::*;

/// One label a line, `name=value`.
fn labels(mut input: Input<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !input.is_empty() && labels.len() < 32 {
        let line = String::from_utf8_lossy(input.line());
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels
}

fn of(reading: Reading) -> Option<(Box<Labelled>, Vec<String>)> {
    match reading {
        Reading::Nothing | Reading::NotEnabled => None,
        Reading::Enabled(labelled) => Some((labelled, Vec::new())),
        Reading::Wrong { mistakes, rest } => Some((rest, mistakes)),
    }
}

#[test]
fn labels_to_routes() {
    drowse_fuzz::target("labels_to_routes", |input| {
        let mut labels = labels(Input::new(input));
        let enabling = labels.get("drowse.enable").map(|value| value.trim().to_owned());
        let reading = Dialect::Labels.read(&labels);
        let is_managed = !matches!(reading, Reading::Nothing | Reading::NotEnabled);
        assert!(!is_managed || enabling.is_some_and(|value| value != "false"), "{labels:?}");
        if let Some((_, mistakes)) = of(reading) {
            assert!(mistakes.iter().all(|mistake| !mistake.is_empty()));
        }

        // Whoever writes notes claims no other host than those that are allowed.
        labels.insert(TAG.to_owned(), String::new());
        let hosts: [HostPattern; 1] = ["*.lan.example".parse().unwrap()];
        let notes = Dialect::Notes { engine: "pve".into(), hosts: hosts.clone().into() };
        let Some((labelled, _)) = of(notes.read(&labels)) else { return };
        let claimed = labelled.routes.iter().filter_map(|route| route.hosts.as_ref());
        for host in claimed.flat_map(|hosts| &hosts.value) {
            assert!(covers(&hosts[0], host), "{host}");
        }
    });
}
