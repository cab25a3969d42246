//! The table of [`Provider`](crate::Provider), cell by cell.

use super::{
    Behaviour, Fixture,
    subject::{Subject, assert_refused, ok, patience},
};
use crate::{
    Action, ContainerStatus, Error, ErrorKind, KillOutcome, Provider, Signal, StopOptions, Support,
};

const RUNNING: ContainerStatus = ContainerStatus::Running;
const STOPPED: ContainerStatus = ContainerStatus::Stopped;
const PAUSED: ContainerStatus = ContainerStatus::Paused;

/// An error must say where it belongs: it ends up in somebody's log.
#[track_caller]
fn assert_names_its_place(error: &Error, provider: &dyn Provider, action: Action) {
    assert_eq!(error.engine(), provider.engine());
    assert!(error.container().is_some(), "{error:?} names no container");
    assert_eq!(error.action(), action);
}

/// Asserts that `status` is in the way, and that the refusal says so.
macro_rules! assert_conflict {
    ($result:expr, $status:pat) => {
        assert_refused!($result, ErrorKind::Conflict { status: $status })
    };
}

fn can_pause(fixture: &dyn Fixture) -> bool {
    fixture.engine().capabilities().pause.is_supported()
}

fn can_signal(fixture: &dyn Fixture) -> bool {
    fixture.engine().capabilities().signals.is_supported()
}

// === start ===

pub(super) async fn start_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let run = subject.run().await;
    ok("start of a running one", subject.provider.start(patience()).await);
    subject.assert_status(&RUNNING).await;
    assert_eq!(subject.run().await, run, "it is the same run still");
}

pub(super) async fn start_of_stopped(fixture: &dyn Fixture) {
    let never_started = Subject::created(fixture, Behaviour::Serves).await;
    ok("first start", never_started.provider.start(patience()).await);
    never_started.assert_status(&RUNNING).await;

    let stopped = Subject::stopped(fixture).await;
    ok("next start", stopped.provider.start(patience()).await);
    stopped.assert_status(&RUNNING).await;
}

pub(super) async fn start_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    let run = subject.run().await;
    ok("start of a paused one", subject.provider.start(patience()).await);
    subject.assert_status(&RUNNING).await;
    assert_eq!(subject.run().await, run, "it is thawed, not started anew");
}

pub(super) async fn start_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    assert_conflict!(subject.provider.start(patience()).await, ContainerStatus::Error(_));
}

pub(super) async fn start_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let error = assert_refused!(subject.provider.start(patience()).await, ErrorKind::NotFound);
    assert_names_its_place(&error, &*subject.provider, Action::Start);
}

// === stop ===

pub(super) async fn stop_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);
    subject.assert_status(&STOPPED).await;
}

pub(super) async fn stop_of_stopped(fixture: &dyn Fixture) {
    let never_started = Subject::created(fixture, Behaviour::Serves).await;
    ok("stop", never_started.provider.stop(&StopOptions::new(), patience()).await);
    never_started.assert_status(&STOPPED).await;

    let stopped = Subject::stopped(fixture).await;
    ok("stop", stopped.provider.stop(&StopOptions::new(), patience()).await);
    stopped.assert_status(&STOPPED).await;
}

pub(super) async fn stop_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    ok("stop of a paused one", subject.provider.stop(&StopOptions::new(), patience()).await);
    subject.assert_status(&STOPPED).await;
}

pub(super) async fn stop_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let refused = subject.provider.stop(&StopOptions::new(), patience()).await;
    assert_conflict!(refused, ContainerStatus::Error(_));
}

pub(super) async fn stop_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.stop(&StopOptions::new(), patience()).await;
    let error = assert_refused!(refused, ErrorKind::NotFound);
    assert_names_its_place(&error, &*subject.provider, Action::Stop);
}

// === kill with KILL ===

