//! In which language a page speaks.

use std::{fmt, str::FromStr};

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use thiserror::Error;

/// A language of the waiting page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Language {
    /// What everybody gets whose language is none of these.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Chinese, in simplified characters.
    Chinese,
}

/// There are no such words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the waiting page does not speak `{}`: expected one of {}", given.escape_debug(), known())]
pub struct LanguageError {
    given: String,
}

/// How much of what a client accepts is looked at.
const MOST_RANGES: usize = 32;

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::English, Self::German, Self::French, Self::Spanish, Self::Chinese];

    /// Its two letters, by ISO 639-1.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Chinese => "zh",
        }
    }

    /// The value of `lang` and of `Content-Language`.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            // The characters differ, not only the words.
            Self::Chinese => "zh-Hans",
            other => other.as_str(),
        }
    }

    /// What a browser would have: of those with the highest weight the first that is spoken here.
    pub(crate) fn wanted_by(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranges = lines.flat_map(|line| line.split(',')).take(MOST_RANGES);
        let mut best = (0, Self::default());
        for (weight, language) in ranges.filter_map(weighed) {
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }
}

/// One range, `de-AT;q=0.8`: its weight in thousandths, and the language that it is about.
fn weighed(range: &str) -> Option<(u16, Language)> {
    let mut parts = range.split(';').map(str::trim);
    let primary = parts.next()?.split('-').next()?;
    let language =
        Language::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(primary))?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits; what is no number becomes 0"
    )]
    let thousandths = (weight.clamp(0.0, 1.0) * 1_000.0) as u16;
    Some((thousandths, language))
}

impl FromStr for Language {
    type Err = LanguageError;

    /// Reads the two letters.
    ///
    /// # Errors
    /// [`LanguageError`] if there are no words in that language.
    fn from_str(text: &str) -> Result<Self, LanguageError> {
        let found = Self::ALL.into_iter().find(|language| language.as_str() == text);
        found.ok_or_else(|| LanguageError { given: text.to_owned() })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

fn known() -> String {
    Language::ALL.map(|language| format!("`{language}`")).join(", ")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wanted(accept: &str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(accept).unwrap());
        Language::wanted_by(&headers)
    }

    #[test]
    fn browsers_get_what_they_would_rather_have() {
        assert_eq!(Language::wanted_by(&HeaderMap::new()), Language::English);
        for (accept, language) in [
            ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", Language::German),
            ("pl,fr-CH;q=0.8,en;q=0.5", Language::French),
            ("en;q=0.3, es;q=0.7", Language::Spanish),
            ("zh-CN,zh;q=0.9", Language::Chinese),
            ("FR", Language::French),
            ("pl", Language::English),
            ("*", Language::English),
            ("de;q=0", Language::English),
            ("de;q=abc, es;q=0.1", Language::Spanish),
            ("de;q=NaN", Language::English),
            ("de;q=7, fr", Language::German),
            ("", Language::English),
            (",;,;q=1,-", Language::English),
        ] {
            assert_eq!(wanted(accept), language, "{accept}");
        }
        let long = format!("{}de", "xx,".repeat(MOST_RANGES));
        assert_eq!(wanted(&long), Language::English);
    }

    #[test]
    fn a_language_without_words_is_refused_with_those_that_have_some() {
        assert_eq!("de".parse(), Ok(Language::German));
        let error = "klingon\n".parse::<Language>().unwrap_err();
        insta::assert_snapshot!(error, @r"the waiting page does not speak `klingon\n`: expected one of `en`, `de`, `fr`, `es`, `zh`");
    }
}
