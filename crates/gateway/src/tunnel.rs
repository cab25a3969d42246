//! Upgraded connections (WebSocket): bytes in both directions until either side ends.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split},
    time::timeout,
};

use crate::{body::Usage, gateway::Context, pool::Connection};

/// How long the handshake's last bytes may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the other direction may go on after the first has ended: a peer that is gone must not
/// keep the workload awake.
const LINGER: Duration = Duration::from_secs(10);

/// Connects the two sides. The lease moves into the tunnel before the client hears of the upgrade,
/// and ends with it.
pub(crate) fn start(
    context: &Arc<Context>,
    client: OnUpgrade,
    upstream: OnUpgrade,
    connection: Connection,
    usage: Usage,
) {
    let context = Arc::clone(context);
    context.tasks.clone().spawn(async move {
        let _usage = usage;
        let joined = async {
            let sides = async { tokio::try_join!(client, upstream) };
            let sides = timeout(HANDSHAKE, sides).await.map_err(io::Error::from)?;
            let (client, upstream) = sides.map_err(io::Error::other)?;
            drop(connection);
            join(TokioIo::new(client), TokioIo::new(upstream)).await
        };
        let ended = tokio::select! {
            ended = joined => ended,
            () = context.phases.expired.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "a tunnel ended");
        }
    });
}

async fn join(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let mut up = pin!(pass(from_client, to_upstream));
    let mut down = pin!(pass(from_upstream, to_client));
    tokio::select! {
        ended = &mut up => linger(ended, down).await,
        ended = &mut down => linger(ended, up).await,
    }
}

/// Copies until the end, and passes the end on.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn linger(
    ended: io::Result<()>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    ended?;
    timeout(LINGER, other).await.unwrap_or(Ok(()))
}
