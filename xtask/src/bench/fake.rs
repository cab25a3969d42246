//! A Docker engine that is none: it lists any number of containers, and nothing ever happens.
//!
//! A thousand real containers would take longer to make than all else together, and drowse cannot
//! tell the difference as long as nothing is started.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use serde_json::{Value, json};

use super::clock::Moment;
use super::relay::{Call, Calls};

/// One container in this many runs, and serves.
pub(super) const ONE_RUNS_OF: usize = 10;

/// The port of all that run.
const PORT: u16 = 8077;

/// The engine. Its threads end with the process.
#[derive(Debug)]
pub(super) struct FakeEngine {
    socket: PathBuf,
    pub(super) calls: Calls,
}

impl FakeEngine {
    /// An engine with so many containers, labelled for drowse.
    pub(super) fn start(socket: PathBuf, containers: usize) -> anyhow::Result<Self> {
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        let calls = Calls::default();
        let answers = Arc::new(Answers::of(containers));
        let noted = calls.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (noted, answers) = (noted.clone(), answers.clone());
                // drowse may close a connection at any time.
                thread::spawn(move || serve(&client, &answers, &noted).ok());
            }
        });
        Ok(Self { socket, calls })
    }

    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// The application in all containers that run.
pub(super) fn serve_as_the_application() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("the application")?;
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(&client);
            let mut line = String::new();
            while request.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // A probe that was given up.
            client.write_all(answer.as_bytes()).ok();
        }
    });
    Ok(())
}

fn serve(client: &UnixStream, answers: &Answers, calls: &Calls) -> std::io::Result<()> {
    let mut requests = BufReader::new(client);
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        let at = Moment::now();
        let mut words = line.split(' ');
        let call = format!("{} {}", words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut header = String::new();
        while requests.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = call.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let service = service_asked_for(&call);
        calls.note(Call { at, line: call });
        answers.give(client, &path, service)?;
        line.clear();
    }
    Ok(())
}

