//! What a watch promises.

use futures::future::join_all;

use super::{
    Behaviour, Fixture, Outside,
    subject::{Subject, Watching, assert_refused, ok, patience, within},
};
use crate::{
    ContainerStatus, ErrorKind, EventAction, KillOutcome, Reference, Signal, StopOptions, WatchItem,
};

pub(super) async fn a_watch_of_a_running_one_begins_with_its_state(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let seen = Watching::begin(&subject.provider).first().await;
    assert_eq!(seen.status, ContainerStatus::Running);
    assert_eq!(seen.run, Some(subject.run().await));
}

pub(super) async fn a_watch_of_a_stopped_one_begins_with_its_state(fixture: &dyn Fixture) {
    let subject = Subject::stopped(fixture).await;
    let seen = Watching::begin(&subject.provider).first().await;
    assert_eq!(seen.status, ContainerStatus::Stopped);
}

pub(super) async fn a_watch_of_an_absent_id_says_removed_and_ends(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let Some(by_id) = subject.by_id().await else { return };
    fixture.remove(&subject.reference).await;
    let mut watching = Watching::begin(&by_id);
    let first = watching.next("the first item").await;
    assert!(matches!(first, Some(Ok(WatchItem::Removed))), "{first:?}");
    let then = watching.next("the end of a watch of a removed id").await;
    assert!(then.is_none(), "{then:?}");
}

pub(super) async fn a_watch_of_an_absent_name_says_removed_and_goes_on(fixture: &dyn Fixture) {
    let subject = Subject::absent(fixture).await;
    let mut watching = Watching::begin(&subject.provider);
    let first = watching.next("the first item").await;
    assert!(matches!(first, Some(Ok(WatchItem::Removed))), "{first:?}");
    if fixture.recreate(&subject.reference, Behaviour::Serves).await {
        watching.synced("the new one", |seen| seen.status == ContainerStatus::Stopped).await;
    }
}

/// The event, then the read that it caused, with the run that a read of one's own tells.
pub(super) async fn a_start_and_an_end_are_told_in_order(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let mut watching = Watching::begin(&subject.provider);
    assert_eq!(watching.first().await.status, ContainerStatus::Stopped);

    for _ in 0..2 {
        subject.start().await;
        let run = subject.run().await;
        let start = watching.event("a start", |action| *action == EventAction::Start).await;
        assert!(start.run.is_none_or(|told| told == run), "the event is of another run");
        let seen = watching.synced("running", |seen| seen.status == ContainerStatus::Running).await;
        assert_eq!(seen.run.as_ref(), Some(&run));

        ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);
        let die = |action: &EventAction| matches!(action, EventAction::Die(_));
        let end = watching.event("an end", die).await;
        assert!(end.run.is_none_or(|told| told == run), "the event is of another run");
        let seen = watching.synced("stopped", |seen| seen.status == ContainerStatus::Stopped).await;
        assert!(seen.run.is_none_or(|told| told == run), "the read is of another run");
    }
}

pub(super) async fn pausing_is_told(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    if !fixture.engine().capabilities().pause.is_supported() {
        assert_refused!(subject.provider.pause(patience()).await, ErrorKind::Unsupported { .. });
        return;
    }
    let mut watching = Watching::begin(&subject.provider);
    let run = watching.first().await.run;
    ok("pause", subject.provider.pause(patience()).await);
    let seen = watching.synced("paused", |seen| seen.status == ContainerStatus::Paused).await;
    assert_eq!(seen.run, run);
    ok("unpause", subject.provider.unpause(patience()).await);
    let seen = watching.synced("running", |seen| seen.status == ContainerStatus::Running).await;
    assert_eq!(seen.run, run);
}

/// An event `kill` is no end: with a HUP, a watch must not tell one before somebody else's signal
/// or the end itself was told.
pub(super) async fn a_hup_is_never_told_as_an_end(fixture: &dyn Fixture) {
    if !fixture.engine().capabilities().signals.is_supported() {
        return;
    }
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let mut watching = Watching::begin(&subject.provider);
    assert_eq!(watching.first().await.status, ContainerStatus::Running);
    let outcome = ok("HUP", subject.provider.kill(Signal::HUP, patience()).await);
    assert_eq!(outcome, KillOutcome::StillRunning);
    subject.assert_status(&ContainerStatus::Running).await;
    ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);

    let mut may_end = false;
    watching
        .find("the end", |item| match item {
            WatchItem::Event(event) => {
                may_end |= match &event.action {
                    EventAction::Die(_) => true,
                    EventAction::Kill(signal) => *signal != Some(Signal::HUP),
                    _ => false,
                };
                None
            }
            WatchItem::Synced(seen) if seen.status == ContainerStatus::Running => None,
            other => {
                assert!(may_end, "a HUP was told as an end: {other:?}");
                Some(())
            }
        })
        .await;
}

pub(super) async fn what_others_do_is_told(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let reference = &subject.reference;
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;
    if fixture.outside(reference, Outside::Start).await {
        watching.synced("a start", |seen| seen.status == ContainerStatus::Running).await;
    } else {
        subject.start().await;
    }
    if fixture.engine().capabilities().pause.is_supported()
        && fixture.outside(reference, Outside::Pause).await
    {
        watching.synced("a pause", |seen| seen.status == ContainerStatus::Paused).await;
        fixture.outside(reference, Outside::Unpause).await;
        watching.synced("its end", |seen| seen.status == ContainerStatus::Running).await;
    }
    if fixture.outside(reference, Outside::Kill(Signal::KILL)).await {
        watching.synced("the end", |seen| seen.status == ContainerStatus::Stopped).await;
        subject.assert_status(&ContainerStatus::Stopped).await;
    }
}

