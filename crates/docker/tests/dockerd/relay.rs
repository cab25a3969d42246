//! A socket before the engine's, whose connections for events can be cut.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Relay {
    pub(crate) socket: PathBuf,
    is_cut: watch::Sender<bool>,
    event_streams: Arc<AtomicUsize>,
    inspects: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub(crate) fn new(folder: &Path, engine: &Path) -> Self {
        let socket = folder.join("relay.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let is_cut = watch::Sender::new(false);
        let event_streams = Arc::<AtomicUsize>::default();
        let inspects = Arc::<AtomicUsize>::default();
        let accepting = tokio::spawn({
            let (is_cut, event_streams) = (is_cut.clone(), Arc::clone(&event_streams));
            let inspects = Arc::clone(&inspects);
            let engine = engine.to_owned();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let counters = [Arc::clone(&event_streams), Arc::clone(&inspects)];
                    tokio::spawn(relay(client, engine.clone(), is_cut.subscribe(), counters));
                }
            }
        });
        Self { socket, is_cut, event_streams, inspects, accepting }
    }

    /// Cuts the connections for events, and those that come.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }

    /// How many reads of one container went through.
    pub(crate) fn inspects(&self) -> usize {
        self.inspects.load(Ordering::SeqCst)
    }

    /// How many connections for events were ever made.
    pub(crate) fn event_streams(&self) -> usize {
        self.event_streams.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(
    mut client: UnixStream,
    engine: PathBuf,
    mut is_cut: watch::Receiver<bool>,
    [event_streams, inspects]: [Arc<AtomicUsize>; 2],
) {
    let mut first = vec![0; 4096];
    let Ok(length) = client.read(&mut first).await else { return };
    let is_for_events = first[..length].starts_with(b"GET /events");
    if is_for_events {
        event_streams.fetch_add(1, Ordering::SeqCst);
    }
    let line = first.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if line.ends_with(b"/json HTTP/1.1") {
        inspects.fetch_add(1, Ordering::SeqCst);
    }
    let Ok(mut engine) = UnixStream::connect(engine).await else { return };
    if engine.write_all(&first[..length]).await.is_err() {
        return;
    }
    let cut = async {
        if is_for_events && is_cut.wait_for(|is_cut| *is_cut).await.is_ok() {
            return;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = cut => {}
        _ = copy_bidirectional(&mut client, &mut engine) => {}
    }
}
