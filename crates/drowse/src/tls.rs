//! The certificates that the gateway shows, as the configuration names them.

use drowse_gateway::{
    CertificateError, CertificateSource, CertificateSummary, SelfSigned, Tls, TlsOptions,
};
use jiff::Timestamp;
use serde::Serialize;
use tracing::{info, warn};

use crate::{
    config::{Config, Problem, Problems, Source, TlsConfig},
    exit::{CommandError, Exit},
    folder::OwnFolder,
    list::table,
    output::chain,
};

/// Where the self-signed certificate is kept, in the data folder.
const SELF_SIGNED_FILE: &str = "self-signed.pem";

/// Reads the certificates, and makes the self-signed one if it is asked for. Says which are shown.
/// `None`: the configuration asks for no TLS.
///
/// # Errors
/// Every certificate that cannot be used, where it is named, and what to do.
pub(crate) fn set_up(
    config: &Config,
    data: Option<&OwnFolder>,
    source: Option<&Source>,
) -> Result<Option<Tls>, CommandError> {
    let Some(wanted) = &config.tls else { return Ok(None) };
    let data = data.filter(|_| wanted.self_signed).and_then(|folder| match folder.create() {
        Ok(()) => Some(folder),
        Err(error) => {
            let error = chain(&*error);
            warn!(error, "the self-signed certificate is another one after each start");
            None
        }
    });
    let own = wanted.self_signed.then(|| self_signed(config, data));
    let tls = load(wanted, own)
        .map_err(|mut problems| CommandError::words(Exit::Usage, problems.render(source)))?;
    for certificate in tls.certificates() {
        let CertificateSummary { origin, names, fingerprint, is_self_signed, .. } = &certificate;
        let (names, until) = (names.join(", "), day(certificate.not_after));
        info!(origin, names, until, fingerprint, self_signed = is_self_signed, "certificate");
    }
    for complaint in tls.complaints() {
        warn!("{complaint}");
    }
    Ok(Some(tls))
}

/// What `check` tells of a certificate. Keys are added, never renamed.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateLine {
    origin: String,
    names: Vec<String>,
    /// The day on which it ends.
    until: Option<String>,
    /// `None`: it is made at the first start.
    fingerprint: Option<String>,
    self_signed: bool,
}

/// Reads the certificates and makes none.
pub(crate) fn examine(
    config: &Config,
    data: Option<&OwnFolder>,
) -> (Vec<CertificateLine>, Vec<Problem>) {
    let Some(wanted) = &config.tls else { return Default::default() };
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    if !wanted.certificates.is_empty() {
        match load(wanted, None) {
            Ok(tls) => {
                lines.extend(tls.certificates().into_iter().map(CertificateLine::from));
                problems.extend(tls.complaints().into_iter().map(Problem::warning));
            }
            Err(refused) => problems.extend(refused.into_vec()),
        }
    }
    if wanted.self_signed {
        let kept = self_signed(config, data).kept();
        lines.push(kept.map_or_else(CertificateLine::to_be_made, CertificateLine::from));
    }
    (lines, problems)
}

/// For people; empty without certificates.
pub(crate) fn render(lines: &[CertificateLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rows = lines.iter().map(|line| {
        [
            line.origin.clone(),
            line.names.join(", "),
            line.until.clone().unwrap_or_else(|| "-".to_owned()),
            line.fingerprint.clone().unwrap_or_else(|| "made at the first start".to_owned()),
        ]
    });
    table(["CERTIFICATE", "FOR", "UNTIL", "SHA-256"], rows)
}

impl From<CertificateSummary> for CertificateLine {
    fn from(certificate: CertificateSummary) -> Self {
        Self {
            until: Some(day(certificate.not_after)),
            origin: certificate.origin,
            names: certificate.names,
            fingerprint: Some(certificate.fingerprint),
            self_signed: certificate.is_self_signed,
        }
    }
}

impl CertificateLine {
    /// A self-signed one that is not there yet.
    fn to_be_made() -> Self {
        let origin = "self-signed".to_owned();
        Self { origin, names: Vec::new(), until: None, fingerprint: None, self_signed: true }
    }
}

fn load(wanted: &TlsConfig, own: Option<SelfSigned>) -> Result<Tls, Problems> {
    let files = wanted.certificates.iter().map(|(files, _)| files.clone());
    let sources = files.map(CertificateSource::Files).chain(own.map(CertificateSource::SelfSigned));
    let mut options = TlsOptions::new(sources.collect());
    options.minimum = wanted.minimum;
    Tls::load(options).map_err(|errors| {
        let mut problems = Problems::default();
        for (index, error) in errors {
            let place = wanted.certificates.get(index).map_or(&wanted.place, |(_, place)| place);
            problems.push(Problem::error(words(&error)).at(place));
        }
        problems
    })
}

fn words(error: &CertificateError) -> String {
    chain(error)
}

/// The self-signed one, for the hosts that the file knows.
fn self_signed(config: &Config, data: Option<&OwnFolder>) -> SelfSigned {
    let path = data.map(|folder| folder.path().join(SELF_SIGNED_FILE));
    let routes = config.workloads.iter().flat_map(|workload| workload.routes.iter().flatten());
    let hosts = routes.filter_map(|route| route.hosts.as_ref()).flat_map(|hosts| &hosts.value);
    SelfSigned::new(path, hosts.map(ToString::to_string))
}

/// The day of a moment, as this is told to people.
fn day(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "never".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests;
