//! Use that the gateway does not see: of the processor, and of the network.
//!
//! Asked for only when a workload is about to sleep: two reads of its engine's figures. Probes are not
//! in them: what is about to sleep is not probed.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Deadline, Details, Error, ErrorKind, Provider, Stats};
use drowse_watcher::Busy;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::patience::{Patience, Verdict};
use crate::plan::UseLimits;

/// Over how long use is measured, at most: as long as a glance at a page may take.
const SPAN: Duration = Duration::from_secs(10);

/// The same, at least.
const SHORTEST_SPAN: Duration = Duration::from_secs(1);

/// A health check of the engine's runs in the container, and its processor time is the container's. It
/// is short, and comes every few seconds; use lasts. So of a container that has one the span is cut
/// into slices, and what most of them show counts.
const SLICES: u32 = 5;

/// How long an engine may take for its figures.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How long figures may fail to come until the workload sleeps without them. Not at once: an engine
/// that is being updated, or has more to do than it can, must not stop what is in use. And not never:
/// a right that somebody took away would keep everything awake for good.
const GIVES_UP_AFTER: Duration = Duration::from_mins(5);

/// Whether a container uses its processor or its network beyond limits.
#[derive(Debug)]
pub(super) struct CpuAndNetwork {
    workload: String,
    provider: Arc<dyn Provider>,
    limits: UseLimits,
    span: Duration,
    patience: Patience,
}

/// Figures, and when they were read.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    stats: Stats,
}

impl CpuAndNetwork {
    /// Of the container of `provider`, which sleeps after `idle`.
    pub(super) fn new(
        workload: &str,
        provider: Arc<dyn Provider>,
        limits: UseLimits,
        idle: Duration,
    ) -> Self {
        Self {
            workload: workload.to_owned(),
            provider,
            limits,
            // Nobody whose idle time is a second wants to wait for ten more.
            span: idle.clamp(SHORTEST_SPAN, SPAN),
            patience: Patience::of(GIVES_UP_AFTER),
        }
    }

    /// Whether it may sleep. Cancel safe: dropping the future forgets what was read.
    pub(super) async fn may_sleep(&self, details: &Details) -> Result<(), Busy> {
        match self.samples(details.has_health_check).await {
            Ok(samples) => {
                self.patience.answered();
                self.judge(&samples)
            }
            // It has ended, is gone, or nobody counts: whoever orders the sleep finds out the rest.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Conflict { .. }
                        | ErrorKind::NotFound
                        | ErrorKind::Unsupported { .. }
                ) =>
            {
                Ok(())
            }
            Err(error) => self.cannot_tell(&error),
        }
    }

    async fn samples(&self, has_health_check: bool) -> Result<Vec<Sample>, Error> {
        let slices = if has_health_check { SLICES } else { 1 };
        let mut samples = vec![self.sample().await?];
        for _ in 0..slices {
            sleep(self.span / slices).await;
            samples.push(self.sample().await?);
        }
        Ok(samples)
    }

    async fn sample(&self) -> Result<Sample, Error> {
        let stats = self.provider.stats(Deadline::after(READ_TIMEOUT)).await?;
        Ok(Sample { at: Instant::now(), stats })
    }

    fn judge(&self, samples: &[Sample]) -> Result<(), Busy> {
        let over = self.span.as_secs();
        let restarted = || Busy::new("its use", "its figures began anew while they were looked at");
        if let Some(limit) = self.limits.cpu {
            let slices = samples.windows(2).map(|pair| load(&pair[0], &pair[1]));
            let mut slices = slices.collect::<Option<Vec<_>>>().ok_or_else(restarted)?;
            slices.sort_by(f64::total_cmp);
            let load = slices.get(slices.len() / 2).copied().unwrap_or_default();
            if load * 1_000.0 > f64::from(limit.0) {
                let percent = load * 100.0;
                let reason =
                    format!("{percent:.1}% of a core over {over}s, above `busy_cpu` ({limit})");
                return Err(Busy::new("its processor use", reason));
            }
        }
        if let Some(limit) = self.limits.network
            && let [first, .., last] = samples
        {
            let bytes = passed(last).checked_sub(passed(first)).ok_or_else(restarted)?;
            let seconds = last.at.duration_since(first.at).as_secs_f64().max(f64::MIN_POSITIVE);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, for comparison; `as` saturates"
            )]
            let rate = crate::config::Rate((bytes as f64 / seconds) as u64);
            if rate > limit {
                let reason = format!("{rate} over {over}s, above `busy_network` ({limit})");
                return Err(Busy::new("its network use", reason));
            }
        }
        Ok(())
    }

    fn cannot_tell(&self, error: &Error) -> Result<(), Busy> {
        let shown: &(dyn std::error::Error + 'static) = error;
        match self.patience.missed() {
            Verdict::Wait => {
                let reason = format!("its engine did not tell it: {error}");
                Err(Busy::new("its processor and network use", reason))
            }
            Verdict::Lost => {
                warn!(
                    workload = self.workload,
                    error = shown,
                    "its processor and network use cannot be read; until it can, it is put to sleep \
                     without regard to them: see to it that its engine tells them, or set `busy_cpu` \
                     and `busy_network` to `off`"
                );
                Ok(())
            }
            Verdict::StillLost => Ok(()),
        }
    }
}

/// How many cores were in use from one sample to the next: by the time counted, or where the engine
/// tells nothing but the load of a moment, at the busier of the two. `None`: it was started anew.
fn load(before: &Sample, after: &Sample) -> Option<f64> {
    if let (Some(first), Some(second)) = (before.stats.cpu, after.stats.cpu) {
        let span = after.at.duration_since(before.at).as_secs_f64().max(f64::MIN_POSITIVE);
        return Some(second.checked_sub(first)?.as_secs_f64() / span);
    }
    let loads = before.stats.cpu_load.into_iter().chain(after.stats.cpu_load);
    Some(loads.fold(0.0, f64::max))
}

fn passed(sample: &Sample) -> u64 {
    sample.stats.received_bytes.saturating_add(sample.stats.sent_bytes)
}

#[cfg(test)]
mod tests;
