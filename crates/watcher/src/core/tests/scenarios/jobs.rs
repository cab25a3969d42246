//! What runs to its end.

use crate::Role;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn job() -> Bench {
    let mut bench = Bench::new();
    bench.tell(Input::PolicyChanged(Policy::new(IDLE).with_role(Role::Job)));
    bench
}

fn never_started() -> Observation {
    Observation::new(ContainerStatus::Stopped, None).with_exit_code(Some(0))
}

#[test]
fn a_job_is_started_and_its_end_is_what_was_wanted() {
    let mut job = job();
    job.read_says(never_started());
    assert!(!job.core.is_complete(), "it was never started, whatever its exit code");
    let ask = job.ask(FAR);
    job.order_is_done(&Order::Start);
    job.read_says(running("one"));
    // It is not probed, nor put to sleep.
    job.pass(SECOND * 60);
    assert!(job.take(|effect| matches!(effect, Effect::Probe { .. }).then_some(())).is_none());
    assert!(job.granted().is_empty());
    job.happens(EventAction::Die(Some(0)));
    job.read_says(crashed("one", 0));
    assert_eq!(job.granted(), [ask]);
    assert!(job.core.is_complete());
    assert_eq!(job.core.phase(), PhaseName::Asleep);
    assert_eq!(job.shared.word.look().leases(), 1, "counted, behind a shut gate");
    assert!(!job.shared.word.look().is_open());
    assert_eq!(job.shared.ready_run().run, Some(RunId::new("one")));
    // And again: at once, without a start.
    let ask = job.ask(FAR);
    assert_eq!(job.granted(), [ask]);
    assert!(job.order().is_none());
}

#[test]
fn a_job_that_ends_before_its_start_is_read_is_complete() {
    let mut job = job();
    job.read_says(never_started());
    let ask = job.ask(FAR);
    job.order_is_done(&Order::Start);
    job.read_says(crashed("one", 0));
    assert_eq!(job.granted(), [ask]);
    job.pass(FAR);
    assert!(job.order().is_none());
}

#[test]
fn a_job_that_fails_is_told_and_tried_again_after_a_pause() {
    let mut job = job();
    job.read_says(never_started());
    let ask = job.ask(FAR);
    job.order_is_done(&Order::Start);
    job.read_says(running("one"));
    job.happens(EventAction::Die(Some(3)));
    job.read_says(crashed("one", 3));
    let (id, refusal) = job.refused().unwrap();
    assert_eq!(id, ask);
    assert_eq!(
        refusal.to_string(),
        "it does not start: the process ended before its work was done, with exit code 3"
    );
    assert!(!job.core.is_complete());
    assert_eq!(job.core.phase(), PhaseName::Failed);
    job.pass(SECOND);
    let ask = job.ask(FAR);
    job.order_is_done(&Order::Start);
    job.read_says(crashed("two", 0));
    assert_eq!(job.granted(), [ask]);
}

#[test]
fn a_job_that_somebody_ends_has_not_failed_and_is_not_complete() {
    let mut job = job();
    job.read_says(running("one"));
    job.happens(EventAction::Kill(Some(Signal::TERM)));
    job.read_says(running("one"));
    job.happens(EventAction::Die(Some(143)));
    job.read_says(crashed("one", 143));
    assert!(!job.core.is_complete());
    assert_eq!(job.core.phase(), PhaseName::Asleep);
    assert_eq!(job.core.reason(), "stopped from outside");
}

#[test]
fn a_new_container_is_another_job() {
    let mut job = job();
    job.read_says(crashed("one", 0));
    assert!(job.core.is_complete());
    job.synced(never_started());
    job.read_answers(Ok(Details::new("another id", "app", never_started())));
    assert!(!job.core.is_complete());
    job.ask(FAR);
    assert!(job.order().is_some());
}

#[test]
fn whoever_wants_a_running_job_asleep_is_told_why_not() {
    let mut job = job();
    job.read_says(running("one"));
    let (id, deadline) = (AskId(9), job.now + FAR);
    job.tell(Input::SleepNow { id, deadline, force: Force::No });
    let answer = job.take(|effect| match effect {
        Effect::SleepAnswer(_, answer) => Some(answer.clone()),
        _ => None,
    });
    let refusal = answer.unwrap().unwrap_err();
    assert_eq!(refusal.to_string(), "it is a job, which ends by itself");
}
