//! `demo`: the main job on this machine, told as it happens. Needs neither Docker nor root.

mod memory;
mod requests;
mod story;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use drowse_docker::{DockerEngine, DockerOptions, Location};
use drowse_gateway::{GatewayOptions, HostPattern};
use drowse_provider::{Deadline, Engine as _};

pub(crate) use requests::{Peers, requests};

use crate::{
    cli::DemoArgs,
    clock::WallClock,
    config::{
        Config, ContainerConfig, Given, Origin, Place, ProcessConfig, RouteSettings, Settings,
        WorkloadConfig,
    },
    daemon::{Daemon, EndSignals},
    engines::Engines,
    exit::{CommandError, CommandResult, Exit},
    front::{Bound, Front},
    handed::HandedSockets,
    output::say,
    run::DEFAULT_LISTEN,
    store::Store,
};

/// The demo's only workload.
const WORKLOAD: &str = "demo";

/// What requests in flight get when the demo ends: nobody's work is lost.
const GRACE: Duration = Duration::from_secs(2);

/// How long a Docker engine may take to answer before the demo goes on without it.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn demo(arguments: &DemoArgs, peers: Peers) -> CommandResult {
    let mut signals = EndSignals::new()?;
    let (front, bound, note) = bind(arguments.listen)?;
    let address = bound.addresses().first().copied().unwrap_or(DEFAULT_LISTEN);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let config = configuration(&program, arguments.idle)?;
    let engines = Engines::new(&config)
        .map_err(|mut problems| CommandError::words(Exit::Failure, problems.render(None)))?;
    let store = Store::in_memory(WallClock::system());
    let daemon = Daemon::start(config, engines, front, bound, store).await;

    say(introduction(address, arguments.idle, note.as_deref()))?;
    if let Some(hint) = docker_hint().await {
        say(hint)?;
    }
    say("")?;
    let told = tokio::select! {
        told = story::tell(daemon.view(), WORKLOAD, arguments.idle, &peers) => told,
        _ = signals.next() => Ok(()),
    };
    say("\nending: the application's process ends with it")?;
    daemon
        .end(async {
            signals.next().await;
        })
        .await;
    Ok(told?)
}

/// Listens where it was asked for; else at the usual port, or at a free one if that is taken.
fn bind(asked: Option<SocketAddr>) -> Result<(Front, Bound, Option<String>), CommandError> {
    let first = asked.unwrap_or(DEFAULT_LISTEN);
    let mut options = GatewayOptions::new();
    options.grace = GRACE;
    let none = HandedSockets::default;
    match Front::bind(&[first], none(), options.clone()) {
        Ok((front, bound)) => Ok((front, bound, None)),
        Err(error) if asked.is_some() => Err(error),
        Err(_) => {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (front, bound) = Front::bind(&[free], none(), options)?;
            Ok((
                front,
                bound,
                Some(format!("port {} is taken, so another one is used", first.port())),
            ))
        }
    }
}

/// One process: this program's own demo application, on a loopback port that is free now.
fn configuration(program: &Path, idle: Duration) -> anyhow::Result<Config> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    let port = probe.local_addr().context("cannot find a free port")?.port();
    let nowhere = Place { line: 1, column: 1, bytes: 0..0 };
    let origin = || Origin::File(nowhere.clone());
    let hosts = ["localhost", "127.0.0.1", "[::1]"]
        .map(|name| HostPattern::Exact(name.to_owned()))
        .to_vec();
    let route = RouteSettings {
        name: "demo".to_owned(),
        hosts: Some(Given { value: hosts, origin: origin() }),
        port: Some(Given { value: port, origin: origin() }),
        ..RouteSettings::default()
    };
    let program = program.to_str().context("this program's path is not UTF-8")?.to_owned();
    let workload = WorkloadConfig {
        name: WORKLOAD.to_owned(),
        place: nowhere.clone(),
        container: ContainerConfig::Process(ProcessConfig {
            command: vec![program, "demo-app".to_owned()],
            directory: None,
            environment: vec![("PORT".to_owned(), port.to_string())],
        }),
        settings: Settings {
            idle: Some(Given { value: idle, origin: origin() }),
            ..Settings::default()
        },
        routes: Some(vec![route]),
    };
    Ok(Config { engines: Vec::new(), workloads: vec![workload], ..Config::without_file() })
}

fn introduction(address: SocketAddr, idle: Duration, note: Option<&str>) -> String {
    let idle = crate::config::show_duration(idle);
    let note = note.map(|note| format!("  ({note})\n")).unwrap_or_default();
    format!(
        "drowse demo: an application sleeps behind http://{address}/\n{note}\n  \
         Open that address in a browser, or: curl http://{address}/\n  \
         The first request wakes it. {idle} after the last one it is put to sleep again.\n  \
         Ctrl-C ends the demo."
    )
}

/// How to go on from here, if there is a Docker engine to go on with.
async fn docker_hint() -> Option<String> {
    let location = Location::of_environment().ok()?;
    let engine = DockerEngine::connect("docker", location, DockerOptions::new()).ok()?;
    let url = engine.url();
    let answer = engine.list(Deadline::after(DOCKER_TIMEOUT)).await;
    engine.close().await;
    answer.ok()?;
    Some(format!(
        "\n  A Docker engine answers at {url}. To let a container of it sleep for real:\n    \
         docker run -d --name web --label drowse.enable=true --label drowse.host=web.localhost nginx\n    \
         drowse run"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_introduction_tells_what_to_do() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        insta::assert_snapshot!(introduction(address, Duration::from_secs(30), None), @r"
        drowse demo: an application sleeps behind http://127.0.0.1:8080/

          Open that address in a browser, or: curl http://127.0.0.1:8080/
          The first request wakes it. 30s after the last one it is put to sleep again.
          Ctrl-C ends the demo.
        ");
    }
}
