//! Connections to an engine: one way for each kind of endpoint.

#[cfg(feature = "ssh")]
mod ssh;
#[cfg(feature = "tls")]
mod tls;

use std::{error::Error, io, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::endpoint::{Address, Endpoint};

/// A connection, by whichever way.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why no connection could be made.
#[derive(Debug)]
pub(crate) struct DialError {
    /// What failed and how to mend it: a lower-case fragment.
    pub(crate) reason: String,
    /// What it was learnt from, if there is more to say.
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

impl DialError {
    pub(crate) fn new(reason: String, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { reason, source: Some(source.into()) }
    }
}

/// What the connections of one engine have in common.
#[cfg_attr(not(feature = "ssh"), expect(dead_code, reason = "only ssh needs more than a socket"))]
pub(crate) struct Surroundings {
    /// What the engine is called in the log.
    pub(crate) engine: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Makes connections to one engine.
pub(crate) enum Dialer {
    Unix(PathBuf),
    Tcp(Address),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Connector>),
    #[cfg(feature = "ssh")]
    Ssh(ssh::Connector),
}

impl Dialer {
    /// Does no I/O. The error is a lower-case fragment that says what to do instead.
    #[cfg_attr(
        not(any(feature = "ssh", feature = "tls")),
        expect(
            unused_variables,
            clippy::needless_pass_by_value,
            reason = "a plain socket needs nothing of them"
        )
    )]
    pub(crate) fn new(endpoint: &Endpoint, surroundings: Surroundings) -> Result<Self, String> {
        match endpoint {
            Endpoint::Unix(path) => Ok(Self::Unix(path.clone())),
            Endpoint::Tcp(address) => Ok(Self::Tcp(address.clone())),
            #[cfg(feature = "tls")]
            Endpoint::Tls(address, files) => {
                tls::Connector::new(address, files, surroundings.engine)
                    .map(Box::new)
                    .map(Self::Tls)
            }
            #[cfg(not(feature = "tls"))]
            Endpoint::Tls(..) => Err(without_feature(endpoint, "tls")),
            #[cfg(feature = "ssh")]
            Endpoint::Ssh(destination, files) => {
                ssh::Connector::new(destination, files, surroundings).map(Self::Ssh)
            }
            #[cfg(not(feature = "ssh"))]
            Endpoint::Ssh(..) => Err(without_feature(endpoint, "ssh")),
        }
    }

    /// Connects. Dropping the future gives up the connection; an `ssh` that is being started goes
    /// on, for the next one.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, DialError> {
        let explained = |source: io::Error| DialError::new(endpoint.explain(&source), source);
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(explained)?)),
            Self::Tcp(address) => Ok(Box::new(connect(address).await.map_err(explained)?)),
            #[cfg(feature = "tls")]
            Self::Tls(connector) => {
                let stream = connect(connector.address()).await.map_err(explained)?;
                Ok(Box::new(connector.handshake(stream).await?))
            }
            #[cfg(feature = "ssh")]
            Self::Ssh(connector) => Ok(Box::new(connector.dial().await?)),
        }
    }

    /// Why a connection that was made broke, if the way by which it was made knows: a lower-case
    /// fragment.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "only TLS says why in the error")
    )]
    pub(crate) fn explain_break(&self, error: &(dyn Error + 'static)) -> Option<String> {
        match self {
            Self::Unix(_) | Self::Tcp(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(connector) => connector.explain_break(error),
            #[cfg(feature = "ssh")]
            Self::Ssh(connector) => connector.explain_break(),
        }
    }

    /// The host that was really connected to, if that is another one than the URL says.
    pub(crate) fn host(&self) -> Option<String> {
        match self {
            #[cfg(feature = "ssh")]
            Self::Ssh(connector) => connector.host(),
            _ => None,
        }
    }
}

#[cfg(not(all(feature = "ssh", feature = "tls")))]
fn without_feature(endpoint: &Endpoint, feature: &str) -> String {
    format!(
        "`{endpoint}` needs the feature `{feature}` of drowse-docker, without which it was built"
    )
}

async fn connect(Address { host, port }: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    keep_alive(&stream)?;
    Ok(stream)
}

/// A half-open connection says nothing, for ever: ask the other side's kernel every few seconds.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5))
            .with_retries(3),
    )
}
