//! What the page says, in each of its languages. A language that lacks a word does not compile.

mod de;
mod en;
mod es;
mod fr;
mod zh;

use std::time::Duration;

use super::Language;

/// What there is to say about a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    /// Nobody knows yet how it is.
    Reading,
    Waking,
    Needs,
    Answering,
    Ready,
    /// It is being put to sleep, and woken right after.
    FallingAsleep,
    EngineAway,
    /// It sleeps, and this request does not wake it.
    Asleep,
    StartFailed,
    NeedFailed,
    NotFound,
    NotPermitted,
    Locked,
    Slow,
    HeldAsleep,
    Misconfigured,
    NotManaged,
    /// The page has gone on again and again, and come back each time.
    Stopped,
}

/// A headline, and what it means in a sentence or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) title: &'static str,
    pub(crate) hint: &'static str,
}

/// The words that are on every page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels {
    /// The three steps of a wake.
    pub(crate) dependencies: &'static str,
    pub(crate) starting: &'static str,
    pub(crate) answering: &'static str,
    /// The button.
    pub(crate) again: &'static str,
    /// What the bar shows, for those who do not see it.
    pub(crate) progress: &'static str,
    /// With `{}` for the usual time.
    pub(crate) usual: &'static str,
    /// With `{}` for a number.
    pub(crate) seconds: &'static str,
    pub(crate) minutes: &'static str,
}

impl Language {
    pub(crate) fn say(self, message: Message) -> Said {
        let say = match self {
            Self::English => en::say,
            Self::German => de::say,
            Self::French => fr::say,
            Self::Spanish => es::say,
            Self::Chinese => zh::say,
        };
        let (title, hint) = say(message);
        Said { title, hint }
    }

    pub(crate) fn labels(self) -> &'static Labels {
        match self {
            Self::English => &en::LABELS,
            Self::German => &de::LABELS,
            Self::French => &fr::LABELS,
            Self::Spanish => &es::LABELS,
            Self::Chinese => &zh::LABELS,
        }
    }

    /// How long a wake usually takes, in a sentence: as exact as anybody would say it.
    pub(crate) fn say_usual(self, usual: Duration) -> String {
        let labels = self.labels();
        let seconds = (usual.as_secs() + u64::from(usual.subsec_nanos() > 0)).max(1);
        let time = match seconds {
            0..=20 => labels.seconds.replace("{}", &seconds.to_string()),
            21..=90 => labels.seconds.replace("{}", &(seconds.div_ceil(5) * 5).to_string()),
            _ => labels.minutes.replace("{}", &seconds.div_ceil(60).to_string()),
        };
        labels.usual.replace("{}", &time)
    }
}

#[cfg(test)]
impl Message {
    pub(crate) const ALL: [Self; 18] = [
        Self::Reading,
        Self::Waking,
        Self::Needs,
        Self::Answering,
        Self::Ready,
        Self::FallingAsleep,
        Self::EngineAway,
        Self::Asleep,
        Self::StartFailed,
        Self::NeedFailed,
        Self::NotFound,
        Self::NotPermitted,
        Self::Locked,
        Self::Slow,
        Self::HeldAsleep,
        Self::Misconfigured,
        Self::NotManaged,
        Self::Stopped,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(language: Language) -> Vec<&'static str> {
        let labels = language.labels();
        let said = Message::ALL.into_iter().map(|message| language.say(message));
        let said = said.flat_map(|said| [said.title, said.hint]);
        let Labels { dependencies, starting, answering, again, progress, usual, seconds, minutes } =
            *labels;
        said.chain([dependencies, starting, answering, again, progress, usual, seconds, minutes])
            .collect()
    }

    #[test]
    fn every_language_has_every_word() {
        let english = all_of(Language::English);
        for language in Language::ALL {
            let words = all_of(language);
            assert_eq!(words.len(), english.len());
            for (word, english) in words.iter().zip(&english) {
                assert!(!word.trim().is_empty(), "{language}: {english}");
                let holes = |text: &str| text.matches("{}").count();
                assert_eq!(holes(word), holes(english), "{language}: {word}");
                // Units are written the same in most.
                let is_copied = language != Language::English && word == english;
                assert!(!is_copied || holes(word) == 1, "{language}: {word}");
            }
        }
    }

    #[test]
    fn a_usual_time_is_said_as_people_say_it() {
        let say = |ms| Language::English.say_usual(Duration::from_millis(ms));
        let said = [3, 1_000, 8_200, 33_000, 89_000, 91_000, 600_000].map(say);
        insta::assert_snapshot!(said.join("\n"), @r"
        Usually takes about 1 s
        Usually takes about 1 s
        Usually takes about 9 s
        Usually takes about 35 s
        Usually takes about 90 s
        Usually takes about 2 min
        Usually takes about 10 min
        ");
        let eight = |language: Language| language.say_usual(Duration::from_secs(8));
        insta::assert_snapshot!(Language::ALL.map(eight).join("\n"), @r"
        Usually takes about 8 s
        Dauert meist etwa 8 s
        Prend en général environ 8 s
        Suele tardar unos 8 s
        通常需要约 8 秒
        ");
    }
}
