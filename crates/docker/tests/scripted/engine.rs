//! An engine of our own on a socket: containers that are states only, events, and faults on order.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use drowse_docker::{DockerEngine, DockerOptions};
use drowse_provider::{
    Deadline, Engine, Provider, Reference, Watch, WatchItem,
    contract::{Behaviour, Fixture, Outside, PATIENCE},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{broadcast, watch},
    task::JoinHandle,
};

/// The engine's own clock at its start: 2026-01-01.
const EPOCH: i64 = 1_767_225_600_000_000_000;

/// What a request is answered with instead of the truth.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16, &'static str),
    /// These bytes, then the connection ends.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// A body without end.
    Endless,
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) behaviour: Behaviour,
    pub(crate) restart: &'static str,
    pub(crate) stop_signal: &'static str,
    run: i64,
    ended: i64,
    exit_code: i64,
}

pub(crate) struct State {
    pub(crate) api: &'static str,
    /// By id.
    pub(crate) containers: BTreeMap<String, Container>,
    /// `METHOD /path?query` of each request.
    pub(crate) requests: Vec<String>,
    /// What begins so is answered so, for so many times.
    rules: Vec<(String, usize, Reply)>,
    /// Whether the head of the answer to `/events` waits for the first event.
    pub(crate) holds_head_back: bool,
    /// Whether events are told at all.
    pub(crate) is_mute: bool,
    history: Vec<(i64, String)>,
    clock: i64,
    next_id: u64,
}

impl State {
    fn now(&mut self) -> i64 {
        self.clock += 1_000_000;
        self.clock
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.requests.iter().filter(|request| request.starts_with(prefix)).count()
    }

    fn find(&self, word: &str) -> Option<String> {
        self.containers
            .iter()
            .find(|(id, container)| *id == word || container.name == word)
            .or_else(|| self.containers.iter().find(|(id, _)| id.starts_with(word)))
            .map(|(id, _)| id.clone())
    }
}

struct Shared {
    state: Mutex<State>,
    told: broadcast::Sender<String>,
    /// Odd while connections for events are refused; each change ends those that are there.
    cuts: watch::Sender<u64>,
    changed: watch::Sender<()>,
}

pub(crate) struct Scripted {
    pub(crate) socket: PathBuf,
    pub(crate) engine: Arc<DockerEngine>,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    _folder: TempDir,
}

impl Scripted {
    pub(crate) async fn new() -> Self {
        Self::with_options(DockerOptions::new()).await
    }

    /// Up already: asynchronous since the contract's macro wants a future.
    #[expect(clippy::unused_async, reason = "the contract's macro wants a future")]
    pub(crate) async fn with_options(options: DockerOptions) -> Self {
        let scripted = Self::down(options);
        scripted.up();
        scripted
    }

    /// One that does not listen yet.
    pub(crate) fn down(options: DockerOptions) -> Self {
        _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let url = format!("unix://{}", socket.display());
        let engine = Arc::new(DockerEngine::connect("scripted", &url, options).unwrap());
        let state = State {
            api: "1.41",
            containers: BTreeMap::new(),
            requests: Vec::new(),
            rules: Vec::new(),
            holds_head_back: false,
            is_mute: false,
            history: Vec::new(),
            clock: EPOCH,
            next_id: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            told: broadcast::Sender::new(8192),
            cuts: watch::Sender::new(0),
            changed: watch::Sender::new(()),
        });
        Self { socket, engine, shared, accepting: Mutex::default(), _folder: folder }
    }

    pub(crate) fn up(&self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let shared = Arc::clone(&self.shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        *self.accepting.lock().unwrap() = Some(accepting);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub(crate) fn make(&self, name: &str, behaviour: Behaviour) -> Arc<dyn Provider> {
        let id = {
            let mut state = self.state();
            state.next_id += 1;
            let id = format!("{:064x}", 0xfeed_0000_u64 + state.next_id);
            let container = Container {
                name: name.to_owned(),
                state: "created",
                behaviour,
                restart: "no",
                stop_signal: "",
                run: 0,
                ended: 0,
                exit_code: 0,
            };
            state.containers.insert(id.clone(), container);
            id
        };
        self.shared.tell(&id, "create", json!({}));
        self.provider(name)
    }

    pub(crate) fn provider(&self, name: &str) -> Arc<dyn Provider> {
        self.engine.provider(&Reference::Name(name.to_owned())).unwrap()
    }

    /// Lets so much time pass that what happened before is not told to who subscribes now.
    pub(crate) fn pass_time(&self) {
        self.state().clock += 5_000_000_000;
    }

    /// Changes a container behind everybody's back.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        let mut state = self.state();
        let id = state.find(name).unwrap();
        change(state.containers.get_mut(&id).unwrap());
    }

    /// Ends its run and starts it again, and tells nobody.
    pub(crate) fn restart_in_silence(&self, name: &str) {
        let now = self.state().now();
        self.change(name, |container| container.run = now);
    }

    /// Answers the next requests of this beginning so.
    pub(crate) fn answer(&self, prefix: &str, times: usize, reply: Reply) {
        self.state().rules.push((prefix.to_owned(), times, reply));
    }

    /// Tells bytes to whoever is subscribed, whatever they are.
    pub(crate) fn tell_raw(&self, bytes: impl Into<String>) {
        _ = self.shared.told.send(bytes.into());
    }

    pub(crate) fn tell(&self, name: &str, action: &str, attributes: Value) {
        let id = self.state().find(name).unwrap();
        self.shared.tell(&id, action, attributes);
    }

    pub(crate) fn order(&self, name: &str, verb: &str) {
        let id = self.state().find(name).unwrap();
        _ = self.shared.act(&id, verb);
    }

    /// The last line of the events that were told.
    pub(crate) fn last_event(&self) -> String {
        self.state().history.last().unwrap().1.clone()
    }

    /// Ends the connections for events; new ones are accepted.
    pub(crate) fn end_events(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 2);
    }

    /// Waits until no connection for events is left.
    pub(crate) async fn unsubscribed(&self) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while self.shared.told.receiver_count() > 0 {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the connection ends");
    }

    /// Waits until the requests that were made satisfy this.
    pub(crate) async fn asked(&self, wanted: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !wanted(&self.state()) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is asked for");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
    }
}

