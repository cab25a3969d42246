//! A server with TLS whose answers are written byte for byte.
//!
//! ```ignore
//! let server = Server::start(|request| match request.path.as_str() {
//!     "/version" => Reply::kept(r#"{"data":{"version":"9.2.11"}}"#),
//!     _ => Reply::error(500, "CT 201 not running"),
//! })
//! .await;
//! let client = server.client();
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drowse_proxmox::{Client, ClientOptions, Credentials, Endpoint, Fingerprint, Secret, Trust};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;

use super::certificates::{Authority, Identity};

/// How long anything is waited for: only a broken test reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Below `/api2/json`, with its query.
    pub(crate) path: String,
    /// Their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Which connection it came on, from 1.
    pub(crate) connection: usize,
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    then: Then,
    when: Option<CancellationToken>,
    is_slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Close,
    /// Waits for the next request on this connection.
    Listen,
    /// Says no more, and stays.
    Hang,
}

type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    identity: Mutex<Identity>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    script: Script,
    config: Mutex<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<usize>,
    open: Mutex<usize>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `GET /version`
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Reply {
    /// 200, and the connection is closed, as of all that pveproxy passes on.
    pub(crate) fn ok(body: impl AsRef<str>) -> Self {
        // It writes both.
        Self::whole("200 OK", "Connection: close\r\nConnection: Keep-Alive\r\n", body.as_ref())
    }

    /// 200, and the connection is kept.
    pub(crate) fn kept(body: impl AsRef<str>) -> Self {
        let reply = Self::whole("200 OK", "Connection: Keep-Alive\r\n", body.as_ref());
        Self { then: Then::Listen, ..reply }
    }

    /// An error, in JSON and in the reason phrase.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "data": null, "message": format!("{message}\n") });
        Self::whole(&format!("{status} {message}"), "Connection: close\r\n", &body.to_string())
    }

    /// An error without body and without the length of one, as 401 and 595 are.
    pub(crate) fn bare(status: u16, reason: &str) -> Self {
        Self::raw(format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n\r\n"))
    }

    /// These bytes, and then the end.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Close, when: None, is_slow: false }
    }

    /// No answer: the connection is closed.
    pub(crate) fn cut() -> Self {
        Self::raw("")
    }

    /// No answer, and the connection stays.
    pub(crate) fn never() -> Self {
        Self::cut().and_hang()
    }

    fn whole(status: &str, headers: &str, body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nServer: pve-api-daemon/3.0\r\n\
             \r\n{body}",
            body.len()
        ))
    }

    /// Afterwards the connection stays, and nothing more is said.
    pub(crate) fn and_hang(self) -> Self {
        Self { then: Then::Hang, ..self }
    }

    /// Not before `gate` is cancelled.
    pub(crate) fn after(self, gate: &CancellationToken) -> Self {
        Self { when: Some(gate.clone()), ..self }
    }

    /// Each byte by itself.
    pub(crate) fn slowly(self) -> Self {
        Self { is_slow: true, ..self }
    }
}

impl Server {
    /// With a certificate for 127.0.0.1 of a CA of its own.
    pub(crate) async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let identity = Authority::new("Proxmox Virtual Environment").issue(&["127.0.0.1"]);
        Self::start_as(identity, script).await
    }

    pub(crate) async fn start_as(
        identity: Identity,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            config: Mutex::new(identity.config()),
            requests: Mutex::default(),
            connections: Mutex::default(),
            open: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, Arc::clone(&shared)));
        Self { address, identity: Mutex::new(identity), shared, _tasks: tasks }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("https://{}", self.address).parse().unwrap()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        locked(&self.identity).fingerprint()
    }

    /// What a client of this server is made of: its certificate is pinned, and a token shown.
    pub(crate) fn options(&self) -> ClientOptions {
        self.options_with(token("secret"))
    }

    /// The same with other credentials.
    pub(crate) fn options_with(&self, credentials: Credentials) -> ClientOptions {
        let trust = Trust::Fingerprints(vec![self.fingerprint()]);
        patient(ClientOptions::new(vec![self.endpoint()], credentials, trust))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.options()).unwrap()
    }

    /// Shows this from now on.
    pub(crate) fn show(&self, identity: &Identity) {
        *locked(&self.identity) = identity.clone();
        *locked(&self.shared.config) = identity.config();
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        locked(&self.shared.requests).clone()
    }

    /// The same, as `GET /version`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// How many connections were made to it so far.
    pub(crate) fn connections(&self) -> usize {
        *locked(&self.shared.connections)
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        *locked(&self.shared.open)
    }
}

/// On a machine that is busy, nothing is too slow.
pub(crate) fn patient(options: ClientOptions) -> ClientOptions {
    options.with_connect_timeout(DEADLINE).with_request_timeout(DEADLINE)
}

/// Lets time pass without waiting for it.
pub(crate) async fn later(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

/// The token `drowse@pve!main` with this secret.
pub(crate) fn token(secret: &str) -> Credentials {
    Credentials::Token {
        id: "drowse@pve!main".parse().unwrap(),
        secret: Secret::Given(secret.to_owned().into()),
    }
}

/// An endpoint at which nobody listens.
pub(crate) async fn nobody() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("https://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// Waits until `holds` does.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::clone(&locked(&shared.config)));
            // A client that does not trust us goes away in the middle.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let number = {
                let mut connections = locked(&shared.connections);
                *connections += 1;
                *connections
            };
            *locked(&shared.open) += 1;
            // One that has gone away is none of our business.
            _ = serve(stream, number, &shared).await;
            *locked(&shared.open) -= 1;
        });
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer, connection).await? {
        let reply = (shared.script)(&request);
        locked(&shared.requests).push(request);
        if let Some(gate) = &reply.when {
            gate.cancelled().await;
        }
        if reply.is_slow {
            for byte in &reply.bytes {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
            }
        } else {
            stream.write_all(&reply.bytes).await?;
            stream.flush().await?;
        }
        match reply.then {
            Then::Close => break,
            Then::Listen => {}
            // Until the client goes away.
            Then::Hang => while stream.read_buf(&mut buffer).await? > 0 {},
        }
    }
    stream.shutdown().await
}

/// `None`: there is no further one.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    connection: usize,
) -> std::io::Result<Option<Request>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    buffer.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut line = lines.next().unwrap().split(' ');
    let (method, path) = (line.next().unwrap(), line.next().unwrap());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body: Vec<u8> = buffer.drain(..length).collect();
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.strip_prefix("/api2/json").unwrap_or(path).to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
        connection,
    }))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
