//! The daemon's side of the control socket.

mod events;
mod everything;
mod hold;
mod lines;
mod why;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use axum::{
    Json, Router,
    extract::{Path as UrlPath, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use drowse_provider::Deadline;
use drowse_watcher::{Force, Lease, LeaseKind, SleepError, WakeError};
use hyper_util::{rt::TokioIo, rt::TokioTimer, service::TowerToHyperService};
use serde::Deserialize;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::{Class, Done, Refusal};
use crate::{
    config::did_you_mean,
    front::Front,
    holds::Holds,
    listing::{Listing, ProblemRow},
    store::Store,
    view::{Entry, Unread, View},
};

pub(crate) use everything::Released;

/// More clients than anybody has at once; further ones wait for their turn.
const CONNECTIONS: usize = 64;
/// A client that says nothing for so long is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// However long a client wants to wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// The system's own bound on a socket's path, less the closing zero.
const LONGEST_PATH: usize = 107;

/// What an answer under way may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The name of the leases that `wake` takes.
const HOLDER: &str = "wake command";

/// What commands are carried out on.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) view: watch::Receiver<Arc<View>>,
    /// Who knows the requests in flight.
    pub(crate) front: Front,
    /// What people want of it until they say otherwise.
    pub(crate) holds: Holds,
    /// Where what `release` has woken is kept awake until the end, which it brings about.
    pub(crate) released: mpsc::Sender<Released>,
    /// What happened.
    pub(crate) store: Store,
    /// Places for those who follow that.
    pub(crate) followers: Arc<Semaphore>,
    /// How long the end waits for what is in flight.
    pub(crate) grace: Duration,
    /// The end.
    pub(crate) end: CancellationToken,
}

impl Control {
    pub(crate) fn places_for_followers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(events::FOLLOWERS))
    }
}

