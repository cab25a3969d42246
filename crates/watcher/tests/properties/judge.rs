//! What must hold, asked at the moment of each order.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::{
    Capabilities, Deadline, Details, Error, ErrorKind, KillOutcome, Provider, Reference, Signal,
    Stats, StopOptions, Watch,
};
use tokio::time::Instant;

/// The idle time of the workload.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// A mistake on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Leases that end are no use: as those of dependents.
    UseIsForgotten,
}

/// The model, and what did not agree with it.
#[derive(Debug, Default)]
pub(crate) struct Judge(Mutex<Model>);

#[derive(Debug)]
pub(crate) struct Model {
    /// Held by clients, whatever their kind.
    pub(crate) leases: usize,
    /// When the last lease that counts ended, or drowse began.
    pub(crate) last_use: Instant,
    /// Somebody asked for sleep since then,
    pub(crate) sleep_was_asked_for: bool,
    /// or waits for it.
    pub(crate) wait_for_sleep: usize,
    order: Option<&'static str>,
    /// Nobody knows what came of the last order: no other before a read.
    is_open: bool,
    pub(crate) wrongs: Vec<String>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            leases: 0,
            last_use: Instant::now(),
            sleep_was_asked_for: false,
            wait_for_sleep: 0,
            order: None,
            is_open: false,
            wrongs: Vec::new(),
        }
    }
}

impl Judge {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    pub(crate) fn wrong(&self, what: String) {
        self.model().wrongs.push(what);
    }

    /// Invariants 1 and 3.
    fn begin(self: &Arc<Self>, order: &'static str) -> UnderWay {
        let mut model = self.model();
        if let Some(other) = model.order {
            model.wrongs.push(format!("{order} is ordered during a {other}"));
        }
        if model.is_open {
            model.wrongs.push(format!("{order} is ordered before the last one was settled"));
        }
        let idle = model.last_use.elapsed();
        let leases = model.leases;
        let was_asked_for = model.sleep_was_asked_for || model.wait_for_sleep > 0;
        if order != "start" {
            if leases > 0 {
                model.wrongs.push(format!("{order} is ordered under {leases} leases"));
            }
            // Milliseconds are counted whole.
            if idle + Duration::from_millis(1) < IDLE && !was_asked_for {
                model.wrongs.push(format!("{order} is ordered {idle:?} after its last use"));
            }
        }
        model.order = Some(order);
        UnderWay(Arc::clone(self))
    }

    fn answered<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.model().is_open = matches!(&result, Err(error) if error.is_outcome_unknown());
        result
    }

    fn read(&self, result: Result<Details, Error>) -> Result<Details, Error> {
        let tells = match &result {
            Ok(_) => true,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound),
        };
        self.model().is_open &= !tells;
        result
    }
}

/// Also a caller that goes away ends it, as far as drowse is concerned.
struct UnderWay(Arc<Judge>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.model().order = None;
    }
}

/// The engine's own provider, judged.
pub(crate) struct Judged {
    pub(crate) inner: Arc<dyn Provider>,
    pub(crate) judge: Arc<Judge>,
}

impl fmt::Debug for Judged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Judged").finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for Judged {
    fn engine(&self) -> &str {
        self.inner.engine()
    }

    fn reference(&self) -> &Reference {
        self.inner.reference()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        let _under_way = self.judge.begin("start");
        self.judge.answered(self.inner.start(deadline).await)
    }

    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        let _under_way = self.judge.begin("stop");
        self.judge.answered(self.inner.stop(options, deadline).await)
    }

    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        let _under_way = self.judge.begin("kill");
        self.judge.answered(self.inner.kill(signal, deadline).await)
    }

    async fn pause(&self, deadline: Deadline) -> Result<(), Error> {
        let _under_way = self.judge.begin("pause");
        self.judge.answered(self.inner.pause(deadline).await)
    }

    async fn unpause(&self, deadline: Deadline) -> Result<(), Error> {
        let _under_way = self.judge.begin("unpause");
        self.judge.answered(self.inner.unpause(deadline).await)
    }

    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        self.judge.read(self.inner.inspect(deadline).await)
    }

    async fn stats(&self, deadline: Deadline) -> Result<Stats, Error> {
        self.inner.stats(deadline).await
    }

    fn watch(&self) -> Watch {
        self.inner.watch()
    }
}
