//! Who lives how long: groups, grandchildren, and everything when its engine goes.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::{
    fs,
    future::Future,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use drowse_process::{Output, ProcessEngine, ProcessSpec};
use drowse_provider::{
    ContainerStatus, Deadline, Engine as _, ErrorKind, KillOutcome, Provider, Reference, Signal,
    StopOptions,
};
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;

const PATIENCE: Duration = Duration::from_secs(30);

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited for {what}")
    };
    output
}

fn named(name: &str) -> Reference {
    Reference::Name(name.to_owned())
}

/// A shell script, whose first argument is the folder.
fn script(name: &str, folder: &Path, script: &str) -> ProcessSpec {
    ProcessSpec::new(name, "sh").args(["-c", script, name]).arg(folder).output(Output::Inherit)
}

/// The pid that a process writes into a file, once it has.
async fn pid_in(file: PathBuf) -> Pid {
    within("a pid in a file", async {
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // Whole only with its line end.
            if let Some(number) = text.strip_suffix('\n') {
                return Pid::from_raw(number.parse().unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// A hold on a process: its end can be awaited, and its pid cannot come to mean another.
struct Held(OwnedFd);

impl Held {
    fn of(pid: Pid) -> Self {
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    async fn gone(self, what: &str) {
        #[expect(unsafe_code, reason = "the descriptor is owned by the `AsyncFd` alone")]
        // SAFETY: it is moved in and not handed out again.
        let pidfd = unsafe { AsyncFd::register(self.0) }.unwrap();
        drop(within(what, pidfd.readable()).await.unwrap());
    }
}

fn state_of(pid: Pid) -> char {
    state_if_there(pid).unwrap()
}

fn state_if_there(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next().unwrap().chars().next()
}

/// A leader with a grandchild in the background; their pids are in `leader` and `grandchild`.
const FAMILY: &str = "sh -c 'echo $$ > $0/grandchild; exec sleep 100000' \"$1\" & \
                      echo $$ > \"$1/leader\"; wait";

async fn start(engine: &ProcessEngine, spec: ProcessSpec) -> std::sync::Arc<dyn Provider> {
    let reference = named(&spec.name);
    engine.define(spec).unwrap();
    let provider = engine.provider(&reference).unwrap();
    provider.start(patience()).await.unwrap();
    provider
}

#[tokio::test]
async fn grandchildren_end_with_their_group() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
    let grandchild = Held::of(pid_in(folder.path().join("grandchild")).await);
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    grandchild.gone("the grandchild's end").await;
    engine.close().await;
}

#[tokio::test]
async fn grandchildren_end_when_their_leader_dies_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let left_behind = "sh -c 'trap \"\" HUP TERM; echo $$ > $0/grandchild; sleep 100000' \"$1\" & \
                       until [ -s \"$1/grandchild\" ]; do :; done; exit 3";
    let provider = start(&engine, script("family", folder.path(), left_behind)).await;
    let outcome = within("the end", async {
        loop {
            let seen = provider.observe(patience()).await.unwrap();
            if seen.status == ContainerStatus::Stopped {
                return seen.exit_code;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert_eq!(outcome.await, Some(3));
    // The end is told only when the whole group is gone.
    let grandchild = pid_in(folder.path().join("grandchild")).await;
    assert!(matches!(state_if_there(grandchild), None | Some('Z' | 'X')));
    engine.close().await;
}

#[tokio::test]
async fn a_pause_freezes_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
    let leader = pid_in(folder.path().join("leader")).await;
    let grandchild = pid_in(folder.path().join("grandchild")).await;
    provider.pause(patience()).await.unwrap();
    assert_eq!((state_of(leader), state_of(grandchild)), ('T', 'T'));
    provider.unpause(patience()).await.unwrap();
    assert_ne!(state_of(leader), 'T');
    // A frozen group can be ended, too.
    provider.pause(patience()).await.unwrap();
    let grandchild = Held::of(grandchild);
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    grandchild.gone("the grandchild's end").await;
    engine.close().await;
}

/// The kernel's parent-death signal fires when the *thread* that started a child ends.
#[test]
fn a_process_outlives_the_thread_and_the_runtime_that_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            runtime().block_on(async {
                let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
                provider.observe(patience()).await.unwrap().run
            })
        });
        asking.join().unwrap()
    });
    runtime().block_on(async {
        let provider = engine.provider(&named("family")).unwrap();
        let grandchild = pid_in(folder.path().join("grandchild")).await;
        let seen = provider.observe(patience()).await.unwrap();
        assert_eq!((seen.status, seen.run), (ContainerStatus::Running, run));
        assert!(!matches!(state_of(grandchild), 'Z' | 'X'), "the grandchild is over");
        engine.close().await;
    });
}

#[tokio::test]
async fn close_lets_processes_end_gently() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let gentle = "trap 'echo bye > \"$1/bye\"; exit 0' TERM; echo $$ > \"$1/leader\"; \
                  sleep 100000 & wait";
    start(&engine, script("gentle", folder.path(), gentle)).await;
    let leader = Held::of(pid_in(folder.path().join("leader")).await);
    engine.close().await;
    assert_eq!(fs::read_to_string(folder.path().join("bye")).unwrap(), "bye\n");
    leader.gone("its end").await;
}

#[tokio::test]
async fn the_last_drop_ends_all_processes() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
    let leader = Held::of(pid_in(folder.path().join("leader")).await);
    let grandchild = Held::of(pid_in(folder.path().join("grandchild")).await);
    let watch = provider.watch();
    drop((engine, provider));
    drop(watch);
    leader.gone("the leader's end").await;
    grandchild.gone("the grandchild's end").await;
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let engine = ProcessEngine::new("test").unwrap();
    let refusals = [
        (ProcessSpec::new("a", "/no/such/program"), "/no/such/program"),
        (ProcessSpec::new("b", "sh").cwd("/no/such/folder"), "/no/such/folder"),
        (ProcessSpec::new("c", "sh").output(Output::File("/no/such/log".into())), "/no/such/log"),
        (ProcessSpec::new("d", "/proc/self/stat"), "ermission denied"),
    ];
    for (spec, named_in_it) in refusals {
        let reference = named(&spec.name);
        engine.define(spec).unwrap();
        let provider = engine.provider(&reference).unwrap();
        let error = provider.start(patience()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Failed { exit: None, .. }), "{error:?}");
        assert!(error.to_string().contains(named_in_it), "{error}");
        assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Stopped);
    }
    engine.close().await;
}

