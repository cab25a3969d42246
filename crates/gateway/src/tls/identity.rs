//! A certificate with its key: whom it is for, and until when.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

use super::CertificateSummary;

/// Why a certificate and a key are no use together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is none.
    #[error("there is no certificate in it: expected PEM, `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// It is broken PEM, or no certificate within it.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// There is none.
    #[error("there is no private key in it: expected PEM, `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// It has a passphrase, which nobody could give.
    #[error(
        "the private key is encrypted: take its passphrase off, such as with `openssl pkey -in KEY \
         -out KEY-WITHOUT`"
    )]
    EncryptedKey,
    /// It is broken, or of a kind that is not known here.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// Each is fine, but not with the other.
    #[error(
        "the private key does not belong to the certificate: name the pair that was made together"
    )]
    Mismatch,
}

impl IdentityError {
    /// Whether it is about the key, and not the certificate.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::EncryptedKey | Self::Key(_))
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Identity {
    key: Arc<CertifiedKey>,
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    not_after: i64,
    fingerprint: String,
}

impl Identity {
    /// Reads PEM: the certificate, with those that lead to its root, and its key.
    pub(super) fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let (names, addresses) = names_of(&parsed);
        let not_after = parsed.validity().not_after.timestamp();
        let fingerprint = fingerprint(leaf);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound if is_encrypted(key) => IdentityError::EncryptedKey,
            pem::Error::NoItemsFound => IdentityError::NoKey,
            error => IdentityError::Key(error.to_string()),
        })?;
        let key =
            any_supported_type(&key).map_err(|error| IdentityError::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        // A kind of key that cannot tell is none of ours.
        key.keys_match().map_err(|_| IdentityError::Mismatch)?;
        Ok(Self { key: Arc::new(key), names, addresses, not_after, fingerprint })
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The hosts that it names, wildcards among them, in lower case.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// All that it is for, for people.
    pub(super) fn all_names(&self) -> Vec<String> {
        self.names.iter().cloned().chain(self.addresses.iter().map(IpAddr::to_string)).collect()
    }

    /// Until when it counts, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether clients are shown the same: the certificate, and all that lead to its root.
    pub(super) fn shows_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// For people.
    pub(super) fn summary(&self, origin: String, is_self_signed: bool) -> CertificateSummary {
        CertificateSummary {
            origin,
            names: self.all_names(),
            not_after: self.not_after,
            fingerprint: self.fingerprint.clone(),
            is_self_signed,
        }
    }

    /// Whether it is for this host: by its name, by a wildcard for its first label, or by its address.
    pub(super) fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse() {
            return self.addresses.contains(&address);
        }
        let host = host.to_ascii_lowercase();
        let is_wild = |(_, parent): (&str, &str)| self.names.contains(&format!("*.{parent}"));
        self.names.contains(&host) || host.split_once('.').is_some_and(is_wild)
    }
}

fn names_of(certificate: &X509Certificate<'_>) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    // One that cannot be read names nobody.
    let extension = certificate.subject_alternative_name().ok().flatten();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => {
                names.insert(name.to_ascii_lowercase());
            }
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    (names, addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

/// The SHA-256, as browsers and OpenSSL show it.
fn fingerprint(certificate: &[u8]) -> String {
    let digest = Sha256::digest(certificate);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn is_encrypted(pem: &[u8]) -> bool {
    let marker = b"ENCRYPTED";
    pem.windows(marker.len()).any(|window| window == marker)
}
