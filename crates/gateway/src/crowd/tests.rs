//! Who finds room, and who does not.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Engine as _, Reference, testing::ScriptedEngine};
use drowse_watcher::{Policy, ReadyWhenRunning, WorkloadSpec};

use super::*;

fn workload(name: &str) -> Workload {
    let engine = ScriptedEngine::new("home");
    let provider = engine.provider(&Reference::Name(name.into())).unwrap();
    let policy = Policy::new(Duration::from_hours(1));
    Workload::spawn(WorkloadSpec::new(name, provider, Arc::new(ReadyWhenRunning), policy))
}

/// Who comes from this address, or from one that is not counted.
fn from<'a>(workload: &'a Workload, address: &str, unread: usize) -> Who<'a> {
    let source = (!address.is_empty()).then(|| address.parse().unwrap());
    Who { workload, source, unread }
}

fn is_empty(crowd: &Crowd) -> bool {
    let numbers = crowd.numbers();
    let Number { waiting, unread } = numbers.all;
    waiting + unread + numbers.by_workload.len() + numbers.by_source.len() == 0
}

#[tokio::test]
async fn who_leaves_makes_room_and_is_forgotten() {
    let mut options = GatewayOptions::new();
    (options.max_waiting, options.max_waiting_per_workload) = (3, 2);
    let crowd = Crowd::default();
    let (a, b) = (workload("a"), workload("b"));
    let join = |workload| crowd.join(&from(workload, "", 0), &options);
    let first = join(&a).ok().unwrap();
    let second = join(&a).ok().unwrap();
    assert_eq!(join(&a).err(), Some(TooMany::OfWorkload(2)));
    let third = join(&b).ok().unwrap();
    assert_eq!(join(&b).err(), Some(TooMany::InAll(3)));
    drop(first);
    let fourth = join(&a).ok().unwrap();
    drop((second, third, fourth));
    assert!(is_empty(&crowd));
}

#[tokio::test]
async fn what_waits_has_unread_bodies_up_to_a_bound() {
    let mut options = GatewayOptions::new();
    options.max_unread_bytes = 100;
    let crowd = Crowd::default();
    let a = workload("a");
    let join = |unread| crowd.join(&from(&a, "", unread), &options);
    let first = join(60).ok().unwrap();
    assert_eq!(join(41).err(), Some(TooMany::Unread(100)));
    let second = join(40).ok().unwrap();
    assert_eq!(join(1).err(), Some(TooMany::Unread(100)));
    // Who sends none is in nobody's way.
    let third = join(0).ok().unwrap();
    drop(first);
    let fourth = join(60).ok().unwrap();
    drop((second, third, fourth));
    assert!(is_empty(&crowd));
}

#[tokio::test]
async fn one_source_has_a_quarter_and_the_others_have_the_rest() {
    let mut options = GatewayOptions::new();
    (options.max_waiting, options.max_unread_bytes) = (8, 400);
    let crowd = Crowd::default();
    let a = workload("a");
    let join = |address, unread| crowd.join(&from(&a, address, unread), &options);
    let first = join("2001:db8::1", 0).ok().unwrap();
    let second = join("2001:db8::2", 0).ok().unwrap();
    assert_eq!(join("2001:db8::3", 0).err(), Some(TooMany::OfSource(2)));
    let other = join("2001:db8:0:1::1", 0).ok().unwrap();
    let own = [(); 4].map(|()| join("", 0).ok().unwrap());
    drop(second);
    let again = join("2001:db8::3", 0).ok().unwrap();
    drop((first, other, own, again));
    assert!(is_empty(&crowd));

    let first = join("192.0.2.1", 60).ok().unwrap();
    assert_eq!(join("192.0.2.1", 41).err(), Some(TooMany::UnreadOfSource(100)));
    let second = join("::ffff:192.0.2.1", 40).ok().unwrap();
    // One that is larger than a quarter may wait, but not beside others of its own.
    let large = join("192.0.2.2", 250).ok().unwrap();
    assert_eq!(join("192.0.2.2", 1).err(), Some(TooMany::UnreadOfSource(100)));
    drop((first, second, large));
    assert!(is_empty(&crowd));
}

#[tokio::test]
async fn a_seat_is_taken_once_and_left() {
    let (crowd, options, a) = (Crowd::default(), GatewayOptions::new(), workload("a"));
    let seat = Seat::default();
    let take = || seat.take(|| crowd.join(&from(&a, "192.0.2.1", 7), &options));
    assert_eq!((take(), take()), (Ok(()), Ok(())));
    assert_eq!(crowd.numbers().all.waiting, 1);
    seat.leave();
    assert!(is_empty(&crowd));
}
