//! The templates of pages: drowse's own, and those of a folder of the user's.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    escape_formatter, path_loader,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout},
};

/// The template of a wake; a folder that lacks it is broken.
const WAITING: &str = "waiting.html";

/// The template of a wake that failed; where there is none, the other one.
const FAILED: &str = "failed.html";

/// Instructions that a template may take: far more than any page needs.
const FUEL: u64 = 200_000;

/// The largest page that a theme may make, in bytes. Its pictures are in it.
const LARGEST_PAGE: usize = 2 << 20;

/// How long a theme may take: its files may be on a disk that does not answer. And how long a page waits
/// for those before it.
const PATIENCE: Duration = Duration::from_secs(2);

const PAGE: &str = include_str!("page.html");

static BUILT_IN: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = strict();
    environment.set_loader(|name| Ok((name == WAITING).then_some(PAGE)));
    environment
});

/// A folder of templates. They are read again when they have changed; while one is broken, the
/// built-in page is shown.
#[derive(Debug)]
pub(crate) struct Theme {
    folder: PathBuf,
    environment: Environment<'static>,
    /// What was wrong last, so that it is told once.
    complaint: Mutex<Option<String>>,
    /// Of who may read the folder: one page at a time, so that a disk that hangs takes one thread.
    turn: Arc<Semaphore>,
    /// Since when the page whose turn it is has been reading.
    reading: Mutex<Option<Instant>>,
}

/// A page's turn to read. It is over when the thread is free again, however long ago that was given up.
struct Turn {
    theme: Arc<Theme>,
    _permit: OwnedSemaphorePermit,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Waiting,
    Failed,
}

/// The built-in page.
///
/// # Errors
/// None that a test has not met: the template is a part of drowse.
pub(crate) fn built_in(variables: &Value) -> Result<String, Error> {
    BUILT_IN.get_template(WAITING)?.render(variables.clone())
}

impl Theme {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut environment = strict();
        environment.set_loader(path_loader(folder));
        Self {
            folder: folder.to_owned(),
            environment,
            complaint: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            reading: Mutex::default(),
        }
    }

    /// The theme's page; `None`, after a word in the log, if it is broken. While its disk hangs that is
    /// so at once, and without a word if too many others are before it. Dropping the future does not end
    /// the reading, which nobody can.
    pub(crate) async fn page(self: &Arc<Self>, kind: Kind, variables: Value) -> Option<String> {
        if self.is_stuck() {
            return None;
        }
        let Some(turn) = self.turn().await else { return self.complain_if_stuck() };
        let rendering = spawn_blocking(move || turn.theme.render(kind, &variables));
        match timeout(PATIENCE, rendering).await {
            Ok(Ok(page)) => page,
            // It panicked.
            Ok(Err(error)) => self.complain(error.to_string()),
            Err(_) => self.complain_if_stuck(),
        }
    }

    /// `None`: that takes too long.
    async fn turn(self: &Arc<Self>) -> Option<Turn> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned());
        // The semaphore is never closed.
        let permit = turn.await.ok()?.ok()?;
        *self.reading() = Some(Instant::now());
        Some(Turn { theme: Arc::clone(self), _permit: permit })
    }

    /// Whether the disk hangs. That many wait for it says nothing.
    fn is_stuck(&self) -> bool {
        self.reading().is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    fn complain_if_stuck(&self) -> Option<String> {
        if self.is_stuck() {
            self.complain(format!("it was not read within {PATIENCE:?}"));
        }
        None
    }

    fn reading(&self) -> MutexGuard<'_, Option<Instant>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is needed of the folder: it blocks.
    pub(crate) fn render(&self, kind: Kind, variables: &Value) -> Option<String> {
        match self.try_render(kind, variables) {
            Ok(page) if page.len() > LARGEST_PAGE => {
                self.complain(format!("its page has {} bytes, more than 2 MiB", page.len()))
            }
            Ok(page) => {
                *self.complaint() = None;
                Some(page)
            }
            Err(error) => self.complain(self.words_of(&error)),
        }
    }

    fn try_render(&self, kind: Kind, variables: &Value) -> Result<String, Error> {
        let template = match kind {
            Kind::Waiting => self.environment.get_template(WAITING)?,
            Kind::Failed => match self.environment.get_template(FAILED) {
                Err(error) if error.kind() == ErrorKind::TemplateNotFound => {
                    self.environment.get_template(WAITING)?
                }
                template => template?,
            },
        };
        template.render(variables.clone())
    }

    fn complain(&self, why: String) -> Option<String> {
        let mut last = self.complaint();
        if last.as_deref() != Some(&why) {
            let theme = self.folder.display();
            tracing::warn!(%theme, "the theme of the waiting page is broken, the built-in page is shown: {why}");
            *last = Some(why);
        }
        None
    }

    fn complaint(&self) -> MutexGuard<'_, Option<String>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is and what it is, down to the first cause.
    fn words_of(&self, error: &Error) -> String {
        let mut words = match (error.name(), error.line()) {
            (Some(name), Some(line)) => {
                format!("{}:{line}: {}", self.folder.join(name).display(), error.kind())
            }
            _ => error.kind().to_string(),
        };
        if let Some(detail) = error.detail() {
            words.push_str(": ");
            words.push_str(detail);
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            words.push_str(": ");
            words.push_str(&cause.to_string());
            source = cause.source();
        }
        words
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.theme.reading() = None;
    }
}

/// Whatever a template says: what comes of a container is escaped, and a name that is misspelt is an
/// error.
fn strict() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.remove_filter("safe");
    environment.set_formatter(escape);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// Escapes also within `{% autoescape false %}`.
fn escape(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if *state.auto_escape() == AutoEscape::Html || value.is_safe() {
        return escape_formatter(output, state, value);
    }
    write!(output, "{}", HtmlEscape(&value.to_string())).map_err(Error::from)
}

#[cfg(test)]
mod tests;
