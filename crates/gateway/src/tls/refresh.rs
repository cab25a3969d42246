//! What certificates are, and what becomes of them.

use std::{
    collections::BTreeSet,
    error::Error as StdError,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    CertificateSummary,
    choice::Identities,
    identity::Identity,
    source::{CertificateError, CertificateSource, Stamp},
};

const DAY: i64 = 24 * 60 * 60;

/// How many days before its end a certificate is warned of.
const WARN_BEFORE: i64 = 14;

/// All sources, and what they have given last.
pub(super) struct Refresh(Mutex<Vec<Kept>>);

struct Kept {
    source: CertificateSource,
    stamp: Stamp,
    identity: Arc<Identity>,
    /// How many days were left when that was told last.
    told_days: Option<i64>,
    /// What was wrong with a new one, so that it is told once for each change.
    complaint: Option<String>,
}

impl Refresh {
    pub(super) fn load(
        sources: Vec<CertificateSource>,
    ) -> Result<(Self, Identities), Vec<(usize, CertificateError)>> {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for (index, source) in sources.into_iter().enumerate() {
            let stamp = source.stamp();
            match source.read(now()) {
                Ok(identity) => {
                    let identity = Arc::new(identity);
                    all.push(Kept { source, stamp, identity, told_days: None, complaint: None });
                }
                Err(error) => errors.push((index, error)),
            }
        }
        match Identities::new(all.iter().map(|kept| &kept.identity)) {
            Some(identities) if errors.is_empty() => Ok((Self(Mutex::new(all)), identities)),
            None if errors.is_empty() => {
                let none = rustls::Error::General("no certificate is named".to_owned());
                Err(vec![(0, CertificateError::Tls(none))])
            }
            _ => Err(errors),
        }
    }

    /// Looks for changes, and tells of them and of what will expire; the new choice if there are any.
    /// Blocks on files.
    pub(super) fn look(&self, hosts: &BTreeSet<String>) -> Option<Identities> {
        let (mut all, now) = (self.all(), now());
        let mut is_changed = false;
        for kept in all.iter_mut() {
            is_changed |= kept.look(hosts, now);
            kept.warn_of_end(now);
        }
        let identities = || Identities::new(all.iter().map(|kept| &kept.identity));
        is_changed.then(identities).flatten()
    }

    pub(super) fn summaries(&self) -> Vec<CertificateSummary> {
        self.all().iter().map(Kept::summary).collect()
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        let (all, now) = (self.all(), now());
        all.iter()
            .flat_map(|kept| kept.source.complaint().into_iter().chain(kept.end(now)))
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Takes what is new, if it can be used; whether it did.
    fn look(&mut self, hosts: &BTreeSet<String>, now: i64) -> bool {
        let stamp = self.source.stamp();
        let next = self.source.next(hosts, &self.identity, now);
        if next.is_none() && stamp == self.stamp {
            return false;
        }
        let read = next.as_ref().unwrap_or(&self.source).read(now);
        if read.is_ok() || stamp != self.stamp {
            self.complaint = None;
        }
        self.stamp = stamp;
        if read.is_ok()
            && let Some(next) = next
        {
            // Not before: what was not made is tried again each time.
            self.source = next;
        }
        let origin = self.source.origin();
        match read {
            Ok(identity) if identity.shows_as(&self.identity) => false,
            Ok(identity) => {
                let names = identity.all_names().join(", ");
                let fingerprint = identity.fingerprint();
                let chain = identity.key().cert.len();
                tracing::info!(origin, names, fingerprint, chain, "a new certificate is shown");
                self.identity = Arc::new(identity);
                self.told_days = None;
                true
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    fn complain(&mut self, error: &CertificateError) {
        // With its causes.
        let words = format!("{error:?}");
        if self.complaint.as_ref() != Some(&words) {
            let error = error as &dyn StdError;
            tracing::warn!(
                error,
                "a changed certificate cannot be used, and the old one stays: mend the files, which \
                 are read again by themselves"
            );
            self.complaint = Some(words);
        }
    }

    /// Tells, once a day, of a certificate that ends soon.
    fn warn_of_end(&mut self, now: i64) {
        let days = (self.identity.not_after() - now).div_euclid(DAY);
        if self.told_days == Some(days) {
            return;
        }
        if let Some(words) = self.end(now) {
            self.told_days = Some(days);
            tracing::warn!("{words}");
        }
    }

    /// That it ends soon, if it does.
    fn end(&self, now: i64) -> Option<String> {
        let left = self.identity.not_after() - now;
        if left > WARN_BEFORE * DAY {
            return None;
        }
        let origin = self.source.origin();
        let when = match left.div_euclid(DAY) {
            _ if left <= 0 => "has expired: clients refuse it".to_owned(),
            0 => "expires within a day".to_owned(),
            1 => "expires in 1 day".to_owned(),
            days => format!("expires in {days} days"),
        };
        Some(format!("the certificate `{origin}` {when}; renew it, and it is read again by itself"))
    }

    fn summary(&self) -> CertificateSummary {
        let is_self_signed = matches!(self.source, CertificateSource::SelfSigned(_));
        self.identity.summary(self.source.origin(), is_self_signed)
    }
}

impl CertificateSource {
    fn read(&self, now: i64) -> Result<Identity, CertificateError> {
        match self {
            Self::Files(files) => files.read(),
            Self::SelfSigned(own) => own.obtain(now),
        }
    }

    /// What changes when it does.
    fn stamp(&self) -> Stamp {
        match self {
            Self::Files(files) => files.stamp(),
            Self::SelfSigned(_) => Stamp::new(),
        }
    }

    /// What it should be in place of the present one, though nobody has changed it.
    fn next(&self, hosts: &BTreeSet<String>, present: &Identity, now: i64) -> Option<Self> {
        match self {
            Self::Files(_) => None,
            Self::SelfSigned(own) => own.next(hosts, present, now).map(Self::SelfSigned),
        }
    }

    fn complaint(&self) -> Option<String> {
        match self {
            Self::Files(files) => files.complaint(),
            Self::SelfSigned(_) => None,
        }
    }

    /// Where it is from, for people.
    fn origin(&self) -> String {
        match self {
            Self::Files(files) => files.certificate.display().to_string(),
            Self::SelfSigned(own) => own.origin(),
        }
    }
}

/// Seconds since 1970. Before that nothing counts.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}
