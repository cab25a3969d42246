//! An endless body, line by line.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// What one event may take. Labels are part of it, so a real one may take some 10 KiB.
const LINE_MAX: usize = 1024 * 1024;

/// One line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Bytes),
    /// One that was too long to be kept.
    TooLong,
}

/// Lines of a body, wherever its chunks are split.
pub(crate) struct Lines {
    body: Incoming,
    splitter: Splitter,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, splitter: Splitter::default() }
    }

    /// The next line that is not empty; `None` at the body's end. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<Line, hyper::Error>> {
        loop {
            if let Some(line) = self.splitter.next() {
                return Some(Ok(line));
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.splitter.push(&data);
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[derive(Default)]
struct Splitter {
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    is_skipping: bool,
}

impl Splitter {
    fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    fn next(&mut self) -> Option<Line> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n')
            else {
                self.searched = self.buffer.len();
                if self.searched > LINE_MAX {
                    self.buffer.clear();
                    self.searched = 0;
                    self.is_skipping = true;
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + end + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if std::mem::take(&mut self.is_skipping) || line.len() > LINE_MAX {
                return Some(Line::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Some(Line::Whole(line.freeze()));
            }
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Line> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            lines.extend(std::iter::from_fn(|| splitter.next()));
        }
        lines
    }

    #[test]
    fn lines_are_the_same_wherever_chunks_are_split() {
        let whole = b"{\"a\":1}\n\r\n\n{\"b\":2}\n";
        let expected = split(&[whole]);
        assert_eq!(expected.len(), 2);
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let chunks = [&whole[..first], &whole[first..second], &whole[second..]];
                assert_eq!(split(&chunks), expected, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_takes_no_memory() {
        let mut splitter = Splitter::default();
        for _ in 0..100 {
            splitter.push(&vec![b'x'; LINE_MAX / 4]);
            assert_eq!(splitter.next(), None);
            assert!(splitter.buffer.len() <= LINE_MAX);
        }
        splitter.push(b"\nnext\n");
        assert_eq!(splitter.next(), Some(Line::TooLong));
        assert_eq!(splitter.next(), Some(Line::Whole(Bytes::from_static(b"next"))));
    }
}
