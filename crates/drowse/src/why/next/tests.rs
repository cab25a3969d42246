use std::{sync::Arc, time::Duration};

use drowse_provider::{Engine as _, StopOptions, testing::ScriptedEngine};
use drowse_watcher::{ReadyWhenRunning, Workload, WorkloadSpec};
use tokio::time::Instant;

use super::*;
use crate::listing::SwitchRow;

/// What each of these leads to, told by a clock of now.
struct Told {
    snapshot: Snapshot,
    policy: Policy,
    lock: Option<&'static str>,
    error: Option<&'static str>,
    leases: u32,
    hold: Option<HoldRow>,
    schedule: Option<ScheduleRow>,
}

impl Told {
    async fn new(phase: PhaseName) -> Self {
        let mut snapshot = snapshot().await;
        snapshot.phase = phase;
        let policy = Policy::new(Duration::from_mins(15));
        Self { snapshot, policy, lock: None, error: None, leases: 0, hold: None, schedule: None }
    }

    fn lines(&self) -> String {
        let other = |name: &str| {
            (name == "db").then(|| Other {
                state: "starting".to_owned(),
                since: Some(Wall::of(Instant::now() - Duration::from_millis(3_500))),
                last_error: None,
            })
        };
        let outlook = Outlook {
            snapshot: &self.snapshot,
            policy: &self.policy,
            engine: "docker",
            lock: self.lock,
            error: self.error,
            leases: self.leases,
            hold: self.hold.as_ref(),
            schedule: self.schedule.as_ref(),
            others: &other,
        };
        let clock = Clock::now();
        let sentences = outlook.next().into_iter().map(|next| {
            // As it comes out of the control socket.
            let json = serde_json::to_string(&next).unwrap();
            serde_json::from_str::<Next>(&json).unwrap().sentence(&clock)
        });
        sentences.collect::<Vec<_>>().join("\n")
    }
}

/// There is no other way to one but from a workload.
async fn snapshot() -> Snapshot {
    let engine = ScriptedEngine::new("docker");
    let provider = engine.provider(&engine.add("web").name()).unwrap();
    let readiness = Arc::new(ReadyWhenRunning);
    let policy = Policy::new(Duration::from_mins(15));
    let workload = Workload::spawn(WorkloadSpec::new("web", provider, readiness, policy));
    let mut snapshot = workload.snapshot();
    workload.close().await;
    snapshot.last_error = None;
    snapshot.engine_lost_since = None;
    snapshot
}

/// For two hours.
fn hold(kind: &str) -> HoldRow {
    let (kind, reason) = (kind.to_owned(), Some("restore".to_owned()));
    HoldRow { kind, reason, until: Some(Wall::of(in_(120))), since: Wall::of(Instant::now()) }
}

fn in_(minutes: u64) -> Instant {
    Instant::now() + Duration::from_mins(minutes) + Duration::from_secs(30)
}

/// Moments are those of the test's own run.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d(:\d\d)?", "TIME");
    settings
}

