//! How `ssh` is called.

use std::{ffi::OsString, path::Path, process, time::Duration};

use crate::{SshFiles, endpoint::Destination};

const PROGRAM: &str = "ssh";

/// What is set whatever the user's configuration says: the first word on an option counts.
const OPTIONS: &[&str] = &[
    // Nobody is there to be asked.
    "BatchMode=yes",
    // A host that is not known may be anybody, and would be given orders.
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    // A connection of its own, whose end is the end of this process.
    "ControlMaster=no",
    "ControlPath=none",
    "ExitOnForwardFailure=yes",
    // A dead link says nothing by itself.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    // Nothing more than the one socket of our own; the forwardings of the user's configuration are made as
    // well, since only a configuration file of our own could say no to them.
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    // What is refused is told at this level.
    "LogLevel=INFO",
];

/// One engine's `ssh`.
pub(super) struct Command {
    destination: Destination,
    options: Vec<OsString>,
}

impl Command {
    /// The error is a lower-case fragment.
    pub(super) fn new(
        destination: &Destination,
        files: &SshFiles,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let mut options: Vec<OsString> = Vec::new();
        if let Some(config) = &files.config {
            options.extend(["-F".into(), checked(config)?.into()]);
        }
        let mut set = |option: String| options.extend(["-o".into(), option.into()]);
        for option in OPTIONS {
            set((*option).to_owned());
        }
        // In whole seconds; 0 would be for ever.
        set(format!("ConnectTimeout={}", connect_timeout.as_secs().max(1)));
        if let Some(known_hosts) = &files.known_hosts {
            set(format!("UserKnownHostsFile=\"{}\"", checked(known_hosts)?));
            set("GlobalKnownHostsFile=none".to_owned());
        }
        if let Some(identity) = &files.identity {
            set("IdentitiesOnly=yes".to_owned());
            options.extend(["-i".into(), checked(identity)?.into()]);
        }
        if let Some(port) = destination.port {
            options.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = &destination.user {
            options.extend(["-l".into(), user.into()]);
        }
        Ok(Self { destination: destination.clone(), options })
    }

    /// The host as the URL names it.
    pub(super) fn host(&self) -> &str {
        &self.destination.host
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Prints how ssh understands all this, and connects to nobody.
    pub(super) fn explain(&self) -> process::Command {
        let mut command = process::Command::new(PROGRAM);
        command.arg("-G").args(&self.options).args(["--", self.host()]);
        command
    }

    /// Forwards the socket `local` to the engine's.
    pub(super) fn forward(&self, local: &Path) -> process::Command {
        let mut sockets = local.as_os_str().to_owned();
        sockets.push(":");
        sockets.push(&self.destination.socket);
        let mut command = process::Command::new(PROGRAM);
        command.args(["-N", "-T"]).args(&self.options).arg("-L").arg(sockets);
        command.args(["--", self.host()]);
        command
    }
}

/// A path that ssh takes as it is written: it expands `%` and `${}`, and quotes by `"` and `\`.
pub(super) fn checked(path: &Path) -> Result<&str, String> {
    let is_plain = |text: &&str| {
        !text.is_empty() && !text.contains(|c: char| c.is_control() || "\"\\%$".contains(c))
    };
    path.to_str().filter(is_plain).ok_or_else(|| {
        format!(
            "`{}` cannot be named to ssh: choose a path without `%`, `$`, `\"` and `\\`",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &process::Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join("\n")
    }

    #[test]
    fn all_that_matters_is_said_and_nothing_else_can_be() {
        let destination = Destination::parse("me@nas:2222/run/d.sock").unwrap();
        let files = SshFiles::new()
            .with_identity("/etc/drowse/id")
            .with_known_hosts("/etc/drowse/known hosts")
            .with_config("/etc/drowse/ssh");
        let command = Command::new(&destination, &files, Duration::from_millis(1500)).unwrap();
        insta::assert_snapshot!(words(&command.forward(Path::new("/tmp/x/engine.sock"))), @r#"
        -N
        -T
        -F
        /etc/drowse/ssh
        -o
        BatchMode=yes
        -o
        StrictHostKeyChecking=yes
        -o
        UpdateHostKeys=no
        -o
        ControlMaster=no
        -o
        ControlPath=none
        -o
        ExitOnForwardFailure=yes
        -o
        ServerAliveInterval=15
        -o
        ServerAliveCountMax=3
        -o
        ForwardAgent=no
        -o
        ForwardX11=no
        -o
        PermitLocalCommand=no
        -o
        RemoteCommand=none
        -o
        RequestTTY=no
        -o
        LogLevel=INFO
        -o
        ConnectTimeout=1
        -o
        UserKnownHostsFile="/etc/drowse/known hosts"
        -o
        GlobalKnownHostsFile=none
        -o
        IdentitiesOnly=yes
        -i
        /etc/drowse/id
        -p
        2222
        -l
        me
        -L
        /tmp/x/engine.sock:/run/d.sock
        --
        nas
        "#);
    }

    #[test]
    fn a_path_that_ssh_would_read_otherwise_is_refused() {
        let destination = Destination::parse("nas").unwrap();
        for path in ["/a%h", "/a\"b", "/${HOME}/id", "/a\nb", ""] {
            let files = SshFiles::new().with_identity(path);
            let Err(why) = Command::new(&destination, &files, Duration::ZERO) else {
                panic!("{path}");
            };
            assert!(why.contains("cannot be named to ssh"), "{why}");
        }
    }
}
