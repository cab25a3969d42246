//! The waiting page: what a person sees before a browser while a workload wakes.
//!
//! One document without anything to load. Never a 200: no cache, monitor or crawler must take it
//! for the application. With scripts it is told how far things are, and goes on, once, when the
//! workload is ready; without, it asks for the application again every few seconds. It holds no
//! lease: a page that is left open keeps nothing awake.

mod document;
mod language;
pub(crate) mod state;
mod texts;
mod theme;
mod usual;

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use drowse_watcher::WakeError;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};

pub use self::language::{Language, LanguageError};
use self::{
    document::Document,
    state::{Pace, State},
    theme::Theme,
};
use crate::{
    body::ResponseBody,
    handler::Exchange,
    problem::{self, Problem, Reason, own, whole_seconds},
};

/// When a browser asks again at the earliest.
const REFRESH: Duration = Duration::from_secs(2);

/// When it does that where nobody says.
const LATER: Duration = Duration::from_secs(30);

/// How the waiting page looks and speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageOptions {
    /// The folder of a theme: `waiting.html`, perhaps `failed.html`, and what these include. `None`:
    /// the built-in page.
    pub theme: Option<PathBuf>,
    /// The language that it speaks to everybody. `None`: to each what their browser asks for.
    pub language: Option<Language>,
}

impl PageOptions {
    /// The built-in page, in everybody's own language.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What makes the pages of a gateway.
#[derive(Debug)]
pub(crate) struct Pages {
    theme: Option<Arc<Theme>>,
    language: Option<Language>,
}

impl Pages {
    pub(crate) fn new(options: &PageOptions) -> Self {
        let theme = options.theme.as_deref().map(|folder| Arc::new(Theme::new(folder)));
        Self { theme, language: options.language }
    }

    /// In which language this client is spoken to.
    pub(crate) fn language_for(&self, headers: &HeaderMap) -> Language {
        self.language.unwrap_or_else(|| Language::wanted_by(headers))
    }

    async fn render(&self, document: &Document<'_>) -> Result<String, minijinja::Error> {
        let variables = document.variables();
        if let Some(theme) = &self.theme
            && let Some(page) = theme.page(document.kind(), variables.clone()).await
        {
            return Ok(page);
        }
        theme::built_in(&variables)
    }
}

/// The page of a workload that wakes.
pub(crate) async fn waiting(exchange: &Exchange, parts: &Parts) -> Response<ResponseBody> {
    let snapshot = exchange.workload().snapshot();
    let state = State::of(exchange.spec(), &snapshot);
    let status = Reason::Waking.status();
    respond(exchange, parts, &state, status, REFRESH, Some(REFRESH)).await
}

/// The page of a workload that cannot be woken now.
pub(crate) async fn of_error(
    exchange: &Exchange,
    parts: &Parts,
    error: &WakeError,
) -> Response<ResponseBody> {
    let state = State::refused(exchange.spec(), error);
    let problem = problem::of_wake(exchange.workload().name(), error);
    let after = problem.retry_after.unwrap_or(LATER).max(REFRESH);
    // Asking again wakes again: what does not start is tried again by who wants it to be.
    let refresh = may_pass_by_itself(error).then_some(after);
    respond(exchange, parts, &state, problem.reason.status(), after, refresh).await
}

/// Whether it is for time to mend.
fn may_pass_by_itself(error: &WakeError) -> bool {
    match error {
        WakeError::Timeout { .. }
        | WakeError::EngineUnavailable { .. }
        | WakeError::Locked { .. }
        | WakeError::Closed => true,
        WakeError::Dependency { source, .. } => may_pass_by_itself(source),
        _ => false,
    }
}

async fn respond(
    exchange: &Exchange,
    parts: &Parts,
    state: &State,
    status: StatusCode,
    retry_after: Duration,
    refresh: Option<Duration>,
) -> Response<ResponseBody> {
    let pages = exchange.context().gateway.pages();
    let workload = exchange.workload();
    let made = async {
        let nonce = nonce()?;
        let document = Document {
            name: workload.name(),
            host: exchange.host.to_str().unwrap_or_default(),
            state,
            pace: Pace::of(workload),
            language: pages.language_for(&parts.headers),
            refresh: refresh.map(whole_seconds),
            details: exchange.spec().page_details,
            nonce: &nonce,
        };
        let policy = HeaderValue::from_str(&policy(&nonce)).ok()?;
        let page = pages.render(&document).await.ok()?;
        Some((page, policy, document.language))
    };
    let Some((page, policy, language)) = made.await else {
        let detail = format!("{}: it wakes; its page cannot be made.", workload.name());
        return Problem::new(Reason::Waking, detail).retry_after(retry_after).into_response();
    };
    let mut response = own(status, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Nothing but this document's own style and script, and pictures and fonts that are part of it.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// What nobody can guess; `None` if the system has no randomness to give.
fn nonce() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
