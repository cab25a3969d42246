//! Whole worlds around drowse's real workloads, in virtual time: engines that fail in every way that
//! is known, containers that crash, people who act past drowse, clients who come and go, and kills of
//! drowse itself. The invariants of the design are checked at each step.
//!
//! A world is a function of its seed: the same seed, the same world, to the last line of its trace.
//! See the README.

mod checks;
mod client;
mod dice;
mod drowse;
mod minimise;
mod panics;
mod plan;
mod provider;
mod run;
mod search;
mod trace;
mod world;

pub use checks::{Invariant, Violation};
pub use minimise::minimise;
pub use plan::Plan;
pub use run::{Outcome, run};
pub use search::{Budget, Failure, Report, search};
