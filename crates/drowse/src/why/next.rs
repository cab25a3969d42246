//! What must happen next to a workload, and when.

use drowse_watcher::{PhaseName, Policy, Role, SleepMethod, Snapshot};
use serde::{Deserialize, Serialize};

use crate::{
    config::show_duration,
    listing::{HoldRow, ScheduleRow},
    output::one_line,
    wall::{Clock, Wall, roughly},
};

/// Something that is to be expected. Kinds and keys are added, never renamed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Next {
    /// It is put to sleep if nothing uses it until then.
    Sleep { at: Wall },
    /// It is put to sleep when it has not been used for so long; now it is in use.
    SleepAfterUse { idle_seconds: u64 },
    /// It is put to sleep after those that need it now: nobody else has used it.
    SleepAfterOthers,
    /// Its sleep was due, and something spoke against it: it is asked again.
    SleepUnlessBusy { by: String, at: Option<Wall> },
    /// It sleeps by being paused, and is stopped if nobody wants it until then.
    StopAfterPause { at: Wall },
    /// It is never put to sleep.
    NeverSleep,
    /// It is a job, which ends by itself.
    End,
    /// It is a job, and has done what it is there for.
    Complete,
    /// Its sleep waits until something else is done with its container.
    SleepWhenUnlocked { lock: String },
    /// The next request wakes it.
    WakeOnUse,
    /// Its start waits for what it needs.
    WaitFor { workload: String, state: Option<String>, since: Option<Wall>, why: Option<String> },
    /// Its start waits until something else is done with its container.
    WakeWhenUnlocked { lock: String },
    /// Its engine is carrying out its start.
    Started,
    /// It runs, and is ready as soon as it answers.
    Ready { last_error: Option<String> },
    /// Its engine is putting it to sleep. `wake`: somebody waits, and it is started again then.
    Asleep { wake: bool },
    /// No start is tried before.
    NoStartBefore { at: Wall, why: String },
    /// Nothing wakes it until it is let go.
    HeldAsleep { until: Option<Wall>, why: String },
    /// It is kept awake until it is let go.
    HeldAwake { until: Option<Wall>, why: Option<String> },
    /// Its schedule does something: `kept awake`, `may sleep` or `woken`.
    Scheduled { at: Wall, does: String },
    /// Nothing is done with it until somebody mends it: what runs serves on.
    Mend { why: String },
    /// It is managed again as soon as its container is there.
    Appear,
    /// Its engine is asked again and again.
    EngineBack { engine: String, since: Option<Wall>, why: Option<String> },
}

/// What is known of a workload that the next steps follow from.
pub(crate) struct Outlook<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) policy: &'a Policy,
    pub(crate) engine: &'a str,
    pub(crate) lock: Option<&'a str>,
    /// What is wrong with what is said of it.
    pub(crate) error: Option<&'a str>,
    pub(crate) leases: u32,
    /// How somebody holds it by hand.
    pub(crate) hold: Option<&'a HoldRow>,
    /// When it is kept awake and woken, whoever uses it.
    pub(crate) schedule: Option<&'a ScheduleRow>,
    /// The state of what it needs, since when, and what that met last; by name.
    pub(crate) others: &'a dyn Fn(&str) -> Option<Other>,
}

/// Another workload, as one that needs it sees it.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) state: String,
    pub(crate) since: Option<Wall>,
    pub(crate) last_error: Option<String>,
}

