//! Docker's calls on the transport: typed, bounded, logged, and with errors of the contract.

use std::time::Duration;

use drowse_provider::{Action, ContainerStatus, Deadline, Error, ErrorKind, compose};
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    DockerOptions, Location,
    dial::{Dialer, Surroundings},
    endpoint::Endpoint,
    facts::Facts,
    state::status_of,
    target::{Target, own_name},
    transport::{Answer, Transport, TransportError},
    wire::{Inspected, Listed, NetworkLine, Refusal},
};

/// What one container's answer may take; a real one takes some 10 KiB.
const INSPECT_MAX: usize = 4 * 1024 * 1024;
/// What the list of all containers may take; a real one takes some 2 KiB for each.
const LIST_MAX: usize = 64 * 1024 * 1024;
/// What any other answer may take.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// What of an engine's own words goes into an error.
const WORDS_MAX: usize = 512;
/// How long an order whose caller gave up is still held open.
const ABANDONED: Duration = Duration::from_mins(1);

/// For whom and until when something is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) action: Action,
    pub(crate) container: Option<&'a str>,
    pub(crate) deadline: Deadline,
}

impl<'a> Call<'a> {
    pub(crate) fn about_engine(action: Action, deadline: Deadline) -> Self {
        Self { action, container: None, deadline }
    }

    pub(crate) fn about(action: Action, target: &'a Target, deadline: Deadline) -> Self {
        Self { action, container: Some(target.word()), deadline }
    }
}

