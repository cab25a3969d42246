//! Who needs a fresh beat shares it with whoever else does.

use std::{sync::Arc, time::Duration};

use drowse_provider::Deadline;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    beat::Beat,
    core::{Core, broke_off},
    row::Span,
};
use crate::ClientError;

/// What one beat may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The least time from the beginning of one beat to that of the next, whoever asks.
const GAP: Duration = Duration::from_millis(250);

/// The beats: at most one is under way, and it serves all who asked before it began.
#[derive(Debug)]
pub(super) struct Beats {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the beat that began last, and when. A beat's number tells whether it began
    /// after somebody asked; clocks do not.
    begun: u64,
    begun_at: Option<Instant>,
    /// Whether the next one is about to begin or under way.
    is_coming: bool,
    is_under_way: bool,
    latest: Option<(u64, Arc<Beat>)>,
    failed: Option<(u64, ClientError)>,
}

impl Default for Beats {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }
}

impl Beats {
    /// The last one, however old.
    pub(super) fn latest(&self) -> Option<Arc<Beat>> {
        let state = self.state.borrow();
        state.latest.as_ref().map(|(_, beat)| Arc::clone(beat))
    }

    /// Why the last attempt came to nothing, if it did.
    pub(super) fn failure(&self) -> Option<ClientError> {
        self.state.borrow().failed.as_ref().map(|(_, error)| error.clone())
    }

    /// Waits until there is another one than `known`. Cancel safe.
    pub(super) async fn newer_than(&self, known: Option<&Arc<Beat>>) -> Arc<Beat> {
        let mut state = self.state.subscribe();
        loop {
            if let Some((_, beat)) = &state.borrow_and_update().latest
                && known.is_none_or(|known| !Arc::ptr_eq(known, beat))
            {
                return Arc::clone(beat);
            }
            if state.changed().await.is_err() {
                // Its sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A beat that begins after this was called. Cancel safe; dropping it leaves the beat to others.
    ///
    /// # Errors
    /// What the API said, `Closed` after close.
    pub(super) async fn fresh(&self, core: &Arc<Core>) -> Result<Arc<Beat>, ClientError> {
        let mut state = self.state.subscribe();
        let needed = state.borrow_and_update().begun + 1;
        loop {
            if core.closing.is_cancelled() {
                return Err(ClientError::Closed);
            }
            {
                let state = state.borrow_and_update();
                if let Some((number, beat)) = &state.latest
                    && *number >= needed
                {
                    return Ok(Arc::clone(beat));
                }
                if let Some((number, error)) = &state.failed
                    && *number >= needed
                {
                    return Err(error.clone());
                }
            }
            self.ensure_coming(core);
            tokio::select! {
                // It fails only without a sender, which lives in `self`.
                _ = state.changed() => {}
                () = core.closing.cancelled() => return Err(ClientError::Closed),
            }
        }
    }

    fn ensure_coming(&self, core: &Arc<Core>) {
        let mut is_to_begin = false;
        self.state.send_if_modified(|state| {
            is_to_begin = !std::mem::replace(&mut state.is_coming, true) && !state.is_under_way;
            false
        });
        if is_to_begin {
            let core = Arc::clone(core);
            core.tasks.clone().spawn(async move {
                let closing = core.closing.clone();
                closing.run_until_cancelled(run(core)).await;
            });
        }
    }
}

/// Beats for as long as somebody asks for one.
async fn run(core: Arc<Core>) {
    let state = &core.beats.state;
    loop {
        let earliest = state.borrow().begun_at.map(|at| at + GAP);
        if let Some(earliest) = earliest {
            sleep_until(earliest).await;
        }
        let mut number = 0;
        state.send_if_modified(|state| {
            state.begun += 1;
            number = state.begun;
            state.begun_at = Some(Instant::now());
            (state.is_coming, state.is_under_way) = (false, true);
            false
        });
        let under_way = UnderWay { state, number: Some(number) };
        let outcome = beat(&core).await;
        if !under_way.ends(outcome) {
            return;
        }
    }
}

/// A beat that has begun. Where its task panics it ends as one that failed.
struct UnderWay<'a> {
    state: &'a watch::Sender<State>,
    number: Option<u64>,
}

impl UnderWay<'_> {
    /// Whether another one is asked for: by whoever asked until now, since whoever asks from now on
    /// begins it.
    fn ends(mut self, outcome: Result<Arc<Beat>, ClientError>) -> bool {
        let mut goes_on = false;
        if let Some(number) = self.number.take() {
            self.state.send_modify(|state| {
                state.is_under_way = false;
                match outcome {
                    Ok(beat) => (state.latest, state.failed) = (Some((number, beat)), None),
                    Err(error) => state.failed = Some((number, error)),
                }
                goes_on = state.is_coming;
            });
        }
        goes_on
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.state.send_modify(|state| {
                // Whoever waits for the next one is woken by this, and begins it.
                (state.is_coming, state.is_under_way) = (false, false);
                state.failed = Some((number, broke_off()));
            });
        }
    }
}

/// One request; one more for the version in each epoch of the connection.
async fn beat(core: &Core) -> Result<Arc<Beat>, ClientError> {
    let began = Instant::now();
    let deadline = Deadline::after(TIMEOUT);
    let (resources, ()) = tokio::join!(core.api.resources(deadline), core.learn_version());
    let resources = match resources {
        Ok(resources) => resources,
        Err(error) => {
            core.forget_version();
            return Err(error);
        }
    };
    let span = Span { began, ended: Instant::now() };
    let before = core.beats.latest();
    let beat = Arc::new(Beat::new(&resources, span, before.as_deref()));
    core.configs.heed(&beat);
    Ok(beat)
}
