//! From what the API says to the classes of the contract.

use drowse_provider::{Action, ContainerStatus, Error, ErrorKind};

use super::{Cause, ClientError};

impl ClientError {
    /// The class of the contract that it belongs to.
    ///
    /// [`NotFound`](ErrorKind::NotFound) says that the *node that was asked* has no such container:
    /// it may be on another one.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::NodeUnreachable { .. } => {
                ErrorKind::Unavailable { reason: self.to_string() }
            }
            Self::TimedOut { after, .. } => ErrorKind::Timeout { after: *after, last: None },
            Self::Unauthorized { .. } | Self::Secret { .. } => ErrorKind::Unauthorized,
            Self::Forbidden { privilege, path, .. } => {
                ErrorKind::Forbidden { privilege: privilege.clone(), path: path.clone() }
            }
            Self::Refused { status: 501, message } => ErrorKind::Unsupported {
                why: format!("this version of Proxmox VE does not know it ({message})"),
            },
            Self::Refused { message, .. } => of_cause(&Cause::of(message), message.clone()),
            Self::TaskFailed { exit, log, .. } => of_cause(&Cause::of(exit), with_log(exit, log)),
            Self::Garbled { message, .. } => ErrorKind::Protocol { message: message.clone() },
            Self::Closed => ErrorKind::Closed,
        }
    }

    /// As an error of the contract, with this one as its source.
    pub fn into_error(self, engine: &str, action: Action, container: Option<&str>) -> Error {
        let kind = match &self {
            Self::TimedOut { after, last, .. } => ErrorKind::Timeout {
                after: *after,
                last: last.clone().map(|last| Box::new(last.into_error(engine, action, container))),
            },
            _ => self.kind(),
        };
        let error = Error::new(engine, action, kind);
        let error = match container {
            Some(container) => error.with_container(container),
            None => error,
        };
        error.with_source(self)
    }
}

fn of_cause(cause: &Cause, message: String) -> ErrorKind {
    match cause {
        Cause::NoSuchContainer => ErrorKind::NotFound,
        Cause::NotRunning => ErrorKind::Conflict { status: ContainerStatus::Stopped },
        Cause::AlreadyRunning => ErrorKind::Conflict { status: ContainerStatus::Running },
        Cause::Locked { by } => ErrorKind::Locked { by: by.clone() },
        Cause::NoQuorum => ErrorKind::Unavailable {
            reason: format!(
                "the cluster has lost its quorum, and takes no orders until enough of its nodes \
                 are back ({message})"
            ),
        },
        Cause::NoSuchNode => ErrorKind::Unavailable {
            reason: format!("the node is not known to the cluster ({message})"),
        },
        Cause::DidNotStop | Cause::Interrupted | Cause::Other => {
            ErrorKind::Failed { exit: None, message }
        }
    }
}

/// What a task said before it failed, without its last line, which is its exit status.
fn with_log(exit: &str, log: &[String]) -> String {
    let said: Vec<&str> = log
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !line.starts_with("TASK "))
        .collect();
    if said.is_empty() { exit.to_owned() } else { format!("{exit} ({})", said.join("; ")) }
}
