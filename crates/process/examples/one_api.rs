//! One lifecycle API over Docker and local processes.
//!
//! Starts, watches, freezes, thaws and stops a container without knowing what runs it: a local
//! process always, and a Docker container too if one is named. That container is left as it was
//! found if it was stopped, and stopped at the end.
//!
//! ```text
//! cargo run -p drowse-process --example one_api                     # processes only
//! cargo run -p drowse-process --example one_api -- my-container     # and a container of DOCKER_HOST
//! ```
#![expect(clippy::print_stdout, reason = "an example tells what happens")]

use std::{sync::Arc, time::Duration};

use drowse_docker::{DockerEngine, DockerOptions, Location};
use drowse_process::{ProcessEngine, ProcessSpec};
use drowse_provider::{Deadline, Engine, Error, Reference, StopOptions, Support, WatchItem};
use futures::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let processes = ProcessEngine::new("processes")?;
    processes.define(ProcessSpec::new("sleeper", "sleep").arg("1000"))?;

    let mut containers: Vec<(Arc<dyn Engine>, String)> =
        vec![(Arc::new(processes), "sleeper".into())];
    if let Some(name) = std::env::args().nth(1) {
        let location = Location::of_environment()?;
        let docker = DockerEngine::connect("docker", location, DockerOptions::new())?;
        containers.push((Arc::new(docker), name));
    }
    for (engine, name) in containers {
        let outcome = lifecycle(&*engine, &name).await;
        // Also after a failure: no task or connection is left, and no process.
        engine.close().await;
        outcome?;
    }
    Ok(())
}

/// A whole life of one container, on whatever engine.
async fn lifecycle(engine: &dyn Engine, name: &str) -> Result<(), Error> {
    let deadline = || Deadline::after(Duration::from_secs(30));
    println!("== `{name}` on `{}`, reached as {:?}", engine.name(), engine.reach());
    for line in engine.list(deadline()).await? {
        println!("   listed: {} is {}", line.name, line.status);
    }
    let container = engine.provider(&Reference::Name(name.to_owned()))?;
    let mut watch = container.watch();

    container.start(deadline()).await?;
    let details = container.inspect(deadline()).await?;
    println!("   run {:?}", details.observation.run);
    match engine.capabilities().pause {
        Support::Yes => {
            container.pause(deadline()).await?;
            container.unpause(deadline()).await?;
        }
        Support::No(why) => println!("   not paused: {why}"),
    }
    container.stop(&StopOptions::new(), deadline()).await?;

    // What was told meanwhile, up to the end that is true now.
    let end = container.observe(deadline()).await?;
    while let Some(item) = watch.next().await {
        match item? {
            WatchItem::Event(event) => println!("   told:   {:?}", event.action),
            WatchItem::Synced(seen) => {
                println!("   synced: {}", seen.status);
                if seen == end {
                    break;
                }
            }
            _ => break,
        }
    }
    Ok(())
}
