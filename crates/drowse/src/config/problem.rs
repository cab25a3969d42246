//! What is wrong with a configuration, and where.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    path::PathBuf,
};

use crate::output::one_line;

use super::tree::Place;

/// A file that was read, for showing where something stands in it.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// The lines that are never shown, whatever is wrong in them: each holds a secret, or what may be
    /// one.
    secret_lines: BTreeSet<usize>,
}

/// The keys whose values are secrets, and those where a secret is easily put by mistake.
const SECRET_KEYS: &[&str] =
    &["secret", "secret_file", "secret_env", "password", "password_file", "password_env"];

impl Source {
    /// A text of this file. What looks like a secret in it is not shown from here on, be it YAML or
    /// not.
    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        let secret_lines = lines_with_secrets(&text);
        Self { path, text, secret_lines }
    }

    /// Does not show these lines either.
    pub(crate) fn hide(&mut self, lines: impl IntoIterator<Item = usize>) {
        self.secret_lines.extend(lines);
    }

    /// A line that may be shown.
    fn line(&self, number: usize) -> Option<&str> {
        self.text.lines().nth(number - 1).filter(|_| !self.secret_lines.contains(&number))
    }
}

/// Without the text: there may be secrets in it.
impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The lines with a key of a secret, and what is indented below it: its value may be there.
fn lines_with_secrets(text: &str) -> BTreeSet<usize> {
    let mut secret = BTreeSet::new();
    let mut below = None;
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.is_empty() || below.is_some_and(|below| indent > below) {
            secret.extend(below.map(|_| number));
        } else {
            below = SECRET_KEYS.iter().any(|key| has_key(line, key)).then_some(indent);
            secret.extend(below.map(|_| number));
        }
    }
    secret
}

fn has_key(line: &str, key: &str) -> bool {
    line.match_indices(key).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + key.len()..]);
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        begins && after.trim_start_matches(['"', '\'']).trim_start().starts_with(':')
    })
}

/// Whether something keeps what it is about from being managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// What is wrong and what was expected: a lower-case fragment.
    pub(crate) message: String,
    /// Where in the file; `None` if it is not about the file.
    pub(crate) place: Option<Place>,
    /// Whether the line itself is not to be shown: it may hold a password.
    pub(crate) is_line_secret: bool,
    /// Where else it is found, for what is not in the file: "container `web` on engine `docker`".
    pub(crate) subject: Option<String>,
}

impl Problem {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place: None,
            is_line_secret: false,
            subject: None,
        }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The problem in one line, without its place in a file.
    pub(crate) fn line(&self) -> String {
        match &self.subject {
            Some(subject) => one_line(&format!("{subject}: {}", self.message)),
            None => one_line(&self.message),
        }
    }

    /// The problem with its place and the line it stands in.
    pub(crate) fn render(&self, source: Option<&Source>) -> String {
        let mut text = format!("{}: {}\n", self.severity.as_str(), self.line());
        let (Some(place), Some(source)) = (&self.place, source) else { return text };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let path = source.path.display();
        write_to(&mut text, format_args!("{margin}--> {path}:{}:{}\n", place.line, place.column));
        let line = source.line(place.line).filter(|_| !self.is_line_secret);
        let Some(line) = line else { return text };
        // A tab is as wide as the reader's terminal wants: one blank keeps the carets in place.
        let line = line.replace('\t', " ");
        let before = place.column - 1;
        let room = line.chars().count().saturating_sub(before);
        let marked = source
            .text
            .get(place.bytes.clone())
            .map_or(0, |text| text.lines().next().unwrap_or_default().trim_end().chars().count());
        let carets = "^".repeat(marked.min(room).max(1));
        write_to(
            &mut text,
            format_args!(
                "{margin} |\n{number} | {line}\n{margin} | {}{carets}\n",
                " ".repeat(before)
            ),
        );
        text
    }
}

/// Writing to a string cannot fail.
fn write_to(text: &mut String, arguments: fmt::Arguments<'_>) {
    _ = text.write_fmt(arguments);
}

/// Everything that is wrong, so that it can be mended at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Each of them.
    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// In the order in which they stand in the file; what is not in the file comes last.
    fn sort(&mut self) {
        self.0.sort_by_key(|problem| {
            problem.place.as_ref().map_or((usize::MAX, 0), |place| (place.line, place.column))
        });
    }

    /// All of them, as [`Problem::render`] shows each.
    pub(crate) fn render(&mut self, source: Option<&Source>) -> String {
        self.sort();
        self.0.iter().map(|problem| problem.render(source)).collect::<Vec<_>>().join("\n")
    }
}
