//! The waiting page by the program's own configuration.

use std::fs;

use crate::support::{Place, get_as, status};

/// A browser: one more header stands where its name does.
const BROWSER: &str = "Mozilla/5.0\r\nAccept: text/html\r\nAccept-Language: fr";

/// Longer than any test: it never comes to answer.
const NEVER: u64 = 3_600_000;

fn page(place: &Place) -> String {
    get_as(place.listen, "app.example", "/", BROWSER)
}

#[test]
fn it_has_the_theme_and_the_language_of_the_file() {
    let place = Place::new();
    let theme = place.path("theme");
    fs::create_dir(&theme).unwrap();
    let write = |text: &str| fs::write(theme.join("waiting.html"), text).unwrap();
    write("{{ head }}<h1>Mine: {{ name }}</h1>{{ title }}{{ live }}");
    let more = format!("page: {{ theme: \"{}\", language: de }}", theme.display());
    place.configure_app(NEVER, "1h", &more);
    let drowse = place.run();
    place.state_of("app", "asleep");
    let answer = page(&place);
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable", "{answer}");
    for words in ["<h1>Mine: app</h1>", "content-language: de", "cache-control: no-store"] {
        assert!(answer.contains(words), "{words}: {answer}");
    }

    // As its author goes on writing.
    write("{{ head }}\n{{ nmae }}");
    let answer = page(&place);
    assert!(answer.contains("<h1>app</h1>") && answer.contains("lang=\"de\""), "{answer}");
    let log = drowse.says("the theme of the waiting page is broken");
    assert!(log.contains("waiting.html:2: undefined value: `nmae` is undefined"), "{log}");
    write("{{ head }}<h1>Mended</h1>");
    assert!(page(&place).contains("<h1>Mended</h1>"));
}

#[test]
fn without_a_word_it_speaks_the_browsers_language() {
    let place = Place::new();
    place.configure_app(NEVER, "1h", "");
    let _drowse = place.run();
    place.state_of("app", "asleep");
    assert!(page(&place).contains("content-language: fr"));
}
