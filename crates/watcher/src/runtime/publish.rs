//! What those who look on are told: the state as it is, and each change.

use std::fmt::{self, Display, Write};

use crate::{
    Change, Snapshot,
    core::{Core, Transition},
};

use super::Runtime;

impl Runtime {
    pub(super) fn changed(&self, core: &Core, change: &Transition) {
        self.tell_change(core, change);
        let now = self.now();
        self.shared.record.keep(now, change);
        if let Some(observer) = &self.observer {
            let Transition { from, to, reason, took, .. } = change;
            let (at, reason) = (self.instant(now), reason.to_string());
            let change = Change { at, from: *from, to: *to, reason, took: *took };
            observer.changed(&self.name, &change);
        }
    }

    pub(super) fn publish(&self, core: &Core) {
        self.shared.plan_sleep(core.sleep_plan());
        self.shared.record.keep_failures(core.failures());
        self.snapshots.send_if_modified(|current| {
            let has_changed = !self.is_as_told(core, current);
            if has_changed {
                *current = self.snapshot(core);
            }
            has_changed
        });
    }

    fn snapshot(&self, core: &Core) -> Snapshot {
        Snapshot {
            phase: core.phase(),
            since: self.instant(core.since()),
            reason: core.reason().to_string(),
            run: core.run().cloned(),
            engine_lost_since: core.lost_since().map(|at| self.instant(at)),
            is_forbidden: core.is_forbidden(),
            waiting: core.waiting(),
            last_error: core.last_error().map(Into::into),
            lacks_right: core.lacks_right(),
            last_wake_took: core.last_wake_took(),
            next_idle_check: core.next_idle_check().map(|at| self.instant(at)),
            next_sleep: self.shared.next_sleep(),
            waiting_for: core.waiting_for().map(str::to_owned).collect(),
            is_complete: core.is_complete(),
            vetoed_by: core.vetoed_by().map(ToString::to_string),
            blocked_until: core.blocked_until().map(|at| self.instant(at)),
            held_asleep: core.held_asleep().map(str::to_owned),
            is_ended_from_outside: core.is_ended_from_outside(),
            is_for_others: core.is_for_others(),
            standing: self.shared.standing(),
            awaits_use_since: self.shared.awaits_use_since(),
        }
    }

    /// Whether a snapshot would say the same. There is a step for each of ten thousand who wait: nothing
    /// is allocated to find out that nothing has changed.
    fn is_as_told(&self, core: &Core, told: &Snapshot) -> bool {
        let Snapshot {
            phase,
            since,
            reason,
            run,
            engine_lost_since,
            is_forbidden,
            waiting,
            last_error,
            lacks_right,
            last_wake_took,
            next_idle_check,
            next_sleep,
            waiting_for,
            is_complete,
            vetoed_by,
            blocked_until,
            held_asleep,
            is_ended_from_outside,
            is_for_others,
            standing,
            awaits_use_since,
        } = told;
        *waiting == core.waiting()
            && *phase == core.phase()
            && *since == self.instant(core.since())
            && reads(core.reason(), reason)
            && run.as_ref() == core.run()
            && *engine_lost_since == core.lost_since().map(|at| self.instant(at))
            && *is_forbidden == core.is_forbidden()
            && last_error.as_deref() == core.last_error().as_deref()
            && *lacks_right == core.lacks_right()
            && *last_wake_took == core.last_wake_took()
            && *next_idle_check == core.next_idle_check().map(|at| self.instant(at))
            && *next_sleep == self.shared.next_sleep()
            && core.waiting_for().eq(waiting_for)
            && *is_complete == core.is_complete()
            && match (core.vetoed_by(), vetoed_by) {
                (Some(busy), Some(told)) => reads(busy, told),
                (busy, told) => busy.is_none() && told.is_none(),
            }
            && *blocked_until == core.blocked_until().map(|at| self.instant(at))
            && held_asleep.as_deref() == core.held_asleep()
            && *is_ended_from_outside == core.is_ended_from_outside()
            && *is_for_others == core.is_for_others()
            && *standing == self.shared.standing()
            && *awaits_use_since == self.shared.awaits_use_since()
    }
}

/// Whether `what` is shown as this text: found out without writing it down.
fn reads(what: &impl Display, text: &str) -> bool {
    let mut left = Left(text);
    write!(left, "{what}").is_ok() && left.0.is_empty()
}

/// What of a text is still to be read.
struct Left<'a>(&'a str);

impl Write for Left<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_compared_with_what_was_told() {
        let what = format_args!("waiting for {}, {}", "db", 7);
        assert!(reads(&what, "waiting for db, 7"));
        for other in ["", "waiting for db", "waiting for db, 77", "waiting for db, 8"] {
            assert!(!reads(&what, other), "{other}");
        }
        assert!(reads(&"", ""));
    }
}
