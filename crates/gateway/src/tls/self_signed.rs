//! A certificate that drowse makes itself, for a first try: no browser trusts it unasked.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::{
    CertificateSummary,
    identity::Identity,
    source::{CertificateError, read},
};

/// For how long it counts: browsers take none for longer than 398 days.
const DAYS: i64 = 397;
const DAY: i64 = 24 * 60 * 60;

/// How many days before its end it is made anew.
const RENEW: i64 = 30;

/// How many hosts it names at most.
const MAX_HOSTS: usize = 500;

/// A certificate of drowse's own.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    path: Option<PathBuf>,
    hosts: BTreeSet<String>,
}

impl SelfSigned {
    /// For `localhost` and these hosts (a wildcard as `*.example.com`), kept in this file, key and
    /// certificate, readable for nobody else. Without a file it is another one after each start.
    pub fn new(path: Option<PathBuf>, hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { path, hosts }
    }

    /// The one that is kept already, if it can be used; makes none. Blocks on its file.
    pub fn kept(&self) -> Option<CertificateSummary> {
        Some(self.read_kept()?.0.summary(self.origin(), true))
    }

    /// Where it is from, for people.
    pub(super) fn origin(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| "self-signed".to_owned(), |path| path.display().to_string())
    }

    /// What is to be made in place of `present`: one for further hosts, or for longer; `None`: nothing.
    pub(super) fn next(
        &self,
        hosts: &BTreeSet<String>,
        present: &Identity,
        now: i64,
    ) -> Option<Self> {
        let room = MAX_HOSTS.saturating_sub(self.hosts.len());
        let new: Vec<_> =
            hosts.iter().filter(|host| !self.hosts.contains(*host)).take(room).cloned().collect();
        if new.is_empty() && !Self::is_due(present, now) {
            return None;
        }
        let mut next = self.clone();
        next.hosts.extend(new);
        Some(next)
    }

    /// Whether it is time for a new one.
    fn is_due(present: &Identity, now: i64) -> bool {
        present.not_after() <= now + RENEW * DAY
    }

    /// The one that is kept, if it is for all hosts and counts for long enough; else a new one, with
    /// the same key if there is one, and for the hosts that it was for as well.
    pub(super) fn obtain(&self, now: i64) -> Result<Identity, CertificateError> {
        let kept = self.read_kept();
        let mut hosts = self.hosts.clone();
        hosts.insert("localhost".to_owned());
        let mut key = None;
        if let Some((identity, pem)) = kept {
            let is_whole = hosts.iter().all(|host| identity.covers(host));
            if is_whole && !Self::is_due(&identity, now) {
                return Ok(identity);
            }
            let room = MAX_HOSTS.saturating_sub(hosts.len());
            hosts.extend(identity.names().iter().take(room).cloned());
            key = KeyPair::from_pem(&pem).ok();
        }
        let pem = make(&hosts, key, now).map_err(|error| CertificateError::Make(error.into()))?;
        if let Some(path) = &self.path {
            keep(path, &pem)
                .map_err(|source| CertificateError::Keep { path: path.clone(), source })?;
        }
        Identity::from_pem(pem.as_bytes(), pem.as_bytes())
            .map_err(|error| CertificateError::Make(error.into()))
    }

    /// What is kept, if it can be used.
    fn read_kept(&self) -> Option<(Identity, String)> {
        let pem = String::from_utf8(read(self.path.as_deref()?).ok()?).ok()?;
        Some((Identity::from_pem(pem.as_bytes(), pem.as_bytes()).ok()?, pem))
    }
}

/// Key and certificate.
fn make(hosts: &BTreeSet<String>, key: Option<KeyPair>, now: i64) -> Result<String, rcgen::Error> {
    let key = key.map_or_else(KeyPair::generate, Ok)?;
    let mut params = CertificateParams::new(hosts.iter().cloned().collect::<Vec<_>>())?;
    for address in ["127.0.0.1", "::1"] {
        // These are addresses.
        params.subject_alt_names.extend(address.parse().ok().map(rcgen::SanType::IpAddress));
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "drowse, self-signed");
    params.distinguished_name = name;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let moment = |seconds| {
        time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time)
    };
    // A clock that is a little slow does not keep clients from it.
    params.not_before = moment(now - DAY)?;
    params.not_after = moment(now + (DAYS - 1) * DAY)?;
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Writes it for nobody else to read, whole or not at all.
fn keep(path: &Path, pem: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    // A rest of an earlier attempt; that there mostly is none is no error.
    _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
