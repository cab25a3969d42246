//! How a command ends: what it says, and the code that a script sees.

use std::{fmt, process::ExitCode};

/// The classes of ends, with the numbers of `sysexits.h` where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command was understood and failed.
    Failure,
    /// The command line or the configuration is wrong.
    Usage,
    /// The engine, or the running drowse that the command is for, cannot be reached.
    Unavailable,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: Exit,
    error: anyhow::Error,
}

pub(crate) type CommandResult = Result<(), CommandError>;

impl CommandError {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// With nothing but words.
    pub(crate) fn words(exit: Exit, words: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{words}") }
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failure, error)
    }
}

impl fmt::Display for CommandError {
    /// The whole chain; what begins with its own `error:` (configuration errors come as rendered
    /// snippets) is left as it is.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = format!("{:#}", self.error);
        let chain = chain.trim_end();
        if chain.starts_with("error:") || chain.starts_with("warning:") {
            formatter.write_str(chain)
        } else {
            write!(formatter, "error: {chain}")
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_whole_chain_is_told_once() {
        let cause = std::io::Error::other("no such file");
        let error = anyhow::Result::<()>::Err(cause.into()).context("cannot read it").unwrap_err();
        let error = CommandError::from(error);
        assert_eq!(error.to_string(), "error: cannot read it: no such file");
        assert_eq!(error.exit.code(), 1);
        let rendered = CommandError::words(Exit::Usage, "error: two\n --> a:1:1\n");
        assert_eq!(rendered.to_string(), "error: two\n --> a:1:1");
    }
}
