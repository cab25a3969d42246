//! Being let in: what goes with each request, and what is done when it is refused.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    ClientError, Credentials,
    credentials::{Read, Secret},
    lenient::{Number, Text},
};

/// How long a ticket is good for.
const TICKET_LIFE: Duration = Duration::from_hours(2);

/// When it is renewed: long before its end, so that there is time to try again.
const TICKET_HALF: Duration = Duration::from_hours(1);

/// It is not used in its last moments, lest it end on the way.
const TICKET_MARGIN: Duration = Duration::from_mins(1);

/// How long after a renewal that came to nothing the next is tried.
const RENEWAL_PAUSE: Duration = Duration::from_mins(1);

/// How long a refused credential is not shown again; doubled with each further refusal. The API
/// itself takes 3 s to refuse.
const FIRST_PAUSE: Duration = Duration::from_secs(3);

/// The longest pause of a token. Whoever gives it back waits no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause of a password: what checks it may lock the account after some refusals.
const LONGEST_LOGIN_PAUSE: Duration = Duration::from_mins(15);

/// Who we are, and whether that is believed.
pub(super) struct Session {
    credentials: Credentials,
    state: Mutex<State>,
    /// One login at a time.
    logins: Semaphore,
}

#[derive(Default)]
struct State {
    secret: Option<Read>,
    pass: Option<Arc<Pass>>,
    /// Counts passes, to tell whether another was made meanwhile.
    made: u64,
    refusal: Option<Refusal>,
    renewal_not_before: Option<Instant>,
}

struct Refusal {
    until: Instant,
    times: u32,
    message: String,
}

/// What goes with a request.
pub(super) struct Pass {
    number: u64,
    kind: PassKind,
    since: Instant,
}

enum PassKind {
    Token(HeaderValue),
    Ticket { cookie: HeaderValue, csrf: HeaderValue, ticket: SecretString },
}

/// A pass as it is shown with a call.
pub(super) struct Shown<'a> {
    session: &'a Session,
    pass: &'a Pass,
}

/// What a login is asked with.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// What a login answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    #[serde(default)]
    ticket: Text,
    #[serde(default, rename = "CSRFPreventionToken")]
    csrf: Text,
    #[serde(default, rename = "NeedTFA")]
    needs_second_factor: Number,
}

/// What is to be done before a request.
pub(super) enum Admission {
    /// Go, with this.
    Go(Arc<Pass>),
    /// The token's secret is to be read.
    Read,
    /// Log in, one at a time.
    LogIn,
    /// Renew this ticket, if nobody does; else go with it.
    Renew(Arc<Pass>),
    /// It was refused a moment ago.
    Refused(ClientError),
}

impl Pass {
    fn headers(&self, is_get: bool) -> Vec<(HeaderName, HeaderValue)> {
        match &self.kind {
            PassKind::Token(value) => vec![(header::AUTHORIZATION, value.clone())],
            PassKind::Ticket { cookie, csrf, .. } => {
                let mut headers = vec![(header::COOKIE, cookie.clone())];
                if !is_get {
                    headers.push((HeaderName::from_static("csrfpreventiontoken"), csrf.clone()));
                }
                headers
            }
        }
    }
}

