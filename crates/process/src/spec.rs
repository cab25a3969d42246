//! What a process container is.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use drowse_provider::{Port, Signal};

/// The definition of one process container: a program that stays in the foreground.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessSpec {
    /// Its name, unique on its engine.
    pub name: String,
    /// The program: a path, or a name looked up in `PATH`.
    pub program: OsString,
    /// The program's arguments, as they are: no shell reads them.
    pub args: Vec<OsString>,
    /// The folder it starts in; `None`: the embedding program's.
    pub cwd: Option<PathBuf>,
    /// Its environment, beside the few variables that every process inherits (see
    /// [`env`](Self::env)).
    pub env: BTreeMap<OsString, OsString>,
    /// The ports it listens on, as `inspect` tells them.
    pub ports: Vec<Port>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end; `None`: TERM.
    pub stop_signal: Option<Signal>,
    /// How long it may take to end before it is killed; `None`: 10 s.
    pub stop_timeout: Option<Duration>,
    /// Where its output goes.
    pub output: Output,
}

/// Where a process's standard output and standard error go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Each line becomes a `tracing` event at INFO, of the target `drowse_process::output`, with
    /// the fields `engine`, `container` and `stream`. Longer lines than 8 KiB are cut into pieces.
    /// Nothing is stored: this is what there is in place of `docker logs`.
    #[default]
    Log,
    /// The embedding program's own.
    Inherit,
    /// Appended to this file, which is made if need be.
    File(PathBuf),
    /// Nowhere.
    Discard,
}

/// What every process gets of the embedding program's environment. Not all of it: secrets of ours
/// are none of theirs.
pub const INHERITED: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

impl ProcessSpec {
    /// A container `name` that runs `program`.
    pub fn new(name: impl Into<String>, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            ports: Vec::new(),
            labels: BTreeMap::new(),
            stop_signal: None,
            stop_timeout: None,
            output: Output::default(),
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With these further arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Started in this folder.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.cwd = Some(folder.as_ref().to_owned());
        self
    }

    /// With this variable. Inherited are only `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`,
    /// `LC_ALL`, `TZ` and `TMPDIR`; a variable set here wins.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Listening on this port of the host's loopback or of all its addresses.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.ports.push(port);
        self.ports.sort_unstable();
        self
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Asked to end by this signal.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = Some(signal);
        self
    }

    /// Killed when it has not ended so long after it was asked to.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = Some(timeout);
        self
    }

    /// With its output going there.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}
