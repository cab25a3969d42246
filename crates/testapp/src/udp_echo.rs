//! `MODE=udp-echo`: every packet comes back, with the application's name before it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::UdpSocket;

use crate::state::App;

/// The longest packet.
const LONGEST: usize = 65_535;

pub(crate) async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let address = SocketAddr::from((app.settings.bind, app.settings.port));
    let socket = UdpSocket::bind(address).await.with_context(|| format!("binding {address}"))?;
    app.now_listening();
    crate::print(&format!("listening {}", socket.local_addr()?));
    let mut packet = vec![0; LONGEST];
    loop {
        let (length, peer) = socket.recv_from(&mut packet).await.context("receiving a packet")?;
        let mut reply = app.settings.name.clone().into_bytes();
        reply.extend_from_slice(&packet[..length]);
        // A client that is gone is no reason to end.
        drop(socket.send_to(&reply, peer).await);
    }
}
