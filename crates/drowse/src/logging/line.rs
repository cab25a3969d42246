//! One event as one line.

use std::{
    error::Error,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use serde_json::{Map, Value};
use tracing::{
    Metadata,
    field::{Field, Visit},
};

use crate::{
    config::show_duration,
    output::{chain, one_line},
};

/// Fields that differ between two occurrences of what is the same for a person.
const VOLATILE: &[&str] =
    &["elapsed", "took", "next_attempt", "after", "retry_after", "retry_in", "attempt", "delay"];

/// The fields of an event or of a span, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
        } else {
            self.set(field.name(), value);
        }
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.others.push((name, value)),
        }
    }

    /// Adds what a surrounding span says and the event does not.
    pub(super) fn inherit(&mut self, span: &Self) {
        for (name, value) in &span.others {
            if self.others.iter().all(|(known, _)| known != name) {
                self.others.push((name, value.clone()));
            }
        }
    }

    /// Says how often the same was to be said since it was last said.
    pub(super) fn repeated(&mut self, times: u64, over: Duration) {
        self.set("repeated", Value::from(times));
        self.set("over", Value::from(show_duration(Duration::from_secs(over.as_secs().max(1)))));
    }

    /// What makes two events the same.
    pub(super) fn identity(&self, target: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        self.message.hash(&mut hasher);
        for (name, value) in &self.others {
            if !VOLATILE.contains(name) {
                (name, value.to_string()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// `2026-11-23T22:36:55.123+01:00  INFO message key=value`
    pub(super) fn text(&self, now: &jiff::ZonedDateTime, metadata: &Metadata<'_>) -> String {
        let mut line =
            format!("{} {:>5} {}", stamp(now), metadata.level(), one_line(&self.message));
        for (name, value) in &self.others {
            line.push_str(if line.ends_with(' ') { "" } else { " " });
            match value {
                Value::String(text) if is_plain(text) => {
                    put(&mut line, format_args!("{name}={text}"));
                }
                other => put(&mut line, format_args!("{name}={other}")),
            }
        }
        line.push('\n');
        line
    }

    /// The same as an object.
    pub(super) fn json(&self, now: &jiff::ZonedDateTime, metadata: &Metadata<'_>) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), stamp(now).into());
        object.insert("level".to_owned(), metadata.level().as_str().to_lowercase().into());
        object.insert("target".to_owned(), metadata.target().into());
        object.insert("message".to_owned(), self.message.clone().into());
        for (name, value) in &self.others {
            object.entry(*name).or_insert_with(|| value.clone());
        }
        format!("{}\n", Value::Object(object))
    }
}

fn stamp(now: &jiff::ZonedDateTime) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// Whether a value needs no quotes to be told from its neighbours.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

fn put(line: &mut String, arguments: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = line.write_fmt(arguments);
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // A text that was quoted so that it cannot forge lines: quoting is our own job here.
        let unquoted = match field.name() {
            "message" => None,
            _ => serde_json::from_str::<String>(&text).ok(),
        };
        self.put(field, Value::String(unquoted.unwrap_or(text)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    /// The error and all that caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, chain(value).into());
    }
}