/// The number of the service whose containers are asked for, as the engine's own filter has it.
fn service_asked_for(call: &str) -> Option<usize> {
    let (_, rest) = call.split_once("compose.service%3Dservice")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// All answers, made beforehand.
struct Answers {
    list: String,
    details: Vec<String>,
}

impl Answers {
    fn of(containers: usize) -> Self {
        let containers: Vec<_> = (0..containers).map(Container).collect();
        let list: Vec<_> = containers.iter().map(|container| container.listed()).collect();
        Self {
            list: Value::Array(list).to_string(),
            details: containers.iter().map(|one| one.inspected().to_string()).collect(),
        }
    }

    fn details_of(&self, path: &str) -> Option<&str> {
        let Container(number) = Container::of_path(path.strip_prefix("/containers/")?)?;
        self.details.get(number).map(String::as_str)
    }

    fn give(
        &self,
        mut client: &UnixStream,
        path: &str,
        service: Option<usize>,
    ) -> std::io::Result<()> {
        let of_service = service.map(|number| Value::Array(vec![Container(number).listed()]));
        let of_service = of_service.map(|list| list.to_string());
        let (status, body) = match path {
            "/events" => {
                let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\n\
                            Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                // It stays open until drowse closes it.
                return client.write_all(head.as_bytes());
            }
            "/containers/json" => ("200 OK", of_service.as_deref().unwrap_or(&self.list)),
            "/networks" => ("200 OK", r#"[{"Name":"bridge","Driver":"bridge"}]"#),
            "/version" => ("200 OK", r#"{"Version":"24.0.0","ApiVersion":"1.43"}"#),
            "/info" => ("200 OK", r#"{"SecurityOptions":["name=seccomp,profile=builtin"]}"#),
            "/_ping" => ("200 OK", "OK"),
            _ => match self.details_of(path) {
                Some(details) => ("200 OK", details),
                None => ("404 Not Found", r#"{"message":"no such thing"}"#),
            },
        };
        let mut answer = format!("HTTP/1.1 {status}\r\nApi-Version: 1.43\r\n");
        // Writing to a string cannot fail.
        write!(answer, "Content-Length: {}\r\n\r\n{body}", body.len()).ok();
        client.write_all(answer.as_bytes())
    }
}

/// A container, by its number.
#[derive(Debug, Clone, Copy)]
struct Container(usize);

impl Container {
    /// From `ID/json` or `NAME/json`.
    fn of_path(path: &str) -> Option<Self> {
        let word = path.strip_suffix("/json")?;
        let name = word.strip_prefix("project-service").and_then(|rest| rest.strip_suffix("-1"));
        let number = match name {
            Some(number) => number.parse(),
            None => usize::from_str_radix(word, 16),
        };
        number.ok().map(Self)
    }

    fn id(self) -> String {
        format!("{:064x}", self.0)
    }

    fn name(self) -> String {
        format!("/project-service{}-1", self.0)
    }

    fn runs(self) -> bool {
        self.0.is_multiple_of(ONE_RUNS_OF)
    }

    fn state(self) -> &'static str {
        if self.runs() { "running" } else { "exited" }
    }

    /// Those that compose gives, and drowse's own.
    fn labels(self) -> Value {
        let number = self.0;
        json!({
            "com.docker.compose.config-hash": format!("{number:064x}"),
            "com.docker.compose.container-number": "1",
            "com.docker.compose.depends_on": "",
            "com.docker.compose.image": format!("sha256:{number:064x}"),
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.project": "project",
            "com.docker.compose.project.config_files": "/srv/project/compose.yaml",
            "com.docker.compose.project.working_dir": "/srv/project",
            "com.docker.compose.service": format!("service{number}"),
            "com.docker.compose.version": "2.24.0",
            "drowse.enable": "true",
            "drowse.host": format!("service{number}.example.com"),
            "drowse.idle": "1h",
            "drowse.port": PORT.to_string(),
        })
    }

    /// Of the loopback network, where [`serve_as_the_application`] listens on every address.
    fn networks(self) -> Value {
        let [.., high, low] = self.0.to_be_bytes();
        let (id, address) = if self.runs() {
            (self.id(), Ipv4Addr::new(127, 77, high, low).to_string())
        } else {
            (String::new(), String::new())
        };
        json!({ "bridge": { "EndpointID": id, "IPAddress": address } })
    }

    fn listed(self) -> Value {
        json!({
            "Id": self.id(),
            "Names": [self.name()],
            "Image": "application:1",
            "Created": 1_700_000_000,
            "Ports": [],
            "Labels": self.labels(),
            "State": self.state(),
            "Status": if self.runs() { "Up 2 hours" } else { "Exited (0) 2 hours ago" },
            "HostConfig": { "NetworkMode": "default" },
            "NetworkSettings": { "Networks": self.networks() },
        })
    }

    fn inspected(self) -> Value {
        let never = "0001-01-01T00:00:00Z";
        let finished = if self.runs() { never } else { "2026-01-01T12:00:00.000000001Z" };
        json!({
            "Id": self.id(),
            "Created": "2026-01-01T10:00:00.000000001Z",
            "Name": self.name(),
            "State": {
                "Status": self.state(),
                "Running": self.runs(),
                "ExitCode": 0,
                "StartedAt": "2026-01-01T11:00:00.000000001Z",
                "FinishedAt": finished,
            },
            "HostConfig": {
                "NetworkMode": "default",
                "PortBindings": {},
                "RestartPolicy": { "Name": "unless-stopped" },
            },
            "Config": {
                "Image": "application:1",
                "ExposedPorts": { format!("{PORT}/tcp"): {} },
                "Labels": self.labels(),
            },
            "NetworkSettings": { "Ports": {}, "Networks": self.networks() },
        })
    }
}
