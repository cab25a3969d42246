//! `check`: what would be managed, without touching any of it.

mod cluster;
mod needs;
mod schedule;

use std::collections::BTreeSet;

use drowse_provider::{Owner, StopOptions};
use drowse_watcher::{Policy, Role, SleepMethod};
use jiff::Timestamp;
use serde::Serialize;

use self::{
    cluster::{Asked, ClusterLine},
    needs::{DependentLine, NeedLine},
    schedule::ScheduleLine,
};
use crate::{
    cli::CheckArgs,
    config::{Config, Problem, Severity, Source, show_duration},
    discovery,
    engines::{Engines, SEEING},
    entrance,
    exit::{CommandError, CommandResult, Exit},
    folder::OwnFolder,
    front,
    handed::HandedSockets,
    labels::Dialect,
    list::{flexible_table, in_cluster, table},
    output::{chain, complain, say, say_json},
    plan::{self, DefinedIn, Incumbents, Inventory, Plan, Planned, PlannedContainer},
    ports, run,
    store::data_folder,
    tls::{self, CertificateLine},
    whereabouts::Whereabouts,
};

pub(crate) async fn check(arguments: &CheckArgs) -> CommandResult {
    let (mut config, engines, source) = run::read(arguments.config.as_deref())?;
    config.listen = run::listen(&[], &config, &HandedSockets::default())?;
    let whereabouts = Whereabouts::of_this_process();
    let mut outcome = examine(&config, &engines, &whereabouts, source.as_ref()).await;
    let folder = data_folder(arguments.data_dir.as_deref());
    outcome.add_certificates(&config, folder.as_ref(), source.as_ref());
    engines.close().await;
    if arguments.json {
        say_json(&outcome.report)?;
    } else {
        say(outcome.report.render())?;
        for problem in &outcome.problems {
            complain(problem.render(source.as_ref()).trim_end());
        }
    }
    let errors = outcome.problems.iter().filter(|problem| problem.severity == Severity::Error);
    match errors.count() {
        0 => Ok(()),
        _ if outcome.is_unreachable => {
            Err(CommandError::words(Exit::Unavailable, "an engine cannot be reached"))
        }
        1 => Err(CommandError::words(Exit::Failure, "1 error")),
        several => Err(CommandError::words(Exit::Failure, format_args!("{several} errors"))),
    }
}

/// What was found.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) problems: Vec<Problem>,
    pub(crate) is_unreachable: bool,
}

impl Outcome {
    /// Reads the certificates that would be shown.
    fn add_certificates(
        &mut self,
        config: &Config,
        data: Option<&OwnFolder>,
        source: Option<&Source>,
    ) {
        let (lines, problems) = tls::examine(config, data);
        self.report.certificates = lines;
        let told = problems.iter().map(|problem| ProblemLine::of(problem, source));
        self.report.problems.extend(told);
        self.problems.extend(problems);
    }
}

