//! One read of the whole cluster: every container, where it is and what it was doing.
//!
//! A beat is cheap and lags: what a container is doing may be 12 s old, what follows from
//! configurations (node, lock, tags) is as of now. So of a container that somebody watches a beat
//! is never told as true: where it differs from what was read live, that container is read again.

use std::sync::OnceLock;

use super::row::{Row, Share, Span};
use crate::Resource;

/// Every container of a cluster. Kept once, whatever the number of watches.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) span: Span,
    /// By VMID.
    rows: Box<[Row]>,
    /// Places in `rows`, by name: made when somebody asks by name.
    by_name: OnceLock<Box<[u32]>>,
}

impl Beat {
    /// `before`: the last one, since a node that is away does not tell names any more.
    pub(super) fn new(resources: &[Resource], span: Span, before: Option<&Self>) -> Self {
        let mut share = Share::default();
        let mut rows: Vec<Row> = resources
            .iter()
            .map(|resource| {
                let name = before.and_then(|before| before.find(resource.vmid)?.name.clone());
                Row::of_beat(resource, name, &mut share)
            })
            .collect();
        rows.sort_by_key(|row| row.vmid);
        rows.dedup_by_key(|row| row.vmid);
        Self { span, rows: rows.into(), by_name: OnceLock::new() }
    }

    /// All of them, by VMID.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn find(&self, vmid: u32) -> Option<&Row> {
        let place = self.rows.binary_search_by_key(&vmid, |row| row.vmid).ok()?;
        Some(&self.rows[place])
    }

    /// All of this name, by VMID.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Row> {
        let order = self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
            order.sort_by(|one, other| self.name_at(*one).cmp(&self.name_at(*other)));
            order.into()
        });
        let first = order.partition_point(|place| self.name_at(*place) < Some(name));
        order[first..]
            .iter()
            .take_while(move |place| self.name_at(**place) == Some(name))
            .map(|place| self.at(*place))
    }

    fn at(&self, place: u32) -> &Row {
        &self.rows[place as usize]
    }

    fn name_at(&self, place: u32) -> Option<&str> {
        self.at(place).name.as_deref()
    }
}

/// The rows of two beats, side by side, by VMID.
pub(super) fn side_by_side<'a>(
    before: &'a Beat,
    after: &'a Beat,
) -> impl Iterator<Item = (Option<&'a Row>, Option<&'a Row>)> {
    let mut before = before.rows.iter().peekable();
    let mut after = after.rows.iter().peekable();
    std::iter::from_fn(move || match (before.peek(), after.peek()) {
        (None, None) => None,
        (Some(one), Some(other)) if one.vmid == other.vmid => Some((before.next(), after.next())),
        (Some(one), Some(other)) if one.vmid > other.vmid => Some((None, after.next())),
        (None, Some(_)) => Some((None, after.next())),
        (Some(_), _) => Some((before.next(), None)),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    /// A stopped container on `pve1` without tags.
    pub(in crate::cluster) fn resource(vmid: u32, name: &str) -> Resource {
        Resource {
            vmid,
            node: "pve1".to_owned(),
            name: Some(name.to_owned()),
            status: "stopped".to_owned(),
            uptime: Duration::ZERO,
            lock: None,
            tags: Vec::new(),
            ha_state: None,
            is_template: false,
        }
    }

    fn beat(resources: &[Resource]) -> Beat {
        let now = Instant::now();
        Beat::new(resources, Span { began: now, ended: now }, None)
    }

    #[test]
    fn a_name_that_its_node_no_longer_tells_is_remembered() {
        let before = beat(&[resource(101, "wiki")]);
        let away = Resource { name: None, status: "unknown".to_owned(), ..resource(101, "") };
        let after = Beat::new(&[away], before.span, Some(&before));
        assert_eq!(after.named("wiki").count(), 1);
    }

    #[test]
    fn a_row_is_small() {
        // Ten thousand of them stay within a megabyte, names aside.
        assert!(size_of::<Row>() <= 100, "{}", size_of::<Row>());
    }

    fn clusters() -> impl Strategy<Value = Vec<Resource>> {
        let one = (100..130u32, "[ab]{1,2}").prop_map(|(vmid, name)| resource(vmid, &name));
        proptest::collection::vec(one, 0..20).prop_map(|mut all| {
            all.sort_by_key(|one| one.vmid);
            all.dedup_by_key(|one| one.vmid);
            all
        })
    }

    proptest! {
        #[test]
        fn whatever_is_there_is_found_by_number_and_by_name(mut all in clusters()) {
            all.reverse();
            let beat = beat(&all);
            for one in &all {
                prop_assert_eq!(beat.find(one.vmid).map(|row| row.vmid), Some(one.vmid));
                let name = one.name.as_deref().unwrap_or_default();
                let mut same: Vec<u32> = beat.named(name).map(|row| row.vmid).collect();
                same.sort_unstable();
                let mut expected: Vec<u32> = all
                    .iter()
                    .filter(|other| other.name == one.name)
                    .map(|other| other.vmid)
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(same, expected);
            }
            prop_assert!(beat.find(99).is_none());
            prop_assert_eq!(beat.named("c").count(), 0);
        }

        #[test]
        fn two_beats_side_by_side_lack_nothing(one in clusters(), other in clusters()) {
            let (one, other) = (beat(&one), beat(&other));
            let pairs: Vec<_> = side_by_side(&one, &other).collect();
            let befores: Vec<u32> = pairs.iter().filter_map(|pair| Some(pair.0?.vmid)).collect();
            let afters: Vec<u32> = pairs.iter().filter_map(|pair| Some(pair.1?.vmid)).collect();
            prop_assert!(befores.iter().eq(one.rows().iter().map(|row| &row.vmid)));
            prop_assert!(afters.iter().eq(other.rows().iter().map(|row| &row.vmid)));
            for pair in pairs {
                match pair {
                    (Some(before), Some(after)) => prop_assert_eq!(before.vmid, after.vmid),
                    (Some(before), None) => prop_assert!(other.find(before.vmid).is_none()),
                    (None, Some(after)) => prop_assert!(one.find(after.vmid).is_none()),
                    (None, None) => prop_assert!(false),
                }
            }
        }
    }
}
