//! What an engine's own watch promises.

use super::{
    Behaviour, Fixture, Outside,
    subject::{Subject, WatchingAll},
};
use crate::{ContainerStatus, EngineItem, EventAction, Signal, Summary};

/// The status of the container `id` in a list.
fn status<'a>(list: &'a [Summary], id: &str) -> Option<&'a ContainerStatus> {
    list.iter().find(|line| line.id == id).map(|line| &line.status)
}

pub(super) async fn an_engines_events_begin_with_a_list(fixture: &dyn Fixture) {
    let running = Subject::running(fixture, Behaviour::Serves).await;
    let created = Subject::created(fixture, Behaviour::Serves).await;
    let mut all = WatchingAll::begin(&fixture.engine());
    let list = all
        .find("the first item", |item| match item {
            EngineItem::Synced(list) => Some(list.clone()),
            EngineItem::Event(event) => panic!("the first item is {event:?}"),
        })
        .await;
    let running = running.details().await.id;
    let created = created.details().await.id;
    assert_eq!(status(&list, &running), Some(&ContainerStatus::Running));
    assert_eq!(status(&list, &created), Some(&ContainerStatus::Stopped));
}

pub(super) async fn an_engines_events_tell_of_each_container(fixture: &dyn Fixture) {
    let first = Subject::created(fixture, Behaviour::Serves).await;
    let second = Subject::created(fixture, Behaviour::Serves).await;
    let mut all = WatchingAll::begin(&fixture.engine());
    all.find("the list", |item| matches!(item, EngineItem::Synced(_)).then_some(())).await;
    for subject in [&first, &second] {
        let details = subject.details().await;
        subject.start().await;
        all.find("a start", |item| match item {
            EngineItem::Event(event)
                if event.action == EventAction::Start && event.actor.id == details.id =>
            {
                assert_eq!(event.actor.name, details.name);
                Some(())
            }
            _ => None,
        })
        .await;
    }
    let id = first.details().await.id;
    fixture.remove(&first.reference).await;
    all.find("a removal", |item| match item {
        EngineItem::Event(event) => {
            (event.action == EventAction::Destroy && event.actor.id == id).then_some(())
        }
        EngineItem::Synced(list) => status(list, &id).is_none().then_some(()),
    })
    .await;
}

pub(super) async fn an_engines_events_are_whole_after_a_break(fixture: &dyn Fixture) {
    let subject = Subject::running(fixture, Behaviour::Serves).await;
    let id = subject.details().await.id;
    let mut all = WatchingAll::begin(&fixture.engine());
    all.find("the list", |item| matches!(item, EngineItem::Synced(_)).then_some(())).await;
    if !fixture.break_events().await {
        return;
    }
    assert!(fixture.outside(&subject.reference, Outside::Kill(Signal::KILL)).await);
    fixture.mend_events().await;
    all.find("a list with the end", |item| match item {
        EngineItem::Synced(list) => {
            (status(list, &id) == Some(&ContainerStatus::Stopped)).then_some(())
        }
        EngineItem::Event(_) => None,
    })
    .await;
}