impl Shown<'_> {
    /// The headers of a request; an order needs one more than a read.
    pub(super) fn headers(&self, is_get: bool) -> Vec<(HeaderName, HeaderValue)> {
        self.pass.headers(is_get)
    }

    /// Why it is not to be shown any more, if it is not.
    pub(super) fn refusal(&self) -> Option<ClientError> {
        self.session.refusal()
    }
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, state: Mutex::default(), logins: Semaphore::new(1) }
    }

    fn secret(&self) -> &Secret {
        match &self.credentials {
            Credentials::Token { secret, .. } | Credentials::Password { secret, .. } => secret,
        }
    }

    pub(super) fn admission(&self) -> Admission {
        let state = self.state();
        let now = Instant::now();
        let is_usable = |pass: &&Arc<Pass>| match pass.kind {
            PassKind::Token(_) => true,
            PassKind::Ticket { .. } => now < pass.since + TICKET_LIFE - TICKET_MARGIN,
        };
        let pass = state.pass.as_ref().filter(is_usable);
        // A token is not forgotten when it is refused: it may be given back.
        if let Some(refusal) = state.refusal(now) {
            return Admission::Refused(refusal);
        }
        match (pass, &self.credentials) {
            (None, Credentials::Token { .. }) => Admission::Read,
            (None, Credentials::Password { .. }) => Admission::LogIn,
            (Some(pass), Credentials::Password { .. })
                if now >= pass.since + TICKET_HALF
                    && state.renewal_not_before.is_none_or(|not_before| not_before <= now) =>
            {
                Admission::Renew(Arc::clone(pass))
            }
            (Some(pass), _) => Admission::Go(Arc::clone(pass)),
        }
    }

    /// The refusal because of which nothing is asked now, if there is one.
    pub(super) fn refusal(&self) -> Option<ClientError> {
        self.state().refusal(Instant::now())
    }

    /// Whether what was refused may be another secret by now: a file that has changed since.
    pub(super) async fn may_have_changed(&self) -> Result<bool, ClientError> {
        let read = self.state().secret.clone();
        match read {
            Some(read) => self.secret().may_differ(&read).await,
            None => Ok(false),
        }
    }

    /// Forgets the last refusal, since there is something new to try.
    pub(super) fn forgive(&self) {
        let mut state = self.state();
        state.refusal = None;
        if matches!(self.credentials, Credentials::Token { .. }) {
            state.pass = None;
        }
    }

    /// Reads the token's secret. `None` if it is the one that was in `refused`.
    pub(super) async fn read_token(
        &self,
        refused: Option<&Pass>,
    ) -> Result<Option<Arc<Pass>>, ClientError> {
        let read = self.secret().read().await?;
        let Credentials::Token { id, .. } = &self.credentials else { return Ok(None) };
        let value = sensitive(&format!("PVEAPIToken={id}={}", read.value.expose_secret()))?;
        let mut state = self.state();
        let is_same = state.secret.as_ref().is_some_and(|old| old.is_same(&read));
        state.secret = Some(read);
        if let Some(refused) = refused {
            // Somebody else has read it meanwhile.
            if let Some(newer) = state.pass.as_ref().filter(|pass| pass.number > refused.number) {
                return Ok(Some(Arc::clone(newer)));
            }
            if is_same {
                return Ok(None);
            }
        }
        Ok(Some(state.made(PassKind::Token(value))))
    }

    /// Waits until nobody else logs in. `None`: never.
    pub(super) async fn login_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.logins.acquire().await.ok()
    }

    /// The same, if nobody does now.
    pub(super) fn login_turn_now(&self) -> Option<SemaphorePermit<'_>> {
        self.logins.try_acquire().ok()
    }

    pub(super) fn show<'a>(&'a self, pass: &'a Pass) -> Shown<'a> {
        Shown { session: self, pass }
    }

    /// Does not show this pass again.
    pub(super) fn forget(&self, pass: &Pass) {
        self.state().pass.take_if(|made| made.number == pass.number);
    }

    /// A pass that was made after this one, if there is one.
    pub(super) fn newer_than(&self, old: &Pass) -> Option<Arc<Pass>> {
        self.state().pass.clone().filter(|pass| pass.number > old.number)
    }

    /// What a login by password is asked with; the secret is read for it.
    pub(super) async fn login(&self) -> Result<Login, ClientError> {
        let read = self.secret().read().await?;
        let password = read.value.clone();
        self.state().secret = Some(read);
        Ok(Login { user: self.user(), password })
    }

    /// What a renewal is asked with: the ticket is its own password. `None`: it is no ticket.
    pub(super) fn renewal(&self, pass: &Pass) -> Option<Login> {
        match &pass.kind {
            PassKind::Token(_) => None,
            PassKind::Ticket { ticket, .. } => {
                Some(Login { user: self.user(), password: ticket.clone() })
            }
        }
    }

    /// A login was answered so.
    pub(super) fn logged_in(&self, answer: Granted) -> Result<Arc<Pass>, ClientError> {
        if answer.needs_second_factor.is_true() {
            return Err(ClientError::Unauthorized {
                message: format!(
                    "user `{}` has a second factor, for which nobody is there to be asked: make an \
                     API token and use that",
                    self.user()
                ),
            });
        }
        let (Some(ticket), Some(csrf)) = (answer.ticket.some(), answer.csrf.some()) else {
            return Err(ClientError::Garbled {
                message: "the login is answered without a ticket".to_owned(),
                was_sent: true,
            });
        };
        let kind = PassKind::Ticket {
            cookie: sensitive(&format!("PVEAuthCookie={ticket}"))?,
            csrf: sensitive(&csrf)?,
            ticket: ticket.into(),
        };
        let mut state = self.state();
        state.renewal_not_before = None;
        Ok(state.made(kind))
    }

    /// A renewal came to nothing; the ticket is still good.
    pub(super) fn not_renewed(&self) {
        self.state().renewal_not_before = Some(Instant::now() + RENEWAL_PAUSE);
    }

    /// The credential was refused, and there is no other to try: for a while it is not shown again,
    /// to anybody.
    pub(super) fn refused(&self, message: &str) {
        let longest = match self.credentials {
            Credentials::Token { .. } => LONGEST_PAUSE,
            Credentials::Password { .. } => LONGEST_LOGIN_PAUSE,
        };
        let mut state = self.state();
        let now = Instant::now();
        let times = match &state.refusal {
            // One of many that were under way at once.
            Some(refusal) if refusal.until > now => return,
            Some(refusal) => refusal.times.saturating_add(1),
            None => 1,
        };
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(times - 1)).min(longest);
        if matches!(self.credentials, Credentials::Password { .. }) {
            state.pass = None;
        }
        tracing::warn!(
            answer = message,
            user = self.user(),
            pause = ?pause,
            "the credential is not accepted: it is not shown again for a while"
        );
        state.refusal = Some(Refusal { until: now + pause, times, message: message.to_owned() });
    }

    /// The credential was accepted. A refusal that holds is not ended by what was under way then.
    pub(super) fn accepted(&self) {
        let now = Instant::now();
        self.state().refusal.take_if(|refusal| refusal.until <= now);
    }

    /// Who we are: a token by its name.
    fn user(&self) -> String {
        match &self.credentials {
            Credentials::Token { id, .. } => id.to_string(),
            Credentials::Password { user, .. } => user.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self, now: Instant) -> Option<ClientError> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.until > now)?;
        Some(ClientError::Unauthorized { message: refusal.message.clone() })
    }

    fn made(&mut self, kind: PassKind) -> Arc<Pass> {
        self.made += 1;
        let pass = Arc::new(Pass { number: self.made, kind, since: Instant::now() });
        self.pass = Some(Arc::clone(&pass));
        pass
    }
}

/// A header that is not shown.
fn sensitive(text: &str) -> Result<HeaderValue, ClientError> {
    let value = HeaderValue::from_str(text).ok().filter(|_| text.is_ascii());
    let mut value = value.ok_or_else(|| ClientError::Secret {
        reason: "it has characters that no token's secret has".to_owned(),
        source: None,
    })?;
    value.set_sensitive(true);
    Ok(value)
}
