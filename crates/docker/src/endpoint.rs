//! Where an engine listens, and why it cannot be reached there.

mod ssh;

use std::{
    fmt, io,
    net::IpAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

pub(crate) use self::ssh::Destination;
use crate::{Location, SshFiles, TlsFiles};

/// Where an engine listens unless `DOCKER_HOST` says otherwise.
pub const DEFAULT_URL: &str = "unix:///var/run/docker.sock";

/// The port of an engine whose `tcp://` URL names none.
const DEFAULT_PORT: u16 = 2375;

/// The same, if it is reached with TLS.
const DEFAULT_TLS_PORT: u16 = 2376;

/// Where an engine listens, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address, without TLS.
    Tcp(Address),
    /// A TCP address, with TLS.
    Tls(Address, TlsFiles),
    /// A Unix socket of another machine.
    Ssh(Destination, SshFiles),
}

/// A host and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name or an address (an IPv6 one without its brackets), in lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads a location: its URL as `DOCKER_HOST` has it or the plain path of a socket, and the
    /// files that go with it. The error is a lower-case fragment that says what to write instead.
    pub(crate) fn of(location: &Location) -> Result<Self, String> {
        let Location { url, tls, ssh } = location;
        let endpoint = Self::parse(url, tls.as_ref(), ssh)?;
        match &endpoint {
            Self::Unix(_) | Self::Ssh(..) if tls.is_some() => Err(format!(
                "certificates are for `tcp://`, and `{endpoint}` needs none: leave out `tls`"
            )),
            Self::Unix(_) | Self::Tcp(_) | Self::Tls(..) if *ssh != SshFiles::new() => Err(
                format!("`{endpoint}` is not reached by ssh: leave out `ssh`, or write `ssh://…`"),
            ),
            _ => Ok(endpoint),
        }
    }

    fn parse(url: &str, tls: Option<&TlsFiles>, ssh: &SshFiles) -> Result<Self, String> {
        if url.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(url)));
        }
        let expected = "give `unix:///path/of/docker.sock`, a socket's path, `tcp://host:port` or \
                        `ssh://user@host`";
        let shown = without_password(url);
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{shown}` is no engine's URL: {expected}"));
        };
        let no_address = || format!("`{shown}` names no host and port: {expected}");
        match (scheme, tls) {
            ("unix", _) if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            ("unix", _) => Err(format!("`{shown}` names no absolute path: {expected}")),
            ("tcp" | "http", None) => {
                Address::parse(rest, DEFAULT_PORT).map(Self::Tcp).ok_or_else(no_address)
            }
            ("tcp" | "https", Some(files)) => {
                let address = Address::parse(rest, DEFAULT_TLS_PORT).ok_or_else(no_address)?;
                Ok(Self::Tls(address, files.clone()))
            }
            ("http", Some(_)) => {
                Err(format!("`{shown}` is without TLS: write `tcp://`, or leave out `tls`"))
            }
            ("https", None) => Err(format!(
                "`{shown}` needs to know whom to trust: add `tls` with the CA's certificate"
            )),
            ("ssh", _) => match Destination::parse(rest) {
                Ok(destination) => Ok(Self::Ssh(destination, ssh.clone())),
                Err(why) => Err(format!("`{shown}` cannot be used: {why}")),
            },
            _ => Err(format!("`{scheme}://` cannot be used to reach an engine: {expected}")),
        }
    }

    /// What the `Host` header says: engines demand one and do not care which.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) | Self::Ssh(..) => "localhost".to_owned(),
            Self::Tcp(address) | Self::Tls(address, _) => address.to_string(),
        }
    }

    /// The host that its URL names; `None`: this machine, by a socket of its own.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) | Self::Tls(address, _) => Some(&address.host),
            Self::Ssh(destination, _) => Some(&destination.host),
        }
    }

    /// How many idle connections are worth keeping: a Unix socket connects in microseconds, and a
    /// connection that is not kept cannot go stale.
    pub(crate) fn connections_kept(&self) -> usize {
        match self {
            Self::Unix(_) => 0,
            Self::Tcp(_) | Self::Tls(..) | Self::Ssh(..) => 4,
        }
    }

    /// Whether the socket belongs to root, which a rootless engine's never does. What is not a
    /// socket of this machine has no owner to ask for, and may lead anywhere.
    pub(crate) fn is_owned_by_root(&self) -> bool {
        match self {
            Self::Unix(path) => std::fs::metadata(path).is_ok_and(|socket| socket.uid() == 0),
            Self::Tcp(_) | Self::Tls(..) | Self::Ssh(..) => false,
        }
    }

    /// Why connecting failed and how to mend it: a lower-case fragment.
    pub(crate) fn explain(&self, error: &io::Error) -> String {
        match self {
            Self::Unix(path) => explain_unix(path, error),
            Self::Tcp(address) | Self::Tls(address, _) => explain_tcp(address, error),
            Self::Ssh(destination, _) => match error.kind() {
                io::ErrorKind::TimedOut => format!(
                    "ssh has not reached `{}` yet: check the address, the network and the firewalls",
                    destination.host
                ),
                _ => format!("the socket of `{self}` cannot be opened ({error})"),
            },
        }
    }
}

