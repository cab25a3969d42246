//! The key `limits`: what bounds clients. A label can say nothing of it: it is about all workloads together.

use std::time::Duration;

use super::{super::Limits, Node, Reader, unknown};

pub(crate) const LIMIT_KEYS: &[&str] = &[
    "body_timeout",
    "client_timeout",
    "waiting",
    "waiting_per_workload",
    "connections_per_source",
];

impl Reader<'_> {
    pub(super) fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        for (key, value) in self.mapping(node, "limits, such as `{body_timeout: 5m}`,") {
            match key.name.as_str() {
                "body_timeout" => self.set_limit(value, &mut limits.body_timeout, Self::time),
                "client_timeout" => self.set_limit(value, &mut limits.client_timeout, Self::time),
                "waiting" => self.set_limit(value, &mut limits.waiting, Self::number),
                "waiting_per_workload" => {
                    self.set_limit(value, &mut limits.waiting_per_workload, Self::number);
                }
                "connections_per_source" => {
                    self.set_limit(value, &mut limits.connections_per_source, Self::number);
                }
                other => self.error(&key.place, unknown("key", other, LIMIT_KEYS)),
            }
        }
        limits
    }

    fn set_limit<T>(
        &mut self,
        node: &Node,
        limit: &mut T,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) {
        if let Some(value) = read(self, node) {
            *limit = value;
        }
    }

    fn time(&mut self, node: &Node) -> Option<Duration> {
        let time = self.duration(node)?;
        // A second: what is shorter ends what is merely on its way.
        if time < Duration::from_secs(1) {
            self.error(&node.place, "a limit in time is at least `1s`");
            return None;
        }
        Some(time)
    }

    fn number(&mut self, node: &Node) -> Option<usize> {
        let text = self.text(node, "a number such as `1000`")?;
        match text.parse() {
            Ok(number) if number > 0 => Some(number),
            _ => {
                let text = text.escape_debug();
                let why = format!("`{text}` is no limit: a whole number from 1 on is expected");
                self.error(&node.place, why);
                None
            }
        }
    }
}
