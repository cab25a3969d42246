//! The one connection for events: made, lost and made again, for ever.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bollard::query_parameters::EventsOptions;
use drowse_provider::{Action, Error, ErrorKind};
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::time::{Instant, Sleep};

use super::{
    event::{self, Told},
    lines::{Line, Lines},
};
use crate::{
    client::{Call, Client, encode},
    transport::{Answer, Opening, TransportError},
};

/// How long the answer's head is waited for before the subscription counts as made: some proxies
/// hold it back until the first event. What happened in between comes by `since`.
const HELD_BACK: Duration = Duration::from_millis(500);
/// How much earlier than the engine's own time the first subscription begins: that time has whole
/// seconds.
const EARLIER: Duration = Duration::from_secs(2);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// A stream that lasted this long was no failed attempt: some proxies end one that has been silent
/// for a few seconds.
const LASTED: Duration = Duration::from_secs(1);
/// How many of the last events are remembered, to know them again when they are told twice: as many
/// as an engine keeps for a replay.
const REMEMBERED: usize = 256;

/// What the connection has to say.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Subscribed: what is read from now on misses nothing.
    Up,
    /// Something happened.
    Event(Told),
    /// Something was told that cannot be understood.
    Garbled,
    /// Not subscribed (any more); the next attempt follows by itself. The attempt's error, or what
    /// ended the stream.
    Down(Error),
}

pub(crate) struct Link {
    client: Arc<Client>,
    phase: Phase,
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// From when on events are asked for, in nanoseconds on the engine's clock.
    since: Option<i64>,
    seen: Seen,
    /// Whether anything was told since somebody last asked.
    was_heard: bool,
}

enum Phase {
    Waiting(Pin<Box<Sleep>>),
    Connecting(BoxFuture<'static, Result<(Opening, Option<i64>), Error>>),
    Opening { head: Opening, held_back: Pin<Box<Sleep>>, is_up: bool },
    Streaming { lines: Lines, since: Instant },
}

impl Link {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        let phase = Phase::Connecting(connect(Arc::clone(&client), None));
        Self { client, phase, failures: 0, since: None, seen: Seen::default(), was_heard: false }
    }