pub(crate) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Reads a watch until `wanted`, passing over error items.
pub(crate) async fn until(watch: &mut Watch, wanted: impl Fn(&WatchItem) -> bool) -> WatchItem {
    let wait = async {
        loop {
            match watch.next().await.expect("the watch goes on") {
                Ok(item) if wanted(&item) => return item,
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is told")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn tell(&self, id: &str, action: &str, mut attributes: Value) {
        let mut state = self.state();
        let now = state.now();
        attributes["name"] = json!(state.containers[id].name);
        let event = json!({
            "status": action, "id": id, "Type": "container", "Action": action, "scope": "local",
            "Actor": {"ID": id, "Attributes": attributes},
            "time": now / 1_000_000_000, "timeNano": now,
        });
        let line = format!("{event}\n");
        state.history.push((now, line.clone()));
        if !state.is_mute {
            _ = self.told.send(line);
        }
    }

    async fn serve(self: Arc<Self>, mut stream: UnixStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let (request, _) = head.split_once(" HTTP/1.1").unwrap();
        let rule = {
            let mut state = self.state();
            state.requests.push(request.to_owned());
            let rule = state
                .rules
                .iter_mut()
                .find(|(prefix, times, _)| *times > 0 && request.starts_with(prefix));
            rule.map(|(_, times, reply)| {
                *times -= 1;
                reply.clone()
            })
        };
        self.changed.send_replace(());
        let answer = match rule {
            None if request.starts_with("GET /events") => {
                self.stream(stream, request).await;
                self.changed.send_replace(());
                return;
            }

            None => self.answer(request).await,
            Some(Reply::Status(status, body)) => self.whole(status, body.as_bytes()),
            Some(Reply::Raw(bytes)) => bytes,
            Some(Reply::Silence) => {
                // Until the client goes away.
                _ = stream.read_u8().await;
                return;
            }
            Some(Reply::Endless) => {
                let head = self.head(200, "Transfer-Encoding: chunked");
                _ = stream.write_all(head.as_bytes()).await;
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        _ = stream.write_all(&answer).await;
    }

    fn head(&self, status: u16, length: &str) -> String {
        let state = self.state();
        let seconds = (state.clock / 1_000_000_000) % 60;
        let (api, minutes) = (state.api, (state.clock - EPOCH) / 60_000_000_000);
        format!(
            "HTTP/1.1 {status} Word\r\nApi-Version: {api}\r\nConnection: close\r\n\
             Date: Thu, 01 Jan 2026 00:{minutes:02}:{seconds:02} GMT\r\n{length}\r\n\r\n"
        )
    }

    fn whole(&self, status: u16, body: &[u8]) -> Vec<u8> {
        let length = if status == 204 || status == 304 {
            "X-Empty: 1".to_owned()
        } else {
            format!("Content-Length: {}", body.len())
        };
        let mut answer = self.head(status, &length).into_bytes();
        answer.extend_from_slice(body);
        answer
    }

    /// Events from `since` on, in chunks of a few bytes: no line ends where a chunk does.
    async fn stream(&self, mut stream: UnixStream, request: &str) {
        let mut cuts = self.cuts.subscribe();
        if *cuts.borrow_and_update() % 2 == 1 {
            return;
        }
        let mut told = self.told.subscribe();
        let since = request
            .split_once("since=")
            .and_then(|(_, rest)| rest.split('&').next()?.replace('.', "").parse::<i64>().ok())
            .unwrap_or(i64::MAX);
        let (replayed, mut is_head_due) = {
            let state = self.state();
            let replayed: Vec<String> = if state.is_mute {
                Vec::new()
            } else {
                let since = state.history.iter().filter(|(time, _)| *time >= since);
                since.map(|(_, line)| line.clone()).collect()
            };
            (replayed, state.holds_head_back)
        };
        let head = self.head(200, "Transfer-Encoding: chunked");
        if !is_head_due && stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        let mut pending = replayed;
        loop {
            for line in std::mem::take(&mut pending) {
                if std::mem::take(&mut is_head_due)
                    && stream.write_all(head.as_bytes()).await.is_err()
                {
                    return;
                }
                let size = if line.len() < 0x1000 { 3 } else { 0x1000 };
                for chunk in line.as_bytes().chunks(size) {
                    let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                biased;
                _ = cuts.changed() => return,
                line = told.recv() => match line {
                    Ok(line) => pending.push(line),
                    Err(_) => return,
                },
                // The client is gone.
                _ = stream.read_u8() => return,
            }
        }
    }

    async fn answer(&self, request: &str) -> Vec<u8> {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("GET", "/version") => {
                let body = json!({"ApiVersion": self.state().api}).to_string();
                self.whole(200, body.as_bytes())
            }
            ("GET", "/info") => self.whole(200, br#"{"SecurityOptions":["name=seccomp"]}"#),
            ("GET", "/networks") => self.whole(200, br#"[{"Name":"bridge","Driver":"bridge"}]"#),
            ("GET", "/containers/json") => {
                let body = self.list().to_string();
                self.whole(200, body.as_bytes())
            }
            _ => {
                let mut parts = path.trim_start_matches("/containers/").split('/');
                let (word, verb) = (parts.next().unwrap(), parts.next().unwrap_or_default());
                let found = self.state().find(word);
                match found {
                    None => self.whole(404, br#"{"message":"No such container"}"#),
                    Some(id) if verb == "json" => {
                        let body = self.inspect(&id).to_string();
                        self.whole(200, body.as_bytes())
                    }
                    Some(_) if verb == "stats" => self.whole(200, b"{}"),
                    Some(id) if verb == "stop" => self.stop(&id, query).await,
                    Some(id) => {
                        let order = if query.is_empty() {
                            verb.to_owned()
                        } else {
                            format!("{verb}?{query}")
                        };
                        let (status, words) = self.act(&id, &order);
                        let body = json!({ "message": words }).to_string();
                        self.whole(status, body.as_bytes())
                    }
                }
            }
        }
    }

    fn list(&self) -> Value {
        let state = self.state();
        let line = |(id, container): (&String, &Container)| {
            let status = match container.state {
                "exited" => format!("Exited ({}) 2 minutes ago", container.exit_code),
                _ => "Up 2 minutes".to_owned(),
            };
            json!({
                "Id": id, "Names": [format!("/{}", container.name)], "State": container.state,
                "Status": status, "Labels": {}, "NetworkSettings": {"Networks": networks(container)},
            })
        };
        state.containers.iter().map(line).collect()
    }

    fn inspect(&self, id: &str) -> Value {
        let container = &self.state().containers[id];
        let time = |at: i64| match at {
            0 => "0001-01-01T00:00:00Z".to_owned(),
            at => {
                let nanoseconds = at - EPOCH;
                let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
                format!("2026-01-01T00:{:02}:{:02}.{rest:09}Z", seconds / 60, seconds % 60)
            }
        };
        json!({
            "Id": id, "Name": format!("/{}", container.name), "Created": time(EPOCH),
            "State": {
                "Status": container.state, "StartedAt": time(container.run),
                "FinishedAt": time(container.ended), "ExitCode": container.exit_code,
            },
            "Config": {"Labels": {}, "StopSignal": container.stop_signal, "Image": "image"},
            "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": container.restart}},
            "NetworkSettings": {"Networks": networks(container)},
        })
    }

    async fn stop(&self, id: &str, query: &str) -> Vec<u8> {
        let container = self.state().containers[id].clone();
        if !matches!(container.state, "running" | "paused" | "restarting") {
            return self.whole(304, b"");
        }
        let signal = query.split('&').find_map(|pair| pair.strip_prefix("signal="));
        let signal = signal.unwrap_or("15");
        self.tell(id, "kill", json!({ "signal": signal }));
        if container.behaviour == Behaviour::IgnoresTerm && signal == "15" {
            let seconds = query.split('&').find_map(|pair| pair.strip_prefix("t=")?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(10))).await;
            self.tell(id, "kill", json!({"signal": "9"}));
            self.end(id, 137);
        } else {
            self.end(id, 0);
        }
        self.tell(id, "stop", json!({}));
        self.whole(204, b"")
    }

    fn end(&self, id: &str, exit_code: i64) {
        {
            let mut state = self.state();
            let now = state.now();
            let Some(container) = state.containers.get_mut(id) else { return };
            (container.state, container.exit_code, container.ended) = ("exited", exit_code, now);
        }
        self.tell(id, "die", json!({"exitCode": exit_code.to_string()}));
    }

    /// What an order does: the status and the words of its answer.
    fn act(&self, id: &str, order: &str) -> (u16, &'static str) {
        let container = self.state().containers[id].clone();
        let (verb, query) = order.split_once('?').unwrap_or((order, ""));
        match (verb, container.state) {
            ("start", "created" | "exited") => {
                {
                    let mut state = self.state();
                    let now = state.now();
                    let container = state.containers.get_mut(id).unwrap();
                    (container.state, container.run, container.exit_code) = ("running", now, 0);
                }
                self.tell(id, "start", json!({}));
                if let Behaviour::Exits(code) = container.behaviour {
                    self.end(id, code.into());
                }
                (204, "")
            }
            ("start", "running" | "restarting") => (304, ""),
            ("start", "paused") => (409, "cannot start a paused container, try unpause instead"),
            ("pause", "running") => self.become_state(id, "paused", "pause"),
            ("unpause", "paused") => self.become_state(id, "running", "unpause"),
            ("unpause", _) => (500, "container is not paused"),
            ("kill", "running" | "paused") => {
                let signal = query.strip_prefix("signal=").unwrap_or("9").to_owned();
                self.tell(id, "kill", json!({ "signal": signal }));
                match (signal.as_str(), container.behaviour) {
                    ("9", _) => self.end(id, 137),
                    ("2", _) | ("15", Behaviour::Serves) => self.end(id, 0),
                    _ => {}
                }
                (204, "")
            }
            _ => (409, "the container's state is in the way"),
        }
    }

    fn become_state(&self, id: &str, to: &'static str, event: &str) -> (u16, &'static str) {
        self.state().containers.get_mut(id).unwrap().state = to;
        self.tell(id, event, json!({}));
        (204, "")
    }

    fn remove(&self, word: &str) {
        let Some(id) = self.state().find(word) else { return };
        if matches!(self.state().containers[&id].state, "running" | "paused") {
            self.end(&id, 137);
        }
        let container = self.state().containers[&id].clone();
        self.tell(&id, "destroy", json!({}));
        self.state().containers.retain(|other, _| *other != id);
        drop(container);
    }
}

fn networks(container: &Container) -> Value {
    if matches!(container.state, "running" | "paused") {
        let endpoint = format!("endpoint-{}", container.run);
        json!({"bridge": {"EndpointID": endpoint, "IPAddress": "172.17.0.2"}})
    } else {
        json!({"bridge": {"EndpointID": "", "IPAddress": ""}})
    }
}

fn word(reference: &Reference) -> &str {
    match reference {
        Reference::Id(word) | Reference::Name(word) => word,
        other => panic!("{other:?} is not of this fixture"),
    }
}

#[async_trait]
impl Fixture for Scripted {
    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    async fn create(&self, behaviour: Behaviour) -> Reference {
        let name = format!("row-{}", self.state().next_id);
        self.make(&name, behaviour).reference().clone()
    }

    async fn serving(&self, _: &Reference) {}

    async fn remove(&self, reference: &Reference) {
        self.shared.remove(word(reference));
    }

    async fn outside(&self, reference: &Reference, act: Outside) -> bool {
        match act {
            Outside::Start => self.order(word(reference), "start"),
            Outside::Kill(signal) => {
                self.order(word(reference), &format!("kill?signal={}", signal.number()));
            }
            Outside::Pause => self.order(word(reference), "pause"),
            Outside::Unpause => self.order(word(reference), "unpause"),
            _ => return false,
        }
        true
    }

    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        self.make(word(name), behaviour);
        true
    }

    async fn create_unusable(&self) -> Option<Reference> {
        let reference = self.create(Behaviour::Serves).await;
        self.change(word(&reference), |container| container.state = "dead");
        Some(reference)
    }

    async fn break_events(&self) -> bool {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
        true
    }

    async fn mend_events(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn overrun(&self) -> usize {
        300
    }

    async fn tear_down(&self) {
        self.engine.close().await;
    }
}
