//! Whoever was named to be asked before each sleep: the application itself, or a command.

mod command;

use std::time::Duration;

use drowse_gateway::{HttpVeto, VetoAnswer};
use drowse_provider::Details;
use drowse_watcher::Busy;
use tracing::warn;

use self::command::VetoCommand;
use super::patience::{Patience, Verdict};

/// How much of what was answered is told.
const SHOWN_CHARACTERS: usize = 200;

/// How long no answer is put up with until somebody is told. It keeps awake all the same: it was named
/// to be heard.
const TOLD_AFTER: Duration = Duration::ZERO;

/// Somebody who is asked.
#[derive(Debug)]
pub(super) struct Veto {
    workload: String,
    who: Who,
    patience: Patience,
}

#[derive(Debug)]
enum Who {
    Application(HttpVeto),
    Command(VetoCommand),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    MaySleep,
    /// For this reason, as it was said.
    Busy(String),
    /// None, or none that means anything: why.
    None(String),
}

impl Veto {
    pub(super) fn by_path(workload: &str, question: HttpVeto) -> Self {
        Self::of(workload, Who::Application(question))
    }

    pub(super) fn by_command(workload: &str, engine: &str, command: Vec<String>) -> Self {
        Self::of(workload, Who::Command(VetoCommand::new(workload, engine, command)))
    }

    fn of(workload: &str, who: Who) -> Self {
        Self { workload: workload.to_owned(), who, patience: Patience::of(TOLD_AFTER) }
    }

    /// Whether it may sleep. Cancel safe: dropping the future ends the connection, or the command.
    pub(super) async fn may_sleep(&self, details: &Details) -> Result<(), Busy> {
        let (holder, answer) = match &self.who {
            Who::Application(question) => {
                let answer = question
                    .ask(details)
                    .await
                    .map_or_else(Answer::None, |answer| meaning(&answer));
                (format!("its veto at `{}`", question.path()), answer)
            }
            Who::Command(command) => {
                (format!("its veto by `{}`", command.program()), command.ask(details).await)
            }
        };
        let reason = match answer {
            Answer::MaySleep => {
                self.patience.answered();
                return Ok(());
            }
            Answer::Busy(reason) => {
                self.patience.answered();
                reason
            }
            Answer::None(why) => {
                if self.patience.missed() == Verdict::Lost {
                    warn!(
                        workload = self.workload,
                        error = why,
                        "{holder} gives no answer, and keeps the workload awake until it does"
                    );
                }
                format!("no answer that means anything: {why}")
            }
        };
        Err(Busy::new(holder, reason))
    }
}

fn meaning(answer: &VetoAnswer) -> Answer {
    match answer.status.as_u16() {
        200..=299 => Answer::MaySleep,
        409 | 423 | 503 => Answer::Busy(first_line(&answer.body, "busy")),
        _ => Answer::None(format!("it answers {}", answer.status)),
    }
}

/// The first line of what was said, for logs and tables; `otherwise` if nothing was.
fn first_line(said: &[u8], otherwise: &str) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or(otherwise);
    // Quotes may stay as they are; what could write lines of its own may not.
    let escaped = line.chars().take(SHOWN_CHARACTERS).flat_map(|c| {
        let is_plain = matches!(c, '"' | '\'');
        let (plain, escaped) = (is_plain.then_some(c), (!is_plain).then(|| c.escape_debug()));
        plain.into_iter().chain(escaped.into_iter().flatten())
    });
    escaped.collect()
}

#[cfg(test)]
mod tests;