/// Reads each engine once, and nothing but reads.
pub(crate) async fn examine(
    config: &Config,
    engines: &Engines,
    whereabouts: &Whereabouts,
    source: Option<&Source>,
) -> Outcome {
    let mut inventory = Inventory::new();
    let (mut unreachable, mut unreadable) = (Vec::new(), Vec::new());
    let mut clusters = Vec::new();
    for configured in engines.discovered() {
        let engine = &configured.engine;
        let read = discovery::read_once(configured, whereabouts).await;
        let mut view = match read {
            Ok(view) => {
                let about = format!("engine `{}`", engine.name());
                let refusal = view.trouble.as_ref().map(|why| Problem::error(&**why).about(about));
                unreadable.extend(view.unseen().cloned().chain(refusal));
                view
            }
            Err(error) => {
                let about = format!("engine `{}`", engine.name());
                unreachable.push(Problem::error(chain(&error)).about(about));
                configured.unread()
            }
        };
        view.entrances = entrance::look_up_all(configured.entrances.clone()).await;
        clusters.extend(Asked::about(configured, config).await);
        inventory.insert(engine.name().to_owned(), view);
    }
    let plan = plan::make(config, &inventory, &Incumbents::default());
    let unmanaged = plan::unmanaged(&plan, &inventory);
    let Plan { workloads, waiting, mut problems, awaited: _ } = plan;
    let is_unreachable = !unreachable.is_empty();
    problems.extend(unreachable.into_iter().chain(unreadable));
    for unread in waiting {
        let is_refused = inventory.get(&unread.engine).is_some_and(|engine| engine.is_refused);
        let what = if is_refused { "cannot be used" } else { "cannot be reached" };
        let why = format!("unknown: its engine `{}` {what}", unread.engine);
        problems.push(Problem::warning(why).about(format!("workload `{}`", unread.name)));
    }
    let mut hidden = BTreeSet::new();
    for cluster in &clusters {
        let lacking = cluster.lacking(&workloads).await;
        hidden.extend(lacking.hidden);
        problems.extend(cluster.problems().chain(lacking.problems));
    }
    let mut lines = Vec::new();
    for planned in &workloads {
        let (mut line, mut trouble) = Line::of(planned, &inventory, hidden.contains(&planned.name));
        line.ways_past = plan::ways_past(planned, &inventory, &unmanaged);
        line.needed_by = needs::dependents_of(planned, &workloads);
        line.asked = planned.gates.words(!line.ways_past.is_empty());
        lines.push(line);
        problems.append(&mut trouble);
    }
    let report = Report {
        workloads: lines,
        clusters: clusters.into_iter().map(Asked::into_line).collect(),
        problems: problems.iter().map(|problem| ProblemLine::of(problem, source)).collect(),
        certificates: Vec::new(),
    };
    Outcome { report, problems, is_unreachable }
}

/// What `check --json` writes. Keys are added, never renamed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workloads: Vec<Line>,
    clusters: Vec<ClusterLine>,
    problems: Vec<ProblemLine>,
    certificates: Vec<CertificateLine>,
}

/// A workload that would be managed.
#[derive(Debug, Serialize)]
struct Line {
    workload: String,
    engine: String,
    container: String,
    /// The number of the container in its cluster, where its engine is one.
    vmid: Option<u32>,
    /// The node that it is on, likewise.
    node: Option<String>,
    /// What works on it and keeps orders from it, if anything does.
    lock: Option<String>,
    /// Its tags, likewise.
    tags: Vec<String>,
    /// `file`, `labels`, `tag`, or `needs` for what nobody enabled: others need it, or it needs others.
    from: &'static str,
    /// The container's state, or `absent`, or `hidden` if the credential may not see it, or
    /// `unreadable` if it is there.
    state: String,
    policy: String,
    idle_seconds: u64,
    /// When it is kept awake and woken, whoever uses it.
    schedule: Option<ScheduleLine>,
    routes: Vec<RouteLine>,
    needs: Vec<NeedLine>,
    needed_by: Vec<DependentLine>,
    /// The group whose members are woken together.
    group: Option<String>,
    /// How it can be reached without its wake and its use being noticed.
    ways_past: Vec<String>,
    /// What is asked before each sleep, beside who holds it.
    asked: Vec<String>,
}