#[tokio::test]
async fn a_death_by_signal_is_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
    let outcome = provider.kill(Signal::KILL, patience()).await.unwrap();
    assert_eq!(outcome, KillOutcome::Exited(Some(128 + 9)));
    engine.close().await;
}

#[tokio::test]
async fn real_time_signals_are_refused_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("family", folder.path(), FAMILY)).await;
    let signal: Signal = "RTMIN+3".parse().unwrap();
    let refused = provider.kill(signal, patience()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Unsupported { .. }), "{refused}");
    let stop = StopOptions::new().with_signal(signal);
    let refused = provider.stop(&stop, patience()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Unsupported { .. }), "{refused}");
    assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Running);
    engine.close().await;
}

#[tokio::test]
async fn a_new_definition_counts_from_the_next_start_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let engine = ProcessEngine::new("test").unwrap();
    let provider = start(&engine, script("it", folder.path(), FAMILY)).await;
    let run = provider.observe(patience()).await.unwrap().run;

    // The folder, the environment and the output are the definition's; secrets of ours are not in it.
    let show = ProcessSpec::new("it", "sh")
        .args(["-c", "pwd; env"])
        .cwd(folder.path())
        .env("GIVEN", "to it")
        .output(Output::File(output.clone()));
    engine.define(show).unwrap();
    assert_eq!(provider.observe(patience()).await.unwrap().run, run);
    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    provider.start(patience()).await.unwrap();
    within("its end", async {
        while provider.status(patience()).await.unwrap() == ContainerStatus::Running {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let shown = fs::read_to_string(output).unwrap();
    assert!(shown.starts_with(folder.path().to_str().unwrap()), "{shown}");
    assert!(shown.contains("GIVEN=to it\n") && shown.contains("PATH="), "{shown}");
    assert!(!shown.contains("CARGO_MANIFEST_DIR"), "{shown}");
    engine.close().await;
}

// === The embedding program is killed ===

const VICTIM_FOLDER: &str = "DROWSE_TEST_VICTIM_FOLDER";

/// Not a test by itself: what the tests below run in a process of its own, and kill.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os(VICTIM_FOLDER).map(PathBuf::from) else { return };
    let engine = ProcessEngine::new("victim").unwrap();
    let deaf = "trap '' TERM INT HUP; sh -c 'echo $$ > $0/grandchild; exec sleep 100000' \"$1\" & \
                echo $$ > \"$1/leader\"; while :; do wait $!; done";
    for name in ["deaf", "frozen"] {
        let own = folder.join(name);
        fs::create_dir(&own).unwrap();
        let provider = start(&engine, script(name, &own, deaf)).await;
        pid_in(own.join("leader")).await;
        pid_in(own.join("grandchild")).await;
        if name == "frozen" {
            provider.pause(patience()).await.unwrap();
        }
        if name == "deaf" && folder.join("kill-the-guard").exists() {
            let guard = Held::of(guard_of(rustix::process::getpid()));
            kill_process(guard_of(rustix::process::getpid()), rustix::process::Signal::KILL)
                .unwrap();
            guard.gone("the guard's end").await;
        }
    }
    // The run's pid as the sign that all of it stands.
    fs::write(folder.join("stands"), format!("{}\n", std::process::id())).unwrap();
    std::future::pending::<()>().await;
}

/// The guard among the children of `parent`.
fn guard_of(parent: Pid) -> Pid {
    let is_guard = |pid: &Pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"drowse-guard\0"))
    };
    let is_child = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap().to_owned();
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Pid::from_raw(entry.unwrap().file_name().to_str()?.parse().ok()?));
    pids.filter(is_child).find(is_guard).unwrap()
}

async fn embed(folder: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM_FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    pid_in(folder.join("stands")).await;
    child
}

async fn all_end_with(mut victim: Child, folder: &Path) {
    let mut held = Vec::new();
    for name in ["deaf", "frozen"] {
        for who in ["leader", "grandchild"] {
            held.push((
                format!("{name}/{who}"),
                Held::of(pid_in(folder.join(name).join(who)).await),
            ));
        }
    }
    let pid = Pid::from_raw(victim.id().try_into().unwrap()).unwrap();
    held.push(("guard".to_owned(), Held::of(guard_of(pid))));
    victim.kill().unwrap();
    victim.wait().unwrap();
    for (what, pidfd) in held {
        pidfd.gone(&format!("the end of {what}")).await;
    }
}

#[tokio::test]
async fn all_end_when_the_embedding_program_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let victim = embed(folder.path()).await;
    all_end_with(victim, folder.path()).await;
}

#[tokio::test]
async fn a_guard_that_was_killed_is_replaced_and_knows_all_groups() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("kill-the-guard"), "").unwrap();
    let victim = embed(folder.path()).await;
    all_end_with(victim, folder.path()).await;
}
