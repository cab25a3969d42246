//! What is watched, and which container that is.

use std::{ops::RangeInclusive, sync::Arc};

use drowse_provider::Reference;

use super::{beat::Beat, row::Row};

/// The numbers that Proxmox gives.
const VMIDS: RangeInclusive<u32> = 100..=999_999_999;

/// How a container is named, as far as Proxmox has such names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// Whatever has this number, now and later.
    Vmid(u32),
    /// The container that has this number, until it is gone.
    Id(u32),
    Name(Arc<str>),
}

/// What a beat has of a target.
pub(super) enum Found<'a> {
    None,
    One(&'a Row),
    Several(Vec<&'a Row>),
}

impl Target {
    /// `None` for what Proxmox has no names of.
    pub(super) fn of(reference: &Reference) -> Option<Self> {
        match reference {
            Reference::Vmid(vmid) => Some(Self::Vmid(*vmid)),
            Reference::Id(id) => {
                Some(Self::Id(id.parse().ok().filter(|vmid| VMIDS.contains(vmid))?))
            }
            Reference::Name(name) => Some(Self::Name(name.as_str().into())),
            _ => None,
        }
    }

    /// As it is called in errors.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Vmid(vmid) | Self::Id(vmid) => vmid.to_string(),
            Self::Name(name) => name.to_string(),
        }
    }

    /// Its number, if it is named by it.
    pub(super) fn vmid(&self) -> Option<u32> {
        match self {
            Self::Vmid(vmid) | Self::Id(vmid) => Some(*vmid),
            Self::Name(_) => None,
        }
    }

    /// Whether a container is (still) what it names.
    pub(super) fn is_named_by(&self, row: &Row) -> bool {
        match self {
            Self::Vmid(vmid) | Self::Id(vmid) => *vmid == row.vmid,
            Self::Name(name) => row.name.as_ref() == Some(name),
        }
    }

    pub(super) fn find<'a>(&self, beat: &'a Beat) -> Found<'a> {
        match self {
            Self::Vmid(vmid) | Self::Id(vmid) => beat.find(*vmid).map_or(Found::None, Found::One),
            Self::Name(name) => {
                let all: Vec<&Row> = beat.named(name).collect();
                match all[..] {
                    [] => Found::None,
                    [one] => Found::One(one),
                    _ => Found::Several(all),
                }
            }
        }
    }
}

/// Why a name that several containers have is refused, and what to write instead.
pub(super) fn ambiguity(name: &str, all: &[&Row]) -> String {
    const SHOWN: usize = 5;
    let mut candidates: Vec<String> =
        all.iter().take(SHOWN).map(|row| format!("{} on `{}`", row.vmid, row.node)).collect();
    if all.len() > SHOWN {
        candidates.push(format!("{} more", all.len() - SHOWN));
    }
    let candidates = candidates.join(", ");
    format!("{} containers are called `{name}` ({candidates}): name it by its `vmid`", all.len())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::cluster::row::tests::row;

    #[test]
    fn an_ambiguous_name_names_the_candidates() {
        let rows: Vec<Row> = (201..208).map(row).collect();
        let rows: Vec<&Row> = rows.iter().collect();
        assert_snapshot!(ambiguity("wiki", &rows[..2]), @"2 containers are called `wiki` (201 on `pve1`, 202 on `pve1`): name it by its `vmid`");
        assert_snapshot!(ambiguity("wiki", &rows), @"7 containers are called `wiki` (201 on `pve1`, 202 on `pve1`, 203 on `pve1`, 204 on `pve1`, 205 on `pve1`, 2 more): name it by its `vmid`");
    }

    #[test]
    fn what_proxmox_has_no_names_of_is_no_target() {
        for id in ["abc", "99", "1000000000", ""] {
            assert_eq!(Target::of(&Reference::Id(id.to_owned())), None, "{id}");
        }
        assert_eq!(Target::of(&Reference::Id("201".to_owned())), Some(Target::Id(201)));
        let service = Reference::Service { project: "a".to_owned(), service: "b".to_owned() };
        assert_eq!(Target::of(&service), None);
    }
}
