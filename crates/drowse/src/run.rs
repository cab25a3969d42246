//! `run`: the daemon.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    cli::RunArgs,
    clock::WallClock,
    config::{self, Config, Listen, ListenAt, Problems, Source},
    control::server::{Control, ControlSocket},
    daemon::{Daemon, EndSignals, Ended, announce_end},
    engines::Engines,
    exit::{CommandError, CommandResult, Exit},
    front::{self, Front},
    handed::{self, HandedSockets, Phase},
    limits, memory, ports, reload,
    schedule::Zone,
    state::StateFolder,
    store::{Store, data_folder},
    tls,
};

/// Names where the gateway listens if neither the command line nor the file does: for images.
const LISTEN_VARIABLE: &str = "DROWSE_LISTEN";

/// Where the gateway listens unless it is told otherwise: this machine alone.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(
    state: &StateFolder,
    arguments: &RunArgs,
    handed: HandedSockets,
) -> CommandResult {
    let (config, engines, source) = read(arguments.config.as_deref())?;
    let mut signals = EndSignals::new()?;
    let hang_ups = reload::hang_ups().map_err(|error| CommandError::new(Exit::Failure, error))?;
    limits::raise_descriptors();
    state.create()?;
    let folder = state.path().display();
    let _lock = state.lock().map_err(|error| {
        error.describe(&format!(
            "runs with the state folder `{folder}` already: stop it first, or give this one \
             another with `--state-dir`"
        ))
    })?;
    let _engine_locks = engines.lock(state)?;
    let control = ControlSocket::bind(state.socket())?;
    let listen = listen(&arguments.listen, &config, &handed)?;
    let grace = config.shutdown_grace;
    let folder = data_folder(arguments.data_dir.as_deref());
    let tls = tls::set_up(&config, folder.as_ref(), source.as_ref())?;
    let (front, bound) = Front::bind(&listen, handed, front::options(&config))?;
    for at in front.handed().bound() {
        let name = front.handed().name_at(at).map(str::to_owned);
        info!(port = ports::name_of(&at), name, "handed over by the service manager, for a route");
    }
    let bound = bound.with_tls(tls);
    let addresses = bound.addresses();
    // Never fails but by a panic of ours, which has been told: then nothing is kept.
    let store = spawn_blocking(move || Store::open(folder.as_ref(), WallClock::system()))
        .await
        .unwrap_or_else(|_| Store::in_memory(WallClock::system()));
    let daemon = Daemon::start(config, engines, front.clone(), bound, store.clone()).await;
    for address in addresses {
        info!(%address, "listening");
    }
    let end_of_reloads = CancellationToken::new();
    let reloads = reload::follow(source, hang_ups, daemon.reconfigure(), end_of_reloads.clone());
    let reloads = tokio::spawn(reloads);
    handed::tell(Phase::Ready);
    let end_of_control = CancellationToken::new();
    let (released, mut releases) = mpsc::channel(1);
    let orders = Control {
        view: daemon.view(),
        front,
        holds: daemon.holds(),
        released,
        store,
        followers: Control::places_for_followers(),
        grace,
        end: end_of_control.clone(),
    };
    let control = tokio::spawn(control.serve(orders));

    let giving_back = tokio::spawn(memory::give_back_unused());
    // Whatever was released is kept awake until nothing here could put it to sleep any more.
    let (asked_by, _kept_awake) = tokio::select! {
        signal = signals.next() => (signal, None),
        Some(released) = releases.recv() => ("drowse release", Some(released)),
    };
    giving_back.abort();
    end_of_reloads.cancel();
    handed::tell(Phase::Stopping);
    announce_end(asked_by, grace);
    let ended = daemon
        .end(async {
            signals.next().await;
        })
        .await;
    end_of_control.cancel();
    // A panic there has been reported by its own task.
    _ = control.await;
    _ = reloads.await;
    info!("ended");
    match ended {
        Ended::Whole => Ok(()),
        Ended::Cut => Err(CommandError::words(
            Exit::Failure,
            "ended before everything in flight was done: connections were cut",
        )),
    }
}

/// Where the gateway is to listen for HTTP: what the command line says, else the file, else the environment,
/// else where the service manager listens for it, but for what the file's routes have.
///
/// # Errors
/// If the environment's is no list of addresses.
pub(crate) fn listen(
    asked: &[SocketAddr],
    config: &Config,
    handed: &HandedSockets,
) -> Result<Vec<Listen>, CommandError> {
    let named = || env::var(LISTEN_VARIABLE).ok().filter(|named| !named.is_empty());
    if !asked.is_empty() {
        return Ok(in_clear(asked));
    }
    if !config.listen.is_empty() {
        return Ok(config.listen.clone());
    }
    if let Some(named) = named() {
        let named = named_addresses(&named);
        return Ok(in_clear(&named.map_err(|why| CommandError::words(Exit::Usage, why))?));
    }
    let handed = handed.of_nobody(|bound| is_a_routes(config, bound));
    Ok(in_clear(if handed.is_empty() { &[DEFAULT_LISTEN] } else { &handed }))
}

/// Whether the file has a TCP route at this address, as far as it says where.
fn is_a_routes(config: &Config, bound: SocketAddr) -> bool {
    let routes = config.workloads.iter().flat_map(|workload| workload.routes.iter().flatten());
    routes.filter_map(|route| route.tcp.as_ref()).any(|at| match at.value {
        ListenAt::Port(port) => port == bound.port(),
        ListenAt::Address(address) => address == bound,
    })
}

fn in_clear(addresses: &[SocketAddr]) -> Vec<Listen> {
    addresses.iter().copied().map(Listen::from).collect()
}

fn named_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text.split(',').map(|address| config::parse_listen(address.trim()));
    addresses.collect::<Result<_, _>>().map_err(|why| format!("{LISTEN_VARIABLE}: {why}"))
}

/// Reads the file, if there is one, and makes handles of its engines; speaks to nobody.
pub(crate) fn read(file: Option<&Path>) -> Result<(Config, Engines, Option<Source>), CommandError> {
    let usage = |words: String| CommandError::words(Exit::Usage, words);
    let (mut config, source) = match file {
        Some(path) => {
            let loaded = config::load(path).map_err(usage)?;
            (loaded.config, Some(loaded.source))
        }
        None => (Config::without_file(), None),
    };
    config = with_zone(config);
    let engines = Engines::new(&config)
        .map_err(|mut problems: Problems| usage(problems.render(source.as_ref())))?;
    Ok((config, engines, source))
}

/// Schedules of a file that names no zone go by this system's clock.
pub(crate) fn with_zone(config: Config) -> Config {
    Config { time_zone: config.time_zone.or_else(Zone::of_this_system), ..config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_may_name_several_addresses() {
        let addresses = named_addresses("0.0.0.0:8080, [::1]:80").unwrap();
        assert_eq!(addresses, ["0.0.0.0:8080".parse().unwrap(), "[::1]:80".parse().unwrap()]);
        insta::assert_snapshot!(named_addresses("8080").unwrap_err(), @"DROWSE_LISTEN: `8080` is no address to listen on: expected `127.0.0.1:8080`, or `0.0.0.0:8080` for all interfaces");
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let config = config::from_text("listen: 127.0.0.1:1").unwrap();
        let asked = ["127.0.0.1:2".parse().unwrap()];
        let none = HandedSockets::default();
        assert_eq!(listen(&asked, &config, &none).unwrap(), in_clear(&asked));
        assert_eq!(listen(&[], &config, &none).unwrap(), config.listen);
    }
}
