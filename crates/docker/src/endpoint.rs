//! Where an engine listens, and why it cannot be reached there.

use std::{
    fmt, io,
    net::IpAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Where an engine listens unless `DOCKER_HOST` says otherwise.
pub const DEFAULT_URL: &str = "unix:///var/run/docker.sock";

/// The port of an engine whose `tcp://` URL names none.
const DEFAULT_PORT: u16 = 2375;

/// The URL of the engine that the environment names: `DOCKER_HOST` if it is set and not empty, else
/// [`DEFAULT_URL`].
pub fn docker_host() -> String {
    std::env::var("DOCKER_HOST")
        .ok()
        .filter(|url| !url.is_empty())
        .unwrap_or_else(|| DEFAULT_URL.to_owned())
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address, without TLS.
    Tcp {
        /// A name or an address (an IPv6 one without its brackets).
        host: String,
        port: u16,
    },
}

impl Endpoint {
    /// Reads a URL as `DOCKER_HOST` has it, or the plain path of a socket. The error is a
    /// lower-case fragment that says what to write instead.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(url)));
        }
        let expected = "give `unix:///path/of/docker.sock`, a socket's path, or `tcp://host:port`";
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{url}` is no engine's URL: {expected}"));
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(format!("`{url}` names no absolute path: {expected}")),
            "tcp" | "http" => Self::parse_tcp(rest)
                .ok_or_else(|| format!("`{url}` names no host and port: {expected}")),
            _ => Err(format!("`{scheme}://` cannot be used to reach an engine: {expected}")),
        }
    }

    fn parse_tcp(rest: &str) -> Option<Self> {
        let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let has_credentials = authority.as_str().contains('@');
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok()?,
            None => DEFAULT_PORT,
        };
        (!host.is_empty() && !has_credentials).then(|| Self::Tcp { host: host.to_owned(), port })
    }

    /// What the `Host` header says: engines demand one and do not care which.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    /// How many idle connections are worth keeping: a Unix socket connects in microseconds, and a
    /// connection that is not kept cannot go stale.
    pub(crate) fn connections_kept(&self) -> usize {
        match self {
            Self::Unix(_) => 0,
            Self::Tcp { .. } => 4,
        }
    }

    /// Whether it is on this machine, as far as its name tells.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// Whether the socket belongs to root, which a rootless engine's never does. A TCP port has no
    /// owner to ask for, and may lead anywhere.
    pub(crate) fn is_owned_by_root(&self) -> bool {
        match self {
            Self::Unix(path) => std::fs::metadata(path).is_ok_and(|socket| socket.uid() == 0),
            Self::Tcp { .. } => false,
        }
    }

    /// Why connecting failed and how to mend it: a lower-case fragment.
    pub(crate) fn explain(&self, error: &io::Error) -> String {
        match self {
            Self::Unix(path) => explain_unix(path, error),
            Self::Tcp { host, port } => explain_tcp(host, *port, error),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp { .. } => write!(formatter, "tcp://{}", self.host_header()),
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

fn explain_tcp(host: &str, port: u16, error: &io::Error) -> String {
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

    #[test]
    fn urls_and_paths_are_read() {
        let unix = Endpoint::Unix(PathBuf::from("/run/docker.sock"));
        assert_eq!(Endpoint::parse("unix:///run/docker.sock"), Ok(unix.clone()));
        assert_eq!(Endpoint::parse("/run/docker.sock"), Ok(unix));
        for (url, host, port) in [
            ("tcp://nas:1234", "nas", 1234),
            ("http://nas/", "nas", 2375),
            ("tcp://[::1]:2375", "::1", 2375),
            ("tcp://127.0.0.1", "127.0.0.1", 2375),
        ] {
            let tcp = Endpoint::Tcp { host: host.to_owned(), port };
            assert_eq!(Endpoint::parse(url), Ok(tcp), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_to_write() {
        for url in
            ["", "docker.sock", "unix://docker.sock", "tcp://", "ssh://nas", "tcp://u:p@nas:1"]
        {
            let refusal = Endpoint::parse(url).unwrap_err();
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
    fn loopback_is_local_and_anything_else_is_not() {
        for (url, local) in [
            ("tcp://127.8.0.1", true),
            ("tcp://[::1]", true),
            ("tcp://LOCALHOST:1", true),
            ("tcp://10.0.0.1", false),
            ("tcp://localhost.example.com", false),
            ("/run/docker.sock", true),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_local(), local, "{url}");
        }
    }
}
