//! Basic authentication (RFC 7617), by a file of users.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;

use super::{
    Checks, Visit,
    users::{Users, UsersError},
};

/// The longest name and password, encoded. Nobody types more, and hashing is work.
const LONGEST: usize = 1_024;

/// Who may enter with a name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicAuth {
    /// The users, one a line: `name:hash`, as `htpasswd -B` writes it (bcrypt), or with an Argon2 hash.
    /// Read again when it changes.
    pub users_file: PathBuf,
    /// What browsers are told that the password is for.
    pub realm: String,
    /// Whether the application sees the name and the password; not unless said.
    pub pass_on: bool,
}

impl BasicAuth {
    /// By this file.
    pub fn new(users_file: impl Into<PathBuf>) -> Self {
        Self { users_file: users_file.into(), realm: "drowse".to_owned(), pass_on: false }
    }

    /// Reads the file: how many may enter. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or a line of it cannot.
    pub fn examine(&self) -> Result<usize, UsersError> {
        Users::read(&self.users_file)
    }
}

/// The check of one route.
pub(super) struct Basic {
    users: Arc<Users>,
    challenge: HeaderValue,
    pub(super) passes_on: bool,
}

/// Why a client does not enter.
pub(super) enum Refusal {
    /// It has not said who it is, or nobody is that.
    Unauthorized,
    /// Nobody can be told from another at present.
    Unavailable,
}

/// What a client says.
pub(super) struct Credentials {
    pub(super) name: String,
    pub(super) password: SecretString,
}

impl Basic {
    pub(super) fn new(spec: &BasicAuth) -> Self {
        let realm = spec.realm.replace(['"', '\\'], "");
        let challenge =
            HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        Self {
            users: Arc::new(Users::new(spec.users_file.clone())),
            challenge: challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"drowse\"")),
            passes_on: spec.pass_on,
        }
    }

    /// What a client is asked for.
    pub(super) fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Whether it says who may enter. A password that was right a short while ago is not hashed again.
    ///
    /// Dropping the future leaves at most one hash to be computed in vain.
    pub(super) async fn check(&self, visit: &Visit<'_>, checks: &Checks) -> Result<(), Refusal> {
        let credentials = Credentials::of(visit.request).ok_or(Refusal::Unauthorized)?;
        let known = Users::now(&self.users).await.ok_or(Refusal::Unavailable)?;
        if known.was_right(&credentials) {
            return Ok(());
        }
        let turn = checks.hashing.turn(visit.source).await.ok_or(Refusal::Unavailable)?;
        // A browser asks for much at once: one of those before it may have said the same.
        if known.was_right(&credentials) {
            return Ok(());
        }
        let hashing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            known.verify(&credentials)
        });
        match hashing.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Unauthorized),
            // It panicked, or the runtime ends.
            Err(_) => Err(Refusal::Unavailable),
        }
    }
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        // Of several nobody knows which one an application would take.
        let only = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
        let (scheme, encoded) = only.split_once(' ')?;
        let encoded = encoded.trim();
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > LONGEST {
            return None;
        }
        let said = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (name, password) = said.split_once(':')?;
        Some(Self { name: name.to_owned(), password: password.into() })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr, pin::pin};

    use futures::poll;
    use http::Method;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        access::hashing::Hashing,
        client::{Client, Scheme},
    };

    #[tokio::test(start_paused = true)]
    async fn a_password_waits_behind_those_of_its_own_source() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = bcrypt::hash("secret", 4).unwrap();
        fs::write(file.path(), format!("ann:{hash}\nbob:{hash}\n")).unwrap();
        let basic = Basic::new(&BasicAuth::new(file.path()));
        let checks = Checks { hashing: Hashing::with(2), asking: Semaphore::new(1) };
        let says = |name: &str| {
            let said = format!("Basic {}", STANDARD.encode(format!("{name}:secret")));
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(said).unwrap())])
        };
        let [one, other]: [IpAddr; 2] = [[203, 0, 113, 7].into(), [192, 0, 2, 1].into()];
        let (ann, bob, host) = (says("ann"), says("bob"), HeaderValue::from_static("app.test"));
        let client = Client::of_connection(one, Scheme::Http);
        let visit = |source, request| Visit {
            route: "app",
            client: &client,
            source: Some(source),
            host: &host,
            request,
            method: &Method::GET,
            target: HeaderValue::from_static("/"),
        };
        let turn = checks.hashing.turn(Some(one)).await.unwrap();
        let (by_one, by_other) = (visit(one, &ann), visit(other, &bob));
        assert!(basic.check(&by_other, &checks).await.is_ok());
        let mut waits = pin!(basic.check(&by_one, &checks));
        assert!(poll!(waits.as_mut()).is_pending());
        drop(turn);
        assert!(waits.await.is_ok());
    }
}
