//! What `check` asks of a Proxmox cluster beyond its containers: which nodes answer, and which rights
//! lack.

use std::{collections::BTreeSet, time::Duration};

use drowse_provider::Deadline;
use drowse_proxmox::{ClientError, Endpoint, Trust};
use futures::StreamExt as _;
use serde::Serialize;

use crate::{
    config::{Config, EngineKind, Place, Problem, ProxmoxConfig, TRUST_ANYONE},
    engines::{self, Configured, Rights, SEEING},
    list::table,
    output::chain,
    plan::Planned,
};

/// What one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Questions under way at once.
const AT_ONCE: usize = 4;

/// A cluster that was asked.
pub(super) struct Asked<'a> {
    engine: String,
    config: &'a ProxmoxConfig,
    place: Option<&'a Place>,
    rights: Rights,
    endpoints: Vec<EndpointLine>,
}

/// A cluster in a report.
#[derive(Debug, Serialize)]
pub(super) struct ClusterLine {
    engine: String,
    endpoints: Vec<EndpointLine>,
}

/// One of its nodes.
#[derive(Debug, Serialize)]
struct EndpointLine {
    url: String,
    /// What it runs, if it answers.
    version: Option<String>,
    /// Why it cannot be used.
    trouble: Option<String>,
    /// The same, in few words.
    #[serde(skip)]
    trouble_in_short: &'static str,
}

/// A workload's name, the path of its container, and what lacks there.
type Answer<'p> = (&'p str, String, Result<Vec<&'static str>, ClientError>);

/// What lacks of the rights on what would be managed.
#[derive(Default)]
pub(super) struct Lacking {
    /// The workloads whose containers the credential may not see.
    pub(super) hidden: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Asked<'a> {
    /// Asks each endpoint; `None` if the engine is no cluster.
    pub(super) async fn about(configured: &Configured, all: &'a Config) -> Option<Self> {
        let rights = configured.rights.clone()?;
        let name = configured.engine.name();
        let engine = all.engines.iter().find(|engine| engine.name == name)?;
        let EngineKind::Proxmox(config) = &engine.kind else { return None };
        let asking = config.endpoints.iter().map(|endpoint| EndpointLine::of(config, endpoint));
        let endpoints = futures::future::join_all(asking).await;
        let (engine, place) = (name.to_owned(), engine.place.as_ref());
        Some(Self { engine, config, place, rights, endpoints })
    }

    /// What is wrong with the way to it.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let does_any_answer = self.endpoints.iter().any(|one| one.version.is_some());
        // Where none answers, that is said of the whole engine.
        let silent = self.endpoints.iter().filter(move |_| does_any_answer);
        let silent = silent.filter_map(|one| {
            let trouble = one.trouble.as_ref()?;
            let short = one.trouble_in_short;
            Some(Problem::warning(format!("`{}` {short}: {trouble}", one.url)))
        });
        let anyone = (self.config.trust == Trust::Anyone).then(|| {
            Problem::warning(format!(
                "`{TRUST_ANYONE}`: whoever comes between drowse and the cluster gets its credential; \
                 pin the certificate with `fingerprints` instead"
            ))
        });
        anyone.into_iter().chain(silent).map(|problem| self.about_us(problem))
    }

    fn about_us(&self, problem: Problem) -> Problem {
        let problem = problem.about(format!("engine `{}`", self.engine));
        match self.place {
            Some(place) => problem.at(place),
            None => problem,
        }
    }

    /// Asks which rights lack on the containers of these workloads.
    pub(super) async fn lacking(&self, workloads: &[Planned]) -> Lacking {
        if self.endpoints.iter().all(|one| one.version.is_none()) {
            return Lacking::default();
        }
        let ours = workloads.iter().filter(|planned| planned.engine == self.engine);
        // Where that cannot be asked, what is asked next says why.
        let blindness = self.rights.blindness(Deadline::after(TIMEOUT)).await.ok().flatten();
        if let Some(why) = blindness {
            return self.blind(ours, why);
        }
        let numbered = ours.filter_map(|planned| Some((planned, planned.vmid()?)));
        let asking = numbered.map(|(planned, vmid)| async move {
            let path = format!("/vms/{vmid}");
            let missing = self.rights.missing_on(&path, Deadline::after(TIMEOUT)).await;
            (planned.name.as_str(), path, missing)
        });
        let answers: Vec<_> = futures::stream::iter(asking).buffered(AT_ONCE).collect().await;
        self.judge(answers)
    }

    /// Said once, and not of each of them.
    fn blind<'p>(&self, ours: impl Iterator<Item = &'p Planned>, why: String) -> Lacking {
        let unseen = ours.filter(|planned| planned.details.is_none());
        Lacking {
            hidden: unseen.map(|planned| planned.name.clone()).collect(),
            problems: vec![self.about_us(Problem::error(why))],
        }
    }

    fn judge(&self, answers: Vec<Answer<'_>>) -> Lacking {
        let mut lacking = Lacking::default();
        for (name, path, missing) in answers {
            let about = format!("workload `{name}`");
            match missing {
                Ok(missing) if missing.is_empty() => {}
                Ok(missing) => {
                    if missing.contains(&SEEING) {
                        lacking.hidden.insert(name.to_owned());
                    }
                    let why = self.rights.how_to_give(&path, &missing);
                    lacking.problems.push(Problem::error(why).about(about));
                }
                Err(error) => {
                    let why = format!("its rights cannot be read: {}", chain(&error));
                    lacking.problems.push(Problem::warning(why).about(about));
                }
            }
        }
        lacking
    }

    pub(super) fn into_line(self) -> ClusterLine {
        ClusterLine { engine: self.engine, endpoints: self.endpoints }
    }
}

impl EndpointLine {
    async fn of(config: &ProxmoxConfig, endpoint: &Endpoint) -> Self {
        let url = endpoint.to_string();
        let client = match engines::client(config, vec![endpoint.clone()]) {
            Ok(client) => client,
            Err(why) => return Self::useless(url, why, "cannot be asked"),
        };
        let version = client.version(Deadline::after(TIMEOUT)).await;
        client.close().await;
        match version {
            Ok(version) => {
                let version = Some(version.text);
                Self { url, version, trouble: None, trouble_in_short: "" }
            }
            Err(error) => Self::useless(url, chain(&error), in_short(&error)),
        }
    }

    fn useless(url: String, why: String, in_short: &'static str) -> Self {
        Self { url, version: None, trouble: Some(why), trouble_in_short: in_short }
    }
}

fn in_short(error: &ClientError) -> &'static str {
    match error {
        ClientError::Untrusted { .. } => "is not trusted",
        ClientError::Secret { .. } => "cannot be asked",
        ClientError::Unauthorized { .. } => "refuses the credential",
        _ => "does not answer",
    }
}

/// The clusters as a table; empty if there are none.
pub(super) fn render(clusters: &[ClusterLine]) -> String {
    let rows = clusters.iter().flat_map(|cluster| {
        cluster.endpoints.iter().map(|endpoint| {
            let answer = match &endpoint.version {
                Some(version) => format!("Proxmox VE {version}"),
                None => endpoint.trouble_in_short.to_owned(),
            };
            [cluster.engine.clone(), endpoint.url.clone(), answer]
        })
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { String::new() } else { table(["CLUSTER", "ENDPOINT", "ANSWER"], rows) }
}

#[cfg(test)]
mod tests;