impl Outlook<'_> {
    /// What is to be expected, the nearest first, and then what is planned.
    pub(crate) fn next(&self) -> Vec<Next> {
        let mut next = self.by_itself();
        // Whoever holds it asleep is heard before any schedule.
        if self.snapshot.held_asleep.is_none() && self.error.is_none() {
            let switches = self.schedule.iter().flat_map(|schedule| &schedule.next);
            next.extend(
                switches.map(|switch| Next::Scheduled { at: switch.at, does: switch.does.clone() }),
            );
        }
        next
    }

    fn by_itself(&self) -> Vec<Next> {
        let mut next = Vec::new();
        let snapshot = self.snapshot;
        if let Some(since) = snapshot.engine_lost_since {
            next.push(Next::EngineBack {
                engine: self.engine.to_owned(),
                since: Some(Wall::of(since)),
                why: snapshot.last_error.clone(),
            });
        }
        let until = self.hold.and_then(|hold| hold.until);
        if let Some(why) = &snapshot.held_asleep {
            next.push(Next::HeldAsleep { until, why: why.clone() });
        } else if let Some(hold) = self.hold.filter(|hold| hold.kind == "awake") {
            next.push(Next::HeldAwake { until, why: hold.reason.clone() });
        }
        if let Some(error) = self.error {
            next.push(Next::Mend { why: error.to_owned() });
            return next;
        }
        match snapshot.phase {
            PhaseName::Unread if snapshot.engine_lost_since.is_none() => {
                next.push(Next::EngineBack {
                    engine: self.engine.to_owned(),
                    since: None,
                    why: snapshot.last_error.clone(),
                });
            }
            PhaseName::Asleep => self.asleep(&mut next),
            PhaseName::Starting => self.starting(&mut next),
            PhaseName::Probing if self.policy.role == Role::Job => self.awake(&mut next),
            PhaseName::Probing => {
                next.push(Next::Ready { last_error: snapshot.last_error.clone() });
                self.awake(&mut next);
            }
            PhaseName::Ready => self.awake(&mut next),
            PhaseName::Stopping => next.push(Next::Asleep { wake: snapshot.waiting > 0 }),
            PhaseName::Failed => {
                let why = snapshot.last_error.as_ref().unwrap_or(&snapshot.reason).clone();
                next.push(match snapshot.blocked_until {
                    Some(until) => Next::NoStartBefore { at: Wall::of(until), why },
                    None => Next::Mend { why },
                });
            }
            PhaseName::Gone => next.push(Next::Appear),
            // All is said; and the watcher may grow: of what we do not know we say nothing.
            _ => {}
        }
        next
    }

    fn asleep(&self, next: &mut Vec<Next>) {
        if let Some(at) = self.snapshot.next_sleep {
            next.push(Next::StopAfterPause { at: Wall::of(at) });
        }
        match self.lock {
            Some(lock) if self.snapshot.waiting > 0 => {
                next.push(Next::WakeWhenUnlocked { lock: lock.to_owned() });
            }
            _ if self.snapshot.is_complete => next.push(Next::Complete),
            _ if self.snapshot.held_asleep.is_none()
                && self.snapshot.engine_lost_since.is_none() =>
            {
                next.push(Next::WakeOnUse);
            }
            _ => {}
        }
    }

    fn starting(&self, next: &mut Vec<Next>) {
        if self.snapshot.waiting_for.is_empty() {
            next.push(match self.lock {
                Some(lock) => Next::WakeWhenUnlocked { lock: lock.to_owned() },
                None => Next::Started,
            });
        }
        next.extend(self.snapshot.waiting_for.iter().map(|name| {
            let other = (self.others)(name);
            Next::WaitFor {
                workload: name.clone(),
                state: other.as_ref().map(|other| other.state.clone()),
                since: other.as_ref().and_then(|other| other.since),
                why: other.and_then(|other| other.last_error),
            }
        }));
    }

    fn awake(&self, next: &mut Vec<Next>) {
        if self.policy.role == Role::Job {
            next.push(Next::End);
        } else if self.policy.sleep == SleepMethod::Never {
            next.push(Next::NeverSleep);
        } else if self.leases > 0 && self.snapshot.is_for_others {
            next.push(Next::SleepAfterOthers);
        } else if self.leases > 0 || self.snapshot.waiting > 0 {
            next.push(Next::SleepAfterUse { idle_seconds: self.policy.idle.as_secs() });
        } else if let Some(lock) = self.lock {
            next.push(Next::SleepWhenUnlocked { lock: lock.to_owned() });
        } else if let Some(by) = &self.snapshot.vetoed_by {
            let at = self.snapshot.next_idle_check.map(Wall::of);
            next.push(Next::SleepUnlessBusy { by: by.clone(), at });
        } else if let Some(at) = self.snapshot.next_sleep {
            next.push(Next::Sleep { at: Wall::of(at) });
        }
    }
}

