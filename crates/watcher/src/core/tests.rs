//! Tests of the pure core: scenarios step by step, and a whole world driven at random.

#[expect(clippy::unchecked_time_subtraction, reason = "constants, and a test")]
mod scenarios;
mod simulation;
mod world;
