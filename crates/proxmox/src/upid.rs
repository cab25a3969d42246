//! The name of a task, which says where it runs.

use std::{fmt, str::FromStr};

/// A task's name: `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:`.
///
/// The task lives on the node that it names, which may differ from the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upid {
    text: String,
    node: String,
    kind: String,
    id: String,
    user: String,
}

/// What is no UPID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no UPID")]
pub struct ParseUpidError {
    /// What was read, cut to 200 characters.
    pub text: String,
}

impl Upid {
    /// The node that the task runs on.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What it does: `vzstart`, `vzshutdown`, `hastart`, `vzdump`…
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it is about: mostly a VMID; may be empty.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who began it: `root@pam`, or `root@pam!token`.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Upid {
    type Err = ParseUpidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseUpidError { text: text.chars().take(200).collect() };
        let fields: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, start, kind, id, user, ""] = fields[..] else {
            return Err(refused());
        };
        let is_number = |field: &str, digits: std::ops::RangeInclusive<usize>| {
            digits.contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let is_node = !node.is_empty()
            && !node.starts_with('-')
            && !node.ends_with('-')
            && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let has_no_space = |field: &str| !field.contains(char::is_whitespace);
        let is_upid = is_node
            && is_number(pid, 8..=8)
            && is_number(pstart, 8..=9)
            && is_number(start, 8..=8)
            && !kind.is_empty()
            && !kind.contains('/')
            && !id.contains('/')
            && !user.is_empty()
            && [kind, id, user].into_iter().all(has_no_space);
        if !is_upid {
            return Err(refused());
        }
        Ok(Self {
            text: text.to_owned(),
            node: node.to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
        })
    }
}
