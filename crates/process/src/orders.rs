//! The orders, as the engine's thread carries them out.
//!
//! They run as tasks of that thread, so that whoever asked may go away; between two `await`s
//! nothing else changes the world.

use std::{io, process::Stdio, sync::Arc, time::Duration};

use drowse_provider::{
    ContainerStatus, Details, ErrorKind, EventAction, KillOutcome, Signal, StopOptions, Summary,
};
use futures::future::join_all;
use rustix::process::{Pid, Signal as Native};
use tokio::time::timeout;

use crate::{
    engine::Core,
    group, output,
    run::{Phase, Run, native},
    spawn,
    spec::{INHERITED, Output, ProcessSpec},
    supervise,
    world::{DEFAULT_STOP_TIMEOUT, State},
};

/// How long a group may take to freeze or thaw: only a process that hangs in the kernel takes any
/// time at all.
const FREEZE_BOUND: Duration = Duration::from_secs(10);

/// How long processes may take to end when their engine closes, before they are killed.
const CLOSE_BOUND: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, ErrorKind>;

/// The run of a container that is alive, after all that the kernel has to say of it was heard.
async fn settled(core: &Arc<Core>, id: &str) -> Outcome<Option<Arc<Run>>> {
    let run = core.world().get(id)?.run().cloned();
    if let Some(run) = &run {
        supervise::take_turns(core, id, run);
        if run.has_leader_exited() {
            run.ended().await;
        }
    }
    Ok(core.world().get(id)?.run().cloned())
}

fn conflict<T>(status: ContainerStatus) -> Outcome<T> {
    Err(ErrorKind::Conflict { status })
}

fn unsent(error: &io::Error) -> ErrorKind {
    ErrorKind::Failed { exit: None, message: format!("the signal cannot be sent: {error}") }
}

// === Reads ===

pub(crate) async fn inspect(core: Arc<Core>, id: String) -> Outcome<Details> {
    settled(&core, &id).await?;
    core.world().details(&id)
}

pub(crate) async fn list(core: Arc<Core>) -> Outcome<Vec<Summary>> {
    let alive = core.world().alive();
    for (id, _) in alive {
        // One that was removed meanwhile is not in the list either.
        _ = settled(&core, &id).await;
    }
    Ok(core.world().summaries())
}

// === Start ===

pub(crate) async fn start(core: Arc<Core>, id: String) -> Outcome<()> {
    let turn = core.world().get(&id)?.turn.clone();
    let _turn = turn.lock().await;
    match settled(&core, &id).await? {
        Some(run) if run.phase() == Phase::Frozen => thaw(&run).await,
        Some(_) => Ok(()),
        None => begin(&core, &id),
    }
}

fn begin(core: &Arc<Core>, id: &str) -> Outcome<()> {
    if core.is_closed() {
        return Err(ErrorKind::Closed);
    }
    let spec = core.world().get(id)?.spec.clone();
    let (run, child) = spawn_run(core, &spec)?;
    let run = Arc::new(run);
    core.world().began(id, Arc::clone(&run));
    let forward = |stream, pipe: Option<std::os::fd::OwnedFd>| {
        if let Some(pipe) = pipe {
            let (engine, name) = (core.name().to_owned(), spec.name.clone());
            tokio::spawn(output::forward(engine, name, stream, Arc::clone(&run), pipe));
        }
    };
    forward("stdout", child.stdout.map(Into::into));
    forward("stderr", child.stderr.map(Into::into));
    tokio::spawn(supervise::to_the_end(Arc::clone(core), id.to_owned(), run));
    Ok(())
}

