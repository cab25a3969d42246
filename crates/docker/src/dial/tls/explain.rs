//! Why a TLS connection came to nothing, in words that say how to mend it.

use std::{error::Error, io, path::Path};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use crate::{TlsFiles, endpoint::Address};

/// Why a handshake failed: a lower-case fragment.
pub(super) fn failure(error: &io::Error, address: &Address, files: &TlsFiles) -> String {
    match cause(error) {
        Some(rustls::Error::InvalidCertificate(refused)) => untrusted(refused, address, &files.ca),
        Some(rustls::Error::AlertReceived(alert)) => refused(*alert, address, files)
            .unwrap_or_else(|| {
                format!("`{address}` ends the TLS handshake ({alert:?}): see the engine's log")
            }),
        Some(rustls::Error::InvalidMessage(_)) => format!(
            "what `{address}` says is not TLS: the engine's port for TLS is another one, usually \
             2376"
        ),
        Some(rustls::Error::PeerIncompatible(_)) => {
            format!("`{address}` knows neither TLS 1.2 nor 1.3: update what answers there")
        }
        _ => format!("`{address}` broke off the TLS handshake ({error}): is it an engine's port?"),
    }
}

/// What an engine says after the handshake about our certificate, or about its lack.
pub(super) fn refusal(
    error: &(dyn Error + 'static),
    address: &Address,
    files: &TlsFiles,
) -> Option<String> {
    match cause(error)? {
        rustls::Error::AlertReceived(alert) => refused(*alert, address, files),
        _ => None,
    }
}

fn untrusted(error: &CertificateError, address: &Address, ca: &Path) -> String {
    let (host, ca) = (&address.host, ca.display());
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of `{address}` is not signed by a CA in `{ca}`: name the file with \
             the certificate of the CA that signed it; or somebody answers in the engine's place"
        ),
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<_> = presented.iter().map(|name| format!("`{}`", bare(name))).collect();
            format!(
                "the certificate of `{address}` is not for `{host}` but for {}: use one of these \
                 in the URL, or make the engine a certificate with `{host}` as a subject \
                 alternative name",
                names.join(", ")
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate of `{address}` has no subject alternative name, and so is for \
                 nobody: make the engine one with `{host}`"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of `{address}` has expired: renew it there, or set the clock that is \
             wrong"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of `{address}` is not valid yet: set the clock that is wrong, here or \
             where it was made"
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "the certificate of `{address}` is not one for servers: make the engine one with \
                 the extended key usage `serverAuth`"
            )
        }
        // webpki's own error, which has no variant here.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            format!(
                "the certificate of `{address}` is a CA's own, which is none for servers: make the \
                 engine one that the CA in `{ca}` has signed"
            )
        }
        other => format!(
            "the certificate of `{address}` is refused ({other}): make the engine one that a CA in \
             `{ca}` has signed and that is no CA itself"
        ),
    }
}

/// A name of a certificate: `DnsName("nas")` and `IpAddress(10.0.0.2)`, as webpki tells them.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"')
}

/// Why the engine refuses us, if that is what its alert means.
fn refused(alert: AlertDescription, address: &Address, files: &TlsFiles) -> Option<String> {
    use AlertDescription as Alert;
    let Some(client) = &files.client else {
        return match alert {
            Alert::CertificateRequired | Alert::BadCertificate | Alert::HandshakeFailure => {
                Some(format!(
                    "`{address}` demands a certificate of its clients: name one that its CA has \
                     signed, with `cert` and `key`"
                ))
            }
            _ => None,
        };
    };
    let cert = client.cert.display();
    match alert {
        Alert::CertificateExpired => Some(format!(
            "`{address}` refuses the certificate in `{cert}`, since it has expired: renew it"
        )),
        Alert::CertificateRevoked => Some(format!(
            "`{address}` refuses the certificate in `{cert}`, since it was revoked: have a new one \
             signed"
        )),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError
        | Alert::CertificateRequired => Some(format!(
            "`{address}` refuses the certificate in `{cert}` ({alert:?}): it must be signed by the \
             CA that the engine was started with (`--tlscacert`), be in force, and be one for \
             clients (extended key usage `clientAuth`)"
        )),
        _ => None,
    }
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
