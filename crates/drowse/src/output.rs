//! What commands say to their user, on standard output.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes a text and a line's end. A reader who has gone away (`drowse list | head`) is no error.
pub(crate) fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}

/// Writes a value as JSON, indented.
pub(crate) fn say_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value).context("cannot write JSON")?)
}

/// Writes a text to standard error. There is nobody left to tell if that fails.
pub(crate) fn complain(text: impl std::fmt::Display) {
    _ = writeln!(io::stderr().lock(), "{text}");
}
