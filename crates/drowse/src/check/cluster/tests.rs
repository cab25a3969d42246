use super::*;
use crate::{engines::Engines, plan::Incumbents};

const PINNED: &str = "let_anyone_impersonate_this_cluster: false";
const ANYONE: &str = "let_anyone_impersonate_this_cluster: true";

fn config(trust: &str) -> Config {
    let text = format!(
        "engines:\n  pve:\n    proxmox:\n      url: [https://pve1, https://pve2]\n      \
         token: drowse@pve!main\n      secret_env: S\n      {trust}\n"
    );
    crate::config::from_text(&text).unwrap()
}

/// A cluster with these endpoints, each with what it runs or why it does not answer.
fn asked<'a>(config: &'a Config, endpoints: &[(&str, Result<&str, &str>)]) -> Asked<'a> {
    let engines =
        Engines::new(config).unwrap_or_else(|mut problems| panic!("{}", problems.render(None)));
    let rights = engines.discovered().next().unwrap().rights.clone().unwrap();
    let engine = &config.engines[0];
    let EngineKind::Proxmox(proxmox) = &engine.kind else { panic!() };
    let endpoints = endpoints.iter().map(|(url, answer)| EndpointLine {
        url: (*url).to_owned(),
        version: answer.ok().map(str::to_owned),
        trouble: answer.err().map(str::to_owned),
        trouble_in_short: if answer.is_ok() { "" } else { "does not answer" },
    });
    Asked {
        engine: engine.name.clone(),
        config: proxmox,
        place: engine.place.as_ref(),
        rights,
        endpoints: endpoints.collect(),
    }
}

fn lines(problems: impl IntoIterator<Item = Problem>) -> String {
    let line = |problem: Problem| {
        let place = problem.place.as_ref().map_or_else(String::new, |it| format!(":{}", it.line));
        format!("{}{place}: {}", problem.severity.as_str(), problem.line())
    };
    problems.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

const ANSWERS: (&str, Result<&str, &str>) = ("https://pve1:8006", Ok("9.2.11"));
const IS_SILENT: (&str, Result<&str, &str>) = ("https://pve2:8006", Err("connection refused"));

#[tokio::test]
async fn what_is_wrong_with_the_way_to_a_cluster_is_told() {
    let config = config(ANYONE);
    let asked = asked(&config, &[ANSWERS, IS_SILENT]);
    insta::assert_snapshot!(lines(asked.problems()), @r"
    warning:3: engine `pve`: `let_anyone_impersonate_this_cluster`: whoever comes between drowse and the cluster gets its credential; pin the certificate with `fingerprints` instead
    warning:3: engine `pve`: `https://pve2:8006` does not answer: connection refused
    ");
    insta::assert_snapshot!(render(&[asked.into_line()]), @r"
    CLUSTER  ENDPOINT           ANSWER
    pve      https://pve1:8006  Proxmox VE 9.2.11
    pve      https://pve2:8006  does not answer
    ");
}

/// That is said of the whole engine, by whoever tried to read it.
#[tokio::test]
async fn a_cluster_of_which_no_node_answers_is_not_complained_about_node_by_node() {
    let config = config(PINNED);
    let asked = asked(&config, &[IS_SILENT]);
    assert_eq!(lines(asked.problems()), "");
    assert!(asked.lacking(&[]).await.problems.is_empty(), "nobody is asked for rights");
}

#[tokio::test]
async fn the_rights_that_lack_are_told_of_each_workload() {
    let config = config(PINNED);
    let asked = asked(&config, &[ANSWERS]);
    let path = |vmid: u32| format!("/vms/{vmid}");
    let lacking = asked.judge(vec![
        ("wiki", path(201), Ok(Vec::new())),
        ("db", path(202), Ok(vec!["VM.PowerMgmt"])),
        ("mail", path(203), Ok(vec![SEEING, "VM.PowerMgmt"])),
        ("dns", path(204), Err(ClientError::Closed)),
    ]);
    assert_eq!(lacking.hidden, BTreeSet::from(["mail".to_owned()]));
    insta::assert_snapshot!(lines(lacking.problems), @r"
    error: workload `db`: it lacks `VM.PowerMgmt` on `/vms/202`: on a node, `pveum acl modify /vms/202 --roles Drowse --users drowse@pve --tokens 'drowse@pve!main'` gives the role that has it (`pveum role add Drowse --privs 'VM.Audit VM.PowerMgmt'` makes the role)
    error: workload `mail`: it lacks `VM.Audit` and `VM.PowerMgmt` on `/vms/203`: on a node, `pveum acl modify /vms/203 --roles Drowse --users drowse@pve --tokens 'drowse@pve!main'` gives the role that has it (`pveum role add Drowse --privs 'VM.Audit VM.PowerMgmt'` makes the role)
    warning: workload `dns`: its rights cannot be read: the client is closed
    ");
}

#[tokio::test]
async fn that_nothing_can_be_seen_is_told_once_with_the_place_of_the_engine() {
    let config = config(PINNED);
    let asked = asked(&config, &[ANSWERS]);
    let file = crate::config::from_text(
        "engines: { pve: { proxmox: { url: https://pve1, token: a@pve!b, secret_env: S } } }\n\
         workloads:\n  db: { container: { engine: pve, name: db } }\n  \
         wiki: { container: { engine: pve, vmid: 201 } }\n",
    );
    let view = crate::plan::EngineView {
        containers: Some(Vec::new()),
        ..crate::plan::EngineView::unread(
            drowse_provider::Capabilities::all(),
            drowse_provider::Reach::Routed,
        )
    };
    let inventory = [("pve".to_owned(), view)].into();
    let planned = crate::plan::make(&file.unwrap(), &inventory, &Incumbents::default()).workloads;
    let lacking =
        asked.blind(planned.iter(), "its credential may not see any container".to_owned());
    assert_eq!(lacking.hidden, BTreeSet::from(["db".to_owned(), "wiki".to_owned()]));
    insta::assert_snapshot!(lines(lacking.problems), @"error:3: engine `pve`: its credential may not see any container");
}
