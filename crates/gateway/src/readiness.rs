//! The default probe of an HTTP route.

use std::sync::Arc;

use async_trait::async_trait;
use drowse_provider::Details;
use drowse_watcher::{Attempt, NotReady, Readiness};
use http::{HeaderName, HeaderValue};
use tokio::time::timeout;

use crate::{
    Chooser, UpstreamScheme,
    dial::{self, Dialer, Protocols},
    question,
};

/// Marks drowse's own probes. Taken off what clients send.
pub(crate) const PROBE: HeaderName = HeaderName::from_static("drowse-probe");

/// Ready when the application answers a `GET` with any status below 500.
///
/// Each attempt is one request on a connection of its own, with the header `drowse-probe: 1`. Only
/// the head of the answer is read. Refused, unreachable, timed out, reset, closed without an answer
/// and no answer in HTTP all mean "not yet".
#[derive(Clone, Debug)]
pub struct HttpReadiness {
    chooser: Chooser,
    host: Option<HeaderValue>,
    path: String,
    dialer: Arc<Dialer>,
}

impl HttpReadiness {
    /// Asks for `/` at the upstream that `chooser` chooses, which is also the `Host`.
    pub fn new(chooser: Chooser) -> Self {
        let dialer = Dialer::new(&UpstreamScheme::default(), &chooser, None).into();
        Self { chooser, host: None, path: "/".to_owned(), dialer }
    }

    /// With this `Host`: an application that serves several answers others with an error, perhaps.
    /// What is no header value is left out.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        self.host = HeaderValue::from_str(host).ok();
        self.dialer = self.dialer_for(&self.dialer.scheme);
        self
    }

    /// A certificate is for the host, unless more is said.
    fn dialer_for(&self, scheme: &UpstreamScheme) -> Arc<Dialer> {
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        Dialer::new(scheme, &self.chooser, host).into()
    }

    /// Asked so, instead of by HTTP/1.1 in clear.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &UpstreamScheme) -> Self {
        self.dialer = self.dialer_for(scheme);
        self
    }

    /// With this path, which begins with `/` and may have a query.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
}

#[async_trait]
impl Readiness for HttpReadiness {
    async fn probe(&self, details: &Details, attempt: Attempt) -> Result<(), NotReady> {
        let upstream =
            self.chooser.choose(details).map_err(|none| NotReady::new(none.to_string()))?;
        let Some(target) = upstream.target else {
            let reason = format!("no address yet ({})", upstream.why);
            return Err(NotReady::new(reason).without_address());
        };
        // Nobody answers there: perhaps it has another address by now.
        let nobody = |reason: String| {
            let not_ready = NotReady::new(reason);
            if upstream.may_change { not_ready.at_passing_address() } else { not_ready }
        };
        let request = question::ask_for(&self.path, self.host.as_ref(), &target, PROBE)
            .map_err(NotReady::new)?;

        let connecting = async {
            let addresses = dial::resolve(&target).await?;
            self.dialer.dial(&addresses, Protocols::Any, attempt.connect_timeout()).await
        };
        let dialled = timeout(attempt.answer_timeout(), connecting)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| nobody(format!("{target}: {error}")))?;
        let answer = timeout(
            attempt.answer_timeout(),
            question::send(dialled, request, &self.dialer.scheme, 0),
        );
        match answer.await {
            Ok(Ok((status, _))) if status.is_server_error() => {
                Err(NotReady::new(format!("{target}: answers {status}")))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(nobody(format!("{target}: {}", question::last(&error)))),
            Err(_) => {
                let waited = attempt.answer_timeout();
                Err(nobody(format!("{target}: no answer within {waited:?}")))
            }
        }
    }

    fn is_at_passing_address(&self) -> bool {
        self.chooser.is_at_passing_address()
    }
}
