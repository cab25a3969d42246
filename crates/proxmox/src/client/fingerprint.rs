//! Fingerprints of certificates.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// The SHA-256 fingerprint of a certificate.
///
/// Read with colons or without, in any case; shown as Proxmox shows it, in upper case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// What is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no SHA-256 fingerprint: 32 bytes in hexadecimal are needed, as `openssl x509 \
     -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` shows them on the node"
)]
pub struct ParseFingerprintError {
    /// What was read, cut to 200 characters.
    pub text: String,
}

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseFingerprintError { text: text.chars().take(200).collect() })
    }
}

fn parse(text: &str) -> Option<Fingerprint> {
    let bare = text.trim();
    let digits: Vec<u32> = if bare.contains(':') {
        let pairs: Vec<&str> = bare.split(':').collect();
        if pairs.iter().any(|pair| pair.len() != 2) {
            return None;
        }
        pairs.concat()
    } else {
        bare.to_owned()
    }
    .chars()
    .map(|digit| digit.to_digit(16))
    .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    Some(Fingerprint(bytes.try_into().ok()?))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if place > 0 {
                formatter.write_str(":")?;
            }
            write!(formatter, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "59:BA:7A:77:DA:58:CA:BB:3E:E6:35:06:98:E2:A8:23:\
                         B8:24:0D:6D:7B:A4:74:BF:B5:64:4B:DE:83:EF:7E:B4";

    #[test]
    fn a_fingerprint_is_read_in_every_usual_spelling() {
        let spellings = [
            SHOWN.to_owned(),
            SHOWN.to_lowercase(),
            SHOWN.replace(':', ""),
            format!(" {}\n", SHOWN.replace(':', "").to_lowercase()),
        ];
        for text in spellings {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), SHOWN);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let refused = [
            String::new(),
            SHOWN[..59].to_owned(),
            format!("{SHOWN}:00"),
            SHOWN.replace("59:BA", "59BA"),
            SHOWN.replace("59", "5G"),
            SHOWN.replacen(':', " ", 1),
            // SHA-1.
            "AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00".to_owned(),
        ];
        for text in &refused {
            text.parse::<Fingerprint>().unwrap_err();
        }
        insta::assert_snapshot!(refused[6].parse::<Fingerprint>().unwrap_err(), @"`AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00` is no SHA-256 fingerprint: 32 bytes in hexadecimal are needed, as `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem` shows them on the node");
    }

    #[test]
    fn it_is_the_sha_256_of_the_certificate() {
        let shown = Fingerprint::of(b"abc").to_string();
        assert!(shown.starts_with("BA:78:16:BF:8F:01:CF:EA"), "{shown}");
    }
}
