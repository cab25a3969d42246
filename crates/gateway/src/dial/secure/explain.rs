//! Why a TLS handshake with an upstream came to nothing, in words that say how to mend it.

use std::{error::Error, io};

use rustls::CertificateError;

/// The error with a text that a user can act upon: a lower-case fragment.
pub(super) fn failure(error: io::Error, name: &str) -> io::Error {
    let words = match cause(&error) {
        Some(rustls::Error::InvalidCertificate(refused)) => untrusted(refused, name),
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("it ends the TLS handshake ({alert:?}): see the application's log")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "what it says is not TLS: set `scheme: http`, or the port of its TLS".to_owned()
        }
        Some(rustls::Error::PeerIncompatible(_)) => {
            "it knows neither TLS 1.2 nor 1.3: update what answers there".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

fn untrusted(error: &CertificateError, name: &str) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is of no CA that is trusted: name the file with its CA, or its own \
             certificate if it signed that itself, with `ca_file`"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let presented = match error {
                CertificateError::NotValidForNameContext { presented, .. } => presented.join(", "),
                _ => String::new(),
            };
            let only = if presented.is_empty() { "nobody" } else { &presented };
            format!(
                "its certificate is not for `{name}` but for {only}: say with `server_name` which \
                 of its names is meant"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it, or set the clock that is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: set the clock that is wrong".to_owned()
        }
        other => format!(
            "its certificate is refused ({other}): name the file with its CA with `ca_file`"
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let refused = |error| {
            failure(io::Error::other(rustls::Error::InvalidCertificate(error)), "app.test")
                .to_string()
        };
        let wire = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        insta::assert_snapshot!(
            [
                refused(CertificateError::UnknownIssuer),
                refused(CertificateError::NotValidForName),
                refused(CertificateError::Expired),
                refused(CertificateError::NotValidYet),
                refused(CertificateError::Revoked),
                failure(io::Error::other(wire), "app.test").to_string(),
            ]
            .join("\n"),
            @r"
        its certificate is of no CA that is trusted: name the file with its CA, or its own certificate if it signed that itself, with `ca_file`
        its certificate is not for `app.test` but for nobody: say with `server_name` which of its names is meant
        its certificate has expired: renew it, or set the clock that is wrong
        its certificate is not valid yet: set the clock that is wrong
        its certificate is refused (Revoked): name the file with its CA with `ca_file`
        what it says is not TLS: set `scheme: http`, or the port of its TLS
        "
        );
    }
}
