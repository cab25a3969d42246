//! `MODE=tcp-lines`: the server speaks first, as those of SSH and SMTP do, and answers line by line.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::server::{accept, bind};
use crate::state::App;

pub(crate) async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let listener = bind(&app)?;
    loop {
        let stream = accept(&listener, &app).await?;
        if !app.closes_connections() {
            let greeting = format!("220 {}\r\n", app.settings.name);
            tokio::spawn(async move { drop(converse(stream, &greeting).await) });
        }
    }
}

/// Until `QUIT`, or the client's end; a last line is answered before that.
async fn converse(mut stream: TcpStream, greeting: &str) -> std::io::Result<()> {
    let (from, mut to) = stream.split();
    to.write_all(greeting.as_bytes()).await?;
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        let line = line.trim_end();
        if line == "QUIT" {
            to.write_all(b"221 bye\r\n").await?;
            break;
        }
        to.write_all(format!("250 {line}\r\n").as_bytes()).await?;
    }
    to.shutdown().await
}
