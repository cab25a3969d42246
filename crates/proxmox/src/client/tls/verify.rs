//! Which certificates are trusted.

use std::{error::Error as StdError, fmt, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::super::Fingerprint;

/// What a certificate must have.
#[derive(Debug)]
pub(super) enum Policy {
    /// A way up to a CA that is trusted.
    Roots(Arc<dyn ServerCertVerifier>),
    /// One of these fingerprints, or a signature of a CA that has.
    Pinned(Vec<Fingerprint>),
    /// Nothing.
    Anyone,
}

/// Checks a server's certificate, and says which one it was that it refused.
#[derive(Debug)]
pub(super) struct Verifier {
    policy: Policy,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
}

/// Why a certificate was refused: found again in the error of a failed handshake.
#[derive(Debug)]
pub(super) struct Refused {
    /// Of the certificates that were shown, the server's own first.
    pub(super) shown: Vec<Fingerprint>,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    /// Not pinned, and nothing above it is.
    NotPinned(Vec<Fingerprint>),
    /// The CA with this fingerprint is pinned, and this lacks.
    BelowPinned(Fingerprint, CertificateError),
    /// Refused by the CAs that are trusted.
    Untrusted(CertificateError),
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::NotPinned(_) => formatter.write_str("the certificate is not a pinned one"),
            Why::BelowPinned(_, error) | Why::Untrusted(error) => error.fmt(formatter),
        }
    }
}

impl StdError for Refused {}

impl Verifier {
    pub(super) fn new(policy: Policy, provider: &Arc<CryptoProvider>) -> Self {
        Self {
            policy,
            algorithms: provider.signature_verification_algorithms,
            provider: Arc::clone(provider),
        }
    }

    /// Whether a chain leads up to this certificate, for this name, now.
    fn leads_to(
        &self,
        ca: &CertificateDer<'_>,
        chain: Chain<'_>,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        chain.check(&*verifier)
    }

    fn check_pinned(
        &self,
        pins: &[Fingerprint],
        shown: &[Fingerprint],
        chain: Chain<'_>,
    ) -> Result<ServerCertVerified, Why> {
        let Some((own, above)) = shown.split_first() else {
            return Err(Why::NotPinned(pins.to_vec()));
        };
        // Who shows it must have its key, by the handshake's signature: name and dates add nothing.
        if pins.contains(own) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut why = Why::NotPinned(pins.to_vec());
        for (ca, fingerprint) in chain.above.iter().zip(above) {
            if pins.contains(fingerprint) {
                match self.leads_to(ca, chain) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => why = Why::BelowPinned(*fingerprint, of_certificate(error)),
                }
            }
        }
        Err(why)
    }
}

/// What is to be checked.
#[derive(Clone, Copy)]
struct Chain<'a> {
    own: &'a CertificateDer<'a>,
    above: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

impl Chain<'_> {
    fn check(self, verifier: &dyn ServerCertVerifier) -> Result<ServerCertVerified, Error> {
        verifier.verify_server_cert(self.own, self.above, self.name, self.ocsp, self.now)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = Chain { own, above, name, ocsp, now };
        let shown: Vec<_> =
            std::iter::once(own).chain(above).map(|shown| Fingerprint::of(shown)).collect();
        let checked = match &self.policy {
            Policy::Anyone => Ok(ServerCertVerified::assertion()),
            Policy::Pinned(pins) => self.check_pinned(pins, &shown, chain),
            Policy::Roots(roots) => {
                chain.check(&**roots).map_err(|error| Why::Untrusted(of_certificate(error)))
            }
        };
        checked.map_err(|why| {
            let refused = OtherError(Arc::new(Refused { shown, why }));
            Error::InvalidCertificate(CertificateError::Other(refused))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn of_certificate(error: Error) -> CertificateError {
    match error {
        Error::InvalidCertificate(error) => error,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
