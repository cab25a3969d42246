//! A small application for drowse's tests and benchmarks: its start, readiness, signals, streams
//! and crashes are set by environment variables, which `--help` lists.

mod clock;
mod grpc;
mod health;
mod http;
mod server;
mod settings;
mod signals;
mod state;
mod tcp_echo;
mod tcp_lines;
mod udp_echo;
mod websocket;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::{Mode, Settings};
use crate::state::App;

const HELP: &str = include_str!("../HELP.txt");

/// `EX_USAGE` of sysexits.h: a variable that cannot be read.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let started = clock::Stamp::now();
    let settings = match Settings::from_env(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => {
            eprint(&format!("{error:#}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let result = match std::env::args().nth(1).as_deref() {
        None => serve(settings, started),
        Some("health") => return health::check(&settings),
        Some("--help" | "-h") => std::io::stdout().write_all(HELP.as_bytes()).map_err(Into::into),
        Some(other) => {
            eprint(&format!("unknown argument `{other}`; see --help"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings, started: clock::Stamp) -> anyhow::Result<()> {
    if settings.exits_at_once() {
        std::process::exit(settings.exit_code);
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let app = Arc::new(App::new(settings, started));
    runtime.block_on(async {
        signals::install(&app)?;
        exit_when_told(&app);
        tokio::time::sleep(app.settings.start_delay).await;
        match app.settings.mode {
            Mode::Http => server::run(app).await,
            Mode::TcpEcho => tcp_echo::run(app).await,
            Mode::Grpc => grpc::run(app).await,
            Mode::TcpLines => tcp_lines::run(app).await,
            Mode::UdpEcho => udp_echo::run(app).await,
        }
    })
}

/// The crash that `EXIT_AFTER_MS` asks for, counted from the start of the process.
fn exit_when_told(app: &Arc<App>) {
    let Some(after) = app.settings.exit_after else { return };
    let code = app.settings.exit_code;
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        std::process::exit(code);
    });
}

/// A herd of 10,000 connections needs more than the usual soft limit of 1,024. Where the limit
/// cannot be raised, the herd test fails with the accept error, which says why.
fn raise_descriptor_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }) {
        eprint(&format!("the limit of open files stays as it is: {error}"));
    }
}

/// One line on standard error. A closed standard error is no reason to die.
fn eprint(line: &str) {
    drop(writeln!(std::io::stderr(), "drowse-testapp: {line}"));
}

/// One line on standard output, flushed, so that a test can wait for it.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
