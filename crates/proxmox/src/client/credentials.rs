//! Who we are to the API.

use std::{
    env, fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ClientError,
    file::{Stamp, blocking},
};

/// More than any secret: a token's is 36 characters long.
const FILE_MAX: u64 = 16 * 1024;

/// Who we are to the API, always whole: a half-given credential cannot be said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// An API token. Needs no login, and does not end unless it was made to.
    Token {
        /// Its name.
        id: TokenId,
        /// Its secret.
        secret: Secret,
    },
    /// A user with a password: logs in, and keeps the ticket alive. Second factors are not
    /// possible: use a token.
    Password {
        /// `name@realm`.
        user: String,
        /// The password.
        secret: Secret,
    },
}

/// The name of an API token: `user@realm!name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    text: String,
}

/// What is no token's name. It is not told: it may be the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token's name: `user@realm!name` is needed, and the secret beside it")]
#[non_exhaustive]
pub struct ParseTokenIdError;

/// Where a secret comes from. It is never shown.
///
/// White space around it (the newline at a file's end) is taken off.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Secret {
    /// The secret itself.
    Given(SecretString),
    /// The environment variable that has it.
    Environment(String),
    /// The file that has it; read again when it changes or the secret is refused.
    File(PathBuf),
}

impl TokenId {
    /// The user that it belongs to: `user@realm`.
    pub fn user(&self) -> &str {
        self.text.split_once('!').map_or(&self.text, |(user, _)| user)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_token =
            text.split_once('!').is_some_and(|(user, name)| is_user(user) && is_word(name));
        if is_token { Ok(Self { text: text.to_owned() }) } else { Err(ParseTokenIdError) }
    }
}

/// Whether this is `name@realm`, of characters that can stand in a header and in a form. The name
/// may itself contain an `@`.
pub(super) fn is_user(text: &str) -> bool {
    let Some((name, realm)) = text.rsplit_once('@') else {
        return false;
    };
    let is_name = !name.is_empty()
        && !name.contains([':', '/', '!', '='])
        && name.chars().all(|part| part.is_ascii_graphic());
    let is_realm = !realm.is_empty()
        && realm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name && is_realm
}

/// A secret as it was read.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) value: SecretString,
    /// Of the file, if it is one.
    stamp: Option<Stamp>,
}

impl Read {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.value.expose_secret() == other.value.expose_secret()
    }
}

impl Secret {
    /// Whether it can be another one by now than what was read.
    pub(super) async fn may_differ(&self, read: &Read) -> Result<bool, ClientError> {
        match self {
            Self::Given(_) | Self::Environment(_) => Ok(false),
            Self::File(path) => {
                let (path, before) = (path.clone(), read.stamp);
                blocking(move || Some(Stamp::of(&path)) != before).await.ok_or(ClientError::Closed)
            }
        }
    }

    pub(super) async fn read(&self) -> Result<Read, ClientError> {
        match self {
            Self::Given(value) => Ok(Read { value: trimmed(value.expose_secret()), stamp: None }),
            Self::Environment(name) => from_environment(name),
            Self::File(path) => {
                let file = path.clone();
                let (read, mode) =
                    blocking(move || from_file(&file)).await.ok_or(ClientError::Closed)??;
                if mode & 0o007 != 0 {
                    tracing::warn!(
                        path = %path.display(),
                        "the secret file can be read by everybody on this machine: `chmod 600` it"
                    );
                }
                Ok(read)
            }
        }
    }
}

fn trimmed(text: &str) -> SecretString {
    text.trim().to_owned().into()
}

fn refused(reason: String, source: Option<io::Error>) -> ClientError {
    ClientError::Secret { reason, source: source.map(std::sync::Arc::new) }
}

fn from_environment(name: &str) -> Result<Read, ClientError> {
    let is_of_name = |part: char| part.is_ascii_alphanumeric() || part == '_';
    let is_name = name.starts_with(|first: char| is_of_name(first) && !first.is_ascii_digit())
        && name.chars().all(is_of_name);
    // What is written there instead may be the secret.
    if !is_name {
        let reason = "what is given is no name of an environment variable".to_owned();
        return Err(refused(reason, None));
    }
    let shown = format!("the environment variable `{name}`");
    let text = env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => refused(format!("{shown} is not set"), None),
        env::VarError::NotUnicode(_) => refused(format!("{shown} is not UTF-8"), None),
    })?;
    Ok(Read { value: checked(&text, &shown)?, stamp: None })
}

/// The secret, and the file's mode.
fn from_file(path: &Path) -> Result<(Read, u32), ClientError> {
    let shown = format!("the secret file `{}`", path.display());
    let stamp = Some(Stamp::of(path));
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| {
        let mode = file.metadata()?.mode();
        file.take(FILE_MAX).read_to_end(&mut text)?;
        Ok(mode)
    });
    let mode = read.map_err(|error| {
        let reason =
            format!("{shown} cannot be read: correct its path, or let drowse's user read it");
        refused(reason, Some(error))
    })?;
    let text = SecretString::from(
        String::from_utf8(text).map_err(|_| refused(format!("{shown} is not UTF-8"), None))?,
    );
    Ok((Read { value: checked(text.expose_secret(), &shown)?, stamp }, mode))
}

/// A secret that can be sent.
fn checked(text: &str, shown: &str) -> Result<SecretString, ClientError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(refused(format!("{shown} is empty"), None));
    }
    if text.contains(char::is_control) {
        return Err(refused(
            format!("{shown} has more than one line: only the secret belongs there"),
            None,
        ));
    }
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_name_is_user_realm_and_name() {
        for text in ["drowse@pve!main", "root@pam!t_1", "a.b@my-realm!x", "me@corp@ldap!t"] {
            let id: TokenId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        let id: TokenId = "drowse@pve!main".parse().unwrap();
        assert_eq!(id.user(), "drowse@pve");
    }

    #[test]
    fn what_is_none_is_refused_and_not_shown() {
        let refused = [
            "",
            "drowse",
            "drowse@pve",
            "drowse!main",
            "@pve!main",
            "drowse@!main",
            "drowse@pve!",
            "drowse@pve!main=hidden",
            "drowse@pve!main hidden",
            "drowse@pve!main:hidden",
            "5c1e0a4c-0000-4000-8000-000000000000",
            "dro\nwse@pve!main",
        ];
        for text in refused {
            assert_eq!(text.parse::<TokenId>(), Err(ParseTokenIdError), "{text}");
        }
        insta::assert_snapshot!(ParseTokenIdError, @"this is no token's name: `user@realm!name` is needed, and the secret beside it");
    }

    #[test]
    fn what_is_no_variables_name_is_not_shown() {
        for name in ["hunter2-hidden", "5c1e0a4c", "", "A B", "GEHEIMÄ"] {
            let Err(error) = from_environment(name) else { panic!("{name}") };
            assert_eq!(
                error.to_string(),
                "the credential's secret cannot be used: what is given is no name of an \
                 environment variable"
            );
        }
    }

    #[test]
    fn a_user_has_a_realm() {
        assert!(["root@pam", "drowse@pve", "me@corp@ldap"].into_iter().all(is_user));
        assert!(!["root", "", "@pam", "root@", "a b@pve", "a!b@pve"].into_iter().any(is_user));
    }
}
