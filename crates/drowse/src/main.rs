//! The program: configuration, discovery, commands, and the wiring of engines, workloads and
//! gateway. Everything that decides anything about a container is in the libraries.

mod check;
mod cli;
mod clock;
mod complaints;
mod config;
mod control;
mod cycles;
mod daemon;
mod demo;
mod demo_app;
mod discovery;
mod engines;
mod entrance;
mod events;
mod everything;
#[cfg(test)]
mod examples;
mod exit;
mod folder;
mod front;
mod gates;
#[cfg(test)]
mod guide;
mod handed;
mod hold;
mod holds;
mod labels;
mod limits;
mod list;
mod listing;
mod logging;
mod memory;
mod output;
mod plan;
mod ports;
mod reload;
mod run;
mod schedule;
mod state;
mod store;
mod supervisor;
mod tls;
mod view;
mod wall;
mod whereabouts;
mod why;

use std::{process::ExitCode, thread};

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::Builder;

use crate::{
    cli::{Cli, Command},
    exit::{CommandError, CommandResult, Exit},
    handed::HandedSockets,
    state::StateFolder,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come here as well; there is nobody left to tell if that fails.
            _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            error.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> CommandResult {
    let Cli { global, command } = cli;
    // The demo speaks to a person; what it logs would be in the way.
    let filter = match (&command, &global.log) {
        (_, Some(filter)) => filter.as_str(),
        (Command::Run(_), None) => "info",
        (_, None) => "error",
    };
    let (requests, peers) = demo::requests();
    let requests = matches!(command, Command::Demo(_)).then_some(requests);
    logging::set_up(global.log_format, filter, requests)
        .map_err(|words| CommandError::words(Exit::Usage, words))?;
    let state = StateFolder::locate(global.state_dir.as_deref());
    // Before the runtime's threads begin; commands beside the running drowse have no use for them.
    let handed = match command {
        Command::Run(_) => HandedSockets::take(),
        _ => HandedSockets::default(),
    };
    // On one core there is nobody to hand work to, nor to be told of it: a twentieth less of it a request
    // over HTTP/1.1, a seventh over HTTP/2.
    let is_alone = thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut runtime =
        if is_alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime =
        runtime.enable_all().build().map_err(|error| CommandError::new(Exit::Failure, error))?;
    runtime.block_on(async {
        match command {
            Command::Run(arguments) => run::run(&state, &arguments, handed).await,
            Command::Demo(arguments) => demo::demo(&arguments, peers).await,
            Command::Check(arguments) => check::check(&arguments).await,
            Command::List(arguments) => list::list(&state, &arguments).await,
            Command::Why(arguments) => why::why(&state, &arguments).await,
            Command::Events(arguments) => events::events(&state, &arguments).await,
            Command::Wake(arguments) => list::wake(&state, &arguments).await,
            Command::Sleep(arguments) => list::sleep(&state, &arguments).await,
            Command::Hold(arguments) => hold::hold(&state, &arguments).await,
            Command::Unhold(arguments) => hold::unhold(&state, &arguments).await,
            Command::Release(arguments) => everything::release(&state, &arguments).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "drowse", &mut script);
                Ok(output::say(String::from_utf8_lossy(&script).trim_end())?)
            }
            Command::DemoApp => Ok(demo_app::serve().await?),
        }
    })
}
