//! The kinds of traffic that are measured.

use std::process::{Command, Stdio};

use clap::ValueEnum;

use super::application::BODY_PATH;
use super::proxy::{H2C_PORT, PORT, Proxy, TCP_PORT, TLS_PORT};
use super::{load, websocket};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// Small requests on kept connections.
    Small,
    /// HTTP/2 in clear, with prior knowledge.
    Http2,
    /// HTTP/2 over TLS.
    Http2Tls,
    /// Bodies of 1 MiB.
    Bodies,
    /// A connection for each request.
    Connections,
    /// A TLS connection for each request.
    TlsConnections,
    /// Messages that come back on a WebSocket.
    WebSocket,
    /// Small requests through raw TCP.
    Tcp,
    /// Bodies of 1 MiB through raw TCP.
    TcpBodies,
}

/// What drowse is to reach: its processor time per request, at most so many times another's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bar {
    pub(super) ratio: f64,
    pub(super) other: Proxy,
}

impl Shape {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Small => "small keep-alive HTTP/1.1",
            Self::Http2 => "HTTP/2 in clear, 32 streams",
            Self::Http2Tls => "HTTP/2 over TLS, 32 streams",
            Self::Bodies => "1 MiB bodies",
            Self::Connections => "new connections",
            Self::TlsConnections => "new connections with TLS",
            Self::WebSocket => "WebSocket echo",
            Self::Tcp => "raw TCP, small requests",
            Self::TcpBodies => "raw TCP, 1 MiB bodies",
        }
    }

    /// Whether it goes through as bytes, of which the proxy understands nothing.
    pub(super) fn is_raw(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpBodies)
    }

    /// The design's bar, where it has one.
    pub(super) fn bar(self) -> Option<Bar> {
        let bar = |ratio, other| Some(Bar { ratio, other });
        match self {
            Self::Small => bar(1.25, Proxy::Nginx),
            Self::Bodies => bar(1.0, Proxy::Haproxy),
            Self::Http2 | Self::Http2Tls => bar(1.1, Proxy::Nginx),
            Self::Tcp | Self::TcpBodies => bar(1.0, Proxy::Nginx),
            Self::Connections | Self::TlsConnections | Self::WebSocket => None,
        }
    }

    /// How many connections carry it.
    pub(super) fn connections(self) -> usize {
        match self {
            Self::Small | Self::WebSocket | Self::Tcp => 64,
            Self::Http2 | Self::Http2Tls => 4,
            Self::Bodies | Self::TcpBodies => 16,
            Self::Connections | Self::TlsConnections => 32,
        }
    }

    /// What is asked for. The WebSocket's has a path of its own.
    pub(super) fn url(self) -> String {
        let (scheme, port, path) = match self {
            Self::Small | Self::Connections | Self::WebSocket => ("http", PORT, "/"),
            Self::Http2 => ("http", H2C_PORT, "/"),
            Self::Http2Tls | Self::TlsConnections => ("https", TLS_PORT, "/"),
            Self::Bodies => ("http", PORT, BODY_PATH),
            Self::Tcp => ("http", TCP_PORT, "/"),
            Self::TcpBodies => ("http", TCP_PORT, BODY_PATH),
        };
        format!("{scheme}://localhost:{port}{path}")
    }

    /// Whether the proxy that runs now answers such a request.
    pub(super) fn is_served(self) -> anyhow::Result<bool> {
        match self {
            Self::Http2 | Self::Http2Tls => Ok(load::h2load(&self.url(), &["-n1", "-c1"])
                .is_ok_and(|told| told.contains(" 1 2xx"))),
            Self::WebSocket => Ok(websocket::open(PORT).is_ok()),
            _ => {
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--fail", "--insecure", "--max-time", "5"]);
                curl.arg(self.url()).stdin(Stdio::null()).stdout(Stdio::null());
                Ok(curl.status()?.success())
            }
        }
    }
}
