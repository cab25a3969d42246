//! A socket between drowse and an engine that notes each request and the instant of its arrival.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context;

use super::clock::Moment;
use crate::terminal;

/// A request's head is shorter than this.
const LARGEST_HEAD: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// When its first byte had arrived.
    pub(super) at: Moment,
    /// `GET /events?…`
    pub(super) line: String,
}

impl Call {
    pub(super) fn is_start(&self) -> bool {
        self.line.starts_with("POST ") && self.line.ends_with("/start")
    }
}

/// What has been asked so far, by the order of arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(super) fn note(&self, call: Call) {
        self.lock().push(call);
    }

    /// Those that came at `from` or later.
    pub(super) fn since(&self, from: Moment) -> Vec<Call> {
        self.lock().iter().filter(|call| call.at >= from).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relay. Its threads end with the process.
#[derive(Debug)]
pub(super) struct Relay {
    socket: PathBuf,
    pub(super) calls: Calls,
}

impl Relay {
    /// A relay to the engine that listens on `engine`.
    pub(super) fn start(socket: PathBuf, engine: &Path) -> anyhow::Result<Self> {
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        let calls = Calls::default();
        let (noted, engine) = (calls.clone(), engine.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (noted, engine) = (noted.clone(), engine.clone());
                thread::spawn(move || {
                    if let Err(error) = forward(client, &engine, &noted) {
                        terminal::note(&format!("the relay to the engine: {error:#}"));
                    }
                });
            }
        });
        Ok(Self { socket, calls })
    }

    /// Its URL, as an engine's.
    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// Carries one connection until either side closes it. What drowse asks of an engine has no body,
/// so each blank line ends a request.
fn forward(mut client: UnixStream, engine: &Path, calls: &Calls) -> anyhow::Result<()> {
    let mut head = Vec::new();
    let mut begun = None;
    let mut to_engine = None;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match client.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let now = Moment::now();
        let bytes = &buffer[..count];
        for byte in bytes {
            let at = *begun.get_or_insert(now);
            head.push(*byte);
            if head.ends_with(b"\r\n\r\n") {
                calls.note(Call { at, line: request_line(&head) });
                head.clear();
                begun = None;
            }
            anyhow::ensure!(head.len() < LARGEST_HEAD, "a head without an end");
        }
        let engine = match &mut to_engine {
            Some(engine) => engine,
            // Not before: connecting would take part of the time that is measured.
            None => to_engine.insert(connect(engine, &client)?),
        };
        if engine.write_all(bytes).is_err() {
            break;
        }
    }
    if let Some(engine) = to_engine {
        // The engine may have closed it first.
        engine.shutdown(Shutdown::Both).ok();
    }
    Ok(())
}

/// Connects to the engine, and carries its answers back to the client.
fn connect(engine: &Path, client: &UnixStream) -> anyhow::Result<UnixStream> {
    let engine = UnixStream::connect(engine).context("connecting to the engine")?;
    let (mut answers, mut client) = (engine.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        // Either side may close at any time; the other one is told by closing its connection.
        std::io::copy(&mut answers, &mut client).ok();
        client.shutdown(Shutdown::Both).ok();
    });
    Ok(engine)
}

fn request_line(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once(" HTTP/").map_or(line, |(line, _)| line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_told_without_its_version() {
        let line = request_line(b"POST /containers/a/start HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(line, "POST /containers/a/start");
        assert!(Call { at: Moment::now(), line }.is_start());
    }

    #[test]
    fn each_request_of_a_connection_is_noted_and_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&engine).unwrap();
        let relay = Relay::start(folder.path().join("relay.sock"), &engine).unwrap();
        let mut client = UnixStream::connect(folder.path().join("relay.sock")).unwrap();
        let requests = b"GET /a HTTP/1.1\r\n\r\nPOST /b/start HTTP/1.1\r\n\r\n";
        client.write_all(requests).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let mut seen = vec![0; requests.len()];
        accepted.read_exact(&mut seen).unwrap();
        assert_eq!(seen, requests);
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        let calls = relay.calls.since(Moment::from_nanoseconds(0));
        let lines: Vec<_> = calls.iter().map(|call| call.line.as_str()).collect();
        assert_eq!(lines, ["GET /a", "POST /b/start"]);
        assert!(calls[1].is_start() && !calls[0].is_start());
    }
}
