//! What is asked before a sleep, beside leases.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_provider::Details;
use futures::FutureExt;
use tokio::time::timeout;

/// Something that may speak against a sleep. It is asked when the idle time is over and nobody holds a
/// lease, while the workload still is ready; if anybody takes a lease meanwhile, its answer no longer
/// matters. Before the stop of what was frozen it is not asked: that does nothing.
///
/// The gates of a workload are asked one after the other, until one says busy, with a minute for all of
/// them: no answer means busy, and so does a panic. Futures are dropped after that, when the answer
/// no longer matters, and when the workload is closed: implementations must be cancel safe.
#[async_trait]
pub trait StopGate: fmt::Debug + Send + Sync + 'static {
    /// Whether it may sleep. `details` are the last that were read.
    ///
    /// # Errors
    /// [`Busy`]: it stays awake, and is asked again later.
    async fn may_sleep(&self, details: &Details) -> Result<(), Busy>;
}

/// Why a workload must not sleep yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{holder}: {reason}")]
#[non_exhaustive]
pub struct Busy {
    /// Who says so, as holders of leases are named: "its processor use".
    pub holder: String,
    /// What was seen: a lower-case fragment.
    pub reason: String,
}

impl Busy {
    /// Busy, says `holder`, for this reason.
    pub fn new(holder: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { holder: holder.into(), reason: reason.into() }
    }
}

/// Asks one gate after the other, and gives all of them this long.
pub(crate) async fn ask(
    gates: &[Arc<dyn StopGate>],
    details: &Details,
    within: Duration,
) -> Result<(), Busy> {
    let asked = async {
        for gate in gates {
            let answer = AssertUnwindSafe(gate.may_sleep(details)).catch_unwind().await;
            answer.unwrap_or_else(|_| Err(Busy::new("a stop gate", "it panicked")))?;
        }
        Ok(())
    };
    let late = || Err(Busy::new("a stop gate", format!("it did not answer within {within:?}")));
    timeout(within, asked).await.unwrap_or_else(|_| late())
}