impl Address {
    fn parse(rest: &str, default_port: u16) -> Option<Self> {
        let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let has_credentials = authority.as_str().contains('@');
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok()?,
            None => default_port,
        };
        (!host.is_empty() && !has_credentials).then(|| Self { host: host.to_lowercase(), port })
    }
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let authority_end = url.find("://").and_then(|scheme| {
        let rest = &url[scheme + 3..];
        Some(scheme + 3 + rest[..rest.find('/').unwrap_or(rest.len())].rfind('@')?)
    });
    match authority_end.map(|end| url.split_at(end)) {
        Some((start, rest)) => {
            match start.rfind(':').filter(|colon| !start[*colon..].starts_with("://")) {
                Some(colon) => format!("{}:…{rest}", &start[..colon]),
                None => url.to_owned(),
            }
        }
        None => url.to_owned(),
    }
}

/// Whether a host is this machine, as far as its name tells.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// The URL with nothing left to a default but what only ssh itself knows.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(address) | Self::Tls(address, _) => write!(formatter, "tcp://{address}"),
            Self::Ssh(destination, _) => destination.fmt(formatter),
        }
    }
}

fn explain_unix(path: &Path, error: &io::Error) -> String {
    let socket = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no socket at `{socket}`: start the engine, or correct the path (`DOCKER_HOST`)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no permission to open the socket `{socket}`: add the user to the group that owns the \
             socket (`{}`) and log in anew",
            owning_group(path).unwrap_or_else(|| "docker".to_owned())
        ),
        io::ErrorKind::ConnectionRefused => match std::fs::metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                format!("`{socket}` is not a socket: correct the path (`DOCKER_HOST`)")
            }
            _ => format!(
                "nothing listens on the socket `{socket}`: start the engine (`systemctl start \
                 docker`)"
            ),
        },
        io::ErrorKind::TimedOut => {
            format!("the socket `{socket}` takes no connection: the engine hangs or is overloaded")
        }
        _ => format!("the socket `{socket}` cannot be opened ({error})"),
    }
}

fn explain_tcp(Address { host, port }: &Address, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "`{host}` refuses connections on port {port}: start the engine with `-H \
             tcp://…:{port}`, or correct the address"
        ),
        io::ErrorKind::TimedOut => format!(
            "no answer from `{host}` on port {port}: check the address, the network and the \
             firewalls"
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("there is no way to `{host}` from here: check the address and the network")
        }
        _ if error.raw_os_error().is_none() => {
            format!("the host name `{host}` cannot be resolved ({error}): correct it")
        }
        _ => format!("`{host}` cannot be reached on port {port} ({error})"),
    }
}

