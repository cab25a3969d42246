//! What happened between two looks at a container.

use std::time::Duration;

use drowse_provider::EventAction;

use super::row::{Doing, Row, Span};

/// How far a beat may lag behind what a live read tells.
pub(super) const LAG: Duration = Duration::from_secs(15);

/// What happened, in the order in which it is told.
///
/// `is_restarted`: whether it is known to run in another run than before.
pub(super) fn happenings(before: &Row, after: &Row, is_restarted: bool) -> Vec<EventAction> {
    let mut happened = Vec::new();
    if before.node != after.node {
        happened.push(EventAction::Migrate(before.node.to_string()));
    }
    if before.name != after.name && after.name.is_some() {
        happened.push(EventAction::Rename(before.shown_name()));
    }
    if before.tags != after.tags || before.is_template != after.is_template {
        happened.push(EventAction::Update);
    }
    if before.ha_state != after.ha_state {
        let state = after.ha_state.as_deref().unwrap_or("not managed");
        happened.push(EventAction::Other(format!("high availability: {state}")));
    }
    if before.lock != after.lock {
        happened.push(EventAction::Lock(after.lock.as_deref().map(str::to_owned)));
    }
    match (before.doing, after.doing) {
        (Doing::Running, Doing::Running) if is_restarted => happened.push(EventAction::Restart),
        (Doing::Running, Doing::Stopped) => happened.push(EventAction::Die(None)),
        (Doing::Stopped, Doing::Running) => happened.push(EventAction::Start),
        // Nobody knows what it did meanwhile.
        (Doing::Unknown, Doing::Running | Doing::Stopped) => {
            happened.push(EventAction::Other("its node tells of it again".to_owned()));
        }
        (Doing::Running | Doing::Stopped, Doing::Unknown) => {
            happened.push(EventAction::Other("its node does not tell of it any more".to_owned()));
        }
        (Doing::Running, Doing::Running)
        | (Doing::Stopped, Doing::Stopped)
        | (Doing::Unknown, Doing::Unknown) => {}
    }
    happened
}

/// What happened to one that was not there before, or not to be seen.
pub(super) fn appeared(row: &Row) -> Vec<EventAction> {
    let start = row.runs().then_some(EventAction::Start);
    std::iter::once(EventAction::Create).chain(start).collect()
}

/// Whether one that ran in two beats after each other was restarted between: an uptime only grows.
pub(super) fn uptime_dropped(before: &Row, after: &Row) -> bool {
    before.runs() && after.runs() && after.uptime < before.uptime
}

/// Whether a beat says anything else than a live read did, so that another one has to tell. The
/// beat's uptime may lag: only one that no lag explains differs.
pub(super) fn contradicts(live: &Row, read: Span, row: &Row, beat: Span) -> bool {
    let is_renamed = row.name.is_some() && live.name != row.name;
    facts(live) != facts(row) || is_renamed || (live.runs() && other_start(live, read, row, beat))
}

fn facts(row: &Row) -> impl PartialEq + '_ {
    let Row { doing, is_template, node, lock, ha_state, tags, .. } = row;
    (doing, is_template, node, lock, ha_state, tags)
}

