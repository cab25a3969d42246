//! What commands say to their user, on standard output.

use std::{
    error::Error,
    io::{self, Write as _},
    ops::ControlFlow,
};

use anyhow::Context as _;

/// The same text with its control characters spelt out. What comes from outside (a container's
/// name, a label, an engine's words) must neither forge lines nor speak to the terminal.
pub(crate) fn one_line(text: &str) -> String {
    spelt_out(text, char::is_control)
}

fn spelt_out(text: &str, is_harmful: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            safe.extend(c.escape_debug());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The same for texts of several lines, whose parts have been through [`one_line`] where they come
/// from outside.
fn for_terminals(text: &impl std::fmt::Display) -> String {
    spelt_out(&text.to_string(), |c| c.is_control() && c != '\n' && c != '\t')
}

/// An error and all that caused it. One that repeats its source in its own words is common: that is
/// said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !chain.ends_with(&words) {
            chain.push_str(": ");
            chain.push_str(&words);
        }
        source = cause.source();
    }
    chain
}

/// Writes a text and a line's end. A reader who has gone away (`drowse list | head`) is no error.
pub(crate) fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    say_while_read(text).map(drop)
}

/// The same, for those who have more to say: breaks if the reader has gone away.
pub(crate) fn say_while_read(text: impl std::fmt::Display) -> anyhow::Result<ControlFlow<()>> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", for_terminals(&text)).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Writes a value as JSON, indented.
pub(crate) fn say_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value).context("cannot write JSON")?)
}

/// Writes a text to standard error. There is nobody left to tell if that fails.
pub(crate) fn complain(text: impl std::fmt::Display) {
    _ = writeln!(io::stderr().lock(), "{}", for_terminals(&text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_cannot_speak_to_a_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{9b}");
        assert_eq!(for_terminals(&"one\n\ttwo\u{1b}[2J\r"), "one\n\ttwo\\u{1b}[2J\\r");
        assert_eq!(one_line("größer"), "größer");
    }
}
