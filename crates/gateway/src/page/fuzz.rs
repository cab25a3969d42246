//! What comes of containers, engines and clients, in a page.

use drowse_fuzz::Input;
use drowse_watcher::PhaseName;

use super::{
    document::Document,
    state::{Pace, State, Step},
    texts::Message,
    theme::built_in,
    *,
};

const DATA: &str = "<script type=\"application/json\" id=\"drowse\">";

fn page(name: &str, host: &str, detail: &str) -> String {
    let state = State {
        step: Step::Failed,
        phase: PhaseName::Starting,
        message: Message::Waking,
        detail: detail.to_owned(),
    };
    let document = Document {
        name,
        host,
        state: &state,
        pace: Pace { elapsed: Duration::from_secs(3), usual: None },
        language: Language::English,
        refresh: Some(2),
        details: true,
        nonce: "NONCE",
    };
    built_in(&document.variables()).unwrap()
}

/// What a document is made of, whatever its words are: each mark that has a meaning, in order.
fn marks(html: &str) -> String {
    html.chars().filter(|character| matches!(character, '<' | '>' | '"' | '\'')).collect()
}

#[test]
fn page_escapes() {
    drowse_fuzz::target("page_escapes", |input| {
        let mut input = Input::new(input);
        let words = [input.line(), input.line(), input.rest()];
        let [name, host, detail] = words.map(String::from_utf8_lossy);
        let (given, plain) = (page(&name, &host, &detail), page("name", "host", "detail"));
        let (given, plain) = (given.split_once(DATA).unwrap(), plain.split_once(DATA).unwrap());
        assert_eq!(marks(given.0), marks(plain.0));

        // Within the data nothing ends the element or changes what it is, and they are the words again.
        let (data, script) = given.1.split_once("</script>").unwrap();
        assert!(!data.contains('<'), "{data}");
        assert_eq!(script, plain.1.split_once("</script>").unwrap().1);
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["name"], *name);
    });
}