/// Where one of its routes would lead.
#[derive(Debug, Serialize)]
struct RouteLine {
    route: String,
    urls: Vec<String>,
    upstream: Option<String>,
    why: String,
    /// How it is spoken to.
    scheme: &'static str,
    /// What the route changes on the way.
    changes: Vec<String>,
    /// Who may enter; empty: everybody.
    access: Vec<String>,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
struct ProblemLine {
    severity: &'static str,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

impl ProblemLine {
    fn of(problem: &Problem, source: Option<&Source>) -> Self {
        let place = problem.place.as_ref();
        let file = place.and(source).map(|source| source.path.display().to_string());
        Self {
            severity: problem.severity.as_str(),
            message: problem.line(),
            file,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
        }
    }
}

impl Line {
    /// `is_hidden`: the credential may not see its container, which may be there.
    fn of(planned: &Planned, inventory: &Inventory, is_hidden: bool) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let about = format!("workload `{}`", planned.name);
        let state = match (&planned.container, &planned.details) {
            (PlannedContainer::Process(_), _) => "stopped".to_owned(),
            (_, Some(details)) => details.observation.status.to_string(),
            (_, None) if is_hidden => "hidden".to_owned(),
            // That is a problem of the container's.
            (PlannedContainer::OnEngine(reference), None)
                if inventory.get(&planned.engine).is_some_and(|view| view.is_unread(reference)) =>
            {
                "unreadable".to_owned()
            }
            (_, None) => {
                let may_be_unseen = planned.vmid().is_none()
                    && inventory
                        .get(&planned.engine)
                        .is_some_and(|view| matches!(view.dialect, Dialect::Notes { .. }));
                let or = if may_be_unseen {
                    format!(", or its credential may not see it (`{SEEING}` is needed)")
                } else {
                    String::new()
                };
                let why = format!("there is no container `{}` now{or}", planned.container_name());
                problems.push(Problem::warning(why).about(&*about));
                "absent".to_owned()
            }
        };
        if let Some(Owner::HighAvailability(_)) =
            planned.details.as_ref().and_then(|details| details.owner.as_ref())
        {
            let why = "high availability manages it: while it sleeps, its requested state there is \
                       `stopped`, and nobody but drowse starts it again";
            problems.push(Problem::warning(why).about(&*about));
        }
        // A job is never put to sleep.
        if planned.policy.role != Role::Job {
            let in_vain = planned.gates.warnings().into_iter();
            problems.extend(in_vain.map(|why| Problem::warning(why).about(&*about)));
        }
        let mut routes = Vec::new();
        for route in &planned.routes {
            let choice = front::upstream(planned, route, inventory.get(&planned.engine));
            let (upstream, why) = match choice {
                Ok((upstream, why)) => (upstream, why),
                Err(why) => {
                    let message = format!("route `{}`: {why}", route.name);
                    problems.push(Problem::error(message).about(&*about));
                    (None, why)
                }
            };
            if let Some(why) = plan::access_trouble(&route.access) {
                let message = format!("route `{}`: nobody may enter: {why}", route.name);
                problems.push(Problem::error(message).about(&*about));
            }
            routes.push(RouteLine {
                route: route.name.clone(),
                urls: route.urls(),
                upstream,
                why,
                scheme: route.spoken.scheme.as_str(),
                changes: route.spoken.words(),
                access: plan::access_in_words(&route.access),
            });
        }
        for route in &planned.port_routes {
            // The plan has complained where it leads nowhere.
            let choice = ports::upstream(planned, route, inventory.get(&planned.engine));
            let (upstream, why) = choice.unwrap_or_else(|why| (None, why));
            routes.push(RouteLine {
                route: route.name.clone(),
                urls: route.urls(),
                upstream,
                why,
                scheme: route.scheme(),
                changes: Vec::new(),
                access: plan::networks_in_words(&route.networks).into_iter().collect(),
            });
        }
        let line = Self {
            workload: planned.name.clone(),
            engine: planned.engine.clone(),
            container: planned.shown_name(),
            vmid: planned.vmid(),
            node: planned.node(),
            lock: planned.lock(),
            tags: planned.tags(),
            from: match planned.from {
                DefinedIn::File => "file",
                DefinedIn::Labels => "labels",
                DefinedIn::Tag => "tag",
                DefinedIn::Needs => needs::NOBODY,
            },
            state,
            policy: describe(&planned.policy),
            idle_seconds: planned.policy.idle.as_secs(),
            schedule: planned.schedule.as_ref().map(|it| ScheduleLine::of(it, Timestamp::now())),
            routes,
            needs: needs::needs_of(planned),
            needed_by: Vec::new(),
            group: planned.group.clone(),
            ways_past: Vec::new(),
            asked: Vec::new(),
        };
        (line, problems)
    }
}

/// A policy in words.
fn describe(policy: &Policy) -> String {
    let sleep = match &policy.sleep {
        SleepMethod::Stop(options) => stop_in_words(options),
        SleepMethod::Pause => "pause".to_owned(),
        SleepMethod::Kill => "kill".to_owned(),
        SleepMethod::Never => return "never stopped".to_owned(),
        SleepMethod::PauseThenStop { after, stop } => {
            let paused = format!("pause after {}", show_duration(policy.idle));
            let stopped = stop_in_words(stop);
            let min_awake = min_awake_in_words(policy);
            return format!("{paused}, {stopped} after {} more{min_awake}", show_duration(*after));
        }
        other => format!("{other:?}"),
    };
    format!("{sleep} after {}{}", show_duration(policy.idle), min_awake_in_words(policy))
}

fn stop_in_words(options: &StopOptions) -> String {
    let signal = options.signal.map(|signal| format!(" with {signal}"));
    let timeout = options.timeout.map(|timeout| format!(" within {}", show_duration(timeout)));
    format!("stop{}{}", signal.unwrap_or_default(), timeout.unwrap_or_default())
}

fn min_awake_in_words(policy: &Policy) -> String {
    if policy.min_awake.is_zero() {
        return String::new();
    }
    format!(", {} after a wake at the earliest", show_duration(policy.min_awake))
}

impl Report {
    fn render(&self) -> String {
        let clusters = cluster::render(&self.clusters);
        let before = if clusters.is_empty() { String::new() } else { format!("{clusters}\n\n") };
        let certificates = tls::render(&self.certificates);
        let after =
            if certificates.is_empty() { String::new() } else { format!("\n\n{certificates}") };
        format!("{before}{}{after}", self.render_workloads())
    }