pub(super) async fn removal_ends_the_watch_of_an_id(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let Some(by_id) = subject.by_id().await else { return };
    let mut watching = Watching::begin(&by_id);
    watching.first().await;
    fixture.remove(&subject.reference).await;
    watching.removed().await;
    watching.ends().await;
}

pub(super) async fn a_watch_of_a_name_goes_on_with_the_next_container(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    if !matches!(subject.reference, Reference::Name(_) | Reference::Vmid(_)) {
        return;
    }
    let old = subject.run().await;
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;
    fixture.remove(&subject.reference).await;
    watching.removed().await;
    assert_refused!(subject.provider.status(patience()).await, ErrorKind::NotFound);

    if fixture.recreate(&subject.reference, Behaviour::Serves).await {
        watching.synced("the next one", |seen| seen.status == ContainerStatus::Stopped).await;
        subject.start().await;
        let seen =
            watching.synced("its start", |seen| seen.status == ContainerStatus::Running).await;
        assert_ne!(seen.run, Some(old), "a run of the old container is told as one of the new");
    }
}

pub(super) async fn a_stop_during_a_break_is_not_lost(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let mut watching = Watching::begin(&subject.provider);
    watching.first().await;
    if !fixture.break_events().await {
        return;
    }
    assert!(fixture.outside(&subject.reference, Outside::Kill(Signal::KILL)).await);
    fixture.mend_events().await;
    watching.synced("the end", |seen| seen.status == ContainerStatus::Stopped).await;
}

/// The state is as before; only the run tells that something happened.
pub(super) async fn a_restart_during_a_break_is_not_lost(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let mut watching = Watching::begin(&subject.provider);
    let old = watching.first().await.run;
    if !fixture.break_events().await {
        return;
    }
    assert!(fixture.outside(&subject.reference, Outside::Kill(Signal::KILL)).await);
    assert!(fixture.outside(&subject.reference, Outside::Start).await);
    fixture.mend_events().await;
    let running = ContainerStatus::Running;
    let seen =
        watching.synced("the next run", |seen| seen.status == running && seen.run != old).await;
    assert_eq!(seen.run, Some(subject.run().await));
}

/// A watch that nobody reads is bounded, and neither the engine nor other watches wait for it.
pub(super) async fn a_slow_consumer_gets_the_truth_and_blocks_nobody(fixture: &dyn Fixture) {
    if !fixture.engine().capabilities().signals.is_supported() {
        return;
    }
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let mut slow = Watching::begin(&subject.provider);
    let mut quick = Watching::begin(&subject.provider);
    slow.first().await;
    quick.first().await;

    let is_stopped = |status: &ContainerStatus| *status == ContainerStatus::Stopped;
    let sent = fixture.overrun();
    let overrun = async {
        for _ in 0..sent {
            ok("HUP", subject.provider.kill(Signal::HUP, patience()).await);
        }
        ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);
    };
    let read =
        quick.synced("the end, while another watch is not read", |seen| is_stopped(&seen.status));
    tokio::join!(overrun, read);

    let mut kept = 0_usize;
    slow.find("the end, on the watch that was not read", |item| match item {
        WatchItem::Event(event) => {
            kept += usize::from(matches!(event.action, EventAction::Kill(Some(Signal::HUP))));
            None
        }
        WatchItem::Synced(seen) => is_stopped(&seen.status).then_some(()),
        WatchItem::Removed => None,
    })
    .await;
    assert!(kept < sent, "a watch that is not read kept all of {sent} events");
}

/// The change comes first, and is then overrun by so much else that a bounded watch has lost it.
pub(super) async fn a_slow_consumer_hears_of_what_it_missed(fixture: &dyn Fixture) {
    if !fixture.engine().capabilities().signals.is_supported() {
        return;
    }
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let mut slow = Watching::begin(&subject.provider);
    slow.first().await;

    ok("stop", subject.provider.stop(&StopOptions::new(), patience()).await);
    subject.start().await;
    let run = Some(subject.run().await);
    for _ in 0..fixture.overrun() {
        ok("HUP", subject.provider.kill(Signal::HUP, patience()).await);
    }
    slow.synced("the run that it missed", |seen| seen.run == run).await;
}

pub(super) async fn two_hundred_watchers_see_a_change(fixture: &dyn Fixture) {
    let subject = Subject::created(fixture, Behaviour::Serves).await;
    let mut watchers: Vec<_> = (0..200).map(|_| Watching::begin(&subject.provider)).collect();
    join_all(watchers.iter_mut().map(Watching::first)).await;
    subject.start().await;
    let run = Some(subject.run().await);
    let all = join_all(watchers.iter_mut().map(|watching| {
        watching.synced("the start", |seen| seen.status == ContainerStatus::Running)
    }));
    for seen in within("two hundred watchers", all).await {
        assert_eq!(seen.run, run);
    }
}
