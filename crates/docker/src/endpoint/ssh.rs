//! Where an engine is that is reached by ssh.

use std::fmt;

/// Where an engine of another machine listens unless the URL says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// A socket of another machine, and how ssh gets there. Nothing in it can be taken for an option of
/// ssh, or means anything to a shell or to ssh's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) user: Option<String>,
    /// A name, an alias of ssh's configuration, or an address (an IPv6 one without its brackets).
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// An absolute path there.
    pub(crate) socket: String,
}

impl Destination {
    /// Reads `[user@]host[:port][/path/of/socket]`. The error is a lower-case fragment.
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        let (authority, socket) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if let Some(user) = user {
            if user.contains(':') {
                return Err("a password has no place in a URL: ssh uses keys".to_owned());
            }
            check("user", user, |c| matches!(c, '.' | '_' | '-' | '+' | '@'))?;
        }
        let (host, port) = host_and_port(place)?;
        check("host", host, |c| matches!(c, '.' | '_' | '-' | ':'))?;
        let socket = match socket {
            "" | "/" => DEFAULT_SOCKET,
            socket => socket,
        };
        check("path", socket, |c| matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '=' | ','))?;
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: socket.to_owned(),
        })
    }
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    match port.map(str::parse).transpose() {
        Ok(Some(0)) | Err(_) => Err("its port is no number from 1 to 65535".to_owned()),
        Ok(port) => Ok((host, port)),
    }
}

fn check(what: &str, text: &str, is_sign: impl Fn(char) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("it has no {what}, such as `ssh://user@host`"));
    }
    if text.starts_with('-') {
        return Err(format!("its {what} `{text}` begins with `-`, as an option of ssh would"));
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !is_sign(*c)) {
        Some(bad) => Err(format!("its {what} has a {bad:?}, which is not taken")),
        None => Ok(()),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(formatter, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(formatter, "[{}]", self.host)?;
        } else {
            formatter.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str(&self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_read_and_written() {
        for (rest, user, host, port, socket) in [
            ("nas", None, "nas", None, DEFAULT_SOCKET),
            ("nas/", None, "nas", None, DEFAULT_SOCKET),
            ("me@nas:2222", Some("me"), "nas", Some(2222), DEFAULT_SOCKET),
            ("[::1]:22/run/d.sock", None, "::1", Some(22), "/run/d.sock"),
            (
                "a@b@c/run/user/1000/podman.sock",
                Some("a@b"),
                "c",
                None,
                "/run/user/1000/podman.sock",
            ),
        ] {
            let read = Destination::parse(rest).unwrap();
            let parts = (read.user.as_deref(), read.host.as_str(), read.port, read.socket.as_str());
            assert_eq!(parts, (user, host, port, socket), "{rest}");
            let written = read.to_string();
            assert_eq!(Destination::parse(written.strip_prefix("ssh://").unwrap()), Ok(read));
        }
    }

    #[test]
    fn nothing_becomes_an_option_or_means_anything_to_a_shell() {
        let refused = |rest: &str| Destination::parse(rest).unwrap_err();
        insta::assert_snapshot!(refused("-oProxyCommand=x"), @"its host `-oProxyCommand=x` begins with `-`, as an option of ssh would");
        insta::assert_snapshot!(refused("-lroot@nas"), @"its user `-lroot` begins with `-`, as an option of ssh would");
        insta::assert_snapshot!(refused("nas`id`"), @"its host has a '`', which is not taken");
        insta::assert_snapshot!(refused("me$(id)@nas"), @"its user has a '$', which is not taken");
        insta::assert_snapshot!(refused("nas/run/%d.sock"), @"its path has a '%', which is not taken");
        insta::assert_snapshot!(refused("nas/run/a:b"), @"its path has a ':', which is not taken");
        insta::assert_snapshot!(refused("nas/run/a b"), @"its path has a ' ', which is not taken");
        insta::assert_snapshot!(refused("me:secret@nas"), @"a password has no place in a URL: ssh uses keys");
        insta::assert_snapshot!(refused("nas:0"), @"its port is no number from 1 to 65535");
        insta::assert_snapshot!(refused("[::1]x"), @"its port is no number from 1 to 65535");
        insta::assert_snapshot!(refused("/run/docker.sock"), @"it has no host, such as `ssh://user@host`");
    }
}