/// Starts the program. Blocks this thread until it runs, or is known not to: about a millisecond.
fn spawn_run(core: &Arc<Core>, spec: &ProcessSpec) -> Outcome<(Run, std::process::Child)> {
    let mut command = command(spec).map_err(|error| output_failed(spec, &error))?;
    let mut guard = core.guard();
    let guarded = guard.ready(|| core.groups()).map_err(|error| ErrorKind::Unavailable {
        reason: format!(
            "the guard that ends processes with this program cannot be started (it needs \
             `/bin/sh`): {error}"
        ),
    })?;
    let token = guarded.token();
    spawn::guarded(&mut command, guarded, token);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            guard.forget(token, || core.groups());
            return Err(spawn_failed(spec, &error));
        }
    };
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let run = leader.ok_or_else(|| io::Error::other("the kernel gave an impossible pid"));
    match run.and_then(|leader| Run::of(leader, token)) {
        Ok(run) => Ok((run, child)),
        Err(error) => {
            // What cannot be watched must not run.
            let ended = child.kill().and_then(|()| child.wait());
            guard.forget(token, || core.groups());
            let reason = match ended {
                Ok(_) => format!("the process cannot be watched: {error}"),
                Err(kill) => format!("the process cannot be watched ({error}) nor ended ({kill})"),
            };
            Err(ErrorKind::Unavailable { reason })
        }
    }
}

fn command(spec: &ProcessSpec) -> io::Result<std::process::Command> {
    let mut command = std::process::Command::new(&spec.program);
    command.args(&spec.args).stdin(Stdio::null()).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(&spec.env);
    if let Some(folder) = &spec.cwd {
        command.current_dir(folder);
    }
    match &spec.output {
        Output::Log => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Output::Inherit => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        Output::Discard => command.stdout(Stdio::null()).stderr(Stdio::null()),
        Output::File(path) => {
            let file = std::fs::File::options().append(true).create(true).open(path)?;
            command.stdout(file.try_clone()?).stderr(file)
        }
    };
    Ok(command)
}

fn output_failed(spec: &ProcessSpec, error: &io::Error) -> ErrorKind {
    let message = match &spec.output {
        Output::File(path) => format!("cannot open the output file `{}`: {error}", path.display()),
        _ => format!("cannot prepare the output: {error}"),
    };
    ErrorKind::Failed { exit: None, message }
}

/// The kernel's "no such file" may mean the program or the folder: says which.
fn spawn_failed(spec: &ProcessSpec, error: &io::Error) -> ErrorKind {
    let program = spec.program.display();
    let message = match &spec.cwd {
        Some(folder) if !folder.is_dir() => {
            format!("cannot run `{program}`: its folder `{}` is not there", folder.display())
        }
        _ => format!("cannot run `{program}`: {error}"),
    };
    ErrorKind::Failed { exit: None, message }
}

// === Stop and kill ===

pub(crate) async fn stop(core: Arc<Core>, id: String, options: StopOptions) -> Outcome<()> {
    let Some(run) = settled(&core, &id).await? else { return Ok(()) };
    let spec = core.world().get(&id)?.spec.clone();
    let signal = options.signal.or(spec.stop_signal).unwrap_or(Signal::TERM);
    let patience = options.timeout.or(spec.stop_timeout).unwrap_or(DEFAULT_STOP_TIMEOUT);

    let asked = native(signal).ok_or_else(|| no_real_time(signal))?;
    core.world().tell(&id, EventAction::Kill(Some(signal)));
    run.signal(asked).map_err(|error| unsent(&error))?;
    // A frozen process takes a signal only once it is thawed. Also one that is just being frozen.
    run.signal_group(Native::CONT).map_err(|error| unsent(&error))?;
    if timeout(patience, run.ended()).await.is_err() {
        end(&core, &id, &run).await?;
    }
    core.world().tell(&id, EventAction::Stop);
    Ok(())
}

/// Kills the whole group and waits for the end.
async fn end(core: &Arc<Core>, id: &str, run: &Run) -> Outcome<Option<i64>> {
    core.world().tell(id, EventAction::Kill(Some(Signal::KILL)));
    run.signal_group(Native::KILL).map_err(|error| unsent(&error))?;
    Ok(run.ended().await)
}

pub(crate) fn no_real_time(signal: Signal) -> ErrorKind {
    let why = format!("{signal} is a real-time signal: use one of the first 31");
    ErrorKind::Unsupported { why }
}

