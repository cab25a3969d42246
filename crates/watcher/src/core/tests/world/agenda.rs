//! What is planned to happen.

use super::*;

#[derive(Debug)]
pub(super) enum Happening {
    Told(Input),
    /// The engine carries out an order.
    Applied(Order),
    /// A program that was asked to end by somebody else does so.
    Ended(u64),
    /// The engine is asked: what the answer says is decided now, and told later.
    Sampled(EffectId),
    /// It is asked at this address.
    Probed(EffectId, Option<IpAddr>),
    Crash(u64),
    EngineRestarts(u64),
    Watch,
    LeaseEnds,
    EngineUp,
    /// What was locked at the time of this number is not any more.
    Unlocked(u64),
}

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: Moment,
    pub(super) sequence: u64,
    pub(super) what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
