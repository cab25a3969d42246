//! Who wakes the demo's application, as the gateway's log tells.

use std::fmt;

use tokio::sync::watch;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Where the last request that woke something came from.
pub(crate) type Peers = watch::Receiver<Option<String>>;

/// Listens to the gateway's log.
pub(crate) struct Requests(watch::Sender<Option<String>>);

/// A listener, and what it hears.
pub(crate) fn requests() -> (Requests, Peers) {
    let (sender, peers) = watch::channel(None);
    (Requests(sender), peers)
}

impl<S: Subscriber> Layer<S> for Requests {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target().starts_with("drowse_gateway") {
            event.record(&mut ClientField(&self.0));
        }
    }
}

struct ClientField<'a>(&'a watch::Sender<Option<String>>);

impl Visit for ClientField<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "client" {
            self.0.send_replace(Some(format!("{value:?}")));
        }
    }
}