/// One engine, as it is talked to. Tasks hold it; dropping it closes nothing.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) options: DockerOptions,
    pub(crate) transport: Transport,
    pub(crate) facts: Facts,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Client {
    /// The error is a lower-case fragment that says what to do instead.
    pub(crate) fn new(
        name: String,
        location: &Location,
        options: DockerOptions,
    ) -> Result<Self, String> {
        let endpoint = Endpoint::of(location)?;
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let surroundings = Surroundings {
            engine: name.clone(),
            connect_timeout: options.connect_timeout,
            closing: closing.clone(),
            tasks: tasks.clone(),
        };
        let dialer = Dialer::new(&endpoint, surroundings)?;
        let timeout = options.connect_timeout;
        let transport = Transport::new(endpoint, dialer, timeout, closing.clone(), tasks.clone());
        Ok(Self { name, options, transport, facts: Facts::default(), closing, tasks })
    }

    /// A deadline for what no caller's deadline covers.
    pub(crate) fn own_deadline(&self) -> Deadline {
        Deadline::after(self.options.read_timeout)
    }

    pub(crate) fn error(&self, call: Call<'_>, kind: ErrorKind) -> Error {
        let error = Error::new(self.name.as_str(), call.action, kind);
        match call.container {
            Some(container) => error.with_container(container),
            None => error,
        }
    }

    pub(crate) fn timeout(&self, call: Call<'_>, last: Option<Error>) -> Error {
        let after = call.deadline.duration();
        self.error(call, ErrorKind::Timeout { after, last: last.map(Box::new) })
    }

    pub(crate) fn conflict(&self, call: Call<'_>, status: ContainerStatus) -> Error {
        self.error(call, ErrorKind::Conflict { status })
    }

    fn protocol(&self, call: Call<'_>, message: String) -> Error {
        self.error(call, ErrorKind::Protocol { message })
    }

    // === Reads ===

    /// Reads one container, and makes sure that it is the one that is meant.
    pub(crate) async fn inspect(
        &self,
        call: Call<'_>,
        target: &Target,
    ) -> Result<Inspected, Error> {
        if !target.can_exist() {
            return Err(self.absent(call));
        }
        let mut inspected: Inspected = match target {
            Target::Id(word) | Target::Name(word) => self.inspect_word(call, word).await?,
            Target::Service { project, service, .. } => {
                let id = self.serving(call, project, service).await?;
                match self.inspect_word(call, &id).await {
                    // In an update, it went between the two calls.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {
                        let id = self.serving(call, project, service).await?;
                        self.inspect_word(call, &id).await?
                    }
                    read => read?,
                }
            }
        };
        if self.facts.is_podman() {
            // What Podman 4 makes of a timeout that whoever made the container (compose, say) left
            // out. It would kill such a one at once.
            inspected.config.stop_timeout = inspected.config.stop_timeout.filter(|own| *own != 0);
        }
        let name = inspected.name.strip_prefix('/').unwrap_or(&inspected.name);
        if !target.is(&inspected.id, name, &inspected.config.labels) {
            return Err(self.error(call, ErrorKind::NotFound));
        }
        Ok(inspected)
    }

    async fn inspect_word(&self, call: Call<'_>, word: &str) -> Result<Inspected, Error> {
        self.read(call, &format!("/containers/{word}/json"), INSPECT_MAX).await
    }

    /// The id of the container that a compose service means now.
    async fn serving(&self, call: Call<'_>, project: &str, service: &str) -> Result<String, Error> {
        let labels = [(compose::PROJECT, project), (compose::SERVICE, service)];
        let labels = labels.map(|(label, value)| format!("{label}={value}"));
        let filters = serde_json::json!({ "label": labels }).to_string();
        let query = encode([("all", "true"), ("filters", filters.as_str())]);
        let lines = self.listed(call, &format!("/containers/json?{query}")).await?;
        match compose::choose(members(&lines, project, service)) {
            // It becomes a part of paths.
            Ok(Some(chosen)) if Target::Id(chosen.id.into()).can_exist() => {
                Ok(chosen.id.to_owned())
            }
            Ok(Some(chosen)) => Err(self.protocol(call, format!("`{}` is no id", chosen.id))),
            Ok(None) => Err(self.error(call, ErrorKind::NotFound)),
            Err(replicas) => {
                Err(self.error(call, ErrorKind::Unsupported { why: replicas.to_string() }))
            }
        }
    }

    /// Why nothing can be there, or what comes before that: a closed handle, a passed deadline.
    fn absent(&self, call: Call<'_>) -> Error {
        self.unable(call).unwrap_or_else(|| self.error(call, ErrorKind::NotFound))
    }

    pub(crate) async fn list(&self, call: Call<'_>) -> Result<Vec<Listed>, Error> {
        self.listed(call, "/containers/json?all=true").await
    }

    async fn listed(&self, call: Call<'_>, path: &str) -> Result<Vec<Listed>, Error> {
        let mut lines: Vec<Listed> = self.read(call, path, LIST_MAX).await?;
        for line in &mut lines {
            let name = own_name(&line.names).to_owned();
            line.names = vec![name];
        }
        Ok(lines)
    }

    pub(crate) async fn networks(&self, call: Call<'_>) -> Result<Vec<NetworkLine>, Error> {
        self.read(call, "/networks", ANSWER_MAX).await
    }

    /// Reads an answer that has to be there.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        path: &str,
        limit: usize,
    ) -> Result<T, Error> {
        let answer = self.get(call, path, limit).await?;
        if !answer.head.status.is_success() {
            return Err(self.refused_read(call, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let message = format!("the answer to `GET {path}` cannot be read ({error})");
            self.protocol(call, message)
        })
    }

    fn refused_read(&self, call: Call<'_>, answer: &Answer) -> Error {
        match answer.head.status {
            StatusCode::NOT_FOUND => self.error(call, ErrorKind::NotFound),
            status => self.protocol(call, format!("{status}: {}", words(answer))),
        }
    }

    /// Asks for something. An answer of any status that is about the thing itself is `Ok`; one that
    /// is about the engine or the right to ask is an error.
    pub(crate) async fn get(
        &self,
        call: Call<'_>,
        path: &str,
        limit: usize,
    ) -> Result<Answer, Error> {
        self.exchange(call, "GET", path, self.transport.get(path, limit)).await
    }

    // === Orders ===

    /// Gives an order about one container: `Ok` is any answer that is about the container.
    ///
    /// The order is not cut when the future is dropped; see [`Transport::post`].
    pub(crate) async fn order(
        &self,
        call: Call<'_>,
        target: &Target,
        verb: &str,
        query: impl Serialize,
    ) -> Result<Answer, Error> {
        self.learn_version(call).await?;
        let word = self.unmistakable(call, target).await?;
        let mut path = format!("/containers/{word}/{verb}");
        let query = encode(query);
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let abandoned_for = call.deadline.remaining() + ABANDONED;
        let order = self.transport.post(&path, ANSWER_MAX, abandoned_for);
        self.exchange(call, "POST", &path, order).await
    }

    /// The word under which the engine can only find the container that is meant.
    pub(crate) async fn unmistakable(
        &self,
        call: Call<'_>,
        target: &Target,
    ) -> Result<String, Error> {
        if !target.can_exist() {
            Err(self.absent(call))
        } else if let Target::Service { project, service, .. } = target {
            self.serving(call, project, service).await
        } else if target.is_unmistakable() {
            Ok(target.word().to_owned())
        } else {
            let id = self.inspect(call, target).await?.id;
            if Target::Id(id.as_str().into()).can_exist() {
                Ok(id)
            } else {
                Err(self.protocol(call, format!("`{id}` is no id")))
            }
        }
    }

    // === Both ===

    /// Why nothing can be asked any more.
    fn unable(&self, call: Call<'_>) -> Option<Error> {
        if self.closing.is_cancelled() {
            Some(self.error(call, ErrorKind::Closed))
        } else if call.deadline.has_passed() {
            Some(self.timeout(call, None))
        } else {
            None
        }
    }

    async fn exchange(
        &self,
        call: Call<'_>,
        method: &str,
        path: &str,
        exchange: impl Future<Output = Result<Answer, TransportError>>,
    ) -> Result<Answer, Error> {
        if let Some(unable) = self.unable(call) {
            return Err(unable);
        }
        let began = Instant::now();
        tracing::debug!(
            engine = self.name, container = call.container, action = %call.action,
            "asking `{method} {path}`"
        );
        let outcome = tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(self.error(call, ErrorKind::Closed)),
            outcome = tokio::time::timeout_at(call.deadline.at(), exchange) => match outcome {
                Err(_) => Err(self.timeout(call, None)),
                Ok(Err(error)) => Err(self.untransported(call, error)),
                Ok(Ok(answer)) => Ok(answer),
            },
        };
        match &outcome {
            Ok(answer) => tracing::debug!(
                engine = self.name, container = call.container, action = %call.action,
                elapsed = ?began.elapsed(), status = answer.head.status.as_u16(),
                "answer to `{method} {path}`"
            ),
            Err(error) => tracing::debug!(
                engine = self.name, container = call.container, action = %call.action,
                elapsed = ?began.elapsed(), error = error as &dyn std::error::Error,
                "no answer to `{method} {path}`"
            ),
        }
        let answer = outcome?;
        self.facts.note(&answer.head);
        self.check_version(call)?;
        match self.refused(call, method, path, &answer) {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        }
    }

    pub(crate) fn untransported(&self, call: Call<'_>, error: TransportError) -> Error {
        let endpoint = self.transport.endpoint();
        let kind = match error {
            // The reason is the error's own words: only what it was learnt from is to be added.
            TransportError::Connect { reason, source } => {
                let error = self.error(call, ErrorKind::Unavailable { reason });
                return match source {
                    Some(source) => error.with_source(source),
                    None => error,
                };
            }
            TransportError::Broken(ref broken)
                if broken.is_parse() || broken.is_parse_too_large() =>
            {
                ErrorKind::Protocol {
                    message: format!("what `{endpoint}` says is not HTTP: it is no Docker engine"),
                }
            }
            TransportError::Broken(ref broken) => ErrorKind::Unavailable {
                reason: self.transport.explain_break(broken).unwrap_or_else(|| {
                    format!("the connection to `{endpoint}` broke: is the engine restarting?")
                }),
            },
            TransportError::Silent => {
                return self.timeout(call, None);
            }
            TransportError::Closed => ErrorKind::Closed,
            TransportError::TooLarge { .. } => ErrorKind::Protocol { message: error.to_string() },
        };
        self.error(call, kind).with_source(error)
    }

    /// Refusals that are not about the container.
    pub(crate) fn refused(
        &self,
        call: Call<'_>,
        method: &str,
        path: &str,
        answer: &Answer,
    ) -> Option<Error> {
        let kind = match answer.head.status {
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
            StatusCode::FORBIDDEN => {
                let path = path.split('?').next().unwrap_or(path);
                ErrorKind::Forbidden { privilege: None, path: Some(format!("{method} {path}")) }
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => ErrorKind::Unavailable {
                reason: format!("the engine answers {}: {}", answer.head.status, words(answer)),
            },
            StatusCode::BAD_REQUEST if answer.body.starts_with(b"Client sent an HTTP request") => {
                ErrorKind::Protocol {
                    message: "the engine expects TLS on this port: name the files for it (`tls`)"
                        .to_owned(),
                }
            }
            _ => return None,
        };
        Some(self.error(call, kind))
    }
}

/// Of what a list says, the containers of a service.
fn members<'a>(
    lines: &'a [Listed],
    project: &'a str,
    service: &'a str,
) -> impl Iterator<Item = compose::Member<'a>> {
    let is_member =
        move |line: &&Listed| compose::service_of(&line.labels) == Some((project, service));
    lines.iter().filter(is_member).map(member)
}

pub(crate) fn member(line: &Listed) -> compose::Member<'_> {
    compose::Member {
        id: &line.id,
        name: &line.names[0],
        labels: &line.labels,
        is_alive: status_of(&line.state).is_alive(),
    }
}

/// The engine's own words, cut to a sane length.
pub(crate) fn words(answer: &Answer) -> String {
    let said = match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) if !refusal.message.is_empty() => refusal.message,
        _ => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let said = said.trim();
    match said.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None if said.is_empty() => "no reason given".to_owned(),
        None => said.to_owned(),
    }
}

#[expect(clippy::expect_used, reason = "the queries are flat structs of strings and numbers")]
pub(crate) fn encode(query: impl Serialize) -> String {
    serde_urlencoded::to_string(query).expect("a flat struct can be encoded")
}
