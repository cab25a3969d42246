//! The guide does what it says: each command of `docs/docker.md` is run, in its order, on an engine of
//! its own, and what it prints is compared with what stands in the guide.
//!
//! - A `sh` box is typed into one shell, in one folder that is empty at the beginning. Each command must
//!   succeed, unless what is to be printed ends with an `error:`. `drowse run` goes on in the background.
//! - A `text` box is what the `sh` box before it prints. Times, ids and addresses differ: see
//!   [`page::Expected`].
//! - What a box only looks at (`drowse list`, `docker ps`) may take its time to come about: it is looked
//!   at until it is as it should be.
//! - A `yaml` box is written to the file that its first line names.
//! - Other boxes, such as `console`, cannot be run, and are not.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod on_dockerd;
mod on_fakepve;
mod page;
mod terminal;
