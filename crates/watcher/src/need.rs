//! What a workload needs from others before it starts, and for as long as it runs.

use tokio::time::Instant;

use crate::{Hold, LeaseKind, PhaseName, Workload, shared::Standing};

/// What is needed of another workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// That it was seen running.
    Started,
    /// That it is ready.
    Ready,
    /// That it has run to its end with exit code 0: a [`Role::Job`](crate::Role::Job).
    Completed,
}

/// Another workload that a workload needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Need {
    /// Its name.
    pub name: String,
    /// Its handle; `None` while nobody manages it (its engine was not read yet, or its management is
    /// about to begin anew): until then whoever needs it is not started.
    pub workload: Option<Workload>,
    /// What is needed of it.
    pub condition: Condition,
}

/// What is needed, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeedState {
    /// Its name.
    pub name: String,
    /// What is needed of it.
    pub condition: Condition,
    /// Whether it is so.
    pub is_met: bool,
    /// Why not, in words: a lower-case fragment.
    pub why_not: Option<String>,
}

/// How what is needed looks to the one that needs it, and holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeedSeen {
    /// As it is needed.
    Met,
    /// As it is needed. Something that it needs itself was ended by others, and stays so until it is
    /// used after this moment: also through others.
    Limps {
        /// When that was.
        since: Instant,
    },
    /// Not, and perhaps on its way.
    Unmet,
    /// Observed not to run.
    Down {
        /// When somebody else ended it, if that is why.
        ended_by_others_at: Option<Instant>,
    },
    /// Nobody manages it, or not any more.
    Unmanaged,
}

impl NeedSeen {
    pub(crate) fn is_met(self) -> bool {
        matches!(self, Self::Met | Self::Limps { .. })
    }
}

impl Need {
    /// A need of another workload.
    pub fn new(name: impl Into<String>, workload: Option<Workload>, condition: Condition) -> Self {
        Self { name: name.into(), workload, condition }
    }

    /// What is needed, while somebody manages it.
    pub(crate) fn managed(&self) -> Option<&Workload> {
        self.workload.as_ref().filter(|workload| !workload.is_closed())
    }

    /// How it looks. What is found to be met stays so while it is held, for all that drowse does:
    /// hold it before.
    pub(crate) fn look(&self) -> NeedSeen {
        let Some(workload) = self.managed() else { return NeedSeen::Unmanaged };
        let shared = workload.shared();
        let standing = shared.standing();
        let is_met = match self.condition {
            Condition::Started if standing == Standing::Runs => true,
            // What has run to its end has been started, and will never be readier.
            Condition::Started | Condition::Ready if standing == Standing::Complete => true,
            Condition::Started | Condition::Ready => shared.word.look().is_open(),
            Condition::Completed => standing == Standing::Complete,
        };
        match standing {
            _ if is_met => match shared.awaits_use_since() {
                Some(since) => NeedSeen::Limps { since },
                None => NeedSeen::Met,
            },
            Standing::Down => NeedSeen::Down { ended_by_others_at: shared.ended_at() },
            _ => NeedSeen::Unmet,
        }
    }

    /// The same for people.
    pub(crate) fn state(&self) -> NeedState {
        let is_met = self.look().is_met();
        let why_not = match self.managed() {
            _ if is_met => None,
            None => Some("nobody manages it yet".to_owned()),
            Some(workload) => {
                let now = workload.snapshot();
                // Its reason is why it is so, and its last error why it is not otherwise.
                let reason = match now.phase {
                    PhaseName::Asleep | PhaseName::Starting => now.reason,
                    _ => now.last_error.unwrap_or(now.reason),
                };
                Some(format!("{}: {reason}", now.phase))
            }
        };
        NeedState { name: self.name.clone(), condition: self.condition, is_met, why_not }
    }
}

impl Needs {
    /// Holds all of it that is managed, as `dependent` does for as long as it runs: none of it is put
    /// to sleep while these are there. For who manages it anew: what it needs is held in between.
    pub fn hold(&self, dependent: &str) -> Vec<Hold> {
        match self {
            Self::Of(needs) => hold_all(needs, dependent),
            Self::InError(_) => Vec::new(),
        }
    }
}

pub(crate) fn hold_all(needs: &[Need], dependent: &str) -> Vec<Hold> {
    let holder = holder_name(dependent);
    let managed = needs.iter().filter_map(|need| need.workload.as_ref());
    managed.map(|workload| workload.hold(&workload.holder(&holder), LeaseKind::Dependent)).collect()
}

/// Under which name a dependent holds what it needs.
pub(crate) fn holder_name(dependent: &str) -> String {
    format!("dependent {dependent}")
}

/// All that a workload needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Needs {
    /// These, which must not need it in turn.
    Of(Vec<Need>),
    /// What is said of it is in error, for this reason: it is neither started nor put to sleep, and
    /// serves on if it runs. What it needed before stays held for as long as it runs: whoever knows a part
    /// of what it needs says that first, with `Of`.
    InError(String),
}

impl Default for Needs {
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}
