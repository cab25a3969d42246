//! What all handles of a client share: who we are, and the ways to the cluster.

use std::{sync::Arc, time::Duration};

use drowse_provider::Deadline;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ClientError, ClientOptions, Endpoint, OptionsError,
    call::Call,
    connection::Dialer,
    session::{Admission, Granted, Login, Pass, Session},
    tls::{Tls, Trust},
    transport::{Progress, Transport},
    wire::Envelope,
};

/// How long a renewal may hold up the call before which it is tried.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What all handles of a client share.
pub(super) struct Shared {
    session: Session,
    transport: Transport,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    pub(super) fn new(options: ClientOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let ClientOptions {
            endpoints,
            credentials,
            trust,
            connect_timeout,
            request_timeout,
            in_flight,
        } = options;
        if trust == Trust::Anyone {
            tracing::warn!(
                endpoints = %shown(&endpoints),
                "certificates are not verified: whoever answers there gets the credential of the \
                 cluster; pin its fingerprint instead"
            );
        }
        let tls = Tls::new(trust).map_err(|error| OptionsError::Tls(error.to_string()))?;
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let dialer = Dialer::new(tls, connect_timeout, closing.clone(), tasks.clone());
        let transport = Transport::new(endpoints, in_flight, dialer, request_timeout);
        Ok(Self { session: Session::new(credentials), transport, closing, tasks })
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        self.transport.endpoints()
    }

