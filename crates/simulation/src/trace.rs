//! What happened, line by line: hashed always, kept if somebody wants to read it.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// The lines of one world.
#[derive(Debug)]
pub(crate) struct Trace {
    steps: u64,
    hash: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        // FNV-1a: the same on every machine.
        let hash = 0xcbf2_9ce4_8422_2325;
        Self { steps: 0, hash, line: String::new(), kept: is_kept.then(Vec::new) }
    }

    /// A step.
    pub(crate) fn step(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.steps += 1;
        self.line.clear();
        let (seconds, millis) = (at.as_secs(), at.subsec_millis());
        // Writing to a string does not fail.
        _ = write!(self.line, "{seconds:>6}.{millis:03} {what}");
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
