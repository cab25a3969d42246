//! What xtask itself says. On standard error, so that the output of what it runs stays clean.

use std::io::Write;

/// A step that begins.
pub(crate) fn step(text: &str) {
    write("==>", text);
}

/// Something the user should know.
pub(crate) fn note(text: &str) {
    write("note:", text);
}

/// What went wrong.
pub(crate) fn error(text: &str) {
    write("error:", text);
}

/// A closed standard error is no reason to die half-way, with engines to be stopped.
fn write(prefix: &str, text: &str) {
    drop(writeln!(std::io::stderr(), "{prefix} {text}"));
}
