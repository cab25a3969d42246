//! Workloads that need each other, over scripted engines, on a paused clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "needs/faults.rs"]
mod faults;
#[path = "needs/groups.rs"]
mod groups;
#[path = "needs/jobs.rs"]
mod jobs;
#[path = "needs/order.rs"]
mod order;
#[path = "needs/random.rs"]
mod random;
#[path = "needs/town.rs"]
mod town;
