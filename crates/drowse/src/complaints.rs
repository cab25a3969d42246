//! Tells of what cannot be managed: once for each occasion, and only if it lasts.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::{Problem, Severity};

/// What is wrong for a shorter time is no news: an update makes the next container before it
/// removes the last, and for a moment two claim one host.
const SETTLE: Duration = Duration::from_secs(3);

/// What was found wrong, and whether it was told.
#[derive(Debug, Default)]
pub(crate) struct Complaints(HashMap<String, Complaint>);

#[derive(Debug)]
struct Complaint {
    severity: Severity,
    since: Instant,
    is_told: bool,
}

impl Complaints {
    /// Takes in what is wrong now.
    pub(crate) fn update(&mut self, problems: &[Problem], now: Instant) {
        self.0.retain(|line, complaint| {
            let stays = problems.iter().any(|problem| problem.line() == *line);
            if !stays && complaint.is_told {
                info!(problem = line, "settled");
            }
            stays
        });
        for problem in problems {
            self.0.entry(problem.line()).or_insert(Complaint {
                severity: problem.severity,
                since: now,
                is_told: false,
            });
        }
    }

    /// When there will be something to tell.
    pub(crate) fn next(&self) -> Option<Instant> {
        let untold = self.0.values().filter(|complaint| !complaint.is_told);
        untold.map(|complaint| complaint.since + SETTLE).min()
    }

    /// Tells what has lasted.
    pub(crate) fn tell(&mut self, now: Instant) {
        for (line, complaint) in &mut self.0 {
            if !complaint.is_told && complaint.since + SETTLE <= now {
                complaint.is_told = true;
                match complaint.severity {
                    Severity::Error => error!("not managed: {line}"),
                    Severity::Warning => warn!("{line}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_once_and_what_passes_is_not() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let problems = [Problem::error("lasts"), Problem::error("passes")];
        complaints.update(&problems, start);
        assert_eq!(complaints.next(), Some(start + SETTLE));
        complaints.update(&problems[..1], start + SETTLE / 2);
        complaints.tell(start + SETTLE);
        assert_eq!(complaints.next(), None);
        assert_eq!(complaints.0.len(), 1);
    }
}
