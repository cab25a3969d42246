//! Requests and answers, as pveproxy has them: what it answers itself on a connection that is kept,
//! what it passes on to a daemon on one that is closed.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{clock, cluster::Cluster, say};

/// What a request is answered with.
pub(crate) enum Answer {
    /// By pveproxy itself.
    Own(String),
    /// By the daemon of a node.
    PassedOn(String),
    Refused(u16, String),
}

/// Until the connection is closed, by either side.
pub(crate) fn serve(
    client: TcpStream,
    config: Arc<ServerConfig>,
    cluster: &Cluster,
) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut requests = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, client));
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let path = path.strip_prefix("/api2/json").unwrap_or(path);
        say(&format!("{} {method} {path}", clock::now()));
        let answer = cluster.answer(method, path);
        let mut header = String::new();
        while requests.read_line(&mut header)? > 2 {
            header.clear();
        }
        if !give(requests.get_mut(), answer)? {
            requests.get_mut().conn.send_close_notify();
            requests.get_mut().flush()?;
            return Ok(());
        }
        line.clear();
    }
    Ok(())
}

/// Whether the connection goes on.
fn give(client: &mut impl Write, answer: Answer) -> std::io::Result<bool> {
    let (status, connection, body, is_kept) = match answer {
        Answer::Own(data) => ("200 OK".to_owned(), "Connection: Keep-Alive\r\n", data, true),
        // It writes both.
        Answer::PassedOn(data) => {
            ("200 OK".to_owned(), "Connection: close\r\nConnection: Keep-Alive\r\n", data, false)
        }
        Answer::Refused(status, why) => {
            (format!("{status} {why}"), "Connection: close\r\n", "null".to_owned(), false)
        }
    };
    let body = format!("{{\"data\":{body}}}");
    let head = format!(
        "HTTP/1.1 {status}\r\n{connection}Content-Type: application/json;charset=UTF-8\r\n\
         Content-Length: {}\r\nServer: pve-api-daemon/3.0\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.flush()?;
    Ok(is_kept)
}