pub(super) async fn kill_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::IgnoresTerm).await;
    let outcome = ok("kill", subject.provider.kill(Signal::KILL, patience()).await);
    assert!(matches!(outcome, KillOutcome::Exited(_)), "KILL waits for the end: {outcome:?}");
    if !fixture.engine().capabilities().exit_code.is_supported() {
        assert_eq!(outcome, KillOutcome::Exited(None), "no exit code is made up");
    }
    subject.assert_status(&STOPPED).await;
}

pub(super) async fn kill_of_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let outcome = ok("kill", subject.provider.kill(Signal::KILL, patience()).await);
    assert!(matches!(outcome, KillOutcome::Exited(_)), "{outcome:?}");
    subject.assert_status(&STOPPED).await;
}

pub(super) async fn kill_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    let outcome = ok("kill", subject.provider.kill(Signal::KILL, patience()).await);
    assert!(matches!(outcome, KillOutcome::Exited(_)), "{outcome:?}");
    subject.assert_status(&STOPPED).await;
}

pub(super) async fn kill_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let refused = subject.provider.kill(Signal::KILL, patience()).await;
    assert_conflict!(refused, ContainerStatus::Error(_));
}

pub(super) async fn kill_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.kill(Signal::KILL, patience()).await;
    let error = assert_refused!(refused, ErrorKind::NotFound);
    assert_names_its_place(&error, &*subject.provider, Action::Kill);
}

// === kill with another signal ===

pub(super) async fn signal_to_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let answer = subject.provider.kill(Signal::HUP, patience()).await;
    if can_signal(fixture) {
        assert_eq!(ok("a handled signal", answer), KillOutcome::StillRunning);
    } else {
        assert_refused!(answer, ErrorKind::Unsupported { .. });
    }
    subject.assert_status(&RUNNING).await;
}