/// Whether a beat and a live read disagree on when it was started.
pub(super) fn other_start(live: &Row, read: Span, row: &Row, beat: Span) -> bool {
    const ROUNDING: Duration = Duration::from_secs(2);
    let uptime = |row: &Row| Duration::from_secs(row.uptime.into());
    let since_read = beat.ended.saturating_duration_since(read.began);
    let drift = since_read / 1000;
    // What the beat may say at most, and what it has to say at least, of the same run.
    let most = uptime(live) + since_read + drift + ROUNDING;
    let passed = beat.began.saturating_duration_since(read.ended);
    let least = (uptime(live) + passed).saturating_sub(LAG + drift);
    !(least..=most).contains(&uptime(row))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::row::tests::{row, running};

    fn told(before: &Row, after: &Row) -> Vec<EventAction> {
        happenings(before, after, uptime_dropped(before, after))
    }

    #[test]
    fn what_happened_is_told_in_order() {
        assert_eq!(told(&row(100), &running(100, 1)), [EventAction::Start]);
        assert_eq!(told(&running(100, 9), &row(100)), [EventAction::Die(None)]);
        assert_eq!(told(&running(100, 9), &running(100, 13)), []);
        assert_eq!(told(&running(100, 9), &running(100, 2)), [EventAction::Restart]);
        let elsewhere = Row {
            node: "pve2".into(),
            name: Some("wiki".into()),
            lock: Some("backup".into()),
            tags: ["drowse".to_owned()].into(),
            ..running(100, 1)
        };
        assert_eq!(
            told(&row(100), &elsewhere),
            [
                EventAction::Migrate("pve1".to_owned()),
                EventAction::Rename("ct100".to_owned()),
                EventAction::Update,
                EventAction::Lock(Some("backup".to_owned())),
                EventAction::Start,
            ]
        );
        let unlocked = Row { lock: None, ..elsewhere.clone() };
        assert_eq!(told(&elsewhere, &unlocked), [EventAction::Lock(None)]);
        assert_eq!(appeared(&running(100, 1)), [EventAction::Create, EventAction::Start]);
    }

    #[test]
    fn one_whose_node_does_not_tell_is_never_told_as_ended() {
        let away = Row { doing: Doing::Unknown, uptime: 0, ..running(100, 0) };
        for told in [told(&running(100, 9), &away), told(&away, &row(100))] {
            assert!(matches!(&told[..], [EventAction::Other(_)]), "{told:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_told_is_no_rename() {
        assert_eq!(told(&row(100), &Row { name: None, ..row(100) }), []);
    }

    fn rows() -> impl Strategy<Value = Row> {
        (
            prop_oneof![Just(Doing::Running), Just(Doing::Stopped), Just(Doing::Unknown)],
            0..20u32,
            prop_oneof![Just("pve1"), Just("pve2")],
            proptest::option::of(Just("backup")),
        )
            .prop_map(|(doing, uptime, node, lock)| Row {
                doing,
                uptime: if doing == Doing::Running { uptime } else { 0 },
                node: node.into(),
                lock: lock.map(Into::into),
                ..row(100)
            })
    }

    proptest! {
        #[test]
        fn nothing_is_told_of_what_did_not_change(row in rows()) {
            prop_assert_eq!(told(&row, &row), []);
        }

        /// Whoever follows the events of one container is always right about it.
        #[test]
        fn the_events_add_up(path in proptest::collection::vec(rows(), 1..20)) {
            let (mut runs, mut node, mut lock) =
                (path[0].runs(), path[0].node.to_string(), path[0].lock.clone());
            for pair in path.windows(2) {
                let (before, after) = (&pair[0], &pair[1]);
                let was_known = before.doing != Doing::Unknown && after.doing != Doing::Unknown;
                for action in told(before, after) {
                    match action {
                        EventAction::Start => {
                            prop_assert!(was_known && !runs);
                            runs = true;
                        }
                        EventAction::Die(None) => {
                            prop_assert!(was_known && runs);
                            runs = false;
                        }
                        EventAction::Restart => prop_assert!(runs),
                        EventAction::Migrate(from) => {
                            prop_assert_eq!(&from, &node);
                            node = after.node.to_string();
                        }
                        EventAction::Lock(by) => lock = by.as_deref().map(Into::into),
                        EventAction::Other(_) => runs = after.runs(),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                prop_assert_eq!(runs, after.runs());
                prop_assert_eq!(&node, &*after.node);
                prop_assert_eq!(&lock, &after.lock);
            }
        }

        /// A beat that lags, of the run that was read, is no reason to read again.
        #[test]
        fn a_beat_of_the_same_run_does_not_contradict(
            uptime in 0..1_000_000u32,
            later in 0..100_000u64,
            lag in 0..=12u64,
            took in 0..10u64,
        ) {
            let start = Instant::now();
            let read = Span { began: start, ended: start };
            let began = start + Duration::from_secs(later);
            let beat = Span { began, ended: began + Duration::from_secs(took) };
            let seen = u64::from(uptime) + later;
            let told = u32::try_from(seen.saturating_sub(lag)).unwrap();
            prop_assert!(!contradicts(&running(100, uptime), read, &running(100, told), beat));
        }

        /// A restart is seen, however short the run before: as soon as no lag can explain it.
        #[test]
        fn a_beat_of_a_later_run_contradicts(
            uptime in 0..1_000_000u32,
            ran_on in 0..1_000u64,
            later in 0..1_000u64,
        ) {
            let start = Instant::now();
            let read = Span { began: start, ended: start };
            let now = start + Duration::from_secs(ran_on + later);
            let beat = Span { began: now, ended: now };
            let lost = u64::from(uptime) + ran_on;
            let told = running(100, u32::try_from(later).unwrap());
            let is_seen = contradicts(&running(100, uptime), read, &told, beat);
            prop_assert_eq!(is_seen, lost > LAG.as_secs() + (ran_on + later) / 1000);
        }
    }
}