/// The name of the group that owns a file, or its number if it has no name.
fn owning_group(path: &Path) -> Option<String> {
    let gid = std::fs::metadata(path).ok()?.gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| gid.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, String> {
        Endpoint::of(&Location::new(url))
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn urls_and_paths_are_read() {
        let unix = Endpoint::Unix(PathBuf::from("/run/docker.sock"));
        assert_eq!(parse("unix:///run/docker.sock"), Ok(unix.clone()));
        assert_eq!(parse("/run/docker.sock"), Ok(unix));
        for (url, host, port) in [
            ("tcp://NAS:1234", "nas", 1234),
            ("http://nas/", "nas", 2375),
            ("tcp://[::1]:2375", "::1", 2375),
            ("tcp://127.0.0.1", "127.0.0.1", 2375),
        ] {
            assert_eq!(parse(url), Ok(Endpoint::Tcp(address(host, port))), "{url}");
        }
    }

    #[test]
    fn with_certificates_it_is_tls_and_its_usual_port() {
        let files = TlsFiles::new("/ca.pem");
        for (url, port) in [("tcp://nas", 2376), ("https://nas:1", 1), ("tcp://nas:2375", 2375)] {
            let endpoint = Endpoint::of(&Location::new(url).with_tls(files.clone()));
            assert_eq!(endpoint, Ok(Endpoint::Tls(address("nas", port), files.clone())), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in
            ["tcp://me:secret@nas:2375", "ssh://me:se:cret@nas/run/d.sock", "ftp://:secret@nas"]
        {
            let refusal = parse(url).unwrap_err();
            assert!(!refusal.contains("cret"), "{refusal}");
        }
        assert_eq!(without_password("ssh://me:secret@nas/a@b"), "ssh://me:…@nas/a@b");
    }

    #[test]
    fn files_go_with_their_own_kind_of_url() {
        let with_tls = |url: &str| {
            Endpoint::of(&Location::new(url).with_tls(TlsFiles::new("/ca.pem"))).unwrap_err()
        };
        let with_ssh = |url: &str| {
            let files = SshFiles::new().with_identity("/key");
            Endpoint::of(&Location::new(url).with_ssh(files)).unwrap_err()
        };
        insta::assert_snapshot!(with_tls("unix:///run/docker.sock"), @"certificates are for `tcp://`, and `unix:///run/docker.sock` needs none: leave out `tls`");
        insta::assert_snapshot!(with_tls("ssh://nas"), @"certificates are for `tcp://`, and `ssh://nas/var/run/docker.sock` needs none: leave out `tls`");
        insta::assert_snapshot!(with_tls("http://nas"), @"`http://nas` is without TLS: write `tcp://`, or leave out `tls`");
        insta::assert_snapshot!(with_ssh("tcp://nas"), @"`tcp://nas:2375` is not reached by ssh: leave out `ssh`, or write `ssh://…`");
        insta::assert_snapshot!(parse("https://nas").unwrap_err(), @"`https://nas` needs to know whom to trust: add `tls` with the CA's certificate");
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_to_write() {
        for url in
            ["", "docker.sock", "unix://docker.sock", "tcp://", "ftp://nas", "tcp://u:p@nas:1"]
        {
            let refusal = parse(url).unwrap_err();
            assert!(refusal.contains("tcp://host:port"), "{refusal}");
        }
    }

    /// Root may open everything, so that a test cannot be refused.
    #[test]
    fn a_missing_permission_names_the_group_to_join() {
        let socket = tempfile::NamedTempFile::new().unwrap();
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let reason = Endpoint::Unix(socket.path().to_owned()).explain(&refused);
        let group = owning_group(socket.path()).unwrap();
        assert!(
            reason.contains(&format!("the group that owns the socket (`{group}`)")),
            "{reason}"
        );
        let gone = Endpoint::Unix(PathBuf::from("/no/such/socket")).explain(&refused);
        assert!(gone.contains("(`docker`)"), "{gone}");
    }

    #[test]
    fn loopback_is_this_machine_and_anything_else_is_not() {
        for (host, is_here) in [
            ("127.8.0.1", true),
            ("::1", true),
            ("LOCALHOST", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(is_this_machine(host), is_here, "{host}");
        }
    }
}