    /// What it has to say next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            match &mut self.phase {
                Phase::Waiting(pause) => {
                    pause.as_mut().await;
                    let client = Arc::clone(&self.client);
                    self.phase = Phase::Connecting(connect(client, self.since));
                }
                Phase::Connecting(connecting) => match connecting.as_mut().await {
                    Ok((head, since)) => {
                        self.since = since;
                        let held_back = Box::pin(tokio::time::sleep(HELD_BACK));
                        self.phase = Phase::Opening { head, held_back, is_up: false };
                    }
                    Err(error) => return self.lost(error),
                },
                Phase::Opening { head, held_back, is_up } => {
                    let answer = tokio::select! {
                        biased;
                        answer = head.as_mut() => answer,
                        () = held_back.as_mut(), if !*is_up => {
                            *is_up = true;
                            return Heard::Up;
                        }
                    };
                    let was_up = *is_up;
                    match self.opened(answer) {
                        Ok(lines) => {
                            self.phase = Phase::Streaming { lines, since: Instant::now() };
                            if !was_up {
                                return Heard::Up;
                            }
                        }
                        Err(error) => return self.lost(error),
                    }
                }
                Phase::Streaming { lines, since } => {
                    let line = lines.next().await;
                    if since.elapsed() >= LASTED {
                        self.failures = 0;
                    }
                    match line {
                        Some(Ok(line)) => {
                            self.was_heard = true;
                            if let Some(heard) = self.understand(&line) {
                                return heard;
                            }
                        }
                        Some(Err(error)) => {
                            let error = TransportError::Broken(error);
                            let error = self.client.untransported(self.call(), error);
                            return self.lost(error);
                        }
                        None => {
                            let reason = "the engine ended the stream of events".to_owned();
                            let kind = ErrorKind::Unavailable { reason };
                            return self.lost(self.client.error(self.call(), kind));
                        }
                    }
                }
            }
        }
    }

    /// Whether anything was told since this was last asked.
    pub(crate) fn take_was_heard(&mut self) -> bool {
        std::mem::take(&mut self.was_heard)
    }

    /// Gives up a connection that seems to be dead and makes another.
    pub(crate) fn restart(&mut self) {
        self.phase = Phase::Connecting(connect(Arc::clone(&self.client), self.since));
    }

    fn call(&self) -> Call<'static> {
        Call::about_engine(Action::Watch, self.client.own_deadline())
    }

    fn opened(
        &self,
        answer: Result<http::Response<hyper::body::Incoming>, TransportError>,
    ) -> Result<Lines, Error> {
        let call = self.call();
        let response = answer.map_err(|error| self.client.untransported(call, error))?;
        let (head, body) = response.into_parts();
        self.client.facts.note(&head);
        self.client.check_version(call)?;
        if head.status == StatusCode::OK {
            return Ok(Lines::new(body));
        }
        let answer = Answer { head, body: bytes::Bytes::new() };
        Err(self.client.refused(call, "GET", "/events", &answer).unwrap_or_else(|| {
            let message = format!("`GET /events` was answered with {}", answer.head.status);
            self.client.error(call, ErrorKind::Protocol { message })
        }))
    }

    fn lost(&mut self, error: Error) -> Heard {
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => {
                let longest = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
                longest.mul_f64(0.5 + 0.5 * random_fraction())
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting(Box::pin(tokio::time::sleep(pause)));
        Heard::Down(error)
    }

    fn understand(&mut self, line: &Line) -> Option<Heard> {
        let parsed = match line {
            Line::Whole(line) => event::parse(line),
            Line::TooLong => {
                tracing::debug!(engine = self.client.name, "an event is too long to be read");
                return Some(Heard::Garbled);
            }
        };
        match parsed {
            Ok(Some(told)) if self.seen.is_new(&told) => {
                self.since = self.since.max(Some(told.nanoseconds));
                tracing::debug!(
                    engine = self.client.name,
                    container = told.event.actor.name,
                    event = ?told.event.action,
                    "told"
                );
                Some(Heard::Event(told))
            }
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(
                    engine = self.client.name,
                    error = &error as &dyn std::error::Error,
                    "an event cannot be read"
                );
                Some(Heard::Garbled)
            }
        }
    }
}

/// Connects and asks for events; `since` when, the first time from the engine's own time on.
fn connect(
    client: Arc<Client>,
    since: Option<i64>,
) -> BoxFuture<'static, Result<(Opening, Option<i64>), Error>> {
    Box::pin(async move {
        let call = Call::about_engine(Action::Watch, client.own_deadline());
        let since = if since.is_some() {
            since
        } else {
            client.ask_version(call).await?;
            let now = client.facts.engine_time();
            now.and_then(|now| i64::try_from((now - EARLIER).as_nanosecond()).ok())
        };
        let path = format!("/events?{}", encode(query(since)));
        tracing::debug!(engine = client.name, action = %call.action, "asking `GET {path}`");
        let opening = client.transport.open(&path).await;
        let opening = opening.map_err(|error| client.untransported(call, error))?;
        Ok((opening, since))
    })
}

fn query(since: Option<i64>) -> EventsOptions {
    let actions = event::ACTIONS.iter().map(|action| (*action).to_owned()).collect();
    EventsOptions {
        since: since.map(|nanoseconds| {
            format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
        }),
        until: None,
        filters: Some(HashMap::from([
            ("type".to_owned(), vec!["container".to_owned(), "network".to_owned()]),
            ("event".to_owned(), actions),
        ])),
    }
}

/// From 0 to 1; so that many clients of one engine do not come back at the same moment.
fn random_fraction() -> f64 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// The last events, to know them again.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
    hasher: RandomState,
}

impl Seen {
    fn is_new(&mut self, told: &Told) -> bool {
        let Told { event, nanoseconds } = told;
        let attributes = &event.actor.attributes;
        let action = format!("{:?}", event.action);
        let hash = self.hasher.hash_one((nanoseconds, &event.actor.id, action, attributes));
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }
}
