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
