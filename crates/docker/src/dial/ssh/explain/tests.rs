use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use super::*;
use crate::{SshFiles, endpoint::Destination};

fn command() -> Command {
    let destination = Destination::parse("nas").unwrap();
    Command::new(&destination, &SshFiles::new(), Duration::from_secs(5)).unwrap()
}

/// What is told of an ssh that said this, as OpenSSH 9.2 says it.
fn told(said: &str) -> String {
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let Failure { reason, source } = ended(&command(), &lines, ExitStatus::from_raw(255 << 8));
    format!("{reason}\n{source}")
}

#[test]
fn what_ssh_says_is_told_with_how_to_mend_it() {
    insta::assert_snapshot!(told("No ED25519 host key is known for nas and you have requested strict checking.\nHost key verification failed."), @"
    the host key of `nas` is not known: compare its fingerprint, and accept it with `ssh nas` as the user that drowse runs as, or put it into the file that `known_hosts` names
    ssh says: Host key verification failed.
    ");
    insta::assert_snapshot!(told("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key for nas has changed and you have requested strict checking.\nHost key verification failed."), @"
    `nas` shows another host key than before: either the machine was set up anew, and then the old key is to be removed from the file of known hosts (`ssh-keygen -R`), or somebody answers in its place
    ssh says: Host key verification failed.
    ");
    insta::assert_snapshot!(told("me@nas: Permission denied (publickey)."), @"
    `nas` accepts none of the keys that ssh has: put the public key into `~/.ssh/authorized_keys` there, or name the private key with `identity`; one with a passphrase needs an agent
    ssh says: me@nas: Permission denied (publickey).
    ");
    insta::assert_snapshot!(told("Warning: Identity file /id not accessible: No such file or directory.\nme@nas: Permission denied (publickey)."), @"
    the private key for `nas` cannot be used (Identity file /id not accessible: No such file or directory.): correct its path, and let only the user that drowse runs as read it; one with a passphrase needs an agent
    ssh says: me@nas: Permission denied (publickey).
    ");
    insta::assert_snapshot!(told("ssh: Could not resolve hostname nas: Name or service not known"), @"
    ssh cannot resolve the host name `nas`: correct it
    ssh says: ssh: Could not resolve hostname nas: Name or service not known
    ");
    insta::assert_snapshot!(told("ssh: connect to host nas port 22: Connection refused"), @"
    `nas` refuses ssh connections: start sshd there, or correct the port in the URL
    ssh says: ssh: connect to host nas port 22: Connection refused
    ");
    insta::assert_snapshot!(told("ssh: connect to host nas port 22: No route to host"), @"
    ssh gets no answer from `nas`: check the address, the network and the firewalls
    ssh says: ssh: connect to host nas port 22: No route to host
    ");
    insta::assert_snapshot!(told("/home/me/.ssh/config: line 1: Bad configuration option: foo\n/home/me/.ssh/config: terminating, 1 bad configuration options"), @"
    ssh does not accept its configuration (/home/me/.ssh/config: line 1: Bad configuration option: foo): correct it
    ssh says: /home/me/.ssh/config: terminating, 1 bad configuration options
    ");
    insta::assert_snapshot!(told("bind [127.0.0.1]:8080: Address already in use\nchannel_setup_fwd_listener_tcpip: cannot listen to port: 8080\nCould not request local forwarding."), @"
    a forwarding in ssh's configuration of `nas` cannot be made, and nothing works without it: give drowse a `Host` of its own there, or a `config` of its own
    ssh says: Could not request local forwarding.
    ");
    insta::assert_snapshot!(told("Timeout, server nas not responding."), @"
    `nas` has stopped answering ssh: check the machine and the network
    ssh says: Timeout, server nas not responding.
    ");
    insta::assert_snapshot!(told("Connection to nas closed by remote host."), @"
    `nas` has closed the ssh connection: is the machine, or its sshd, restarting?
    ssh says: Connection to nas closed by remote host.
    ");
    insta::assert_snapshot!(told(""), @"
    ssh to `nas` has ended: try `ssh nas` by hand, as the user that drowse runs as
    ssh says: nothing, and ended with exit status: 255
    ");
}

#[test]
fn what_ssh_cannot_say_is_told_as_well() {
    let missing = Failure::not_started(io::ErrorKind::NotFound.into());
    insta::assert_snapshot!(missing.reason, @"there is no program `ssh` on the search path: install OpenSSH's client (`apt-get install openssh-client`)");
    let folder = Failure::no_folder(Path::new("/tmp"), io::ErrorKind::PermissionDenied.into());
    insta::assert_snapshot!(folder.reason, @"no folder can be made in `/tmp` for the socket of ssh: make it writable, or set `TMPDIR`");
    insta::assert_snapshot!(stuck(&command(), &[]).reason, @"ssh to `nas` came to nothing: try `ssh nas` by hand, as the user that drowse runs as");
    insta::assert_snapshot!(refused(&command()), @"ssh reaches `nas`, and sshd there cannot open `/var/run/docker.sock`: start the engine, or correct the socket's path in the URL; let the user that ssh logs in as open it (the group `docker`); or let sshd forward to it (`AllowStreamLocalForwarding`, and no `restrict` at the key)");
}
