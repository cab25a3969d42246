//! Messages on a WebSocket, each sent when the one before it has come back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::super::clock::Moment;
use super::super::exchange;
use super::application::WEBSOCKET_PATH;
use super::load::Run;

/// A binary message of 64 bytes from a client, whose mask is zeros: RFC 6455 section 5.2.
const HEAD_OUT: [u8; 6] = [0x82, 0x80 | 64, 0, 0, 0, 0];
/// The same from a server.
const HEAD_BACK: [u8; 2] = [0x82, 64];
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// More than any proxy makes of the answer to a handshake.
const LARGEST_HEAD: usize = 4096;

/// A connection that has become a WebSocket.
pub(super) fn open(port: u16) -> anyhow::Result<TcpStream> {
    let mut stream = exchange::connect(([127, 0, 0, 1], port).into(), exchange::TIMEOUT)?;
    let request = format!(
        "GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        ensure!(head.len() <= LARGEST_HEAD, "a head without an end");
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        bail!("no WebSocket: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}

/// So many connections for about so long.
pub(super) fn run(port: u16, connections: usize, time: Duration) -> anyhow::Result<Run> {
    let streams = (0..connections).map(|_| open(port)).collect::<anyhow::Result<Vec<_>>>()?;
    let began = Moment::now();
    let threads: Vec<_> = streams
        .into_iter()
        .map(|stream| thread::spawn(move || echo(stream, began, time)))
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().ok().context("a client panicked")??);
    }
    Run::of(times, began.elapsed())
}

fn echo(mut stream: TcpStream, began: Moment, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let message = [HEAD_OUT.as_slice(), &PAYLOAD].concat();
    let wanted = [HEAD_BACK.as_slice(), &PAYLOAD].concat();
    let mut answer = vec![0; wanted.len()];
    let mut times = Vec::new();
    while began.elapsed() < time {
        let sent = Moment::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        times.push(sent.elapsed());
        ensure!(answer == wanted, "another message came back");
    }
    Ok(times)
}