    /// Ends the calls in flight, and waits for the connections' ends.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.transport.let_go();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Asks. Dropping the future closes the connection; an order that was sent may still be taken.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
    ) -> Result<Envelope<T>, ClientError> {
        let mut progress = Progress::default();
        let asked = self.closing.run_until_cancelled(self.admitted(call, deadline, &mut progress));
        // Boxed: whoever waits for a turn takes little memory.
        let asked = Box::pin(tokio::time::timeout_at(deadline.at(), asked)).await;
        let outcome = match asked {
            // Its connection may have been closed before it was.
            Ok(Some(Err(_))) if self.closing.is_cancelled() => Err(ClientError::Closed),
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(ClientError::Closed),
            Err(_) => Err(ClientError::TimedOut {
                after: deadline.duration(),
                last: progress.last.map(Box::new),
                was_sent: progress.was_sent,
            }),
        };
        outcome.map_err(|error| if call.is_order() { error } else { error.of_a_read() })
    }

    /// With a credential that is accepted; another is tried once.
    async fn admitted<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Envelope<T>, ClientError> {
        let pass = match self.session.admission() {
            // An order does not wait for a renewal: the next read does.
            Admission::Renew(pass) if call.is_order() => pass,
            admission => self.pass(admission, deadline, progress).await?,
        };
        let outcome = self.ask_with(&pass, call, deadline, progress).await;
        let Err(ClientError::Unauthorized { message }) = outcome else { return outcome };
        if self.transport.is_accepted_elsewhere(&self.session.show(&pass), progress).await {
            self.session.accepted();
            return Err(not_its_say(call, &message));
        }
        let another = self.another_pass(&pass, &message, deadline, progress).await;
        if matches!(another, Ok(None) | Err(ClientError::Secret { .. })) {
            self.session.refused(&message);
        }
        let Some(pass) = another? else { return Err(ClientError::Unauthorized { message }) };
        let outcome = self.ask_with(&pass, call, deadline, progress).await;
        if let Err(ClientError::Unauthorized { message }) = &outcome {
            self.session.refused(message);
        }
        outcome
    }

    async fn ask_with<T: DeserializeOwned>(
        &self,
        pass: &Pass,
        call: &Call<'_>,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Envelope<T>, ClientError> {
        let shown = self.session.show(pass);
        let outcome = self.transport.ask(call, Some(&shown), deadline, progress).await;
        if matches!(
            outcome,
            Ok(_) | Err(ClientError::Forbidden { .. } | ClientError::Refused { .. })
        ) {
            self.session.accepted();
        }
        outcome
    }

    async fn pass(
        &self,
        mut admission: Admission,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Arc<Pass>, ClientError> {
        if let Admission::Refused(error) = admission {
            if !self.session.may_have_changed().await? {
                return Err(error);
            }
            self.session.forgive();
            admission = self.session.admission();
        }
        match admission {
            Admission::Go(pass) => Ok(pass),
            Admission::Refused(error) => Err(error),
            Admission::Read => self.session.read_token(None).await?.ok_or(ClientError::Closed),
            Admission::LogIn => {
                let _turn = self.session.login_turn().await.ok_or(ClientError::Closed)?;
                // Somebody else did meanwhile, or was refused.
                match self.session.admission() {
                    Admission::Go(pass) | Admission::Renew(pass) => Ok(pass),
                    Admission::Refused(error) => Err(error),
                    Admission::LogIn | Admission::Read => self.log_in(deadline, progress).await,
                }
            }
            Admission::Renew(pass) => {
                let Some(_turn) = self.session.login_turn_now() else { return Ok(pass) };
                let Some(login) = self.session.renewal(&pass) else { return Ok(pass) };
                let soon = Deadline::after(RENEWAL_TIMEOUT);
                let renewal = self.ask_for_ticket(login, soon, progress);
                match tokio::time::timeout_at(soon.at(), renewal).await {
                    Ok(Ok(pass)) => Ok(pass),
                    Ok(Err(ClientError::Unauthorized { .. })) => {
                        self.log_in(deadline, progress).await
                    }
                    Ok(Err(_)) | Err(_) => {
                        self.session.not_renewed();
                        Ok(pass)
                    }
                }
            }
        }
    }

    /// Another one than this, which was refused; `None`: there is no other.
    async fn another_pass(
        &self,
        refused: &Pass,
        message: &str,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Option<Arc<Pass>>, ClientError> {
        if self.session.renewal(refused).is_none() {
            return self.session.read_token(Some(refused)).await;
        }
        tracing::debug!(answer = message, "the ticket is not accepted: logging in anew");
        let _turn = self.session.login_turn().await.ok_or(ClientError::Closed)?;
        if let Some(newer) = self.session.newer_than(refused) {
            return Ok(Some(newer));
        }
        self.session.forget(refused);
        if let Some(refusal) = self.session.refusal() {
            return Err(refusal);
        }
        self.log_in(deadline, progress).await.map(Some)
    }

    /// By the password. A refusal is remembered.
    async fn log_in(
        &self,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Arc<Pass>, ClientError> {
        let login = self.session.login().await?;
        let outcome = self.ask_for_ticket(login, deadline, progress).await;
        if let Err(ClientError::Unauthorized { message }) = &outcome {
            self.session.refused(message);
        }
        outcome
    }

    async fn ask_for_ticket(
        &self,
        login: Login,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Arc<Pass>, ClientError> {
        let call = Call::login(&login.user, login.password.expose_secret());
        let asked: Result<Envelope<Granted>, _> =
            self.transport.ask(&call, None, deadline, progress).await;
        // Whatever becomes of it, the order for which it is done has not been sent.
        let answer = asked.map_err(ClientError::of_a_read)?;
        self.session.logged_in(answer.data).map_err(ClientError::of_a_read)
    }
}

impl Drop for Shared {
    /// Connections that lie idle end with the last handle.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// The only endpoint that answers refuses a credential that another one accepts.
fn not_its_say(call: &Call<'_>, answer: &str) -> ClientError {
    let message = format!(
        "one endpoint refuses the credential, which another accepts, and no other answers this: look \
         at the clock and the cluster file system of its node ({answer})"
    );
    match call.node() {
        Some(node) => {
            ClientError::NodeUnreachable { node: node.to_owned(), message, was_sent: false }
        }
        None => ClientError::Garbled { message, was_sent: false },
    }
}

fn shown(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
