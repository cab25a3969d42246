//! What chance decides.

use super::*;

/// How often, in a thousand, things go wrong.
#[derive(Clone, Copy, Debug)]
pub(in crate::core::tests) struct Faults {
    pub(in crate::core::tests) order_fails: u32,
    pub(in crate::core::tests) read_fails: u32,
    pub(in crate::core::tests) event_lost: u32,
    pub(in crate::core::tests) crashes: u32,
    pub(in crate::core::tests) outside: u32,
    pub(in crate::core::tests) outages: u32,
    pub(in crate::core::tests) locks: u32,
    /// Its gates say that it is busy.
    pub(in crate::core::tests) busy: u32,
    /// Somebody holds it asleep, or puts it to sleep whoever uses it.
    pub(in crate::core::tests) by_hand: u32,
    pub(in crate::core::tests) restart_always: bool,
    /// It is dialled at addresses of its own, which come late and change.
    pub(in crate::core::tests) addresses: bool,
    /// It has gates.
    pub(in crate::core::tests) gates: bool,
    /// It is frozen first, and stopped later; and it stays awake for a while after a wake.
    pub(in crate::core::tests) deepens: bool,
}

impl Faults {
    pub(in crate::core::tests) const NONE: Self = Self {
        order_fails: 0,
        read_fails: 0,
        event_lost: 0,
        crashes: 0,
        outside: 0,
        outages: 0,
        locks: 0,
        busy: 0,
        by_hand: 0,
        restart_always: false,
        addresses: false,
        gates: false,
        deepens: false,
    };
}

/// The generator `SplitMix64`: small, good enough, the same everywhere.
#[derive(Debug)]
pub(in crate::core::tests) struct Dice(pub(in crate::core::tests) u64);

impl Dice {
    pub(in crate::core::tests) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    pub(super) fn permille(&mut self, chance: u32) -> bool {
        self.roll(1000) < u64::from(chance)
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from + 1))
    }
}
