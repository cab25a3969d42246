//! Forward authentication: somebody else is asked whether a request may enter, as Traefik, Caddy and nginx
//! ask (Authelia, Authentik, oauth2-proxy).

use std::{
    error::Error as StdError,
    io,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HOST,
        ORIGIN, USER_AGENT,
    },
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};

use super::{Checks, Visit};
use crate::{
    UpstreamScheme, UpstreamTls, UpstreamTrust,
    body::ResponseBody,
    client::{X_FORWARDED_FOR, X_FORWARDED_PROTO},
    dial::{self, Dialer, Protocols},
    framing::{self, Framing},
    headers::{self, X_FORWARDED_HOST},
    rewrite,
    seldom::Seldom,
    upstream::Target,
};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// nginx's words for the same.
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What is passed on of every request: who asks, and whether it is a browser that can be sent elsewhere.
static PASSED_ON: [HeaderName; 7] =
    [ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT, X_REQUESTED_WITH];

/// How long the answer may take, in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest head and the largest body of an answer, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
const LARGEST_BODY: usize = 256 * 1024;

/// How many connections are kept while nobody uses them, and how long.
const MOST_KEPT: usize = 32;
const KEPT_FOR: Duration = Duration::from_secs(15);

/// Who is asked whether a request may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardAuth {
    /// What is asked, by `GET`.
    pub url: Uri,
    /// With `https`: whom to trust.
    pub trust: UpstreamTrust,
    /// Headers of the request that are passed on, beside `Accept`, `Accept-Language`, `Authorization`,
    /// `Cookie`, `Origin`, `User-Agent` and `X-Requested-With`.
    pub request_headers: Vec<HeaderName>,
    /// Headers of the answer that the application gets. What a client sends under these names it never
    /// sees.
    pub response_headers: Vec<HeaderName>,
}

/// What was given cannot be asked, or not so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardAuthError {
    /// It is no URL.
    #[error(
        "`{text}` is no URL to ask: expected one such as \
         `http://authelia:9091/api/authz/forward-auth`"
    )]
    Url {
        /// What was given.
        text: String,
    },
    /// It is no header's name.
    #[error("`{name}` is no name of a header")]
    Name {
        /// What was given.
        name: String,
    },
    /// A header that nobody may set.
    #[error("`{name}` cannot be set: {why}")]
    Reserved {
        /// Which.
        name: HeaderName,
        /// Why not.
        why: &'static str,
    },
}

impl ForwardAuth {
    /// This URL is asked, and the application gets nothing of the answer.
    ///
    /// # Errors
    /// [`ForwardAuthError::Url`]: it is none of `http` or `https`, or names a user.
    pub fn new(url: &str) -> Result<Self, ForwardAuthError> {
        let no_url = || {
            // What may be a password is not shown.
            let text = if url.contains('@') { "…@…" } else { url };
            ForwardAuthError::Url { text: text.escape_debug().to_string() }
        };
        let read: Uri = url.parse().map_err(|_| no_url())?;
        let is_usual = matches!(read.scheme_str(), Some("http" | "https"));
        if !is_usual || url.contains('@') || read.host().is_none_or(str::is_empty) {
            return Err(no_url());
        }
        Ok(Self {
            url: read,
            trust: UpstreamTrust::System,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        })
    }

    /// Passes a header of the request on.
    ///
    /// # Errors
    /// [`ForwardAuthError::Name`].
    pub fn pass_on(&mut self, name: &str) -> Result<(), ForwardAuthError> {
        self.request_headers.push(header_name(name)?);
        Ok(())
    }

    /// Passes a header of the answer to the application.
    ///
    /// # Errors
    /// [`ForwardAuthError::Name`]; [`ForwardAuthError::Reserved`]: it says how a message is framed or what
    /// it is for.
    pub fn tell(&mut self, name: &str) -> Result<(), ForwardAuthError> {
        let name = header_name(name)?;
        if let Some(why) = rewrite::why_not(&name) {
            return Err(ForwardAuthError::Reserved { name, why });
        }
        self.response_headers.push(name);
        Ok(())
    }
}

