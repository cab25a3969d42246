//! Reading a header. How long it is is found out here, so that not one byte of what follows is taken;
//! what it says, by the codec.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{Addresses, HeaderError};

/// The longest header of version 1: what its specification allows.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2 that is read. The addresses are small; the rest is whatever a proxy
/// adds (certificates' names, identifiers of clouds).
pub(super) const LONGEST: usize = 4096;

/// How a line begins.
const LINE: &[u8] = b"PROXY ";

/// What is read of either version before its length can be known. Shorter than any header is.
const BEGINNING: usize = v2::PROTOCOL_PREFIX.len();

/// The beginning of version 2, the version, the kind of addresses and the length.
const FIXED: usize = BEGINNING + 4;

/// The version and the command by which a proxy speaks for itself.
const LOCAL: u8 = 0x20;

pub(super) async fn header(stream: &mut TcpStream) -> Result<Option<Addresses>, HeaderError> {
    let mut beginning = [0; BEGINNING];
    let mut length = 0;
    while let Some(rest) = beginning.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let read = stream.read(rest).await.map_err(HeaderError::Ended)?;
        if read == 0 {
            return Err(HeaderError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        length += read;
        let so_far = &beginning[..length];
        // Whoever speaks another protocol is told at once, and not when nothing more comes.
        if !begins_alike(so_far, LINE) && !begins_alike(so_far, v2::PROTOCOL_PREFIX) {
            return Err(HeaderError::NoHeader);
        }
    }
    if beginning == v2::PROTOCOL_PREFIX {
        binary(stream, &beginning).await
    } else {
        line(stream, &beginning).await
    }
}

fn begins_alike(bytes: &[u8], known: &[u8]) -> bool {
    bytes.iter().zip(known).all(|(one, other)| one == other)
}

/// The end of a line is seen before it is read.
async fn line(stream: &mut TcpStream, beginning: &[u8]) -> Result<Option<Addresses>, HeaderError> {
    let mut line = [0; LONGEST_LINE];
    line[..BEGINNING].copy_from_slice(beginning);
    let mut length = BEGINNING;
    loop {
        let rest = &mut line[length..];
        if rest.is_empty() {
            return Err(malformed("the line is too long"));
        }
        let seen = stream.peek(rest).await.map_err(HeaderError::Ended)?;
        if seen == 0 {
            return Err(HeaderError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = rest[..seen].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(seen, |end| end + 1);
        stream.read_exact(&mut rest[..taken]).await.map_err(HeaderError::Ended)?;
        length += taken;
        if end.is_some() {
            break;
        }
    }
    let line = &line[..length];
    if !line.ends_with(b"\r\n") {
        return Err(malformed("there is no carriage return at the end of the line"));
    }
    let header = v1::Header::try_from(line).map_err(malformed)?;
    if header.header.len() != length {
        return Err(malformed("there is a carriage return within the line"));
    }
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ends) => Some(Addresses {
            source: socket(ends.source_address, ends.source_port),
            destination: socket(ends.destination_address, ends.destination_port),
        }),
        v1::Addresses::Tcp6(ends) => Some(Addresses {
            source: socket(ends.source_address, ends.source_port),
            destination: socket(ends.destination_address, ends.destination_port),
        }),
        v1::Addresses::Unknown => None,
    })
}

async fn binary(
    stream: &mut TcpStream,
    beginning: &[u8],
) -> Result<Option<Addresses>, HeaderError> {
    let mut header = beginning.to_vec();
    header.resize(FIXED, 0);
    stream.read_exact(&mut header[BEGINNING..]).await.map_err(HeaderError::Ended)?;
    let length = FIXED + usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if length > LONGEST {
        return Err(HeaderError::TooLong);
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[FIXED..]).await.map_err(HeaderError::Ended)?;
    // Whatever else such a header says is to be skipped.
    if header[BEGINNING] == LOCAL {
        return Ok(None);
    }
    let header = v2::Header::try_from(header.as_slice()).map_err(malformed)?;
    Ok(match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(ends)) => Some(Addresses {
            source: socket(ends.source_address, ends.source_port),
            destination: socket(ends.destination_address, ends.destination_port),
        }),
        (v2::Protocol::Stream, v2::Addresses::IPv6(ends)) => Some(Addresses {
            source: socket(ends.source_address, ends.source_port),
            destination: socket(ends.destination_address, ends.destination_port),
        }),
        _ => None,
    })
}

fn socket(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into().to_canonical(), port)
}

fn malformed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HeaderError {
    HeaderError::Malformed(why.into())
}
