//! A view of the engine that holds one test's containers only.
//!
//! drowse manages whatever is labelled on an engine. Tests that run at once would manage each
//! other's containers; so each sees, through its relay, those that carry a label of its own.

use serde_json::{Map, Value, json};

/// Narrows lists and event streams to what carries a label, by the engine's own filters.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// `key=value`.
    pub(super) label: String,
}

impl Scope {
    /// The head of the request with the filter added; `None` where there is nothing to add.
    pub(super) fn narrow(&self, head: &str) -> Option<String> {
        let (line, rest) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_seen = path.ends_with("/containers/json") || path.ends_with("/events");
        if method != "GET" || !is_seen {
            return None;
        }
        Some(format!("{method} {path}?{} {version}\r\n{rest}", self.query(query)))
    }

    fn query(&self, query: &str) -> String {
        let mut filters = Map::new();
        let mut narrowed = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if key == "filters" {
                filters = serde_json::from_str(&value).unwrap_or_default();
            } else {
                narrowed.append_pair(&key, &value);
            }
        }
        // The engine knows two forms, and takes no mixture.
        if filters.values().any(Value::is_object) {
            let labels = filters.entry("label").or_insert_with(|| json!({}));
            labels[&self.label] = json!(true);
        } else {
            let labels = filters.entry("label").or_insert_with(|| json!([]));
            labels.as_array_mut().into_iter().for_each(|all| all.push(json!(self.label)));
        }
        narrowed.append_pair("filters", &Value::Object(filters).to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowed(target: &str) -> Option<String> {
        let scope = Scope { label: "site=1".to_owned() };
        let head = scope.narrow(&format!("GET {target} HTTP/1.1\r\nHost: d\r\n\r\n"))?;
        let query = head.split([' ', '?']).nth(2)?.to_owned();
        let pairs = form_urlencoded::parse(query.as_bytes()).map(|(k, v)| format!("{k}: {v}"));
        Some(pairs.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn lists_and_events_are_narrowed_and_nothing_else() {
        assert_eq!(
            narrowed("/v1.41/containers/json?all=true").unwrap(),
            r#"all: true; filters: {"label":["site=1"]}"#
        );
        assert_eq!(
            narrowed("/events?since=1&filters=%7B%22type%22%3A%5B%22container%22%5D%7D").unwrap(),
            r#"since: 1; filters: {"label":["site=1"],"type":["container"]}"#
        );
        assert_eq!(
            narrowed("/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D").unwrap(),
            r#"filters: {"label":{"site=1":true},"type":{"container":true}}"#
        );
        assert_eq!(
            narrowed("/containers/json?filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D").unwrap(),
            r#"filters: {"label":["a=b","site=1"]}"#
        );
        assert_eq!(narrowed("/containers/a/json"), None);
        assert_eq!(narrowed("/version"), None);
    }
}
