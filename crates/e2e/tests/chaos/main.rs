//! Load, and everything that goes wrong around drowse, on a real engine: what happens is chosen by a
//! seed, and judged afterwards by what the clients and the engine have seen.
//!
//! `cargo xtask chaos --minutes N --seed S` runs it for longer. The choices follow from the seed; how
//! long the engine takes for each of them does not, so that the same seed is no exact repetition.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod on_dockerd;
