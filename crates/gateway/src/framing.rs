//! Where a message ends (RFC 9112 section 6).

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// In one way.
    Plain,
    /// By a length and by chunks. Whoever wrote that may go on in a way that nobody else would read so:
    /// nothing that follows on its connection is to be believed.
    Twice,
}

/// What HTTP/1.1 may have done to a body on its way here, beyond what hyper has undone: nothing. Whatever
/// else is named would be lost, since it belongs to this hop.
///
/// # Errors
/// Why it is refused: a sentence for people.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(encoding), None) if is_chunked(encoding) => Ok(()),
        _ => Err("Of transfer encodings only `chunked`, once, is known here."),
    }
}

/// Lets an answer say where it ends in one way only: chunks count, and a length beside them is taken off,
/// as hyper has read it (section 6.3).
///
/// # Errors
/// As [`check_encoding`].
pub(crate) fn settle(answer: &mut HeaderMap) -> Result<Framing, &'static str> {
    if !answer.contains_key(TRANSFER_ENCODING) {
        return Ok(Framing::Plain);
    }
    check_encoding(answer)?;
    let length = answer.remove(CONTENT_LENGTH);
    Ok(if length.is_some() { Framing::Twice } else { Framing::Plain })
}
