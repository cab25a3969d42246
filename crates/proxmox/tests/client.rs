//! The client against a server that says what the tests want, byte for byte.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "client/answers.rs"]
mod answers;
#[path = "client/connections.rs"]
mod connections;
#[path = "client/credentials.rs"]
mod credentials;
#[path = "client/endpoints.rs"]
mod endpoints;
#[path = "client/faults.rs"]
mod faults;
#[path = "client/lanes.rs"]
mod lanes;
#[path = "client/logged.rs"]
mod logged;
#[path = "client/orders.rs"]
mod orders;
mod support;
#[path = "client/trust.rs"]
mod trust;

use drowse_provider::Deadline;

use crate::support::server::DEADLINE;

fn patience() -> Deadline {
    Deadline::after(DEADLINE)
}

/// An error with all that caused it, and the ports and addresses of a server as `HOST`.
fn told(error: &(dyn std::error::Error + 'static), ports: &[u16]) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !told.ends_with(&cause.to_string()) {
            told = format!("{told}: {cause}");
        }
        source = cause.source();
    }
    for (place, port) in ports.iter().enumerate() {
        told = told.replace(&port.to_string(), &format!("PORT{}", place + 1));
    }
    told
}