fn header_name(name: &str) -> Result<HeaderName, ForwardAuthError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| ForwardAuthError::Name { name: name.escape_debug().to_string() })
}

/// The check of one route.
pub(super) struct Forward {
    spec: ForwardAuth,
    host: HeaderValue,
    /// With the query.
    path: String,
    target: Target,
    dialer: Dialer,
    kept: Mutex<Vec<Kept>>,
    complained: Seldom,
}

type Sender = SendRequest<Empty<Bytes>>;

struct Kept {
    sender: Sender,
    since: Instant,
}

/// What was said.
pub(super) enum Said {
    /// It may enter, and the application is told this.
    Enter(HeaderMap),
    /// The client is told this.
    Answer(Box<Response<ResponseBody>>),
    /// Nobody has said anything.
    Nothing,
}

/// Why nobody has said anything.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("too many are being asked about already")]
    TooMany,
    #[error("no answer within {PATIENCE:?}")]
    Late,
    #[error("it cannot be connected to")]
    Connect(#[source] io::Error),
    #[error("it broke off")]
    Broken(#[from] hyper::Error),
    #[error("its answer is larger than {} KiB, or broke off", LARGEST_BODY / 1024)]
    Body(#[source] Box<dyn StdError + Send + Sync>),
    #[error("it answered with {0}, which is no answer")]
    NoAnswer(StatusCode),
    #[error("its answer cannot be passed on: {0}")]
    Encoded(&'static str),
}

impl Forward {
    pub(super) fn new(spec: &ForwardAuth) -> Self {
        let url = &spec.url;
        // There is one: it was checked.
        let host = url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = match bare.parse::<IpAddr>() {
            Ok(address) => Target::Socket((address, port).into()),
            Err(_) => Target::Name(bare.to_owned(), port),
        };
        let scheme = if is_tls {
            UpstreamScheme::Https(UpstreamTls::new().trusting(spec.trust.clone()))
        } else {
            UpstreamScheme::Http
        };
        let named = matches!(target, Target::Name(..)).then_some(bare);
        let authority = url.authority().map_or("", |authority| authority.as_str());
        Self {
            spec: spec.clone(),
            host: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            dialer: Dialer::to(&scheme, named),
            target,
            kept: Mutex::default(),
            complained: Seldom::default(),
        }
    }

    /// The headers that nobody but who is asked may set.
    pub(super) fn told(&self) -> &[HeaderName] {
        &self.spec.response_headers
    }

    /// Asks. `has_basic`: what the client says in `Authorization` was meant for drowse.
    ///
    /// Dropping the future takes the question back.
    pub(super) async fn ask(&self, visit: &Visit<'_>, checks: &Checks, has_basic: bool) -> Said {
        let asking = async {
            // The semaphore is never closed.
            let _place = checks.asking.acquire().await.map_err(|_| Unheard::TooMany)?;
            self.answer(visit, has_basic).await
        };
        let heard = timeout(PATIENCE, asking).await.unwrap_or(Err(Unheard::Late));
        heard.unwrap_or_else(|error| {
            if self.complained.is_due() {
                let (route, url) = (visit.route, &self.spec.url);
                let error = &error as &dyn StdError;
                tracing::warn!(
                    route,
                    %url,
                    error,
                    "nobody may enter: whoever is to be asked does not answer"
                );
            }
            Said::Nothing
        })
    }

    async fn answer(&self, visit: &Visit<'_>, has_basic: bool) -> Result<Said, Unheard> {
        let headers = self.question(visit, has_basic);
        let kept = self.take();
        let (answer, sender) = match kept {
            // One that was closed meanwhile is no answer.
            Some(sender) => match self.send(sender, headers.clone()).await {
                Ok(answered) => answered,
                Err(_) => self.send(self.connect().await?, headers).await?,
            },
            None => self.send(self.connect().await?, headers).await?,
        };
        let (mut parts, body) = answer.into_parts();
        if parts.status.is_informational() {
            return Err(Unheard::NoAnswer(parts.status));
        }
        let framing = framing::settle(&mut parts.headers).map_err(Unheard::Encoded)?;
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(Unheard::Body)?;
        if framing == Framing::Plain {
            self.keep(sender);
        }
        if parts.status.is_success() {
            let mut told = HeaderMap::new();
            for name in self.told() {
                for value in parts.headers.get_all(name) {
                    told.append(name, value.clone());
                }
            }
            return Ok(Said::Enter(told));
        }
        headers::prepare_response(&mut parts.headers, false);
        parts.headers.remove(CONTENT_LENGTH);
        let no_store = HeaderValue::from_static("no-store");
        parts.headers.entry(CACHE_CONTROL).or_insert(no_store);
        let mut answer = Response::new(ResponseBody::own(body.to_bytes()));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = parts.headers;
        Ok(Said::Answer(Box::new(answer)))
    }

    fn question(&self, visit: &Visit<'_>, has_basic: bool) -> HeaderMap {
        let Visit { client, host, request, method, target, .. } = visit;
        let mut headers = HeaderMap::new();
        let passed_on = PASSED_ON.iter().chain(&self.spec.request_headers);
        for name in passed_on.filter(|name| !has_basic || **name != AUTHORIZATION) {
            if headers.contains_key(name) {
                continue;
            }
            for value in request.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let method = HeaderValue::from_str(method.as_str());
        let method = method.unwrap_or(HeaderValue::from_static("GET"));
        let host = headers::told_host(request, host, client);
        let url = [client.scheme.as_str().as_bytes(), b"://", host.as_bytes(), target.as_bytes()];
        let url = HeaderValue::from_bytes(&url.concat()).unwrap_or_else(|_| target.clone());
        let address = HeaderValue::from_str(&client.address.to_string());
        let scheme = HeaderValue::from_static(client.scheme.as_str());
        let host = host.clone();
        for (name, value) in [
            (HOST, self.host.clone()),
            (X_FORWARDED_METHOD, method.clone()),
            (X_FORWARDED_PROTO, scheme),
            (X_FORWARDED_HOST, host),
            (X_FORWARDED_URI, (*target).clone()),
            // An address always is a header value.
            (X_FORWARDED_FOR, address.unwrap_or(HeaderValue::from_static("unknown"))),
            (X_ORIGINAL_METHOD, method),
            (X_ORIGINAL_URL, url),
        ] {
            headers.insert(name, value);
        }
        headers
    }

    async fn send(
        &self,
        mut sender: Sender,
        headers: HeaderMap,
    ) -> Result<(Response<Incoming>, Sender), Unheard> {
        let mut request = Request::new(Empty::new());
        // It was part of a URL.
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        *request.headers_mut() = headers;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        Ok((answer, sender))
    }

    async fn connect(&self) -> Result<Sender, Unheard> {
        let addresses = dial::resolve(&self.target).await.map_err(Unheard::Connect)?;
        let dialled = self.dialer.dial(&addresses, Protocols::Http1, PATIENCE).await;
        let stream = TokioIo::new(dialled.map_err(Unheard::Connect)?.stream);
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_buf_size(LARGEST_HEAD).handshake(stream).await?;
        tokio::spawn(async move {
            // Whoever uses it is told; when nobody does any more, it ends.
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn StdError, "a connection for a check ended");
            }
        });
        Ok(sender)
    }

    fn take(&self) -> Option<Sender> {
        let mut kept = self.kept();
        let now = Instant::now();
        kept.retain(|kept| !kept.sender.is_closed() && now - kept.since < KEPT_FOR);
        kept.pop().map(|kept| kept.sender)
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.kept();
        if !sender.is_closed() && kept.len() < MOST_KEPT {
            kept.push(Kept { sender, since: Instant::now() });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
