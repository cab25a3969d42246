//! Why `ssh` does not reach an engine, in words that say how to mend it.

use std::{fmt, io, path::Path, process::ExitStatus, sync::Arc};

use super::command::Command;

/// Why there is no connected `ssh`.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// What failed and how to mend it: a lower-case fragment.
    pub(super) reason: String,
    pub(super) source: Source,
}

/// What it was learnt from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// `ssh` itself: its last words, and how it ended.
    Said(String),
    System(Arc<io::Error>),
    Closed,
}

impl std::error::Error for Source {}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(words) => write!(formatter, "ssh says: {words}"),
            Self::System(error) => error.fmt(formatter),
            Self::Closed => formatter.write_str("closed"),
        }
    }
}

impl Failure {
    pub(super) fn closed() -> Self {
        Self { reason: "the engine handle is closed".to_owned(), source: Source::Closed }
    }

    pub(super) fn not_started(error: io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no program `ssh` on the search path: install \
                                        OpenSSH's client (`apt-get install openssh-client`)"
                .to_owned(),
            _ => "the program `ssh` cannot be started".to_owned(),
        };
        Self { reason, source: Source::System(Arc::new(error)) }
    }

    pub(super) fn no_folder(parent: &Path, error: io::Error) -> Self {
        let reason = format!(
            "no folder can be made in `{}` for the socket of ssh: make it writable, or set `TMPDIR`",
            parent.display()
        );
        Self { reason, source: Source::System(Arc::new(error)) }
    }
}

/// Why it ended by itself.
pub(super) fn ended(command: &Command, said: &[String], status: ExitStatus) -> Failure {
    let words = match said.last() {
        Some(last) => last.clone(),
        None => format!("nothing, and ended with {status}"),
    };
    Failure { reason: reason(command, said), source: Source::Said(words) }
}

/// Why it was ended: it came to nothing for too long.
pub(super) fn stuck(command: &Command, said: &[String]) -> Failure {
    let host = command.host();
    let reason = format!(
        "ssh to `{host}` came to nothing: try `ssh {host}` by hand, as the user that drowse runs as"
    );
    let words = said.last().cloned().unwrap_or_else(|| "nothing".to_owned());
    Failure { reason, source: Source::Said(words) }
}

/// Why a connection through it was closed at once by the other side. sshd tells no more than that:
/// a missing socket, one that may not be opened and a forbidden forwarding look the same.
pub(super) fn refused(command: &Command) -> String {
    let (host, socket) = (command.host(), &command.destination().socket);
    let user = match &command.destination().user {
        Some(user) => format!("`{user}`"),
        None => "the user that ssh logs in as".to_owned(),
    };
    format!(
        "ssh reaches `{host}`, and sshd there cannot open `{socket}`: start the engine, or correct \
         the socket's path in the URL; let {user} open it (the group `docker`); or let sshd forward \
         to it (`AllowStreamLocalForwarding`, and no `restrict` at the key)"
    )
}

fn reason(command: &Command, said: &[String]) -> String {
    let host = command.host();
    let find = |words: &str| said.iter().find(|line| line.contains(words));
    let has = |words: &str| find(words).is_some();
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("has changed and you have requested") {
        return format!(
            "`{host}` shows another host key than before: either the machine was set up anew, and \
             then the old key is to be removed from the file of known hosts (`ssh-keygen -R`), or \
             somebody answers in its place"
        );
    }
    if has("Host key verification failed") {
        return format!(
            "the host key of `{host}` is not known: compare its fingerprint, and accept it with `ssh \
             {host}` as the user that drowse runs as, or put it into the file that `known_hosts` names"
        );
    }
    if has("Permission denied") || has("Too many authentication failures") {
        if let Some(line) = find("not accessible").or_else(|| find("Load key")) {
            return format!(
                "the private key for `{host}` cannot be used ({}): correct its path, and let only \
                 the user that drowse runs as read it; one with a passphrase needs an agent",
                line.trim_start_matches("Warning: ")
            );
        }
        return format!(
            "`{host}` accepts none of the keys that ssh has: put the public key into \
             `~/.ssh/authorized_keys` there, or name the private key with `identity`; one with a \
             passphrase needs an agent"
        );
    }
    if has("Could not resolve hostname") {
        return format!("ssh cannot resolve the host name `{host}`: correct it");
    }
    if has("Connection refused") {
        return format!(
            "`{host}` refuses ssh connections: start sshd there, or correct the port in the URL"
        );
    }
    if has("timed out") || has("No route to host") || has("Network is unreachable") {
        return format!(
            "ssh gets no answer from `{host}`: check the address, the network and the firewalls"
        );
    }
    if has("Bad configuration option")
        || has("Can't open user config file")
        || has("Bad owner or permissions")
        || has("terminating,")
    {
        let line = said.first().map(String::as_str).unwrap_or_default();
        return format!("ssh does not accept its configuration ({line}): correct it");
    }
    if has("Could not request local forwarding") || has("cannot listen to port") {
        return format!(
            "a forwarding in ssh's configuration of `{host}` cannot be made, and nothing works \
             without it: give drowse a `Host` of its own there, or a `config` of its own"
        );
    }
    if has("not responding") {
        return format!("`{host}` has stopped answering ssh: check the machine and the network");
    }
    if has("closed by") || has("Connection closed") || has("Connection reset") {
        return format!(
            "`{host}` has closed the ssh connection: is the machine, or its sshd, restarting?"
        );
    }
    format!("ssh to `{host}` has ended: try `ssh {host}` by hand, as the user that drowse runs as")
}

#[cfg(test)]
mod tests;