#[tokio::test]
async fn of_what_is_awake_its_sleep_is_told_and_what_is_in_its_way() {
    let mut said = Vec::new();
    let mut ready = Told::new(PhaseName::Ready).await;
    ready.snapshot.next_sleep = Some(in_(15));
    said.push(ready.lines());
    ready.leases = 2;
    said.push(ready.lines());
    ready.snapshot.is_for_others = true;
    said.push(ready.lines());
    ready.leases = 0;
    ready.snapshot.vetoed_by = Some("its processor use: 34 % of a processor".to_owned());
    ready.snapshot.next_idle_check = Some(in_(1));
    said.push(ready.lines());
    ready.lock = Some("backup");
    said.push(ready.lines());
    ready.hold = Some(hold("awake"));
    said.push(ready.lines());
    ready.hold = None;
    ready.policy.sleep = SleepMethod::Never;
    said.push(ready.lines());
    ready.snapshot.engine_lost_since = Some(Instant::now() - Duration::from_hours(1));
    said.push(ready.lines());
    let mut probing = Told::new(PhaseName::Probing).await;
    probing.snapshot.last_error = Some("connection refused".to_owned());
    said.push(probing.lines());
    let mut stopping = Told::new(PhaseName::Stopping).await;
    said.push(stopping.lines());
    stopping.snapshot.waiting = 1;
    said.push(stopping.lines());
    settings().bind(|| {
        insta::assert_snapshot!(said.join("\n"), @r"
    sleeps at TIME (in 15m) if nothing uses it
    sleeps 15m after its last use, and is in use
    sleeps as soon as nothing needs it any more
    stays awake for its processor use: 34 % of a processor; asked again at TIME (in 1m)
    sleeps when it is no longer locked by backup
    held awake until TIME (in 2h): restore
    sleeps when it is no longer locked by backup
    is never put to sleep: others need it, and nobody enabled it
    its engine `docker` is asked again until it answers (lost since TIME)
    is never put to sleep: others need it, and nobody enabled it
    is ready as soon as it answers: connection refused
    is asleep as soon as its engine has done it
    is started again as soon as its engine has put it to sleep: somebody waits
    ");
    });
}

#[tokio::test]
async fn of_what_is_asleep_what_wakes_it_is_told_and_what_is_in_its_way() {
    let mut said = Vec::new();
    let mut asleep = Told::new(PhaseName::Asleep).await;
    said.push(asleep.lines());
    let switch =
        |minutes, does: &str| SwitchRow { at: Wall::of(in_(minutes)), does: does.to_owned() };
    asleep.schedule = Some(ScheduleRow {
        time_zone: "Europe/Berlin".to_owned(),
        is_awake: false,
        next: vec![switch(45, "woken"), switch(60, "kept awake")],
    });
    said.push(asleep.lines());
    asleep.schedule = None;
    let after = Duration::from_hours(1);
    asleep.policy.sleep = SleepMethod::PauseThenStop { after, stop: StopOptions::new() };
    asleep.snapshot.next_sleep = Some(in_(45));
    said.push(asleep.lines());
    let mut asleep = Told::new(PhaseName::Asleep).await;
    (asleep.lock, asleep.snapshot.waiting) = (Some("backup"), 1);
    said.push(asleep.lines());
    let mut held = Told::new(PhaseName::Asleep).await;
    held.snapshot.held_asleep = Some("restore".to_owned());
    said.push(held.lines());
    held.hold = Some(hold("asleep"));
    said.push(held.lines());
    said.push(Told::new(PhaseName::Gone).await.lines());
    let mut job = Told::new(PhaseName::Asleep).await;
    job.policy.role = Role::Job;
    job.snapshot.is_complete = true;
    said.push(job.lines());
    job.snapshot.phase = PhaseName::Probing;
    said.push(job.lines());
    let mut unread = Told::new(PhaseName::Unread).await;
    unread.snapshot.last_error = Some("there is no socket at `/run/docker.sock`".to_owned());
    said.push(unread.lines());
    settings().bind(|| {
        insta::assert_snapshot!(said.join("\n"), @r"
    wakes when something uses it
    wakes when something uses it
    by its schedule woken at TIME (in 45m)
    by its schedule kept awake at TIME (in 1h)
    is paused, and stopped at TIME (in 45m) if nothing wants it
    wakes when something uses it
    is started when it is no longer locked by backup
    held asleep until it is let go: restore
    held asleep until TIME (in 2h): restore
    is managed again as soon as its container is there
    has done its work, and is not run again in this container
    ends by itself when it has done its work
    known as soon as its engine `docker` answers: there is no socket at `/run/docker.sock`
    ");
    });
}

#[tokio::test]
async fn of_what_is_being_woken_what_it_waits_for_is_told() {
    let mut said = Vec::new();
    let mut starting = Told::new(PhaseName::Starting).await;
    said.push(starting.lines());
    starting.lock = Some("migrate");
    said.push(starting.lines());
    starting.snapshot.waiting_for = vec!["db".to_owned(), "cache".to_owned()];
    said.push(starting.lines());
    let mut failed = Told::new(PhaseName::Failed).await;
    failed.snapshot.last_error = Some("exit code 1; 5 failures in a row".to_owned());
    said.push(failed.lines());
    failed.snapshot.blocked_until = Some(in_(4));
    said.push(failed.lines());
    failed.error = Some("`needs` leads from app over db back to app");
    said.push(failed.lines());
    settings().bind(|| {
        insta::assert_snapshot!(said.join("\n"), @r"
    runs as soon as its engine has started it
    is started when it is no longer locked by migrate
    waits for db (starting since 3s)
    waits for cache, which is not managed yet
    stays so until it is mended: exit code 1; 5 failures in a row
    no start is tried before TIME (in 4m): exit code 1; 5 failures in a row
    stays so until it is mended: `needs` leads from app over db back to app
    ");
    });
}
