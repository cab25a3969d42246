//! `check`: what would be managed, without touching any of it.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_watcher::{Policy, SleepMethod};
use serde::Serialize;

use crate::{
    cli::CheckArgs,
    config::{Config, Problem, Severity, Source, show_duration},
    discovery,
    engines::Engines,
    exit::{CommandError, CommandResult, Exit},
    front,
    list::table,
    output::{complain, say, say_json},
    plan::{self, DefinedIn, EngineView, Inventory, Plan, Planned, PlannedContainer},
    run,
    whereabouts::Whereabouts,
};

/// What reading one engine may take.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn check(arguments: &CheckArgs) -> CommandResult {
    let (mut config, engines, source) = run::read(arguments.config.as_deref())?;
    config.listen = run::listen(&[], &config)?;
    let whereabouts = Whereabouts::of_this_process();
    let outcome = examine(&config, &engines, &whereabouts, source.as_ref()).await;
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

/// Reads each engine once, and nothing but reads.
pub(crate) async fn examine(
    config: &Config,
    engines: &Engines,
    whereabouts: &Whereabouts,
    source: Option<&Source>,
) -> Outcome {
    let mut inventory = Inventory::new();
    let mut unreachable = Vec::new();
    for configured in engines.discovered() {
        let engine = &configured.engine;
        let deadline = Deadline::after(ENGINE_TIMEOUT);
        let wanted = &configured.wanted;
        let read = discovery::read_once(engine, wanted, whereabouts, deadline).await;
        let mut view = read.unwrap_or_else(|error| {
            let error = format!("{:#}", anyhow::anyhow!(error));
            unreachable.push(Problem::error(error).about(format!("engine `{}`", engine.name())));
            EngineView::unread(engine.capabilities(), engine.reach())
        });
        if let Some(entrance) = configured.entrance.clone() {
            view.entrance = Some(entrance.looked_up().await);
        }
        inventory.insert(engine.name().to_owned(), view);
    }
    let plan = plan::make(config, &inventory);
    let unmanaged = plan::unmanaged(&plan, &inventory);
    let Plan { workloads, waiting, mut problems } = plan;
    let is_unreachable = !unreachable.is_empty();
    problems.extend(unreachable);
    for unread in waiting {
        let why = format!("unknown: its engine `{}` cannot be reached", unread.engine);
        problems.push(Problem::warning(why).about(format!("workload `{}`", unread.name)));
    }
    let mut lines = Vec::new();
    for planned in &workloads {
        let (mut line, mut trouble) = Line::of(planned, &inventory);
        line.ways_past = plan::ways_past(planned, &inventory, &unmanaged);
        lines.push(line);
        problems.append(&mut trouble);
    }
    let report = Report {
        workloads: lines,
        problems: problems.iter().map(|problem| ProblemLine::of(problem, source)).collect(),
    };
    Outcome { report, problems, is_unreachable }
}

/// What `check --json` writes. Keys are added, never renamed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workloads: Vec<Line>,
    problems: Vec<ProblemLine>,
}

/// A workload that would be managed.
#[derive(Debug, Serialize)]
struct Line {
    workload: String,
    engine: String,
    container: String,
    /// `file` or `labels`.
    from: &'static str,
    /// The container's state, or `absent`.
    state: String,
    policy: String,
    idle_seconds: u64,
    routes: Vec<RouteLine>,
    /// How it can be reached without its wake and its use being noticed.
    ways_past: Vec<String>,
}

/// Where one of its routes would lead.
#[derive(Debug, Serialize)]
struct RouteLine {
    route: String,
    urls: Vec<String>,
    upstream: Option<String>,
    why: String,
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
    fn of(planned: &Planned, inventory: &Inventory) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let about = format!("workload `{}`", planned.name);
        let state = match (&planned.container, &planned.details) {
            (PlannedContainer::Process(_), _) => "stopped".to_owned(),
            (_, Some(details)) => details.observation.status.to_string(),
            (_, None) => {
                let why = format!("there is no container `{}` now", planned.container_name());
                problems.push(Problem::warning(why).about(&*about));
                "absent".to_owned()
            }
        };
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
            routes.push(RouteLine { route: route.name.clone(), urls: route.urls(), upstream, why });
        }
        let line = Self {
            workload: planned.name.clone(),
            engine: planned.engine.clone(),
            container: planned.container_name(),
            from: match planned.from {
                DefinedIn::File => "file",
                DefinedIn::Labels => "labels",
            },
            state,
            policy: describe(&planned.policy),
            idle_seconds: planned.policy.idle.as_secs(),
            routes,
            ways_past: Vec::new(),
        };
        (line, problems)
    }
}

/// A policy in words.
fn describe(policy: &Policy) -> String {
    let sleep = match &policy.sleep {
        SleepMethod::Stop(options) => {
            let signal = options.signal.map(|signal| format!(" with {signal}"));
            let timeout =
                options.timeout.map(|timeout| format!(" within {}", show_duration(timeout)));
            format!("stop{}{}", signal.unwrap_or_default(), timeout.unwrap_or_default())
        }
        SleepMethod::Pause => "pause".to_owned(),
        SleepMethod::Kill => "kill".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{sleep} after {}", show_duration(policy.idle))
}

impl Report {
    fn render(&self) -> String {
        if self.workloads.is_empty() {
            return "nothing would be managed".to_owned();
        }
        let header = ["WORKLOAD", "STATE", "ENGINE", "CONTAINER", "FROM", "POLICY"];
        let cells = |line: &Line| {
            [
                line.workload.clone(),
                line.state.clone(),
                line.engine.clone(),
                line.container.clone(),
                line.from.to_owned(),
                line.policy.clone(),
            ]
        };
        let mut text = table(header, self.workloads.iter().map(cells));
        let routes = self.workloads.iter().flat_map(|line| {
            line.routes.iter().map(|route| {
                [
                    line.workload.clone(),
                    route.urls.join(", "),
                    route.upstream.clone().unwrap_or_else(|| "-".to_owned()),
                    route.why.clone(),
                ]
            })
        });
        let routes: Vec<_> = routes.collect();
        if !routes.is_empty() {
            text.push_str("\n\n");
            text.push_str(&table(["WORKLOAD", "ROUTE", "LEADS TO", "WHY"], routes));
        }
        let ways_past = self
            .workloads
            .iter()
            .flat_map(|line| line.ways_past.iter().map(|way| [line.workload.clone(), way.clone()]));
        let ways_past: Vec<_> = ways_past.collect();
        if !ways_past.is_empty() {
            text.push_str("\n\n");
            text.push_str(&table(
                ["WORKLOAD", "PAST THE GATEWAY, NEITHER WOKEN NOR COUNTED"],
                ways_past,
            ));
        }
        text
    }
}
