//! The templates of pages: drowse's own, and those of a folder of the user's.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value,
    escape_formatter, path_loader,
};

use crate::disk::{Looks, NotSeen};

/// The template of a wake; a folder that lacks it is broken.
const WAITING: &str = "waiting.html";

/// The template of a wake that failed; where there is none, the other one.
const FAILED: &str = "failed.html";

/// Instructions that a template may take: far more than any page needs.
const FUEL: u64 = 200_000;

/// The largest page that a theme may make, in bytes. Its pictures are in it.
const LARGEST_PAGE: usize = 2 << 20;

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
    looks: Looks,
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
            looks: Looks::new(),
        }
    }

    /// The theme's page; `None`, after a word in the log, if it is broken. While its disk hangs that is
    /// so at once, and without a word if too many others are before it. Dropping the future does not end
    /// the reading, which nobody can.
    pub(crate) async fn page(self: &Arc<Self>, kind: Kind, variables: Value) -> Option<String> {
        let theme = Arc::clone(self);
        match self.looks.look(move || theme.render(kind, &variables)).await {
            Ok(page) => page,
            Err(NotSeen::Crowded) => None,
            Err(error) => self.complain(error.to_string()),
        }
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
