//! Asking an application whether it may sleep.

use std::{sync::Arc, time::Duration};

use drowse_provider::Details;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::timeout;

use crate::{
    Chooser, UpstreamScheme,
    dial::{self, Dialer, Protocols},
    question,
};

/// Marks the question. Taken off what clients send.
pub(crate) const VETO: HeaderName = HeaderName::from_static("drowse-veto");

/// How long the application may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer's body is read.
const MAX_BODY: usize = 1024;

/// The question whether an application may sleep: a `GET` with the header `drowse-veto: 1`, on a
/// connection of its own.
#[derive(Clone, Debug)]
pub struct HttpVeto {
    chooser: Chooser,
    host: Option<HeaderValue>,
    path: String,
    dialer: Arc<Dialer>,
}

/// What an application answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VetoAnswer {
    /// The status.
    pub status: StatusCode,
    /// The first KiB of its body, as it was sent.
    pub body: Vec<u8>,
}

impl VetoAnswer {
    /// This answer.
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body }
    }
}

impl HttpVeto {
    /// Asks for this path, which begins with `/` and may have a query, at the upstream that `chooser`
    /// chooses, which is also the `Host`.
    pub fn new(chooser: Chooser, path: impl Into<String>) -> Self {
        let dialer = Dialer::new(&UpstreamScheme::default(), &chooser, None).into();
        Self { chooser, host: None, path: path.into(), dialer }
    }

    /// With this `Host`. What is no header value is left out.
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

    /// The path that is asked for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Asks. `details` are those of the present run. Takes 10 s at most. Cancel safe: dropping the future
    /// ends the connection.
    ///
    /// # Errors
    /// Why there is no answer: a lower-case fragment.
    pub async fn ask(&self, details: &Details) -> Result<VetoAnswer, String> {
        let upstream = self.chooser.choose(details).map_err(|none| none.to_string())?;
        let target = upstream.target.ok_or_else(|| format!("no address ({})", upstream.why))?;
        let request = question::ask_for(&self.path, self.host.as_ref(), &target, VETO)?;
        let asked = async {
            let addresses = dial::resolve(&target).await.map_err(|error| error.to_string())?;
            let dialled = self.dialer.dial(&addresses, Protocols::Any, ANSWER_TIMEOUT).await;
            let dialled = dialled.map_err(|error| error.to_string())?;
            let answer = question::send(dialled, request, &self.dialer.scheme, MAX_BODY).await;
            answer.map_err(|error| question::last(&error))
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok((status, body))) => Ok(VetoAnswer { status, body }),
            Ok(Err(why)) => Err(format!("{target}: {why}")),
            Err(_) => Err(format!("{target}: no answer within {ANSWER_TIMEOUT:?}")),
        }
    }
}
