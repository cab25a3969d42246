use std::sync::Arc;

use drowse_provider::{Capabilities, ContainerStatus, Details, Observation, Reach};

use super::*;
use crate::plan::{EngineView, Incumbents, UnreadContainer};

fn lxc(vmid: u32, name: &str) -> Details {
    let observation = Observation::new(ContainerStatus::Stopped, None);
    let mut details = Details::new(vmid.to_string(), name, observation);
    details.node = Some("pve1".to_owned());
    details
}

/// What is said of the only workload, on a cluster with these containers: its state, and the problems.
fn said(workload: &str, containers: Vec<Details>, is_hidden: bool) -> (String, String) {
    said_beside(workload, containers, &[], is_hidden)
}

/// The same, where these could not be read, each by its number and its name.
fn said_beside(
    workload: &str,
    containers: Vec<Details>,
    unread: &[(&str, &str)],
    is_hidden: bool,
) -> (String, String) {
    let config = crate::config::from_text(&format!(
        "engines: {{ pve: {{ proxmox: {{ url: https://pve1, token: a@pve!b, secret_env: S }} }} }}\n\
         workloads: {{ wiki: {workload} }}\n"
    ));
    let view = EngineView {
        containers: Some(containers.into_iter().map(Arc::new).collect()),
        dialect: Dialect::Notes { engine: "pve".into(), hosts: [].into() },
        unread: unread
            .iter()
            .map(|(id, name)| {
                let problem = Problem::error("it cannot be read: its node is away");
                let (name, needs) = ((*name).to_owned(), Some(Vec::new()));
                ((*id).to_owned(), UnreadContainer { name, problem, needs })
            })
            .collect(),
        ..EngineView::unread(Capabilities::all(), Reach::Routed)
    };
    let inventory = Inventory::from([("pve".to_owned(), view)]);
    let plan = plan::make(&config.unwrap(), &inventory, &Incumbents::default());
    assert_eq!(plan.problems, []);
    let (line, problems) = Line::of(&plan.workloads[0], &inventory, is_hidden);
    let problems = problems.iter().map(|it| format!("{}: {}", it.severity.as_str(), it.line()));
    (line.state, problems.collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_sleep_means_under_high_availability_is_told() {
    let mut wiki = lxc(201, "wiki");
    wiki.owner = Some(Owner::HighAvailability("started".to_owned()));
    let workload = "{ container: { engine: pve, vmid: 201 }, ha: true }";
    let (state, problems) = said(workload, vec![wiki], false);
    assert_eq!(state, "stopped");
    insta::assert_snapshot!(problems, @"warning: workload `wiki`: high availability manages it: while it sleeps, its requested state there is `stopped`, and nobody but drowse starts it again");
}

#[test]
fn a_container_that_is_not_to_be_seen_is_not_said_to_be_absent() {
    let by_number = "{ container: { engine: pve, vmid: 201 } }";
    let by_name = "{ container: { engine: pve, name: wiki } }";
    assert_eq!(said(by_number, Vec::new(), true), ("hidden".to_owned(), String::new()));
    let (state, problems) = said(by_number, Vec::new(), false);
    assert_eq!(state, "absent", "its rights are asked for");
    insta::assert_snapshot!(problems, @"warning: workload `wiki`: there is no container `201` now");
    // Nobody knows the number that it would have, and so its rights.
    let (state, problems) = said(by_name, Vec::new(), false);
    assert_eq!(state, "absent");
    insta::assert_snapshot!(problems, @"warning: workload `wiki`: there is no container `wiki` now, or its credential may not see it (`VM.Audit` is needed)");
}

#[test]
fn a_container_that_cannot_be_read_is_not_said_to_be_absent() {
    for workload in
        ["{ container: { engine: pve, vmid: 201 } }", "{ container: { engine: pve, name: wiki } }"]
    {
        let said = said_beside(workload, Vec::new(), &[("201", "wiki")], false);
        assert_eq!(said, ("unreadable".to_owned(), String::new()), "it is told once, by its own");
        let said = said_beside(workload, Vec::new(), &[("2010", "wiki2")], false);
        assert_eq!(said.0, "absent");
    }
}
