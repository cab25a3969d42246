//! What `ssh` says on standard error: the last of it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    os::fd::OwnedFd,
    process::ChildStderr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::unix::pipe, time::Instant};

/// How much is kept.
const LINES_MAX: usize = 24;
const LINE_MAX: usize = 400;

/// How long a refused connection is taken for the reason of a connection's end.
const JUST_NOW: Duration = Duration::from_secs(5);

pub(super) struct Said {
    pipe: pipe::Receiver,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    /// The beginning of the line that is not over yet.
    rest: Vec<u8>,
    refused_at: Option<Instant>,
    is_over: bool,
}

impl Said {
    /// Must be called within a tokio runtime.
    pub(super) fn by(stderr: ChildStderr) -> io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?;
        Ok(Self { pipe, kept: Mutex::default() })
    }

    /// Takes what is said, for ever, so that ssh never waits for a reader.
    pub(super) async fn listen(&self) -> Infallible {
        loop {
            if self.pipe.readable().await.is_err() || self.take(|to| self.pipe.try_read(to)) {
                return std::future::pending().await;
            }
        }
    }

    /// The last lines so far: all that was written before this call.
    pub(super) fn lines(&self) -> Vec<String> {
        self.take_all();
        let kept = self.kept();
        let rest = (!kept.rest.is_empty()).then(|| plain(&kept.rest));
        kept.lines.iter().cloned().chain(rest).collect()
    }

    /// Whether ssh has said of a connection, just now, that the other side refuses it.
    pub(super) fn was_just_refused(&self) -> bool {
        self.take_all();
        self.kept().refused_at.is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    /// Takes what is in the pipe, whether or not the runtime has noticed that there is something.
    fn take_all(&self) {
        self.take(|to| Ok(rustix::io::read(&self.pipe, to)?));
    }

    /// Takes what can be read; whether that was the end.
    fn take(&self, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> bool {
        let mut kept = self.kept();
        let mut buffer = [0; 4096];
        // Bounded, for somebody who says more than can be taken.
        for _ in 0..16 {
            match read(&mut buffer) {
                Ok(0) => kept.is_over = true,
                Ok(length) => {
                    kept.hear(buffer.get(..length).unwrap_or_default());
                    continue;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => kept.is_over = true,
            }
            break;
        }
        kept.is_over
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = plain(&std::mem::take(&mut self.rest));
                    self.note(line);
                }
                byte if self.rest.len() < LINE_MAX => self.rest.push(*byte),
                _ => {}
            }
        }
    }

    fn note(&mut self, line: String) {
        // "channel 2: open failed: connect failed: open failed"
        if line.starts_with("channel ") && line.contains("open failed") {
            self.refused_at = Some(Instant::now());
        }
        if !line.is_empty() {
            self.lines.push_back(line);
        }
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }
}

/// The other side has its words in it: nothing of them may speak to a terminal.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_what_speaks_to_a_terminal() {
        let mut kept = Kept::default();
        for number in 0..100 {
            kept.hear(format!("line {number}\r\n").as_bytes());
        }
        kept.hear(&[b'x'; 10_000]);
        kept.hear(b"\n\x1b[2Jend\n");
        assert_eq!(kept.lines.len(), LINES_MAX);
        assert_eq!(kept.lines.back().unwrap(), "[2Jend");
        assert_eq!(kept.lines[LINES_MAX - 2].len(), LINE_MAX);
        assert_eq!(kept.lines[LINES_MAX - 3], "line 99");
    }

    #[test]
    fn a_refused_connection_is_noticed() {
        let mut kept = Kept::default();
        kept.hear(b"banner: open failed\n");
        assert_eq!(kept.refused_at, None);
        kept.hear(b"channel 2: open failed: administratively prohibited: open failed\n");
        assert!(kept.refused_at.is_some());
    }
}
