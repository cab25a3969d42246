//! Numbers and texts as Perl writes them: a number may be a string, a text of digits a number, and
//! either may be null. Nothing in here fails: what is of another kind is as if it were not there.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A number, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number(Option<f64>);

/// A text, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Text(Option<String>);

impl Number {
    pub(super) fn float(self) -> Option<f64> {
        self.0.filter(|number| number.is_finite())
    }

    /// Without what is behind the point; a negative one is zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion saturates, and a negative one is meant to be zero"
    )]
    pub(super) fn count(self) -> Option<u64> {
        self.float().map(|number| number as u64)
    }

    pub(super) fn small(self) -> Option<u32> {
        self.count().and_then(|number| u32::try_from(number).ok())
    }

    /// Whether it is one of Perl's true numbers.
    pub(super) fn is_true(self) -> bool {
        self.float().is_some_and(|number| number != 0.0)
    }
}

/// The longest text of the API's that is told to anybody, in characters.
const TOLD_MAX: usize = 1000;

/// One line that may be shown on a terminal and in a log, and is not endless.
pub(super) fn line(text: &str) -> String {
    let text = text.trim().chars().take(TOLD_MAX);
    text.map(|part| if part.is_control() { ' ' } else { part }).collect()
}

impl Text {
    /// `None` also if it is empty.
    pub(super) fn some(self) -> Option<String> {
        self.0.filter(|text| !text.is_empty())
    }

    pub(super) fn or_empty(self) -> String {
        self.0.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|scalar| match scalar {
            Scalar::Number(number) => Self(Some(number)),
            Scalar::Text(text) => Self(text.trim().parse().ok()),
            Scalar::Nothing => Self(None),
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient).map(|scalar| match scalar {
            Scalar::Number(number) => Self(Some(number.to_string())),
            Scalar::Text(text) => Self(Some(text)),
            Scalar::Nothing => Self(None),
        })
    }
}

enum Scalar {
    Number(f64),
    Text(String),
    Nothing,
}

struct Lenient;

#[expect(clippy::cast_precision_loss, reason = "no number of the API comes near 2^53")]
impl<'de> Visitor<'de> for Lenient {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Number(f64::from(u8::from(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_none<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Row {
        #[serde(default)]
        number: Number,
        #[serde(default)]
        text: Text,
    }

    fn read(value: &str) -> (Option<f64>, Option<String>) {
        let json = format!(r#"{{"number":{value},"text":{value},"other":{value}}}"#);
        let row: Row = serde_json::from_str(&json).unwrap();
        (row.number.float(), row.text.some())
    }

    #[test]
    fn every_kind_of_value_is_read_as_what_it_can_be() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read("12"), (Some(12.0), text("12")));
        assert_eq!(read("-1"), (Some(-1.0), text("-1")));
        assert_eq!(read("0.5"), (Some(0.5), text("0.5")));
        assert_eq!(read("1e3"), (Some(1000.0), text("1000")));
        assert_eq!(read(r#""24""#), (Some(24.0), text("24")));
        assert_eq!(read(r#"" 24 ""#), (Some(24.0), text(" 24 ")));
        assert_eq!(read(r#""web""#), (None, text("web")));
        assert_eq!(read(r#""NaN""#), (None, text("NaN")));
        assert_eq!(read(r#""""#), (None, None));
        assert_eq!(read("true"), (Some(1.0), text("1")));
        assert_eq!(read("null"), (None, None));
        assert_eq!(read("[1,[2]]"), (None, None));
        assert_eq!(read(r#"{"a":{"b":1}}"#), (None, None));
        let missing: Row = serde_json::from_str("{}").unwrap();
        assert_eq!((missing.number.float(), missing.text.some()), (None, None));
    }

    #[test]
    fn counts_are_never_negative_and_never_too_large() {
        let count = |number: f64| Number(Some(number)).count();
        assert_eq!([count(-1.0), count(2.9), count(f64::NAN)], [Some(0), Some(2), None]);
        assert_eq!(count(1e300), Some(u64::MAX));
        assert_eq!(Number(Some(5e9)).small(), None);
    }

    #[test]
    fn what_is_told_is_one_line() {
        assert_eq!(line(" a\n\u{1b}[31mb\n"), "a  [31mb");
        assert_eq!(line(&"ä".repeat(5000)).chars().count(), TOLD_MAX);
    }
}
