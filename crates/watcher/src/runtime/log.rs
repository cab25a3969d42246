//! What the log says of a workload. Each line has its name, its engine and its container.

use std::time::Duration;

use drowse_provider::Error;

use crate::{
    Busy, PhaseName,
    core::{Core, Transition},
};

use super::{Life, Runtime};

/// One line about a workload: of whatever has its `name` and its `provider`.
macro_rules! tell {
    ($level:ident, $of:expr, $($line:tt)+) => {
        tracing::$level!(
            workload = $of.name,
            engine = $of.provider.engine(),
            container = %$of.provider.reference(),
            $($line)+
        )
    };
}

pub(super) use tell;

impl Runtime {
    /// What `list` shows, too: who uses it, and what it met if it cannot be used.
    pub(super) fn tell_change(&self, core: &Core, change: &Transition) {
        let hint = if change.is_ended_from_outside && change.to == PhaseName::Asleep {
            format!(": a request wakes it again, unless `drowse hold {} --asleep`", self.name)
        } else {
            String::new()
        };
        let reason = change.reason.to_string();
        let error = core.last_error().filter(|error| !reason.contains(&**error));
        tell!(
            info,
            self,
            from = %change.from,
            to = %change.to,
            reason,
            took = ?round(change.took),
            leases = self.shared.word.look().leases(),
            waiting = core.waiting(),
            error = error.as_deref(),
            "{}{hint}",
            change.to,
        );
    }

    pub(super) fn tell_lost_asleep(&self) {
        tell!(
            error,
            self,
            "its container was removed while it slept, so no request can wake it: if that was a prune \
             (`docker container prune` and `docker system prune` remove whatever does not run), make \
             it again, as with `docker compose up -d`, and prune with `--filter \
             label!=drowse.enable=true` from now on",
        );
    }

    /// WARN if it may succeed without anybody doing anything, else ERROR.
    pub(super) fn tell_trouble(&self, what: &'static str, error: &Error, next_attempt: Duration) {
        macro_rules! trouble {
            ($level:ident) => {
                tell!(
                    $level,
                    self,
                    action = %error.action(),
                    error = error as &dyn std::error::Error,
                    ?next_attempt,
                    "{what}",
                )
            };
        }
        if error.is_retryable() { trouble!(warn) } else { trouble!(error) }
    }

    /// Once for each holder, not at each look.
    pub(super) fn tell_stays_awake(&self, life: &mut Life, anew: bool) {
        if anew {
            life.told_holders.clear();
        }
        let holders = (self.holders)();
        let known = life.told_holders.len();
        for (name, _) in &holders {
            if !life.told_holders.contains(name) {
                life.told_holders.push(name.clone());
            }
        }
        if life.told_holders.len() > known {
            let holders = named(holders);
            tell!(info, self, holders, "stays awake: its idle time is over, and it is in use");
        }
    }

    pub(super) fn tell_stays_awake_locked(&self, by: &str) {
        tell!(
            info,
            self,
            locked_by = by,
            "stays awake: its idle time is over, and it is locked; it sleeps when the lock is gone",
        );
    }

    pub(super) fn tell_stays_awake_busy(&self, busy: &Busy) {
        tell!(
            info,
            self,
            by = busy.holder,
            reason = busy.reason,
            "stays awake: its idle time is over, and it is busy",
        );
    }

    pub(super) fn tell_held_asleep(&self, reason: Option<&str>) {
        let what = match reason {
            Some(_) => "held asleep: nothing wakes it until it is released",
            None => "no longer held asleep",
        };
        tell!(info, self, reason, "{what}");
    }

    pub(super) fn tell_cut_short(&self, uses: u32) {
        tell!(
            info,
            self,
            holders = named((self.holders)()),
            uses,
            "put to sleep on request, though it is in use: whoever uses it is cut off",
        );
    }

    pub(super) fn tell_wake_waits(&self, by: &str) {
        tell!(
            info,
            self,
            locked_by = by,
            "cannot be woken yet: it is locked; it is woken when the lock is gone",
        );
    }
}

/// Holders, with how many leases each holds.
fn named(holders: Vec<(String, u32)>) -> String {
    let holders: Vec<String> =
        holders.into_iter().map(|(name, held)| format!("{name} ({held})")).collect();
    holders.join(", ")
}

/// For people: milliseconds are enough.
fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