pub(super) async fn signal_to_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let refused = subject.provider.kill(Signal::HUP, patience()).await;
    if can_signal(fixture) {
        assert_conflict!(refused, ContainerStatus::Stopped);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn signal_to_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    let refused = subject.provider.kill(Signal::HUP, patience()).await;
    if can_signal(fixture) {
        assert_conflict!(refused, ContainerStatus::Paused);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
    subject.assert_status(&PAUSED).await;
}

pub(super) async fn signal_to_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let refused = subject.provider.kill(Signal::HUP, patience()).await;
    if can_signal(fixture) {
        assert_conflict!(refused, ContainerStatus::Error(_));
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn signal_to_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.kill(Signal::HUP, patience()).await;
    if can_signal(fixture) {
        let error = assert_refused!(refused, ErrorKind::NotFound);
        assert_names_its_place(&error, &*subject.provider, Action::Kill);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

// === pause ===

pub(super) async fn pause_of_running(fixture: &dyn Fixture) {
    // Also asserts the refusal where the engine cannot.
    _ = Subject::paused(fixture, Behaviour::Serves).await;
}

pub(super) async fn pause_of_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let refused = subject.provider.pause(patience()).await;
    if can_pause(fixture) {
        assert_conflict!(refused, ContainerStatus::Stopped);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn pause_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    ok("pause of a paused one", subject.provider.pause(patience()).await);
    subject.assert_status(&PAUSED).await;
}

pub(super) async fn pause_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let refused = subject.provider.pause(patience()).await;
    if can_pause(fixture) {
        assert_conflict!(refused, ContainerStatus::Error(_));
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn pause_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.pause(patience()).await;
    if can_pause(fixture) {
        let error = assert_refused!(refused, ErrorKind::NotFound);
        assert_names_its_place(&error, &*subject.provider, Action::Pause);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

// === unpause ===

pub(super) async fn unpause_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let answer = subject.provider.unpause(patience()).await;
    if can_pause(fixture) {
        ok("unpause of a running one", answer);
    } else {
        assert_refused!(answer, ErrorKind::Unsupported { .. });
    }
    subject.assert_status(&RUNNING).await;
}

pub(super) async fn unpause_of_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let refused = subject.provider.unpause(patience()).await;
    if can_pause(fixture) {
        assert_conflict!(refused, ContainerStatus::Stopped);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn unpause_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    let run = subject.run().await;
    ok("unpause", subject.provider.unpause(patience()).await);
    subject.assert_status(&RUNNING).await;
    assert_eq!(subject.run().await, run);
}

pub(super) async fn unpause_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let refused = subject.provider.unpause(patience()).await;
    if can_pause(fixture) {
        assert_conflict!(refused, ContainerStatus::Error(_));
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

pub(super) async fn unpause_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.unpause(patience()).await;
    if can_pause(fixture) {
        let error = assert_refused!(refused, ErrorKind::NotFound);
        assert_names_its_place(&error, &*subject.provider, Action::Unpause);
    } else {
        assert_refused!(refused, ErrorKind::Unsupported { .. });
    }
}

// === reads ===

pub(super) async fn read_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    assert_eq!(ok("status", subject.provider.status(patience()).await), RUNNING);
    let observation = subject.details().await.observation;
    assert_eq!(observation.status, RUNNING);
    assert!(observation.run.is_some(), "what runs has a run");
    assert_eq!(observation.exit_code, None, "what runs has not ended");
}

pub(super) async fn read_of_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    assert_eq!(ok("status", subject.provider.status(patience()).await), STOPPED);
    let details = subject.details().await;
    assert_eq!(details.observation.status, STOPPED);
    if !fixture.engine().capabilities().exit_code.is_supported() {
        assert_eq!(details.observation.exit_code, None, "no exit code is made up");
    }
    let addresses: usize = details.networks.iter().map(|network| network.addresses.len()).sum();
    assert_eq!(addresses, 0, "what is stopped has no address: {details:?}");
}

pub(super) async fn read_of_paused(fixture: &dyn Fixture) {
    let Some(subject) = Subject::paused(fixture, Behaviour::Serves).await else { return };
    assert_eq!(ok("status", subject.provider.status(patience()).await), PAUSED);
    assert_eq!(subject.details().await.observation.status, PAUSED);
}

pub(super) async fn read_of_unusable(fixture: &dyn Fixture) {
    let Some(subject) = Subject::unusable(fixture).await else { return };
    let status = ok("status", subject.provider.status(patience()).await);
    assert!(matches!(status, ContainerStatus::Error(_)), "{status:?}");
    assert_eq!(subject.details().await.observation.status, status);
}

pub(super) async fn read_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let provider = &*subject.provider;
    assert_refused!(provider.status(patience()).await, ErrorKind::NotFound);
    assert_refused!(provider.observe(patience()).await, ErrorKind::NotFound);
    let error = assert_refused!(provider.inspect(patience()).await, ErrorKind::NotFound);
    assert_names_its_place(&error, provider, Action::Inspect);
}

// === stats ===

pub(super) async fn stats_of_running(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let answer = subject.provider.stats(patience()).await;
    match fixture.engine().capabilities().stats {
        Support::Yes => _ = ok("stats", answer),
        Support::No(_) => _ = assert_refused!(answer, ErrorKind::Unsupported { .. }),
    }
}

pub(super) async fn stats_of_stopped(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let refused = subject.provider.stats(patience()).await;
    match fixture.engine().capabilities().stats {
        Support::Yes => _ = assert_conflict!(refused, ContainerStatus::Stopped),
        Support::No(_) => _ = assert_refused!(refused, ErrorKind::Unsupported { .. }),
    }
}

pub(super) async fn stats_of_absent(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let refused = subject.provider.stats(patience()).await;
    match fixture.engine().capabilities().stats {
        Support::Yes => _ = assert_refused!(refused, ErrorKind::NotFound),
        Support::No(_) => _ = assert_refused!(refused, ErrorKind::Unsupported { .. }),
    }
}
