//! A process's output, line by line, into the log.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use crate::run::Run;

/// Longer lines are cut into pieces of this length.
const LINE_LIMIT: usize = 8 * 1024;

/// What somebody outside the group who holds the pipe is waited for once the run has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Forwards what comes out of `pipe` until it ends, or the run has.
pub(crate) async fn forward(
    engine: String,
    container: String,
    stream: &'static str,
    run: Arc<Run>,
    pipe: OwnedFd,
) {
    let log = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        tracing::info!(target: "drowse_process::output", engine, container, stream, "{line}");
    };
    let mut pipe = match pipe::Receiver::from_owned_fd(pipe) {
        Ok(pipe) => pipe,
        Err(error) => {
            tracing::warn!(engine, container, stream, %error, "cannot read the output");
            return;
        }
    };
    let over = async {
        run.ended().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::pin!(over);

    let mut lines = Lines::default();
    let mut chunk = [0; 4096];
    loop {
        let read = tokio::select! {
            read = pipe.read(&mut chunk) => read,
            () = &mut over => break,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(length) => lines.push(chunk.get(..length).unwrap_or_default(), log),
        }
    }
    lines.finish(log);
}

/// Cuts bytes into lines of bounded length.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_LIMIT) {
                if self.begun.len() + part.len() > LINE_LIMIT {
                    line(&self.begun);
                    self.begun.clear();
                }
                self.begun.extend_from_slice(part);
            }
            if let Some((b'\n', whole)) = self.begun.split_last() {
                line(whole.strip_suffix(b"\r").unwrap_or(whole));
                self.begun.clear();
            }
        }
    }

    fn finish(self, mut line: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            line(&self.begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, |line| found.push(line.to_vec()));
        }
        lines.finish(|line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(
            lines(&[b"on", b"e\r\ntwo\n\nth", b"ree"]),
            [&b"one"[..], b"two", b"", b"three"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut_and_nothing_of_it_lost() {
        let chunk: &[u8] = &[b'x'; 4096];
        let found = lines(&[chunk; 5]);
        assert!(found.iter().all(|line| line.len() <= LINE_LIMIT));
        assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 5 * 4096);
    }
}
