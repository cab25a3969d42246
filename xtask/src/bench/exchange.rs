//! One HTTP request and its answer on a connection of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::clock::Moment;

/// How long one read or write may take. Longer than any application's start.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);

/// More than any answer that is asked for here.
const LARGEST_ANSWER: u64 = 16 << 20;

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) first_byte: Moment,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The answer itself, if it is a success.
    pub(super) fn successful(self) -> anyhow::Result<Self> {
        if !(200..300).contains(&self.status) {
            bail!("status {}: {}", self.status, String::from_utf8_lossy(&self.body).trim());
        }
        Ok(self)
    }
}

/// A connection whose reads and writes are bounded.
pub(super) fn connect(address: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// A request whose answer ends with the connection.
pub(super) fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Writes `request`, which has to ask for the connection to be closed, and reads the answer.
pub(super) fn ask(mut stream: impl Read + Write, request: &[u8]) -> anyhow::Result<Answer> {
    stream.write_all(request)?;
    read(stream)
}

/// Reads an answer up to the end of its connection.
pub(super) fn read(mut stream: impl Read) -> anyhow::Result<Answer> {
    let mut whole = vec![0; 4096];
    let count = stream.read(&mut whole)?;
    let first_byte = Moment::now();
    whole.truncate(count);
    stream.take(LARGEST_ANSWER).read_to_end(&mut whole)?;
    let end_of_head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end_of_head = end_of_head.context("the connection was closed without a whole answer")?;
    let body = whole.split_off(end_of_head + 4);
    let head = String::from_utf8_lossy(&whole).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("not HTTP: {head}"))?;
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        bail!("a chunked answer");
    }
    Ok(Answer { status, first_byte, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let answer = read(&text[..]).unwrap().successful().unwrap();
        assert_eq!(answer.json().unwrap()["a"], 1);
    }

    #[test]
    fn what_is_no_success_is_an_error_with_the_answers_words() {
        let error = read(&b"HTTP/1.1 504 x\r\n\r\ntoo late\n"[..]).unwrap().successful();
        assert_eq!(error.unwrap_err().to_string(), "status 504: too late");
        assert!(read(&b""[..]).is_err());
        assert!(read(&b"HTTP/1.1 200 OK\r\n"[..]).is_err());
    }
}
