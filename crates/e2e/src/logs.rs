//! What a program writes, line by line.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// The lines so far. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct Logs {
    lines: Arc<watch::Sender<Vec<String>>>,
}

impl Default for Logs {
    fn default() -> Self {
        Self { lines: Arc::new(watch::Sender::new(Vec::new())) }
    }
}

impl Logs {
    /// Follows a stream until it ends. Every line is kept: tests are short.
    pub(crate) fn follow(&self, stream: impl AsyncRead + Send + Unpin + 'static) {
        let lines = self.lines.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream).lines();
            while let Ok(Some(line)) = stream.next_line().await {
                lines.send_modify(|lines| lines.push(line));
            }
        });
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// The lines so far with all of these texts in them.
    pub fn matching(&self, texts: &[&str]) -> Vec<String> {
        let lines = self.lines.borrow();
        lines.iter().filter(|line| has_all(line, texts)).cloned().collect()
    }

    /// How many lines there are, for [`Logs::wait_after`].
    pub fn mark(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Waits for a line with all of these texts in it, past or to come.
    ///
    /// # Panics
    /// If there is none within the deadline; the lines are shown.
    pub async fn wait_for(&self, texts: &[&str], deadline: Duration) -> String {
        self.wait_after(0, texts, deadline).await
    }

    /// The same, for a line after `mark`.
    ///
    /// # Panics
    /// If there is none within the deadline; the lines are shown.
    pub async fn wait_after(&self, mark: usize, texts: &[&str], deadline: Duration) -> String {
        let mut lines = self.lines.subscribe();
        let found = |lines: &Vec<String>| {
            lines.iter().skip(mark).find(|line| has_all(line, texts)).cloned()
        };
        let waiting = lines.wait_for(|lines| found(lines).is_some());
        match tokio::time::timeout(deadline, waiting).await {
            Ok(Ok(lines)) => found(&lines).unwrap_or_default(),
            _ => panic!("no line with {texts:?} within {deadline:?}:\n{}", self.lines().join("\n")),
        }
    }
}

fn has_all(line: &str, texts: &[&str]) -> bool {
    texts.iter().all(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::DEADLINE;

    #[tokio::test]
    async fn a_line_is_found_before_and_after_it_was_written() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let logs = Logs::default();
        logs.follow(reader);
        let write = tokio::io::AsyncWriteExt::write_all;
        write(&mut writer, b"wake wiki\nsleep wiki\n").await.unwrap();
        assert_eq!(logs.wait_for(&["sleep", "wiki"], DEADLINE).await, "sleep wiki");
        let mark = logs.mark();
        write(&mut writer, b"wake wiki again\n").await.unwrap();
        assert_eq!(logs.wait_after(mark, &["wake"], DEADLINE).await, "wake wiki again");
        assert_eq!(logs.matching(&["wake"]).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "no line with")]
    async fn a_line_that_never_comes_ends_the_wait() {
        Logs::default().wait_for(&["never"], DEADLINE).await;
    }
}
