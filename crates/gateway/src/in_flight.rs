//! The requests in flight, for whoever asks what keeps a workload awake.
//!
//! Each connection has one place, made when it is accepted, which the request path writes to with a few
//! atomic stores: HTTP/1.1 has one request at a time on a connection. Whoever asks reads all of them.

mod connections;
mod place;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use drowse_watcher::LeaseKind;

pub(crate) use self::{
    connections::{Connections, RouteNumber, RouteNumbers},
    place::Place,
};
use crate::{Route, gateway::Context};

/// A request on its way, or an upgraded connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// The name of its route.
    pub route: String,
    /// Who is connected.
    pub peer: IpAddr,
    /// On whose behalf: the same, unless a trusted proxy says otherwise.
    pub client: IpAddr,
    /// Since when.
    pub age: Duration,
    /// How many bytes of its bodies, or of the upgraded connection, have passed so far, in both
    /// directions.
    pub bytes: u64,
    /// How far it is.
    pub stage: InFlightStage,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InFlightStage {
    /// It waits for its workload to wake.
    Waiting,
    /// It is being served.
    Served,
    /// It is being served, and does not count as use.
    Passive,
    /// It is an upgraded connection (WebSocket).
    Upgraded,
    /// It is an upgraded connection that has been quiet for so long that it keeps nothing awake.
    Quiet,
}

impl InFlightStage {
    const ALL: [Self; 5] =
        [Self::Waiting, Self::Served, Self::Passive, Self::Upgraded, Self::Quiet];

    /// The lower-case word that logs, tables and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Served => "served",
            Self::Passive => "passive",
            Self::Upgraded => "upgraded",
            Self::Quiet => "quiet",
        }
    }

    /// Of a request that has its lease.
    pub(crate) fn served(kind: LeaseKind) -> Self {
        if kind == LeaseKind::Passive { Self::Passive } else { Self::Served }
    }
}

impl fmt::Display for InFlightStage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A request of a connection, from its head to the last byte of its answer. Has the connection's
/// place until then.
pub(crate) struct Flight {
    pub(crate) context: Arc<Context>,
    pub(crate) route: Route,
    number: u64,
}

impl Flight {
    /// A request for this route, that waits.
    pub(crate) fn begin(context: Arc<Context>, route: Route, client: IpAddr) -> Self {
        let number = context.place.begin(route.0.number.get(), client);
        Self { context, route, number }
    }

    pub(crate) fn is_at(&self, stage: InFlightStage) {
        self.context.place.is_at(stage);
    }

    /// Counts bytes that have passed.
    pub(crate) fn passed(&self, bytes: usize) {
        self.context.place.passed(bytes);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.context.place.end(self.number);
    }
}