impl Next {
    /// In a sentence, for whoever reads it by this clock.
    pub(crate) fn sentence(&self, clock: &Clock) -> String {
        let at = |moment: &Wall| {
            let far = clock.until(*moment);
            if far.is_zero() {
                clock.brief(*moment)
            } else {
                format!("{} (in {})", clock.brief(*moment), roughly(far))
            }
        };
        let because = |why: &Option<String>| {
            why.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default()
        };
        match self {
            Self::Sleep { at: moment } => {
                format!("sleeps at {} if nothing uses it", at(moment))
            }
            Self::SleepAfterUse { idle_seconds } => {
                let idle = show_duration(std::time::Duration::from_secs(*idle_seconds));
                format!("sleeps {idle} after its last use, and is in use")
            }
            Self::SleepAfterOthers => "sleeps as soon as nothing needs it any more".to_owned(),
            Self::SleepUnlessBusy { by, at: moment } => {
                let again = moment.as_ref().map(at).map(|at| format!(" at {at}"));
                let again = again.unwrap_or_default();
                format!("stays awake for {}; asked again{again}", one_line(by))
            }
            Self::StopAfterPause { at: moment } => {
                format!("is paused, and stopped at {} if nothing wants it", at(moment))
            }
            Self::NeverSleep => {
                "is never put to sleep: others need it, and nobody enabled it".to_owned()
            }
            Self::End => "ends by itself when it has done its work".to_owned(),
            Self::Complete => {
                "has done its work, and is not run again in this container".to_owned()
            }
            Self::SleepWhenUnlocked { lock } => {
                format!("sleeps when it is no longer locked by {}", one_line(lock))
            }
            Self::WakeOnUse => "wakes when something uses it".to_owned(),
            Self::WaitFor { workload, state, since, why } => {
                let name = one_line(workload);
                match (state, since) {
                    (Some(state), Some(since)) => {
                        let far = roughly(clock.since(*since));
                        format!(
                            "waits for {name} ({} since {far}{})",
                            one_line(state),
                            because(why)
                        )
                    }
                    (Some(state), None) => {
                        format!("waits for {name} ({}{})", one_line(state), because(why))
                    }
                    (None, _) => format!("waits for {name}, which is not managed yet"),
                }
            }
            Self::WakeWhenUnlocked { lock } => {
                format!("is started when it is no longer locked by {}", one_line(lock))
            }
            Self::Started => "runs as soon as its engine has started it".to_owned(),
            Self::Ready { last_error } => {
                format!("is ready as soon as it answers{}", because(last_error))
            }
            Self::Asleep { wake: false } => {
                "is asleep as soon as its engine has done it".to_owned()
            }
            Self::Asleep { wake: true } => {
                "is started again as soon as its engine has put it to sleep: somebody waits"
                    .to_owned()
            }
            Self::NoStartBefore { at: moment, why } => {
                format!("no start is tried before {}: {}", at(moment), one_line(why))
            }
            Self::HeldAsleep { until: Some(until), why } => {
                format!("held asleep until {}: {}", at(until), one_line(why))
            }
            Self::HeldAsleep { until: None, why } => {
                format!("held asleep until it is let go: {}", one_line(why))
            }
            Self::HeldAwake { until: Some(until), why } => {
                format!("held awake until {}{}", at(until), because(why))
            }
            Self::HeldAwake { until: None, why } => {
                format!("held awake until it is let go{}", because(why))
            }
            Self::Scheduled { at: moment, does } => {
                format!("by its schedule {} at {}", one_line(does), at(moment))
            }
            Self::Mend { why } => format!("stays so until it is mended: {}", one_line(why)),
            Self::Appear => "is managed again as soon as its container is there".to_owned(),
            Self::EngineBack { engine, since, why } => {
                let engine = one_line(engine);
                match since {
                    Some(since) => format!(
                        "its engine `{engine}` is asked again until it answers (lost since {}){}",
                        clock.brief(*since),
                        because(why)
                    ),
                    None => {
                        format!("known as soon as its engine `{engine}` answers{}", because(why))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
