//! Why a TLS connection came to nothing, in words that say how to mend it.

use std::{error::Error, io, sync::Arc};

use tokio_rustls::rustls::{self, CertificateError};

use super::verify::{Refused, Why};
use crate::client::{ClientError, Endpoint, Fingerprint};

/// Why a handshake failed.
pub(super) fn failure(error: io::Error, endpoint: &Endpoint) -> ClientError {
    let reason = match cause(&error) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            return ClientError::Untrusted {
                endpoint: endpoint.to_string(),
                reason: match refused(error) {
                    Some(refused) => untrusted(refused, endpoint),
                    None => error.to_string(),
                },
            };
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("it ends the TLS handshake ({alert:?}): see `journalctl -u pveproxy` there")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "what it says is not TLS: Proxmox's port is 8006, unless something stands in front of it"
                .to_owned()
        }
        Some(rustls::Error::PeerIncompatible(_)) => {
            "it knows neither TLS 1.2 nor 1.3: update what answers there".to_owned()
        }
        _ => format!("it broke off the TLS handshake ({error}): is pveproxy restarting?"),
    };
    ClientError::Unreachable {
        endpoint: endpoint.to_string(),
        reason,
        was_sent: false,
        source: Some(Arc::new(error)),
    }
}

/// What the verifier said of a certificate.
fn refused(error: &CertificateError) -> Option<&Refused> {
    match error {
        CertificateError::Other(other) => other.0.downcast_ref(),
        _ => None,
    }
}

fn untrusted(Refused { shown, why }: &Refused, endpoint: &Endpoint) -> String {
    match why {
        Why::NotPinned(pins) => format!(
            "it shows {}, and {} pinned; if the certificate was renewed (compare with `openssl \
             x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` on the node, or \
             `pveproxy-ssl.pem` if that exists), pin the new one (`fingerprints`); if a CA is pinned, the node does \
             not send it along, so give its file instead (`/etc/pve/pve-root-ca.pem`); otherwise \
             somebody answers in its place",
            listed(shown),
            match &pins[..] {
                [pin] => format!("{pin} is"),
                pins => format!("{} are", joined(pins)),
            },
        ),
        Why::BelowPinned(pin, CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!(
                "it shows {}, and the pinned {pin} that is sent along has not signed it: somebody \
             answers in its place, or the node sends the wrong chain",
                listed(shown)
            )
        }
        Why::BelowPinned(pin, error) => {
            format!("below the pinned CA {pin}, {}", refusal(error, shown, endpoint))
        }
        Why::Untrusted(error) => refusal(error, shown, endpoint),
    }
}

/// What is wrong with a certificate by the rules of CAs.
fn refusal(error: &CertificateError, shown: &[Fingerprint], endpoint: &Endpoint) -> String {
    let host = endpoint.host();
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "no CA that is trusted has signed it: trust the cluster's own CA (the file \
             `/etc/pve/pve-root-ca.pem` of any node), or pin the fingerprint that it shows, {}, if \
             `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` says the \
             same on the node; otherwise somebody answers in its place",
            listed(shown)
        ),
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<_> = presented.iter().map(|name| format!("`{}`", bare(name))).collect();
            format!(
                "it is not for `{host}` but for {}: use one of these in the URL, or pin the \
                 fingerprint that it shows, {}",
                names.join(", "),
                listed(shown)
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "it has no subject alternative name, and so is for nobody: pin the fingerprint \
                 that it shows, {}",
                listed(shown)
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: renew it (`pvecm updatecerts` on the node), or set the clock that is \
             wrong"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: set the clock that is wrong, here or where it was made".to_owned()
        }
        other => format!("it is refused ({other}); it shows {}", listed(shown)),
    }
}

fn listed(shown: &[Fingerprint]) -> String {
    match shown.split_first() {
        Some((own, [])) => own.to_string(),
        Some((own, above)) => format!("{own} (and above it {})", joined(above)),
        None => "none".to_owned(),
    }
}

fn joined(fingerprints: &[Fingerprint]) -> String {
    fingerprints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A name of a certificate: `DnsName("pve1")` and `IpAddress(10.0.0.2)`, as webpki tells them.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"')
}

/// The TLS error in a chain of errors. One that went through `io::Error` is inside of it and not
/// its source.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}
