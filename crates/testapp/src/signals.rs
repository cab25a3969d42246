//! Signals, as the environment says. As process 1 of a container nothing has a default action, so
//! each signal that is to end the application needs a handler.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::state::App;

/// Handles signals from now on, also during the start delay.
pub(crate) fn install(app: &Arc<App>) -> anyhow::Result<()> {
    for (name, kind) in [
        ("TERM", SignalKind::terminate()),
        ("INT", SignalKind::interrupt()),
        ("QUIT", SignalKind::quit()),
    ] {
        tokio::spawn(end_on(listen(kind)?, name, app.clone()));
    }
    if app.settings.handle_hup {
        tokio::spawn(count_hups(listen(SignalKind::hangup())?, app.clone()));
    }
    Ok(())
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).with_context(|| format!("handling signal {}", kind.as_raw_value()))
}

async fn end_on(mut signal: Signal, name: &'static str, app: Arc<App>) {
    while signal.recv().await.is_some() {
        crate::print(&format!("signal {name}"));
        if !app.settings.ignore_term {
            tokio::time::sleep(app.settings.term_delay).await;
            std::process::exit(0);
        }
    }
}

async fn count_hups(mut signal: Signal, app: Arc<App>) {
    while signal.recv().await.is_some() {
        app.hung_up();
        crate::print("signal HUP");
    }
}
