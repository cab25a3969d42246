//! Who may enter: asked before anything is woken.
//!
//! All that a route says must be so: the client comes from a network that may enter, it says a name and a
//! password, whoever is asked agrees. In this order: what is cheap comes first. A route that says nothing
//! costs one look.

mod basic;
mod forward;
mod hashing;
mod networks;
mod users;

use std::{net::IpAddr, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use tokio::sync::Semaphore;

pub use self::{
    basic::BasicAuth,
    forward::{ForwardAuth, ForwardAuthError},
    networks::AllowedNetworks,
    users::UsersError,
};
use self::{
    basic::{Basic, Refusal},
    forward::{Forward, Said},
    hashing::Hashing,
};
use crate::{
    body::ResponseBody,
    client::Client,
    headers,
    problem::{Problem, Reason},
};

/// How many questions to others are under way at once, of all routes; further ones wait as long as
/// their own time allows.
const MOST_ASKING: usize = 512;

/// When it is worth trying again after a check that could not be made.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Who may enter by a route. All that is said must be so; the default lets everybody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Clients of these networks: the client's address, also behind a trusted proxy. Everybody else gets
    /// 403.
    pub networks: AllowedNetworks,
    /// Who says a name and a password. Everybody else gets 401.
    pub basic: Option<BasicAuth>,
    /// Whom somebody else lets in. Everybody else gets what that one answers, or, if it answers nothing,
    /// 503.
    pub forward: Option<Box<ForwardAuth>>,
}

impl Access {
    /// Everybody may enter.
    pub fn open() -> Self {
        Self::default()
    }
}

/// What bounds the checks of all routes.
pub(crate) struct Checks {
    hashing: Hashing,
    asking: Semaphore,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self { hashing: Hashing::new(), asking: Semaphore::new(MOST_ASKING) }
    }
}

/// What a route has checked.
pub(crate) struct Guard {
    networks: AllowedNetworks,
    basic: Option<Basic>,
    forward: Option<Forward>,
}

/// A request that wants to enter.
pub(crate) struct Visit<'a> {
    /// The route's name, for logs.
    pub(crate) route: &'a str,
    pub(crate) client: &'a Client,
    /// The address of whom what one may have is counted; `None`: of this machine's own it is not.
    pub(crate) source: Option<IpAddr>,
    pub(crate) host: &'a HeaderValue,
    /// Its headers.
    pub(crate) request: &'a HeaderMap,
    pub(crate) method: &'a Method,
    /// The path and query that it asks for, or that it asks drowse itself about.
    pub(crate) target: HeaderValue,
}

/// What the application is told of who has entered. Empty: nothing.
pub(crate) type Told = Option<Box<HeaderMap>>;

impl Guard {
    /// `None`: there is nothing to check.
    pub(crate) fn new(access: &Access) -> Option<Self> {
        let Access { networks, basic, forward } = access;
        let is_open = networks.are_all() && basic.is_none() && forward.is_none();
        (!is_open).then(|| Self {
            networks: networks.clone(),
            basic: basic.as_ref().map(Basic::new),
            forward: forward.as_deref().map(Forward::new),
        })
    }

    /// Whether it may enter, and with what; if not, what it gets. Takes no lease.
    pub(crate) async fn admit(
        &self,
        visit: &Visit<'_>,
        checks: &Checks,
    ) -> Result<Told, Box<Response<ResponseBody>>> {
        let admitted = self.check(visit, checks).await;
        if let Err(answer) = &admitted {
            let (route, client, status) = (visit.route, visit.client.address, answer.status());
            tracing::debug!(route, %client, %status, "a request may not enter");
        }
        admitted
    }

    async fn check(
        &self,
        visit: &Visit<'_>,
        checks: &Checks,
    ) -> Result<Told, Box<Response<ResponseBody>>> {
        let refuse =
            |reason, detail: String| Box::new(Problem::new(reason, detail).into_response());
        let unavailable = || {
            let detail = "It cannot be found out at present who may enter; drowse's log says why.";
            let problem = Problem::new(Reason::AuthUnavailable, detail).retry_after(TRY_AGAIN);
            Box::new(problem.into_response())
        };
        let address = visit.client.address;
        if !self.networks.contain(address) {
            // Its own address, so that a proxy which nobody trusts is found out.
            let detail = format!("Clients at {address} may not enter.");
            return Err(refuse(Reason::Forbidden, detail));
        }
        if let Some(basic) = &self.basic {
            match basic.check(visit, checks).await {
                Ok(()) => {}
                Err(Refusal::Unavailable) => return Err(unavailable()),
                Err(Refusal::Unauthorized) => {
                    let detail = "A name and its password are needed.".to_owned();
                    let mut answer = refuse(Reason::Unauthorized, detail);
                    answer.headers_mut().insert(WWW_AUTHENTICATE, basic.challenge());
                    return Err(answer);
                }
            }
        }
        let Some(forward) = &self.forward else { return Ok(None) };
        match forward.ask(visit, checks, self.basic.is_some()).await {
            Said::Enter(told) => Ok((!told.is_empty()).then(|| Box::new(told))),
            Said::Answer(answer) => Err(answer),
            Said::Nothing => Err(unavailable()),
        }
    }

    /// Takes off what the application must not be told by a client.
    pub(crate) fn hide(&self, request: &mut HeaderMap) {
        if self.basic.as_ref().is_some_and(|basic| !basic.passes_on) {
            request.remove(AUTHORIZATION);
        }
        let told = self.forward.iter().flat_map(Forward::told);
        for name in told.collect::<Vec<_>>() {
            let is_it = |spelled: &&HeaderName| headers::is_spelled(spelled, name.as_str());
            let spelled: Vec<_> = request.keys().filter(is_it).cloned().collect();
            for name in spelled {
                request.remove(name);
            }
        }
    }

    /// The same, and tells it who has entered.
    pub(crate) fn tell(&self, request: &mut HeaderMap, told: Told) {
        self.hide(request);
        if let Some(told) = told {
            request.extend(*told);
        }
    }
}