    fn render_workloads(&self) -> String {
        if self.workloads.is_empty() {
            return "nothing would be managed".to_owned();
        }
        // Nodes, numbers and tags are for those who have a cluster.
        let has_cluster = self.workloads.iter().any(|line| line.vmid.is_some());
        let here: &[&str] = if has_cluster { &["VMID", "NODE", "TAGS"] } else { &[] };
        let header =
            [&["WORKLOAD", "STATE", "ENGINE", "CONTAINER"], here, &["FROM", "POLICY"]].concat();
        let cells = |line: &Line| {
            let mut cells = vec![
                line.workload.clone(),
                match &line.lock {
                    Some(lock) => format!("{} (locked by {lock})", line.state),
                    None => line.state.clone(),
                },
                line.engine.clone(),
                line.container.clone(),
            ];
            if has_cluster {
                cells.extend(in_cluster(line.vmid, line.node.as_deref()));
                let tags = if line.tags.is_empty() { "-".to_owned() } else { line.tags.join(" ") };
                cells.push(tags);
            }
            cells.extend([line.from.to_owned(), line.policy.clone()]);
            cells
        };
        let mut text = flexible_table(header, self.workloads.iter().map(cells));
        let routes = self.workloads.iter().flat_map(|line| {
            line.routes.iter().map(|route| {
                [
                    line.workload.clone(),
                    route.urls.join(", "),
                    route.upstream.clone().unwrap_or_else(|| "-".to_owned()),
                    [std::slice::from_ref(&route.why), &*route.changes, &*route.access]
                        .concat()
                        .join("; "),
                ]
            })
        });
        let routes: Vec<_> = routes.collect();
        if !routes.is_empty() {
            text.push_str("\n\n");
            text.push_str(&table(["WORKLOAD", "ROUTE", "LEADS TO", "WHY"], routes));
        }
        let needs = needs::render(&self.workloads);
        if !needs.is_empty() {
            text.push_str("\n\n");
            text.push_str(&needs);
        }
        let schedules = schedule::render(
            self.workloads
                .iter()
                .filter_map(|line| Some((&*line.workload, line.schedule.as_ref()?))),
        );
        if !schedules.is_empty() {
            text.push_str("\n\n");
            text.push_str(&schedules);
        }
        let ways_past = self.of_each(|line| &line.ways_past);
        if !ways_past.is_empty() {
            text.push_str("\n\n");
            text.push_str(&table(
                ["WORKLOAD", "PAST THE GATEWAY, WHERE NOTHING IS WOKEN"],
                ways_past,
            ));
        }
        let asked = self.of_each(|line| &line.asked);
        if !asked.is_empty() {
            text.push_str("\n\n");
            text.push_str(&table(["WORKLOAD", "ASKED BEFORE EACH SLEEP"], asked));
        }
        text
    }

    /// Rows of what is said of each workload.
    fn of_each(&self, what: impl Fn(&Line) -> &Vec<String>) -> Vec<[String; 2]> {
        let rows = self
            .workloads
            .iter()
            .flat_map(|line| what(line).iter().map(|it| [line.workload.clone(), it.clone()]));
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
