//! The name of a task, which says where it runs.

use std::{fmt, str::FromStr, sync::Arc};

/// A task's name: `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:`.
///
/// The task lives on the node that it names, which may differ from the node that was asked.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    /// With all its fields: it was looked at when it was read.
    text: Arc<str>,
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
        self.field(1)
    }

    /// What it does: `vzstart`, `vzshutdown`, `hastart`, `vzdump`…
    pub fn kind(&self) -> &str {
        self.field(5)
    }

    /// What it is about: mostly a VMID; may be empty.
    pub fn id(&self) -> &str {
        self.field(6)
    }

    /// Who began it: `root@pam`, or `root@pam!token`.
    pub fn user(&self) -> &str {
        self.field(7)
    }

    fn field(&self, place: usize) -> &str {
        self.text.split(':').nth(place).unwrap_or_default()
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Upid({self})")
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
        // It is put into paths, as one step of them.
        let is_a_step = |field: &str| {
            let is_apart = |one: char| one == '/' || one.is_whitespace() || one.is_control();
            !field.contains(is_apart)
        };
        let is_upid = is_node
            && is_number(pid, 8..=8)
            && is_number(pstart, 8..=9)
            && is_number(start, 8..=8)
            && !kind.is_empty()
            && !user.is_empty()
            && [kind, id, user].into_iter().all(is_a_step);
        if !is_upid {
            return Err(refused());
        }
        Ok(Self { text: text.into() })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: [&str; 4] = [
        "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam!test:",
        "UPID:pve1:000007F0:000586F0:6B046CB2:vzstart:201:root@pam:",
        "UPID:pve-2:00000AB8:100068F35:6B046F57:hastart:203:drowse@pve!main:",
        "UPID:n:00000AB8:00068F35:6B046F57:vzdump::root@pam:",
    ];

    #[test]
    fn a_tasks_name_says_what_it_is_about_and_is_written_as_it_was_read() {
        let upids = REAL.map(|text| text.parse::<Upid>().unwrap());
        assert_eq!(upids.each_ref().map(ToString::to_string), REAL.map(str::to_owned));
        let fields =
            upids.each_ref().map(|upid| (upid.node(), upid.kind(), upid.id(), upid.user()));
        assert_eq!(
            fields,
            [
                ("pve1", "vzstart", "202", "root@pam!test"),
                ("pve1", "vzstart", "201", "root@pam"),
                ("pve-2", "hastart", "203", "drowse@pve!main"),
                ("n", "vzdump", "", "root@pam"),
            ]
        );
    }

    #[test]
    fn what_is_no_tasks_name_is_refused() {
        let refused = [
            "",
            "UPID:bogus",
            // Without its last colon.
            "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam",
            // A name that no node can have.
            "UPID:-pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam:",
            "UPID:../x:00000217:0003BC6F:6B04681C:vzstart:202:root@pam:",
            "UPID::00000217:0003BC6F:6B04681C:vzstart:202:root@pam:",
            // Numbers that are none, or too short.
            "UPID:pve1:0000021G:0003BC6F:6B04681C:vzstart:202:root@pam:",
            "UPID:pve1:217:0003BC6F:6B04681C:vzstart:202:root@pam:",
            // What would be another path.
            "UPID:pve1:00000217:0003BC6F:6B04681C:vz/start:202:root@pam:",
            "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:202:root@pam/../x:",
            "UPID:pve1:00000217:0003BC6F:6B04681C:vzstart:2 2:root@pam:",
        ];
        for text in refused {
            let error = text.parse::<Upid>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no UPID"));
        }
        let long = "x".repeat(1000);
        assert_eq!(long.parse::<Upid>().unwrap_err().text.len(), 200);
    }
}
