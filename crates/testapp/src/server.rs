//! The listening socket, and one task per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::http::{self, Connection};
use crate::state::App;

/// Long enough for a herd that connects at once; the kernel caps it at `somaxconn`.
const BACKLOG: u32 = 16_384;

/// How long `/keepalive-close` leaves the connection open: the answer must be out by then, so
/// that the close is not announced in it.
const LINGER: Duration = Duration::from_millis(20);

pub(crate) async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let listener = bind(&app)?;
    tokio::spawn(announce_ready(app.clone()));
    loop {
        let stream = accept(&listener, &app).await?;
        if app.closes_connections() {
            continue;
        }
        tokio::spawn(serve(stream, app.clone()));
    }
}

/// Binds, listens, and stamps the instant.
pub(crate) fn bind(app: &App) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((app.settings.bind, app.settings.port));
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("binding {address}"))?;
    let listener = socket.listen(BACKLOG).with_context(|| format!("listening on {address}"))?;
    app.now_listening();
    crate::print(&format!("listening {}", listener.local_addr()?));
    Ok(listener)
}

pub(crate) async fn accept(listener: &TcpListener, app: &App) -> anyhow::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                app.connected();
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            // The peer was gone before it was accepted.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("accepting a connection"),
        }
    }
}

pub(crate) async fn announce_ready(app: Arc<App>) {
    tokio::time::sleep(app.settings.ready_delay.max(app.settings.accept_then_close)).await;
    crate::print("ready");
}

async fn serve(stream: TcpStream, app: Arc<App>) {
    let connection = Arc::new(Connection::default());
    let service = service_fn({
        let connection = connection.clone();
        move |request| http::answer(request, app.clone(), connection.clone())
    });
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    // A client that breaks off is the client's business: its error is not told.
    tokio::select! {
        result = &mut serving => drop(result),
        () = connection.close_requested() => {
            tokio::time::timeout(LINGER, serving).await.ok();
        }
    }
}
