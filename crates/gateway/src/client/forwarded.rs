//! The header `Forwarded` (RFC 7239), read from its end.
//!
//! Not from its beginning: that may be a client's, which could open a quote there that swallows what
//! the proxy has added.

use http::{HeaderMap, header::FORWARDED};

use super::{Hop, Scheme, node};

/// The elements, the last first.
pub(super) fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<Hop>> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    lines
        .flat_map(|line| FromTheEnd::of(line.as_bytes(), b','))
        .filter(|element| !element.is_empty())
        .map(hop)
}

/// `for=192.0.2.1;proto=https`. `None` if it cannot be read, or names no address (`for=unknown`).
fn hop(element: &[u8]) -> Option<Hop> {
    let mut address = None;
    let mut scheme = None;
    for pair in FromTheEnd::of(element, b';').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
        if name.eq_ignore_ascii_case(b"for") {
            if address.is_some() {
                return None;
            }
            address = Some(node(value)?);
        } else if name.eq_ignore_ascii_case(b"proto") {
            scheme = Scheme::from_bytes(value);
        }
    }
    Some(Hop { address: address?, scheme })
}

/// A value without its quotes. Nothing that is read here needs an escape, and with one it would not
/// be certain from the end where a quote ends.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        [b'"', ..] => return None,
        token => token,
    };
    (!inner.contains(&b'"') && !inner.contains(&b'\\')).then_some(inner)
}

/// The pieces between separators that stand in no quotes, trimmed, the last first.
struct FromTheEnd<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> FromTheEnd<'a> {
    fn of(text: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut is_quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            if *byte == b'"' {
                is_quoted = !is_quoted;
            } else if *byte == self.separator && !is_quoted {
                self.rest = Some(&rest[..index]);
                return Some(rest[index + 1..].trim_ascii());
            }
        }
        Some(rest.trim_ascii())
    }
}
