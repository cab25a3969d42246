//! Which states are the same: those that look the same, but for what decides nothing.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Write},
    hash::{DefaultHasher, Hasher},
};

/// A number for all that decides anything in a state. Of a million states, two that are taken for one
/// by chance are less likely than one in ten million.
pub(super) fn fingerprint(world: &impl Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(essence(world).as_bytes());
    hasher.finish()
}

/// What is left of a state's `Debug` text without the numbers and texts that decide nothing.
fn essence(world: &impl Debug) -> String {
    let mut sieve = Sieve::default();
    write!(sieve, "{world:?}").expect("a string takes anything");
    sieve.kept
}

/// Takes a `Debug` text as it is written: names, punctuation and numbers each in one piece.
#[derive(Default)]
struct Sieve {
    kept: String,
    /// What the last pieces announce.
    next: Next,
    effects: BTreeMap<u64, usize>,
    epochs: BTreeMap<u64, usize>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Next {
    #[default]
    Anything,
    /// A name was written; what stands for its value comes after this punctuation.
    Begins(Value),
    Is(Value),
    /// Within a text for people: how it ends.
    Text {
        is_escaped: bool,
    },
}

/// What is arbitrary.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    /// Told apart, and nothing else: numbered anew in the order in which they are shown.
    Effect,
    /// Says how much has happened, and is compared with nothing that is shown.
    Counter,
    /// A warm word. Its epoch only tells whether it still is the one that was seen.
    Word,
    /// For people: nobody acts upon it.
    Text,
}

impl Value {
    fn of(name: &str) -> Option<Self> {
        match name {
            "EffectId" => Some(Self::Effect),
            "last_id" | "epoch" => Some(Self::Counter),
            "word" | "Seen" => Some(Self::Word),
            "reason" => Some(Self::Text),
            _ => None,
        }
    }
}

const EPOCH: u64 = ((1 << 63) - 1) & !(u32::MAX as u64);

impl Write for Sieve {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.next = match (self.next, piece) {
            (Next::Text { is_escaped: false }, "\"") => Next::Anything,
            (Next::Text { is_escaped }, piece) => {
                Next::Text { is_escaped: !is_escaped && piece == "\\" }
            }
            (Next::Begins(value), "(" | ": ") => {
                self.kept.push_str(piece);
                Next::Is(value)
            }
            (Next::Is(Value::Text), "\"") => Next::Text { is_escaped: false },
            (Next::Is(value), piece) => {
                match piece.parse::<u64>() {
                    Ok(number) => self.keep_number(value, number),
                    Err(_) => self.kept.push_str(piece),
                }
                // Also within its type, or its atomic.
                Value::of(piece).map_or(Next::Anything, Next::Begins)
            }
            (Next::Anything | Next::Begins(_), piece) => {
                self.kept.push_str(piece);
                Value::of(piece).map_or(Next::Anything, Next::Begins)
            }
        };
        Ok(())
    }
}

impl Sieve {
    fn keep_number(&mut self, value: Value, number: u64) {
        let kept = match value {
            Value::Effect => format!("{}", anew(&mut self.effects, number)),
            Value::Counter | Value::Text => return,
            Value::Word => {
                format!("{} {}", number & !EPOCH, anew(&mut self.epochs, number & EPOCH))
            }
        };
        self.kept.push_str(&kept);
    }
}

fn anew(known: &mut BTreeMap<u64, usize>, number: u64) -> usize {
    let next = known.len();
    *known.entry(number).or_insert(next)
}

#[cfg(test)]
mod tests {
    use super::{super::super::super::EffectId, essence};
    use crate::{shared::Shared, word::WarmWord};

    #[derive(Debug)]
    #[expect(dead_code, reason = "shown")]
    struct Shown {
        last_id: u64,
        reason: &'static str,
        effects: Vec<EffectId>,
    }

    #[test]
    fn effects_are_told_apart_and_reasons_are_for_people() {
        let shown = |last_id, reason, effects: &[u64]| {
            let effects = effects.iter().map(|id| EffectId(*id)).collect();
            essence(&Shown { last_id, reason, effects })
        };
        let one = shown(17, "it is \"asleep\" \\", &[9, 3, 9]);
        assert_eq!(
            one,
            "Shown { last_id: , reason: , effects: [EffectId(0), EffectId(1), EffectId(0)] }"
        );
        assert_eq!(one, shown(4, "", &[1, 2, 1]));
        assert_ne!(one, shown(4, "", &[1, 2, 2]));
    }

    #[test]
    fn a_word_is_the_one_that_was_seen_or_another() {
        let word = || {
            let word = WarmWord::new(0);
            word.open(1);
            word
        };
        let (one, other) = (word(), word());
        other.shut();
        other.drop_passive();
        other.open(1);
        assert_eq!(essence(&(&one, one.look())), essence(&(&other, other.look())));
        assert_ne!(essence(&(&one, other.look())), essence(&(&other, other.look())));
        assert!(other.take());
        assert_ne!(essence(&one), essence(&other), "leases count");
    }

    #[test]
    fn what_is_shared_shows_its_word() {
        let anchor = tokio::time::Instant::now();
        let (one, other) = (Shared::new(anchor), Shared::new(anchor));
        assert_eq!(essence(&one), essence(&other));
        other.word.open(0);
        assert_ne!(essence(&one), essence(&other));
    }
}
