//! One call: what is asked.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;

use super::{Endpoint, lanes::Lane};

/// What an answer may be long.
const LIMIT: usize = 1024 * 1024;

/// The same for lists of all containers: ten thousand are about 5 MB.
const LIST_LIMIT: usize = 32 * 1024 * 1024;

/// What is asked.
pub(super) struct Call<'a> {
    method: Method,
    /// Below `/api2/json`, encoded, with its query.
    path: String,
    form: Bytes,
    node: Option<&'a str>,
    lane: Lane,
    limit: usize,
    is_kept_alive: bool,
    is_order: bool,
    sent: Sent,
}

/// Whether an order that is being given may have arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(crate) fn may_have_arrived(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, may_have_arrived: bool) {
        self.0.store(may_have_arrived, Ordering::Relaxed);
    }
}

impl<'a> Call<'a> {
    /// A read.
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            form: Bytes::new(),
            node: None,
            lane: Lane::Reading,
            limit: LIMIT,
            is_kept_alive: false,
            is_order: false,
            sent: Sent::default(),
        }
    }

    /// An order, with its parameters.
    pub(super) fn post(path: String, parameters: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        Self {
            method: Method::POST,
            form: form.finish().into(),
            lane: Lane::Order,
            is_order: true,
            ..Self::get(path)
        }
    }

    /// About this node.
    pub(super) fn of_node(self, node: &'a str) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Tells there whether it may have arrived.
    pub(super) fn telling(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }

    /// As urgent as an order, or not.
    pub(super) fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// Answered by pveproxy itself.
    pub(super) fn kept_alive(self) -> Self {
        Self { is_kept_alive: true, ..self }
    }

    /// A list of all containers.
    pub(super) fn long(self) -> Self {
        Self { limit: LIST_LIMIT, ..self }
    }

    /// A login: sent as an order is, and changes nothing. What checks a password may count refusals,
    /// so it is shown once.
    pub(super) fn login(user: &str, password: &str) -> Self {
        let parameters = [("username", user), ("password", password)];
        Self { is_order: false, ..Self::post("/access/ticket".to_owned(), &parameters) }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The node that it is about.
    pub(super) fn node(&self) -> Option<&str> {
        self.node
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// Where it tells whether it may have arrived.
    pub(super) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// How long its answer may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether pveproxy answers it itself, and keeps the connection alive.
    pub(super) fn is_kept_alive(&self) -> bool {
        self.is_kept_alive
    }

    /// Whether it changes something.
    pub(super) fn is_order(&self) -> bool {
        self.is_order
    }

    /// Whether it must not be done twice.
    pub(super) fn is_once(&self) -> bool {
        self.method == Method::POST
    }

    /// As it is sent, with these headers of its credential.
    #[expect(clippy::expect_used, reason = "paths and forms are encoded, and hosts are checked")]
    pub(super) fn request(
        &self,
        endpoint: &Endpoint,
        credential: Vec<(HeaderName, HeaderValue)>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("/api2/json{}", self.path))
            .header(header::HOST, endpoint.authority())
            .header(header::USER_AGENT, concat!("drowse/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if !self.is_kept_alive {
            request = request.header(header::CONNECTION, "close");
        }
        if self.method != Method::GET {
            // Also of an empty body: a chunked one is refused.
            request = request
                .header(header::CONTENT_LENGTH, self.form.len())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        for (name, value) in credential {
            request = request.header(name, value);
        }
        request.body(Full::new(self.form.clone())).expect("the request is a valid one")
    }
}
