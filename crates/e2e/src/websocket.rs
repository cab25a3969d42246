//! A WebSocket client.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest, http::Uri};
pub use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::wait::{DEADLINE, within};

/// Connects to `address` and asks for `ws://host/path`.
///
/// # Errors
/// What came instead of the upgrade: `Error::Http` holds the answer.
///
/// # Panics
/// If no connection is made, or no answer comes within the deadline.
pub async fn connect(
    address: impl Into<SocketAddr>,
    host: &str,
    path: &str,
) -> Result<WebSocketStream<TcpStream>, Box<Error>> {
    let uri: Uri = format!("ws://{host}{path}").parse().expect("a valid host and path");
    let request = uri.into_client_request().map_err(Box::new)?;
    let address = address.into();
    within(DEADLINE, "the answer to a WebSocket's handshake", async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (socket, _response) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(socket)
    })
    .await
}
