//! Who needs itself, by way of others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who needs whom, by name.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The shortest way from `start` back to itself, both ends included; `None` if there is none.
pub(crate) fn cycle_of(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let needs = |name: &str| graph.get(name).into_iter().flatten();
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    let mut last = None;
    'search: while let Some(name) = queue.pop_front() {
        for next in needs(name) {
            if next == start {
                last = Some(name);
                break 'search;
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(next) {
                entry.insert(name);
                queue.push_back(next);
            }
        }
    }
    let mut path = vec![start.to_owned()];
    let mut at = last?;
    while at != start {
        path.push(at.to_owned());
        at = came_from.get(at)?;
    }
    path.push(start.to_owned());
    path.reverse();
    Some(path)
}

/// A way in words: `a -> b -> a`.
pub(crate) fn in_words(path: &[String]) -> String {
    path.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(name, needs)| ((*name).to_owned(), owned(needs))).collect()
    }

    #[test]
    fn whoever_needs_itself_is_told_by_which_way() {
        let graph = graph(&[
            ("a", &["b", "d"]),
            ("b", &["c"]),
            ("c", &["a"]),
            ("d", &["c"]),
            ("e", &["a"]),
            ("f", &["f"]),
            ("g", &["h", "i"]),
            ("h", &["i"]),
        ]);
        let way = |name: &str| cycle_of(&graph, name).map(|path| in_words(&path));
        assert_eq!(way("a").as_deref(), Some("a -> b -> c -> a"));
        assert_eq!(way("c").as_deref(), Some("c -> a -> b -> c"));
        assert_eq!(way("f").as_deref(), Some("f -> f"));
        assert_eq!(way("e"), None, "it only needs one that is in a cycle");
        assert_eq!(way("g"), None, "two ways to one are no cycle");
        assert_eq!(way("nobody"), None);
    }
}