/// A bound control socket. Its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket, for this user alone. Whoever calls holds the folder's lock: a socket that
    /// is there already is a dead one's.
    pub(crate) fn bind(path: PathBuf) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.as_os_str().len() + ".new".len() > LONGEST_PATH {
            return Err(anyhow!(
                "the path of the control socket is too long for the system: `{shown}` (choose a \
                 shorter folder with `--state-dir`)"
            ));
        }
        // Until its mode is set it has what the umask leaves. The folder, which nobody else may
        // write to and which is made with mode 0700, keeps others out meanwhile; and until then it
        // has a name that no client asks for.
        let new = path.with_extension("sock.new");
        let bound = (|| {
            remove_if_there(&new)?;
            let listener = UnixListener::bind(&new)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            fs::rename(&new, &path)?;
            io::Result::Ok(listener)
        })();
        let listener =
            bound.with_context(|| format!("cannot bind the control socket `{shown}`"))?;
        Ok(Self { listener, path })
    }

    /// Serves until the end; nobody connects from then on, and a request under way gets a moment to be
    /// answered.
    pub(crate) async fn serve(self, control: Control) {
        let end = control.end.clone();
        let router = router(control);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = end.cancelled() => break,
                accepted = accept(&self.listener, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(error = &error as &(dyn std::error::Error + 'static), "control socket");
                    // Out of descriptors, perhaps: not again at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = connection(stream, router.clone(), end.clone());
            tasks.spawn(async move {
                let _place = place;
                connection.await;
            });
        }
        drop(self);
        tasks.close();
        tasks.wait().await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If it cannot be removed, the next drowse will.
        _ = fs::remove_file(&self.path);
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn connection(stream: UnixStream, router: Router, end: CancellationToken) {
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_WORDS, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(error = &error as &(dyn std::error::Error + 'static), "control connection ended");
    }
}

pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/v1/workloads", get(list))
        .route("/v1/workloads/{name}/wake", post(wake))
        .route("/v1/workloads/{name}/sleep", post(sleep))
        .route("/v1/workloads/{name}/hold", post(hold::hold))
        .route("/v1/workloads/{name}/unhold", post(hold::unhold))
        .route("/v1/workloads/{name}/why", get(why::why))
        .route("/v1/events", get(events::events))
        .route("/v1/wake", post(everything::wake_all))
        .route("/v1/release", post(everything::release))
        .with_state(control)
}

#[derive(Deserialize)]
struct Wait {
    timeout_ms: u64,
}

impl Wait {
    fn duration(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).min(LONGEST_WAIT)
    }
}

#[derive(Deserialize)]
struct Forced {
    #[serde(default)]
    force: bool,
}

async fn list(State(control): State<Control>) -> Json<Listing> {
    let view = control.view.borrow().clone();
    let mut listing = view.listing();
    control.holds.show_in(&mut listing, &view);
    let of_store = control.store.problems();
    listing.problems.extend(of_store.iter().map(ProblemRow::of));
    Json(listing)
}

async fn wake(
    State(control): State<Control>,
    UrlPath(name): UrlPath<String>,
    wait: Query<Wait>,
) -> Response {
    let entry = match find(&control.view, &name) {
        Ok(entry) => entry,
        Err(refusal) => return refused(refusal),
    };
    info!(workload = name, "woken by a command");
    match wake_one(&entry, HOLDER, Deadline::after(wait.duration())).await {
        Woken::Awake(_lease, done) => Json(done).into_response(),
        Woken::NoLongerManaged => refused(refusal(WakeError::Closed)),
        Woken::Refused(refusal) => refused(refusal),
    }
}

/// What came of a wake.
enum Woken {
    /// It is awake, and while the lease is held it is not put to sleep.
    Awake(Lease, Done),
    /// It is no longer this workload that manages the container.
    NoLongerManaged,
    Refused(Refusal),
}

async fn wake_one(entry: &Entry, holder: &str, deadline: Deadline) -> Woken {
    let began = Instant::now();
    // Whoever orders it by hand wants it tried now.
    entry.workload.close_circuit().await;
    let holder = entry.workload.holder(holder);
    match entry.workload.lease(&holder, LeaseKind::Active, deadline).await {
        Ok(lease) => Woken::Awake(lease, done(entry, began)),
        Err(WakeError::Closed) => Woken::NoLongerManaged,
        Err(error) => Woken::Refused(refusal(error)),
    }
}

fn refusal(error: WakeError) -> Refusal {
    let class = match &error {
        WakeError::NotFound => Class::NotFound,
        WakeError::Timeout { .. } | WakeError::Locked { .. } => Class::Timeout,
        WakeError::EngineUnavailable { .. } => Class::EngineUnavailable,
        WakeError::HeldAsleep { .. } => Class::HeldAsleep,
        _ => Class::Failed,
    };
    Refusal { error: format!("{:#}", anyhow!(error)), class }
}

async fn sleep(
    State(control): State<Control>,
    UrlPath(name): UrlPath<String>,
    wait: Query<Wait>,
    Query(Forced { force }): Query<Forced>,
) -> Response {
    let entry = match find(&control.view, &name) {
        Ok(entry) => entry,
        Err(refusal) => return refused(refusal),
    };
    if force && let Some(refusal) = hold::is_kept_awake(&entry) {
        return refused(refusal);
    }
    let began = Instant::now();
    let how = if force { Force::EvenInUse } else { Force::No };
    match entry.workload.sleep_now(Deadline::after(wait.duration()), how).await {
        Ok(()) => {
            info!(workload = name, force, "put to sleep by a command");
            Json(done(&entry, began)).into_response()
        }
        Err(error) => refused(sleep_refusal(&error)),
    }
}

fn sleep_refusal(error: &SleepError) -> Refusal {
    let class = match error {
        SleepError::InUse { .. } => Class::InUse,
        SleepError::Timeout { .. } => Class::Timeout,
        _ => Class::Failed,
    };
    Refusal { error: format!("{:#}", anyhow!(error.clone())), class }
}

fn find(view: &watch::Receiver<Arc<View>>, name: &str) -> Result<Entry, Refusal> {
    let view = view.borrow().clone();
    if let Some(entry) = view.find(name) {
        return Ok(entry.clone());
    }
    if let Some(unread) = view.find_unread(name) {
        return Err(engine_was_never_read(unread));
    }
    let names = view.entries.iter().map(|entry| entry.planned.name.as_str());
    let error = match did_you_mean(name, names) {
        Some(meant) => format!("there is no workload `{name}`: did you mean `{meant}`?"),
        None => format!("there is no workload `{name}`: `drowse list` shows those there are"),
    };
    Err(Refusal { error, class: Class::UnknownWorkload })
}

fn engine_was_never_read(unread: &Unread) -> Refusal {
    let why = unread.trouble.as_deref().unwrap_or("it is being read");
    let error = format!("its engine `{}` was never read: {why}", unread.planned.engine);
    Refusal { error, class: Class::EngineUnavailable }
}

fn done(entry: &Entry, began: Instant) -> Done {
    Done {
        workload: entry.planned.name.clone(),
        state: entry.workload.snapshot().phase.to_string(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn refused(refusal: Refusal) -> Response {
    let status = match refusal.class {
        Class::UnknownWorkload | Class::NotFound | Class::NotHeld => StatusCode::NOT_FOUND,
        Class::InUse | Class::HeldAsleep => StatusCode::CONFLICT,
        Class::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Class::EngineUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::NotManaged | Class::Failed => StatusCode::BAD_GATEWAY,
    };
    (status, Json(refusal)).into_response()
}
