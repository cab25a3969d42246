//! A YAML document as a tree in which every value and every key knows its place, so that all
//! mistakes of a file can be reported at once, each where it stands.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The characters to underline, in bytes from the file's beginning.
    pub(crate) bytes: Range<usize>,
}

impl Place {
    fn of(location: Location) -> Self {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let start = number(location.span().byte_offset().unwrap_or(0));
        let length = number(location.span().byte_len().unwrap_or(0));
        Self {
            line: number(location.line()).max(1),
            column: number(location.column()).max(1),
            bytes: start..start.saturating_add(length),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value is. Scalars are kept as they are written: whoever reads one decides what it means.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nothing,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// Stands for what is written here, wherever it stands: two that differ are, all but certainly, not
    /// the same.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_into(&mut hasher);
        hasher.finish()
    }

    fn hash_into(&self, hasher: &mut DefaultHasher) {
        match &self.value {
            Value::Nothing => 0_u8.hash(hasher),
            Value::Text(text) => (1_u8, text).hash(hasher),
            Value::List(items) => {
                (2_u8, items.len()).hash(hasher);
                for item in items {
                    item.hash_into(hasher);
                }
            }
            Value::Map(entries) => {
                (3_u8, entries.len()).hash(hasher);
                for (key, value) in entries {
                    key.name.hash(hasher);
                    value.hash_into(hasher);
                }
            }
        }
    }
}

/// A key of a mapping and its place.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl Value {
    /// What it is, with an article, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Why a text is no YAML document.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
}

/// Reads one YAML document. An empty one is an empty mapping.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    // No snippets of the parser's own: every mistake is shown in one way. No properties, no
    // includes: reading a configuration reads that one file and nothing else.
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options) {
        Ok(Some(root)) => Ok(root.into_node(text)),
        Ok(None) => Ok(Node {
            place: Place { line: 1, column: 1, bytes: 0..0 },
            value: Value::Map(Vec::new()),
        }),
        Err(error) => {
            Err(SyntaxError { place: error.location().map(Place::of), message: describe(&error) })
        }
    }
}

fn describe(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` is given twice")
        }
        other => {
            let text = other.to_string();
            // The place is said by whoever reports the error.
            let cut =
                text.find(" at line ").or_else(|| text.find("at line ")).unwrap_or(text.len());
            let said = text[..cut].trim_end_matches([' ', ':', ',']);
            format!("this is not valid YAML: {said}")
        }
    }
}

/// The tree as serde builds it: every scalar in the type that YAML gives it.
enum Raw {
    Nothing,
    /// What was not quoted and looks like a number or a boolean: its spelling is in the source.
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self, source: &str) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self, source: &str) -> Node {
        let place = Place::of(self.referenced);
        // An alias is shown where it is used; its spelling is where it is defined.
        let defined = Place::of(self.defined);
        let value = match self.value {
            Raw::Nothing => Value::Nothing,
            Raw::Plain => {
                Value::Text(source.get(defined.bytes).unwrap_or_default().trim().to_owned())
            }
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => {
                Value::List(items.into_iter().map(|item| item.into_node(source)).collect())
            }
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let key = Key { place: Place::of(key.referenced), name: key.value };
                        (key, value.into_node(source))
                    })
                    .collect(),
            ),
        };
        Node { place, value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _value: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _value: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(node: &Node) -> &[(Key, Node)] {
        match &node.value {
            Value::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_and_values_know_their_places_and_keep_their_spelling() {
        let text = "a: 0x10\nb:\n  - 1.50\n  - no\n  - 'q'\nc: ~\n";
        let root = parse(text).unwrap();
        let entries = map(&root);
        assert_eq!(
            entries.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!((entries[1].0.place.line, entries[1].0.place.column), (2, 1));
        assert_eq!(&text[entries[1].0.place.bytes.clone()], "b");
        assert!(matches!(&entries[0].1.value, Value::Text(spelling) if spelling == "0x10"));
        let Value::List(items) = &entries[1].1.value else { panic!() };
        let spellings: Vec<_> = items
            .iter()
            .map(|item| match &item.value {
                Value::Text(text) => (text.as_str(), item.place.line, item.place.column),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(spellings, [("1.50", 3, 5), ("no", 4, 5), ("q", 5, 5)]);
        assert!(matches!(entries[2].1.value, Value::Nothing));
    }

    #[test]
    fn an_empty_document_is_an_empty_mapping() {
        assert!(map(&parse("# nothing\n").unwrap()).is_empty());
    }

    #[test]
    fn a_key_given_twice_is_an_error_with_its_place() {
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.message, "the key `a` is given twice");
        assert_eq!(error.place.unwrap().line, 2);
    }

    #[test]
    fn broken_yaml_is_an_error_with_its_place() {
        let error = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(error.message.starts_with("this is not valid YAML: "), "{}", error.message);
        assert!(!error.message.contains("line"), "{}", error.message);
        assert!(error.place.is_some());
    }
}
