//! Accepting the connections of one port.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{TcpPort, connection::Connection};
use crate::{Drained, Gateway, gateway::Inner, slots::TcpSlot, woken::WhenWoken};

/// How long what is cut may take to notice.
const CUTTING: Duration = Duration::from_secs(1);

impl Gateway {
    /// Accepts connections for the routes of `port` until it is [closed](TcpPort::close) or
    /// `shutdown`, and returns when they have all ended: after a close, whenever that is; after a
    /// shutdown within [`GatewayOptions::grace`](crate::GatewayOptions::grace), at the end of which
    /// they are cut.
    ///
    /// They have at most half of
    /// [`GatewayOptions::max_connections`](crate::GatewayOptions::max_connections), and of one source
    /// as many as HTTP. Dropping the
    /// future stops accepting, and cuts them.
    pub async fn serve_tcp(
        &self,
        listener: TcpListener,
        port: TcpPort,
        shutdown: CancellationToken,
    ) -> Drained {
        let gateway = self.inner();
        let expired = CancellationToken::new();
        let _cut_when_dropped = expired.clone().drop_guard();
        let tasks = TaskTracker::new();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = port.closed().cancelled() => {}
            () = accept(gateway, &listener, &port, &expired, &tasks) => {}
        }
        drop(listener);
        tasks.close();
        let grace_is_over = async {
            shutdown.cancelled().await;
            sleep(gateway.options().grace).await;
        };
        tokio::select! {
            biased;
            () = tasks.wait() => return Drained::Whole,
            () = grace_is_over => {}
        }
        expired.cancel();
        // What does not end by then hangs in a call of its own; dropping the runtime ends it.
        _ = timeout(CUTTING, tasks.wait()).await;
        Drained::Cut
    }
}

/// Never returns by itself.
async fn accept(
    gateway: &Arc<Inner>,
    listener: &TcpListener,
    port: &TcpPort,
    expired: &CancellationToken,
    tasks: &TaskTracker,
) {
    let mut failures = 0_u32;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let connection = Connection::new(Arc::clone(gateway), port.clone(), peer);
                // It waits accepted: ports that nobody connects to take no places.
                let Some(slot) = gateway.slots.for_tcp().await else { return };
                begin(tasks, connection, stream, expired.clone(), slot);
            }
            Err(error) => {
                tell(failures, &error);
                sleep(Duration::from_millis(10 << failures.min(6))).await;
                failures += 1;
            }
        }
    }
}

fn tell(failures: u32, error: &io::Error) {
    // Mostly: out of descriptors. Those in use become free again.
    if failures == 0 {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "cannot accept connections; trying on");
    }
}

/// Carries a connection in a task of its own. (No `async fn`, as with HTTP.)
fn begin(
    tasks: &TaskTracker,
    connection: Connection,
    stream: TcpStream,
    expired: CancellationToken,
    slot: TcpSlot,
) {
    tasks.spawn(async move {
        let _slot = slot;
        serve(connection, stream, &expired).await;
    });
}

async fn serve(connection: Connection, stream: TcpStream, expired: &CancellationToken) {
    let expired = pin!(expired.cancelled());
    tokio::select! {
        biased;
        () = connection.serve(stream) => {}
        () = WhenWoken::new(expired) => {}
    }
}
