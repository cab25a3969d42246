//! `MODE=tcp-echo`: every byte comes back.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::{accept, bind};
use crate::state::App;

pub(crate) async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let listener = bind(&app)?;
    loop {
        let stream = accept(&listener, &app).await?;
        if !app.closes_connections() && app.is_ready() {
            tokio::spawn(echo(stream));
        }
    }
}

/// Until the client closes its half; what it sent before that still comes back.
async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    if tokio::io::copy(&mut from, &mut to).await.is_ok() {
        to.shutdown().await.ok();
    }
}
