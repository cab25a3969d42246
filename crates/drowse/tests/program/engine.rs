//! A Docker engine that only answers what it is asked, and remembers the questions.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

pub(crate) struct FakeEngine {
    requests: Arc<Mutex<Vec<String>>>,
}

/// A stopped container with these labels.
pub(crate) fn container(name: &str, labels: &Value) -> Value {
    json!({
        "Id": format!("{:0<64}", hex(name)),
        "Name": name,
        "Labels": labels,
    })
}

fn hex(name: &str) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    name.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl FakeEngine {
    pub(crate) fn start(socket: &Path, containers: Vec<Value>) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let remembered = requests.clone();
        let containers = Arc::new(containers);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (remembered, containers) = (remembered.clone(), containers.clone());
                thread::spawn(move || serve(stream, &remembered, &containers));
            }
        });
        Self { requests }
    }

    /// Every request line, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: UnixStream, requests: &Mutex<Vec<String>>, containers: &[Value]) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if header.trim().is_empty() {
                break;
            }
        }
        requests.lock().unwrap().push(line.trim().to_owned());
        let path = line.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        if path.ends_with("/events") {
            // Nothing ever happens; the stream stays open until the client goes.
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            _ = reader.get_mut().write_all(head.as_bytes());
            _ = reader.read_line(&mut String::new());
            return;
        }
        let answer = answer(path, containers);
        let (status, body) = match answer {
            Some(body) => ("200 OK", body.to_string()),
            None => ("404 Not Found", json!({ "message": "no such thing" }).to_string()),
        };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nApi-Version: 1.43\r\n\
             Date: Mon, 23 Nov 2026 22:00:00 GMT\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(path: &str, containers: &[Value]) -> Option<Value> {
    if path.ends_with("/version") {
        return Some(json!({ "ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "24.0.0" }));
    }
    if path.ends_with("/info") {
        return Some(json!({ "SecurityOptions": [] }));
    }
    if path.ends_with("/networks") {
        return Some(json!([{ "Name": "bridge", "Id": "0123", "Driver": "bridge" }]));
    }
    if path.contains("/networks/") {
        return Some(json!({ "Name": "bridge", "Id": "0123", "Driver": "bridge" }));
    }
    if path.ends_with("/containers/json") {
        let line = |container: &Value| {
            json!({
                "Id": container["Id"],
                "Names": [format!("/{}", container["Name"].as_str().unwrap())],
                "Labels": container["Labels"],
                "State": "exited",
                "Status": "Exited (0) 1 minute ago",
            })
        };
        return Some(containers.iter().map(line).collect());
    }
    let named = path.strip_suffix("/json")?.rsplit('/').next()?;
    let container = containers.iter().find(|one| one["Id"] == named || one["Name"] == named)?;
    Some(json!({
        "Id": container["Id"],
        "Name": format!("/{}", container["Name"].as_str().unwrap()),
        "Created": "2026-11-23T21:00:00Z",
        "State": {
            "Status": "exited", "Running": false, "Paused": false, "Restarting": false,
            "Dead": false, "ExitCode": 0,
            "StartedAt": "2026-11-23T21:10:00Z", "FinishedAt": "2026-11-23T21:20:00Z",
        },
        "Config": {
            "Labels": container["Labels"],
            "ExposedPorts": { "80/tcp": {} },
        },
        "HostConfig": {
            "NetworkMode": "default", "AutoRemove": false, "RestartPolicy": { "Name": "no" },
        },
        "NetworkSettings": { "Networks": { "bridge": { "NetworkID": "0123", "IPAddress": "" } }, "Ports": {} },
    }))
}
