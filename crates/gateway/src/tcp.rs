//! Raw TCP: a port leads to a workload, or to several by the name that TLS clients ask for.
//!
//! A connection is accepted and held while its workload wakes. Nothing is awaited of the client before
//! its upstream is dialled, so protocols in which the server speaks first work; only on a port whose
//! routes are told apart by name the TLS `ClientHello` is, which is then passed on as it came.

mod connection;
mod early;
mod hello;
mod readiness;
mod route;
mod serve;
mod socket;
mod table;
mod trial;

pub use readiness::TcpReadiness;
pub use route::{TcpRoute, TcpRouteSpec};
pub use table::{TcpConflict, TcpPort, TcpTable};
