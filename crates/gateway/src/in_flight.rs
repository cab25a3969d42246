//! The requests in flight, for whoever asks what keeps a workload awake.
//!
//! Each connection has one place, made with it, which the request path writes to with a few atomic
//! stores: HTTP/1.1 has one request at a time on a connection. On HTTP/2 each request brings a place of
//! its own. Whoever asks reads all of them.

mod connections;
mod place;
mod streams;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use drowse_watcher::LeaseKind;

pub(crate) use self::{
    connections::{Connections, RouteNumber, RouteNumbers},
    place::Place,
    streams::Streams,
};
use crate::{Route, connection::Context};

/// A request on its way, an upgraded or a TCP connection, or a UDP session.
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
    /// How many bytes of its bodies, or of the connection or session, have passed so far, in both
    /// directions.
    pub bytes: u64,
    /// How far it is.
    pub stage: InFlightStage,
    /// How many of its packets found no room, or were too long (UDP).
    pub dropped: u64,
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
    /// It is an upgraded connection, or an answer on its way, of which nothing has passed for so long that
    /// it keeps nothing awake.
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

/// A request of a connection, from its head to the last byte of its answer. Has a place until then.
pub(crate) struct Flight {
    pub(crate) context: Arc<Context>,
    pub(crate) route: Route,
    number: u64,
    /// On HTTP/2: the place that is its own. Else it has its connection's.
    stream: Option<streams::Seat>,
}

impl Flight {
    /// A request for this route, that waits.
    pub(crate) fn begin(context: Arc<Context>, route: Route, client: IpAddr) -> Self {
        let stream = context.streams.as_ref().map(|streams| streams.add());
        let place = stream.as_ref().map_or(&context.place, |seat| &seat.place);
        let number = place.begin(route.0.number.get(), client);
        Self { context, route, number, stream }
    }

    /// Where it is told.
    pub(crate) fn place(&self) -> &Place {
        self.stream.as_ref().map_or(&self.context.place, |seat| &seat.place)
    }

    /// Where its upload's bytes are counted, which may outlast it.
    pub(crate) fn counter(&self) -> Counter {
        match &self.stream {
            None => Counter::OfConnection(Arc::clone(&self.context)),
            Some(seat) => Counter::OfStream(Arc::clone(&seat.place)),
        }
    }

    pub(crate) fn is_at(&self, stage: InFlightStage) {
        self.place().is_at(stage);
    }

    /// Whether it is one of several on its connection.
    pub(crate) fn is_of_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Counts bytes that have passed.
    pub(crate) fn passed(&self, bytes: usize) {
        self.place().passed(bytes);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.place().end(self.number);
        if let (Some(streams), Some(seat)) = (&self.context.streams, &self.stream) {
            streams.remove(seat);
        }
    }
}

/// Where bytes of one request are counted. An HTTP/1.1 connection has no further request before this
/// one is through.
pub(crate) enum Counter {
    OfConnection(Arc<Context>),
    OfStream(Arc<Place>),
}

impl Counter {
    pub(crate) fn passed(&self, bytes: usize) {
        self.place().passed(bytes);
    }

    pub(crate) fn is_at(&self, stage: InFlightStage) {
        self.place().is_at(stage);
    }

    fn place(&self) -> &Place {
        match self {
            Self::OfConnection(context) => &context.place,
            Self::OfStream(place) => place,
        }
    }
}
