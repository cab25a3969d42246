//! Where the file says to listen, and with which certificates.

use std::{net::SocketAddr, path::PathBuf};

use drowse_gateway::{CertificateFiles, TlsVersion};

use super::{Reader, items, parse_listen, unknown};
use crate::config::{
    Config, Listen, TlsConfig,
    tree::{Node, Place, Value},
};

const LISTEN_KEYS: &[&str] = &["address", "tls", "proxy_protocol"];
const SERVER_TLS_KEYS: &[&str] = &["certificates", "self_signed", "minimum"];
const CERTIFICATE_KEYS: &[&str] = &["certificate", "key"];

/// What can be said of an address only when the whole file is read.
pub(super) struct Listening {
    entries: Vec<(Listen, Place)>,
}

impl Reader<'_> {
    pub(super) fn listen(&mut self, node: &Node) -> Listening {
        let mut entries: Vec<(Listen, Place)> = Vec::new();
        for item in items(node) {
            let Some(listen) = self.listen_at(item) else { continue };
            let address = listen.address;
            if entries.iter().any(|(other, _)| other.address == address) {
                self.error(&item.place, format!("`{address}` is given twice"));
            } else {
                entries.push((listen, item.place.clone()));
            }
        }
        Listening { entries }
    }

    fn listen_at(&mut self, node: &Node) -> Option<Listen> {
        let Value::Map(entries) = &node.value else {
            return self.listen_address(node).map(Listen::from);
        };
        let (mut address, mut is_given) = (None, false);
        let (mut tls, mut proxy_protocol) = (false, false);
        for (key, value) in entries {
            match key.name.as_str() {
                "address" => {
                    is_given = true;
                    address = self.listen_address(value);
                }
                "tls" => tls = self.flag(value),
                "proxy_protocol" => proxy_protocol = self.flag(value),
                other => self.error(&key.place, unknown("key", other, LISTEN_KEYS)),
            }
        }
        if !is_given {
            let why = "`address` is missing: say where to listen, such as `0.0.0.0:443`";
            self.error(&node.place, why);
        }
        Some(Listen { address: address?, tls, proxy_protocol })
    }

    fn listen_address(&mut self, node: &Node) -> Option<SocketAddr> {
        let text = self.text(node, "an address such as `127.0.0.1:8080`")?;
        parse_listen(text).map_err(|why| self.error(&node.place, why)).ok()
    }

    /// Takes over where to listen, if that goes with the rest.
    pub(super) fn check_listening(&mut self, listening: Listening, config: &mut Config) {
        for (listen, place) in &listening.entries {
            if listen.tls && config.tls.is_none() {
                let why = "`tls: true` needs a certificate: add `tls: {certificates: \
                           [{certificate: /etc/…/fullchain.pem, key: /etc/…/privkey.pem}]}` to the \
                           file, or for a first try `tls: {self_signed: true}`";
                self.error(place, why);
            }
            if listen.proxy_protocol && config.trusted_proxies.is_empty() {
                let why = "`proxy_protocol: true` needs `trusted_proxies`: whoever is none of them is \
                           refused there, since anybody could write such a header";
                self.error(place, why);
            }
        }
        if let Some(tls) = &config.tls
            && !listening.entries.iter().any(|(listen, _)| listen.tls)
        {
            let why =
                "nothing listens with TLS: add `{address: 0.0.0.0:443, tls: true}` to `listen`";
            self.error(&tls.place.clone(), why);
        }
        config.listen = listening.entries.into_iter().map(|(listen, _)| listen).collect();
    }

    /// The certificates. `place`: where the key stands.
    pub(super) fn server_tls(&mut self, place: &Place, node: &Node) -> TlsConfig {
        let mut tls = TlsConfig {
            place: place.clone(),
            certificates: Vec::new(),
            self_signed: false,
            minimum: TlsVersion::default(),
        };
        let mut is_given = false;
        for (key, value) in self.mapping(node, "the certificates, such as `{self_signed: true}`,") {
            match key.name.as_str() {
                "certificates" => {
                    is_given = true;
                    let pairs = items(value).iter();
                    tls.certificates = pairs.filter_map(|item| self.certificate(item)).collect();
                }
                "self_signed" => {
                    is_given = true;
                    tls.self_signed = self.flag(value);
                }
                "minimum" => tls.minimum = self.tls_version(value).unwrap_or_default(),
                other => self.error(&key.place, unknown("key", other, SERVER_TLS_KEYS)),
            }
        }
        let is_nothing = !tls.self_signed && tls.certificates.is_empty();
        if is_nothing && !is_given && matches!(node.value, Value::Map(_)) {
            let why = "a certificate is missing: name `certificates`, or for a first try \
                       `self_signed: true`";
            self.error(place, why);
        }
        tls
    }

    fn certificate(&mut self, node: &Node) -> Option<(CertificateFiles, Place)> {
        let what = "a certificate, such as `{certificate: /etc/fullchain.pem, key: /etc/key.pem}`,";
        let (mut certificate, mut secret): (Option<PathBuf>, Option<PathBuf>) = (None, None);
        for (key, value) in self.mapping(node, what) {
            match key.name.as_str() {
                "certificate" => certificate = Some(self.file(value)),
                "key" => secret = Some(self.file(value)),
                other => self.error(&key.place, unknown("key", other, CERTIFICATE_KEYS)),
            }
        }
        let lacks = match (certificate, secret) {
            (Some(certificate), Some(key)) => {
                return Some((CertificateFiles { certificate, key }, node.place.clone()));
            }
            (None, _) => {
                "`certificate` is missing: the file with the certificate, and those that lead to its \
                 root"
            }
            (_, None) => "`key` is missing: the file with the private key of `certificate`",
        };
        if matches!(node.value, Value::Map(_)) {
            self.error(&node.place, lacks);
        }
        None
    }

    fn tls_version(&mut self, node: &Node) -> Option<TlsVersion> {
        match self.text(node, "`\"1.2\"` or `\"1.3\"`")? {
            "1.2" => Some(TlsVersion::V1_2),
            "1.3" => Some(TlsVersion::V1_3),
            other => {
                let why =
                    format!("`{other}`: expected `\"1.2\"` or `\"1.3\"`; older ones are broken");
                self.error(&node.place, why);
                None
            }
        }
    }

    pub(super) fn flag(&mut self, node: &Node) -> bool {
        match self.text(node, "`true` or `false`") {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                self.error(&node.place, format!("`{other}`: expected `true` or `false`"));
                false
            }
        }
    }
}

impl Listening {
    /// Nothing is said of it.
    pub(super) fn unsaid() -> Self {
        Self { entries: Vec::new() }
    }
}
