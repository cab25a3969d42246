//! The waiting page: what a person sees before a browser while a workload wakes.
//!
//! One document without anything to load. Never a 200: no cache, monitor or crawler must take it
//! for the application. With scripts it asks drowse how far things are and goes on when the
//! workload is ready; without, it asks for the application again every few seconds.

use std::{fmt::Write as _, time::Duration};

use drowse_watcher::{PhaseName, Snapshot, WakeError, Workload};
use http::{
    HeaderValue, Response,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};
use tokio::time::Instant;

use crate::{
    body::ResponseBody,
    problem::{self, Reason, own, whole_seconds},
};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Nothing but the page's own style and script, by their hashes; a test compares them.
const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-OB8c8YO8iKCSojWEQkgPxczJIB/t5/K/ssk3ibP6M+g='; \
    script-src 'sha256-xZt+97AP517rwHVPtqa9GSg11+RiE9qqPjR9vRI/57w='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// When a browser asks again at the earliest.
const REFRESH: Duration = Duration::from_secs(2);

/// The page of a workload that wakes.
pub(crate) fn waiting(workload: &Workload) -> Response<ResponseBody> {
    let snapshot = workload.snapshot();
    Page {
        reason: Reason::Waking,
        name: workload.name(),
        phase: snapshot.phase.as_str(),
        words: words(&snapshot),
        detail: &detail(&snapshot),
        elapsed: Instant::now().saturating_duration_since(snapshot.since),
        retry_after: None,
    }
    .into_response()
}

/// The page of a workload that cannot be woken now.
pub(crate) fn of_error(workload: &Workload, error: &WakeError) -> Response<ResponseBody> {
    let problem = problem::of_wake(workload.name(), error);
    Page {
        reason: problem.reason,
        name: workload.name(),
        phase: "",
        words: problem.reason.title(),
        detail: &problem::words_of(error),
        elapsed: Duration::ZERO,
        retry_after: Some(problem.retry_after.unwrap_or(Duration::from_secs(30))),
    }
    .into_response()
}

/// What a workload is doing, for the one who waits for it.
pub(crate) fn words(snapshot: &Snapshot) -> &'static str {
    if snapshot.lacks_right {
        return Reason::NotPermitted.title();
    }
    if snapshot.engine_lost_since.is_some() && snapshot.phase != PhaseName::Ready {
        return "Its engine cannot be reached at present";
    }
    match snapshot.phase {
        PhaseName::Unread => "Finding out how it is",
        PhaseName::Asleep => "Waking up",
        PhaseName::Starting => "Starting",
        PhaseName::Probing => "Started, and about to answer",
        PhaseName::Ready => "Ready",
        PhaseName::Stopping => "Just going to sleep; it is woken right after",
        PhaseName::Failed => "It does not start",
        PhaseName::Gone => "Its container is not there",
        _ => "Not ready",
    }
}

/// Why: the last thing that its attempts met, else how it came to its state. Of what is ready there is
/// nothing to explain; why it cannot be put to sleep is its user's business.
pub(crate) fn detail(snapshot: &Snapshot) -> String {
    if snapshot.phase == PhaseName::Ready {
        return String::new();
    }
    if snapshot.lacks_right {
        return problem::LACKS_RIGHT.to_owned();
    }
    snapshot.last_error.clone().unwrap_or_else(|| snapshot.reason.clone())
}

struct Page<'a> {
    reason: Reason,
    name: &'a str,
    phase: &'a str,
    words: &'a str,
    detail: &'a str,
    elapsed: Duration,
    /// When it is worth asking again, if nothing is under way.
    retry_after: Option<Duration>,
}

impl Page<'_> {
    fn into_response(self) -> Response<ResponseBody> {
        let refresh = whole_seconds(self.retry_after.unwrap_or(REFRESH).max(REFRESH));
        let mut response =
            own(self.reason.status(), "text/html; charset=utf-8", self.html(refresh));
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(refresh));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }

    fn html(&self, refresh: u64) -> String {
        let name = Escaped(self.name);
        let words = Escaped(self.words);
        let detail = Escaped(self.detail);
        let phase = Escaped(self.phase);
        let elapsed = self.elapsed.as_millis();
        let retry = match self.retry_after {
            Some(_) => format!(" data-retry-after=\"{refresh}\""),
            None => String::new(),
        };
        format!(
            "<!doctype html>\n\
             <html lang=\"en\" data-phase=\"{phase}\" data-elapsed=\"{elapsed}\"{retry}>\n\
             <head>\n\
             <meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <noscript><meta http-equiv=\"refresh\" content=\"{refresh}\"></noscript>\n\
             <title>{name}: {words}</title>\n\
             <style>{STYLE}</style>\n\
             </head>\n\
             <body>\n\
             <main>\n\
             <h1>{name}</h1>\n\
             <p id=\"words\" role=\"status\">{words}</p>\n\
             <p id=\"detail\">{detail}</p>\n\
             <p id=\"clock\"></p>\n\
             </main>\n\
             <script>{SCRIPT}</script>\n\
             </body>\n\
             </html>\n"
        )
    }
}

/// Text within HTML, in attributes too.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_admits_the_pages_own_style_and_script() {
        for (kind, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let hash = BASE64_STANDARD.encode(Sha256::digest(text));
            let expected = format!("{kind} 'sha256-{hash}'");
            assert!(POLICY.contains(&expected), "the policy must say {expected}");
        }
    }
}
