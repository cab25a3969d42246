//! Tests of the pure core: scenarios step by step, small worlds in all their histories, and a whole
//! world driven at random.

mod exhaustive;
#[expect(clippy::unchecked_time_subtraction, reason = "constants, and a test")]
mod scenarios;
mod simulation;
mod world;
