//! Reads the request lines out of the bytes that a client sends.

use http::Method;
use tokio::time::Instant;

use super::scope::Scope;

/// One request that came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// The path, without the API's version and the query.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// When its head was whole.
    pub at: Instant,
}

impl Recorded {
    /// `GET /events`.
    pub fn is_event_stream(&self) -> bool {
        self.method == Method::GET && self.path == "/events"
    }

    /// An order for a container: `POST /containers/…/ORDER`.
    pub fn is_order(&self, order: &str) -> bool {
        self.method == Method::POST
            && self.path.starts_with("/containers/")
            && self.path.rsplit('/').next() == Some(order)
    }

    /// The name or id of the container that it is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        self.path.strip_prefix("/containers/")?.split('/').next()
    }

    fn parse(head: &str) -> Option<Self> {
        let mut words = head.lines().next()?.split(' ');
        let method = words.next()?.parse().ok()?;
        let target = words.next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            method,
            path: without_version(path).to_owned(),
            query: query.to_owned(),
            at: Instant::now(),
        })
    }
}

/// `/v1.41/events` is `/events`.
fn without_version(path: &str) -> &str {
    let rest = path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| rest.split_at(at)));
    match rest {
        Some((version, rest)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest,
        _ => path,
    }
}

/// Where in the stream of requests we are.
#[derive(Debug)]
enum Position {
    /// In a head, of which so much has come.
    Head(Vec<u8>),
    /// In a body, of which so many bytes are to come.
    Body(u64),
    /// After a request whose end cannot be told (an upgrade, a chunked body): no more are read.
    Opaque,
}

/// What of a request is to be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole head, and what it asks for if that can be read.
    Head(Option<Recorded>, Vec<u8>),
    /// Bytes of what follows a head.
    Rest(Vec<u8>),
}

/// Tells the requests of one connection apart, and narrows them where there is a scope.
#[derive(Debug)]
pub(super) struct Requests {
    scope: Option<Scope>,
    position: Position,
}

impl Requests {
    pub(super) fn new(scope: Option<Scope>) -> Self {
        Self { scope, position: Position::Head(Vec::new()) }
    }

    /// Takes the next bytes; returns what of them is complete enough to be passed on.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            match &mut self.position {
                Position::Opaque => {
                    pieces.push(Piece::Rest(bytes.to_vec()));
                    break;
                }
                Position::Body(rest) => {
                    let taken = usize::try_from(*rest).map_or(bytes.len(), |n| n.min(bytes.len()));
                    *rest -= taken as u64;
                    let (body, others) = bytes.split_at(taken);
                    pieces.push(Piece::Rest(body.to_vec()));
                    bytes = others;
                    if *rest == 0 {
                        self.position = Position::Head(Vec::new());
                    }
                }
                Position::Head(head) => {
                    head.push(bytes[0]);
                    bytes = &bytes[1..];
                    if head.ends_with(b"\r\n\r\n") {
                        let text = String::from_utf8_lossy(head).into_owned();
                        let scoped = self.scope.as_ref().and_then(|scope| scope.narrow(&text));
                        let head = scoped.map_or_else(|| std::mem::take(head), String::into_bytes);
                        pieces.push(Piece::Head(Recorded::parse(&text), head));
                        self.position = after(&text);
                    }
                }
            }
        }
        pieces
    }
}

fn after(head: &str) -> Position {
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if header("upgrade").is_some() || header("transfer-encoding").is_some() {
        return Position::Opaque;
    }
    match header("content-length").and_then(|length| length.parse().ok()) {
        None | Some(0) => Position::Head(Vec::new()),
        Some(length) => Position::Body(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"GET /v1.41/events?since=1 HTTP/1.1\r\nHost: d\r\n\r\n\
        POST /containers/a/start HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /\
        GET /volumes HTTP/1.1\r\n\r\n";

    fn recorded(pieces: &[Piece]) -> Vec<&Recorded> {
        let heads = pieces.iter().filter_map(|piece| match piece {
            Piece::Head(recorded, _) => recorded.as_ref(),
            Piece::Rest(_) => None,
        });
        heads.collect()
    }

    fn bytes(pieces: &[Piece]) -> Vec<u8> {
        let bytes = |piece: &Piece| match piece {
            Piece::Head(_, bytes) | Piece::Rest(bytes) => bytes.clone(),
        };
        pieces.iter().flat_map(bytes).collect()
    }

    #[test]
    fn requests_on_one_connection_are_told_apart_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let mut requests = Requests::new(None);
            let pieces: Vec<_> =
                STREAM.chunks(size).flat_map(|piece| requests.read(piece)).collect();
            let found = recorded(&pieces);
            let shown: Vec<_> =
                found.iter().map(|r| format!("{} {} {}", r.method, r.path, r.query)).collect();
            let expected = ["GET /events since=1", "POST /containers/a/start ", "GET /volumes "];
            assert_eq!(shown, expected, "in pieces of {size}");
            assert!(found[0].is_event_stream() && found[1].is_order("start"));
            assert_eq!(bytes(&pieces), STREAM, "nothing is lost or changed");
        }
    }

    #[test]
    fn nothing_is_read_into_what_follows_an_upgrade() {
        let mut requests = Requests::new(None);
        let attach =
            b"POST /containers/a/attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let pieces = requests.read(attach);
        assert_eq!(recorded(&pieces).len(), 1);
        assert_eq!(bytes(&pieces), attach);
    }
}
