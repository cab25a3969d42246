//! The data plane of drowse: routes requests to workloads, and holds them while a workload wakes.
//!
//! Three nouns carry everything:
//!
//! - a [`Route`] says which requests (hosts, path) belong to which workload, and which address of
//!   its container is dialled ([`upstream`]);
//! - a [`RouteTable`] finds the most specific route for a request;
//! - a [`Gateway`] serves connections by the present table. Each request holds a lease on its
//!   workload until its last byte is through in both directions.
//!
//! The way of a request: `listener -> table -> lease -> upstream -> answer`. On the warm path, a
//! ready workload's, taking the lease is one atomic operation. Otherwise the request is held until
//! the workload is ready or its deadline passes; a browser's navigation gets a waiting page instead.

mod access;
mod authority;
mod body;
mod client;
mod connection;
mod crowd;
mod dial;
mod dialect;
mod disk;
mod flows;
mod forward;
mod forwarders;
mod framing;
#[cfg(test)]
mod fuzzed;
mod gateway;
mod grpc;
mod handler;
mod headers;
mod hold;
mod in_flight;
mod negotiate;
mod options;
mod own;
mod page;
mod passive;
mod pattern;
mod pool;
mod problem;
mod proxy_protocol;
mod question;
mod readiness;
mod redirect;
mod rewrite;
mod route;
mod scheme;
mod seldom;
mod send;
mod shortage;
mod slots;
mod sources;
mod table;
mod tcp;
mod tls;
mod trust;
mod tunnel;
mod udp;
pub mod upstream;
mod veto;
mod woken;

pub use access::{Access, AllowedNetworks, BasicAuth, ForwardAuth, ForwardAuthError, UsersError};
pub use gateway::{Drained, Gateway, ListenerOptions};
pub use in_flight::{InFlight, InFlightStage};
pub use options::GatewayOptions;
pub use page::{Language, LanguageError, PageOptions};
pub use passive::PassiveRule;
pub use pattern::{HostPattern, HostPatternError, PathPrefix, PathPrefixError};
pub use proxy_protocol::ProxyProtocol;
pub use readiness::HttpReadiness;
pub use rewrite::{HeaderChangeError, HeaderChanges};
pub use route::{Route, RouteSpec};
pub use scheme::{UpstreamScheme, UpstreamTls, UpstreamTrust};
pub use table::{RouteConflict, RouteTable};
pub use tcp::{TcpConflict, TcpPort, TcpReadiness, TcpRoute, TcpRouteSpec, TcpTable};
pub use tls::{
    CertificateError, CertificateFiles, CertificateSource, CertificateSummary, IdentityError,
    SelfSigned, Tls, TlsOptions, TlsVersion,
};
pub use trust::{Network, NetworkError, TrustedProxies};
pub use udp::{UdpPort, UdpRoute, UdpRouteSpec};
pub use upstream::{
    Chooser, NoUpstream, SharedNetwork, Standpoint, Target, Upstream, UpstreamPolicy, Vantage,
};
pub use veto::{HttpVeto, VetoAnswer};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