pub(crate) async fn kill(core: Arc<Core>, id: String, signal: Signal) -> Outcome<KillOutcome> {
    let run = settled(&core, &id).await?;
    match run {
        Some(run) if signal == Signal::KILL => end(&core, &id, &run).await.map(KillOutcome::Exited),
        Some(run) if run.phase() == Phase::Frozen => conflict(ContainerStatus::Paused),
        Some(run) => {
            let native = native(signal).ok_or_else(|| no_real_time(signal))?;
            core.world().tell(&id, EventAction::Kill(Some(signal)));
            run.signal(native).map_err(|error| unsent(&error))?;
            Ok(KillOutcome::StillRunning)
        }
        None if signal == Signal::KILL => match core.world().get(&id)?.state {
            State::Ended { exit_code, .. } => Ok(KillOutcome::Exited(exit_code)),
            State::New | State::Alive(_) => Ok(KillOutcome::Exited(None)),
        },
        None => conflict(ContainerStatus::Stopped),
    }
}

pub(crate) async fn remove(core: Arc<Core>, id: String) -> Outcome<()> {
    let turn = core.world().get(&id)?.turn.clone();
    let _turn = turn.lock().await;
    if let Some(run) = settled(&core, &id).await? {
        end(&core, &id, &run).await?;
    }
    core.world().remove(&id);
    Ok(())
}

/// Ends every process, gently first. No new one starts, since the engine is closed.
pub(crate) async fn end_all(core: &Arc<Core>) {
    let alive = core.world().alive();
    let ends = alive.into_iter().map(|(id, _)| {
        let core = Arc::clone(core);
        async move {
            let spec = core.world().get(&id).map(|process| process.spec.clone());
            let own = spec.ok().and_then(|spec| spec.stop_timeout).unwrap_or(DEFAULT_STOP_TIMEOUT);
            let options = StopOptions::new().with_timeout(own.min(CLOSE_BOUND));
            if let Err(kind) = stop(Arc::clone(&core), id.clone(), options).await {
                tracing::error!(engine = core.name(), container = id, "cannot end it: {kind}");
            }
        }
    });
    // What hangs in the kernel is left to the guard.
    if timeout(CLOSE_BOUND * 2, join_all(ends)).await.is_err() {
        tracing::warn!(
            engine = core.name(),
            "a process hangs in the kernel and outlives its engine"
        );
    }
}

// === Freeze and thaw ===

pub(crate) async fn pause(core: Arc<Core>, id: String) -> Outcome<()> {
    let turn = core.world().get(&id)?.turn.clone();
    let _turn = turn.lock().await;
    let Some(run) = settled(&core, &id).await? else {
        return conflict(ContainerStatus::Stopped);
    };
    run.signal_group(Native::STOP).map_err(|error| unsent(&error))?;
    let frozen = async {
        if let Phase::Ended(_) = run.until(|phase| phase != Phase::Running).await {
            return conflict(ContainerStatus::Stopped);
        }
        group_still(&run).await;
        Ok(())
    };
    timeout(FREEZE_BOUND, frozen).await.unwrap_or_else(|_| Err(hangs("freeze")))
}

/// Waits until each member of a frozen group stands still. The kernel tells a parent of its own
/// children only, so this looks again and again: for the one or two milliseconds that it takes.
async fn group_still(run: &Run) {
    let leader = run.leader;
    let mut pause = Duration::from_millis(1);
    while run.phase() == Phase::Frozen {
        let look = tokio::task::spawn_blocking(move || group::members(leader)).await;
        if let Ok(Ok(members)) = look
            && members.iter().all(|(_, stat)| stat.is_still())
        {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

pub(crate) async fn unpause(core: Arc<Core>, id: String) -> Outcome<()> {
    let turn = core.world().get(&id)?.turn.clone();
    let _turn = turn.lock().await;
    match settled(&core, &id).await? {
        Some(run) if run.phase() == Phase::Frozen => thaw(&run).await,
        Some(_) => Ok(()),
        None => conflict(ContainerStatus::Stopped),
    }
}

async fn thaw(run: &Run) -> Outcome<()> {
    run.signal_group(Native::CONT).map_err(|error| unsent(&error))?;
    match timeout(FREEZE_BOUND, run.until(|phase| phase != Phase::Frozen)).await {
        Ok(Phase::Ended(_)) => conflict(ContainerStatus::Stopped),
        Ok(Phase::Running | Phase::Frozen) => Ok(()),
        Err(_) => Err(hangs("thaw")),
    }
}

fn hangs(what: &str) -> ErrorKind {
    let message = format!("a process of the group did not {what} within {FREEZE_BOUND:?}");
    ErrorKind::Failed { exit: None, message }
}
