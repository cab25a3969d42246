//! The configuration file, while drowse runs: read again at a SIGHUP, and when what it says has changed.
//! Taken whole or not at all.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::PathBuf,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    config::{self, Loaded, Source},
    daemon::Reconfigure,
    handed::{self, Phase},
    run::with_zone,
};

/// How often it is looked whether the file is another. A look is one read of a small file: a watch of the
/// kernel's tells nothing of a single file that is mounted into a container, nor of network file systems.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Waits for SIGHUP: from here on it does not end the process.
///
/// # Errors
/// If the system does not let us.
pub(crate) fn hang_ups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Follows the file, as it was read for the configuration in force, until `end`.
pub(crate) async fn follow(
    source: Option<Source>,
    hang_ups: Signal,
    reconfigure: Reconfigure,
    end: CancellationToken,
) {
    let following = async {
        match source {
            Some(source) => Follower::new(&source, hang_ups, reconfigure).run().await,
            None => say_that_there_is_none(hang_ups).await,
        }
    };
    tokio::select! {
        () = following => {}
        () = end.cancelled() => {}
    }
}

/// A terminal that is closed, or a service manager, must not end what has nothing to read again.
async fn say_that_there_is_none(mut hang_ups: Signal) {
    while hang_ups.recv().await.is_some() {
        info!("asked to read the configuration again: there is no file");
    }
}

struct Follower {
    file: PathBuf,
    reconfigure: Reconfigure,
    hang_ups: Signal,
    /// Stands for what the file said when it was last read.
    seen: u64,
}

impl Follower {
    fn new(source: &Source, hang_ups: Signal, reconfigure: Reconfigure) -> Self {
        let seen = fingerprint(&source.text);
        Self { file: source.path.clone(), reconfigure, hang_ups, seen }
    }

    async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                Some(()) = self.hang_ups.recv() => true,
                _ = looks.tick() => false,
            };
            let now = self.look().await;
            // While an editor puts it in its place there is none for a moment: that is no news.
            if !is_asked && now.is_none_or(|now| now == self.seen) {
                continue;
            }
            self.seen = now.unwrap_or(self.seen);
            handed::tell(Phase::Reloading);
            self.read_again(is_asked).await;
            handed::tell(Phase::Ready);
        }
    }

    /// What stands for what the file says; `None` if it cannot be read.
    async fn look(&self) -> Option<u64> {
        let file = self.file.clone();
        let content = spawn_blocking(move || config::read(&file)).await.ok()?;
        let content = content.inspect_err(|error| {
            let error: &(dyn std::error::Error + 'static) = error;
            debug!(file = %self.file.display(), error, "the configuration cannot be looked at");
        });
        Some(fingerprint(&content.ok()?))
    }

    async fn read_again(&self, is_asked: bool) {
        let file = self.file.clone();
        let shown = file.display().to_string();
        let because = if is_asked { "SIGHUP" } else { "it has changed" };
        let loaded = spawn_blocking(move || config::load(&file)).await;
        let taken = match loaded {
            Ok(Ok(Loaded { config, source })) => {
                let taken = self.reconfigure.take(with_zone(config));
                taken.map_err(|mut problems| problems.render(Some(&source)))
            }
            Ok(Err(words)) => Err(words),
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok(()) => {
                info!(file = shown, because, "the configuration was read again and is in force");
            }
            Err(words) => error!(
                file = shown,
                because,
                "the configuration stays as it was, nothing of the new one is in force:\n{}",
                words.trim_end()
            ),
        }
    }
}

fn fingerprint(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
