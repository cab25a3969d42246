//! What a client says that it is.

use secrecy::ExposeSecret as _;

use super::*;

fn said(line: &[u8]) -> Option<(String, String)> {
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, HeaderValue::from_bytes(line).ok()?);
    let Credentials { name, password } = Credentials::of(&headers)?;
    Some((name, password.expose_secret().to_owned()))
}

#[test]
fn basic_credentials() {
    drowse_fuzz::target("basic_credentials", |input| {
        if let Some((name, password)) = said(input) {
            assert!(!name.contains(':'));
            let again = STANDARD.encode(format!("{name}:{password}"));
            assert!(input.trim_ascii().ends_with(again.as_bytes()));
        }
        let written = format!("bAsIc {}", STANDARD.encode(input));
        let both = str::from_utf8(input).ok().and_then(|text| text.split_once(':'));
        let both = both.filter(|_| written.len() <= "Basic ".len() + LONGEST);
        let both = both.map(|(name, password)| (name.to_owned(), password.to_owned()));
        assert_eq!(said(written.as_bytes()), both);
    });
}
