//! What the tests of this crate share. `mod support;` brings all of it; each test uses a part.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod certificates;
pub(crate) mod logs;
pub(crate) mod server;
