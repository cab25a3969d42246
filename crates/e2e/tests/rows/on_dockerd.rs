//! By what they are about.

mod access;
mod addresses;
mod at_once;
mod by_labels;
mod commands;
mod compose;
mod contained;
mod crowd;
mod engine_away;
mod grpc;
mod http2;
mod image;
mod in_use;
mod needs;
mod odd_inputs;
mod outside;
mod passive;
mod refused;
mod release;
mod reload;
mod remote;
mod round;
mod seen;
mod slow_clients;
mod socket_proxy;
mod starting;
mod stopping;
mod tcp;
mod time;
mod tls;
mod tools;
mod udp;
mod unread;
pub(crate) mod updates;
mod upstream;
mod use_unseen;
mod vanished;
mod waiting;
mod ways;
mod websocket;

use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload};

/// An idle time that never passes in a test.
const NEVER: &str = "1h";

/// As long as an idle time, or several of them, may take. Nothing is waited for: what must not
/// happen in this time has its chance to happen.
async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A container that is made and stopped, and a drowse that manages it.
async fn asleep(name: &str, idle: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = site.container(name).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(idle)]).await;
    (site, app, drowse)
}

/// The same, and it has been woken by a request.
async fn awake(name: &str, idle: &str) -> (Site, TestContainer, Drowse) {
    let (site, app, drowse) = asleep(name, idle).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    (site, app, drowse)
}

/// Ends its process as a crash would: nobody asked the engine for that.
async fn crash(app: &TestContainer) {
    let pid = app.inspect().await.unwrap()["State"]["Pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
