//! The document: what a template is given, and what stands around it.

use minijinja::{Value, context};
use serde_json::json;

use super::{
    Language,
    state::{Pace, State, Step},
    texts::Message,
    theme::Kind,
    usual::progress,
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// All that a page is made of.
#[derive(Clone, Debug)]
pub(crate) struct Document<'a> {
    pub(crate) name: &'a str,
    pub(crate) host: &'a str,
    pub(crate) state: &'a State,
    pub(crate) pace: Pace,
    pub(crate) language: Language,
    /// After how many seconds a browser without scripts asks again, if it should.
    pub(crate) refresh: Option<u64>,
    pub(crate) details: bool,
    /// What the policy admits this document's style and script by.
    pub(crate) nonce: &'a str,
}

impl Document<'_> {
    pub(crate) fn kind(&self) -> Kind {
        if self.state.step == Step::Failed { Kind::Failed } else { Kind::Waiting }
    }

    /// The variables of a template: see `docs/waiting-page.md`.
    pub(crate) fn variables(&self) -> Value {
        let Self { name, host, state, pace, language, nonce, .. } = *self;
        let told = state.tell(pace, language);
        let usual = state.usual(pace);
        let labels = language.labels();
        let percent = usual.map(|usual| round(progress(pace.elapsed, usual)));
        context! {
            language => language.tag(),
            name,
            host,
            step => state.step.as_str(),
            failed => state.step == Step::Failed,
            title => told.title,
            hint => told.hint,
            detail => state.detail.as_str(),
            details => self.details,
            usual => told.usual,
            usual_seconds => usual.map(|usual| usual.as_secs_f64()),
            elapsed_seconds => pace.elapsed.as_secs(),
            progress => percent,
            steps => self.steps(),
            again => labels.again,
            progress_label => labels.progress,
            refresh => self.refresh,
            nonce,
            style => Value::from_safe_string(STYLE.to_owned()),
            head => Value::from_safe_string(self.head()),
            live => Value::from_safe_string(self.live()),
        }
    }

    fn steps(&self) -> Vec<Value> {
        let labels = self.language.labels();
        let at = |step| match step {
            Step::Dependencies => 0,
            Step::Starting | Step::Asleep | Step::Failed => 1,
            Step::Answering => 2,
            Step::Ready => 3,
        };
        let now = at(self.state.step);
        let all = [
            (Step::Dependencies, labels.dependencies),
            (Step::Starting, labels.starting),
            (Step::Answering, labels.answering),
        ];
        let shown = all.into_iter().map(|(step, label)| {
            let state = match at(step).cmp(&now) {
                std::cmp::Ordering::Less => "done",
                std::cmp::Ordering::Equal => "now",
                std::cmp::Ordering::Greater => "next",
            };
            // Most need nothing; who waits for it sees it.
            let shown = step != Step::Dependencies || self.state.step == Step::Dependencies;
            context! { name => step.as_str(), label, state, shown }
        });
        shown.collect()
    }

    /// What every page has in its head. Without an icon of its own a browser asks the application for one,
    /// and is held.
    fn head(&self) -> String {
        let refresh = self.refresh.map_or_else(String::new, |seconds| {
            format!("<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>\n")
        });
        format!(
            "<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n{refresh}"
        )
    }

    /// The script, and what it begins with.
    fn live(&self) -> String {
        let labels = self.language.labels();
        let say = |message| {
            let said = self.language.say(message);
            json!({ "title": said.title, "hint": said.hint })
        };
        let given = json!({
            "name": self.name,
            "state": self.state.tell(self.pace, self.language),
            "seconds": labels.seconds,
            "minutes": labels.minutes,
            "stopped": say(Message::Stopped),
            "slow": say(Message::Slow),
        });
        // Within a script element nothing is unescaped, and only `</` and `<!--` end or change it.
        let given = given.to_string().replace('<', "\\u003c");
        format!(
            "<script type=\"application/json\" id=\"drowse\">{given}</script>\n\
             <script nonce=\"{}\">{SCRIPT}</script>",
            self.nonce
        )
    }
}

/// To one decimal, which is finer than any bar.
fn round(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}
