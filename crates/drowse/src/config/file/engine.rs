//! The engines of the file: where each is, and with what it is reached there.

use std::path::PathBuf;

use drowse_docker::{SshFiles, TlsFiles};

use super::Reader;
use crate::config::{
    DockerConfig, DockerEndpoint, EngineConfig, EngineKind, PROCESS_ENGINE,
    tree::{Key, Node, Place, Value},
    unknown,
};

const ENGINE_KEYS: &[&str] = &["docker", "proxmox"];
const DOCKER_KEYS: &[&str] = &["url", "context", "tls", "ssh"];
const TLS_KEYS: &[&str] = &["ca", "cert", "key"];
const SSH_KEYS: &[&str] = &["identity", "known_hosts", "config"];

/// A value and where it stands.
type Placed<'n, T> = (T, &'n Place);

impl Reader<'_> {
    /// The names of all, and those that can be read.
    pub(super) fn engines(&mut self, node: &Node) -> (Vec<String>, Vec<EngineConfig>) {
        let (mut names, mut engines) = (Vec::new(), Vec::new());
        for (key, value) in self.mapping(node, "the engines, each by its name,") {
            self.name(key, "an engine's name");
            if key.name == PROCESS_ENGINE {
                let why = "this name is taken: processes need no engine in the configuration";
                self.error(&key.place, why);
            }
            let entries = self.mapping(value, "the engine's kind, such as `docker: URL`,");
            if entries.is_empty() && matches!(value.value, Value::Map(_)) {
                let why = "the engine's kind is missing: `docker: URL`, or `proxmox` with its keys, \
                           is expected";
                self.error(&key.place, why);
            }
            if let [_, (second, _), ..] = entries {
                let why = "an engine is of one kind: give the other one a name of its own";
                self.error(&second.place, why);
            }
            let mut read = None;
            for (kind, value) in entries {
                match kind.name.as_str() {
                    "docker" => {
                        let docker = self.docker(value);
                        read = docker.map(|(docker, place)| (EngineKind::Docker(docker), place));
                    }
                    "proxmox" => {
                        let proxmox = self.proxmox(kind, value).map(Box::new);
                        read = proxmox.map(|it| (EngineKind::Proxmox(it), &kind.place));
                    }
                    other => {
                        self.hide(kind, value);
                        self.error(&kind.place, unknown("kind of engine", other, ENGINE_KEYS));
                    }
                }
            }
            names.push(key.name.clone());
            engines.extend(read.map(|(kind, place)| EngineConfig {
                name: key.name.clone(),
                kind,
                place: Some(place.clone()),
            }));
        }
        (names, engines)
    }

    /// A Docker engine: its URL, or a mapping with that or with a context.
    fn docker<'n>(&mut self, node: &'n Node) -> Option<Placed<'n, DockerConfig>> {
        let Value::Map(entries) = &node.value else {
            let expected = "a URL such as `unix:///var/run/docker.sock`";
            let url = self.text(node, expected)?.to_owned();
            return Some((DockerConfig::of(DockerEndpoint::Url(url)), &node.place));
        };
        let mut endpoints: Vec<Placed<'n, DockerEndpoint>> = Vec::new();
        let (mut tls, mut ssh) = (None, SshFiles::new());
        for (key, value) in entries {
            match key.name.as_str() {
                "url" => {
                    let url = self.text(value, "a URL").unwrap_or_default().to_owned();
                    endpoints.push((DockerEndpoint::Url(url), &value.place));
                }
                "context" => {
                    let name = self.text(value, "a Docker context's name").unwrap_or_default();
                    endpoints.push((DockerEndpoint::Context(name.to_owned()), &value.place));
                }
                "tls" => tls = Some((self.tls(key, value), &key.place)),
                "ssh" => ssh = self.ssh(value),
                other => self.error(&key.place, unknown("key", other, DOCKER_KEYS)),
            }
        }
        let Some((endpoint, place)) = endpoints.pop() else {
            let why = "`url` is missing, or `context` with the name of a Docker context";
            self.error(&node.place, why);
            return None;
        };
        if !endpoints.is_empty() {
            self.error(place, "`url` and `context` both say where the engine is: give one of them");
        }
        if let (DockerEndpoint::Context(_), Some((_, place))) = (&endpoint, &tls) {
            self.error(place, "a context has its own files for TLS: leave this out");
        }
        let tls = tls.and_then(|(files, _)| files);
        Some((DockerConfig { endpoint, tls, ssh }, place))
    }

    fn tls(&mut self, key: &Key, node: &Node) -> Option<TlsFiles> {
        let (mut ca, mut cert, mut secret) = (None, None, None);
        for (key, value) in self.mapping(node, "the files for TLS, such as `{ca: /etc/ca.pem}`,") {
            match key.name.as_str() {
                "ca" => ca = Some(self.file(value)),
                "cert" => cert = Some(self.file(value)),
                "key" => secret = Some(self.file(value)),
                other => self.error(&key.place, unknown("key", other, TLS_KEYS)),
            }
        }
        let lacks = match (ca, cert, secret) {
            (Some(ca), None, None) => return Some(TlsFiles::new(ca)),
            (Some(ca), Some(cert), Some(key)) => {
                return Some(TlsFiles::new(ca).with_client(cert, key));
            }
            (None, ..) => {
                "`ca` is missing: the file with the certificate of the CA that signed the engine's"
            }
            (_, None, _) => {
                "`cert` is missing: the file with the certificate that belongs to `key`"
            }
            (_, _, None) => {
                "`key` is missing: the file with the private key that belongs to `cert`"
            }
        };
        if matches!(node.value, Value::Map(_)) {
            self.error(&key.place, lacks);
        }
        None
    }

    fn ssh(&mut self, node: &Node) -> SshFiles {
        let mut files = SshFiles::new();
        for (key, value) in self.mapping(node, "the files for ssh, such as `{identity: /etc/id}`,")
        {
            files = match key.name.as_str() {
                "identity" => files.with_identity(self.file(value)),
                "known_hosts" => files.with_known_hosts(self.file(value)),
                "config" => files.with_config(self.file(value)),
                other => {
                    self.error(&key.place, unknown("key", other, SSH_KEYS));
                    files
                }
            };
        }
        files
    }

    /// A file's path, absolute: nobody knows in which folder a service is started. One that cannot
    /// be used is noted, and empty.
    pub(super) fn file(&mut self, node: &Node) -> PathBuf {
        let Some(text) = self.text(node, "a file's path") else { return PathBuf::new() };
        if !text.starts_with('/') {
            self.error(&node.place, format!("`{text}` is no absolute path: begin it with `/`"));
        }
        PathBuf::from(text)
    }
}
