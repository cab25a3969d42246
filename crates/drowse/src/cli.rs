//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::{config, logging::LogFormat};

/// Puts idle containers to sleep and wakes them on the first request.
#[derive(Debug, Parser)]
#[command(name = "drowse", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 64 wrong command line or configuration; 69 the engine, or the \
running drowse that the command is for, cannot be reached.";

/// Options of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t, env = "DROWSE_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as
    /// `info,drowse_docker=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
    /// The folder of the lock and of the control socket. Default: `$RUNTIME_DIRECTORY`, else
    /// `/run/drowse` for root, and for others `$XDG_RUNTIME_DIR/drowse`, else `/tmp/drowse-UID`.
    #[arg(long, global = true, value_name = "FOLDER", env = "DROWSE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the gateway and manages what the configuration and the labels say.
    Run(RunArgs),
    /// Shows on this machine, without Docker, how a sleeping application is woken.
    Demo(DemoArgs),
    /// Reads the configuration and the engines, and says what would be managed. Changes nothing.
    Check(CheckArgs),
    /// Lists the workloads of the running drowse.
    List(ListArgs),
    /// Says of a workload what keeps it awake or asleep, what must happen next, and what happened.
    Why(WhyArgs),
    /// Shows what fell asleep and was woken, when and why; with `--follow`, as it happens.
    Events(EventsArgs),
    /// Wakes a workload, or all of them, and waits until it is ready.
    Wake(WakeArgs),
    /// Puts a workload to sleep now, if nobody uses it.
    Sleep(SleepArgs),
    /// Keeps a workload awake, or asleep, for a time or until `drowse unhold`: over restarts of drowse, and
    /// whatever its container is.
    Hold(HoldArgs),
    /// Releases a workload that is held.
    Unhold(UnholdArgs),
    /// Wakes what drowse puts to sleep and ends the running drowse, which leaves it awake: the first step of an
    /// uninstall.
    Release(ReleaseArgs),
    /// Writes a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// The demo's application.
    #[command(hide = true)]
    DemoApp,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The configuration file; without one, labelled containers of the engine that `DOCKER_HOST`
    /// names (default: the local socket) are managed.
    #[arg(long, value_name = "FILE", env = "DROWSE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, instead of what the configuration says [default: what `DROWSE_LISTEN` says,
    /// else 127.0.0.1:8080]. May be given several times.
    #[arg(long, value_name = "ADDR", value_parser = config::parse_listen)]
    pub(crate) listen: Vec<SocketAddr>,
    /// The folder of what is kept over restarts: holds, last uses, events. Default:
    /// `$STATE_DIRECTORY`, else `/var/lib/drowse` for root, and for others `$XDG_STATE_HOME/drowse`,
    /// else `~/.local/state/drowse`.
    #[arg(long, value_name = "FOLDER", env = "DROWSE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Where to listen [default: 127.0.0.1:8080, or a free port if that is taken].
    #[arg(long, value_name = "ADDR", value_parser = config::parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// How long the application stays awake after its last use.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = config::parse_duration)]
    pub(crate) idle: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The configuration file, as for `run`.
    #[arg(long, value_name = "FILE", env = "DROWSE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of what is kept, as for `run`.
    #[arg(long, value_name = "FOLDER", env = "DROWSE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// All columns, and each cell whole.
    #[arg(long, conflicts_with = "json")]
    pub(crate) wide: bool,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    /// The workload's name.
    pub(crate) name: String,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Only of this workload.
    pub(crate) name: Option<String>,
    /// How many of those that are past are shown.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(crate) last: usize,
    /// Goes on with what happens from now on, also when drowse is started anew.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// For programs: a JSON document on each line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WakeArgs {
    /// The workload's name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// Every workload, whoever put it to sleep.
    #[arg(long)]
    pub(crate) all: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::parse_duration)]
    pub(crate) timeout: Duration,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SleepArgs {
    /// The workload's name.
    pub(crate) name: String,
    /// Even if it is in use, which cuts connections.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait for it.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::parse_duration)]
    pub(crate) timeout: Duration,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HoldArgs {
    /// The workload's name.
    pub(crate) name: String,
    /// Asleep, instead of awake: it is put to sleep, nothing wakes it, and requests are refused with the
    /// reason.
    #[arg(long)]
    pub(crate) asleep: bool,
    /// For how long [default: until `drowse unhold`].
    #[arg(long = "for", value_name = "DURATION", value_parser = config::parse_duration)]
    pub(crate) length: Option<Duration>,
    /// Why, for those who ask: with `--asleep` everybody whose request is refused.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// With `--asleep`: even if it is in use, which cuts connections.
    #[arg(long, requires = "asleep")]
    pub(crate) force: bool,
    /// How long to wait until it is awake, or asleep.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::parse_duration)]
    pub(crate) timeout: Duration,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct UnholdArgs {
    /// The workload's name.
    pub(crate) name: String,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReleaseArgs {
    /// End drowse even if some could not be woken.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait until all are awake.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::parse_duration)]
    pub(crate) timeout: Duration,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_values_are_refused_with_words() {
        let error = |arguments: &[&str]| {
            let error = Cli::try_parse_from(arguments).unwrap_err().to_string();
            error.lines().next().unwrap_or_default().to_owned()
        };
        insta::assert_snapshot!(
            [
                error(&["drowse", "run", "--listen", "8080"]),
                error(&["drowse", "wake", "x", "--timeout", "5"]),
                error(&["drowse", "wake", "x", "--all"]),
                error(&["drowse", "rnu"]),
            ]
            .join("\n"),
            @r"
            error: invalid value '8080' for '--listen <ADDR>': `8080` is no address to listen on: expected `127.0.0.1:8080`, or `0.0.0.0:8080` for all interfaces
            error: invalid value '5' for '--timeout <DURATION>': a duration needs a unit: `5s`, `5m`, `5h` or `5d`
            error: the argument '[NAME]' cannot be used with '--all'
            error: unrecognized subcommand 'rnu'
            "
        );
    }
}
