use std::{fs, path::Path};

use minijinja::Value;

use super::{
    document::Document,
    state::{Pace, State, Step},
    texts::Message,
    theme::{self, Kind, Theme},
    *,
};
use drowse_watcher::PhaseName;

fn state(step: Step, message: Message, detail: &str) -> State {
    State { step, phase: PhaseName::Starting, message, detail: detail.to_owned() }
}

pub(super) fn variables(language: Language, state: &State) -> Value {
    let pace = Pace { elapsed: Duration::from_secs(3), usual: Some(Duration::from_secs(12)) };
    let document = Document {
        name: "<wiki>",
        host: "wiki.example.com",
        state,
        pace,
        language,
        refresh: Some(2),
        details: true,
        nonce: "NONCE",
    };
    document.variables()
}

#[test]
fn every_page_is_small_and_has_nothing_to_load() {
    let detail = "x".repeat(300);
    for language in Language::ALL {
        for message in Message::ALL {
            for step in [Step::Dependencies, Step::Starting, Step::Failed] {
                let state = state(step, message, &detail);
                let page = theme::built_in(&variables(language, &state)).unwrap();
                assert!(page.len() < 15 * 1024, "{language}: {} bytes", page.len());
                assert!(!page.contains("<wiki>"), "{page}");
                for outside in ["src=", "url(", "@import", "http:", "https:"] {
                    assert!(!page.contains(outside), "{outside}");
                }
                // What the policy would refuse.
                assert!(!page.contains(" style=") && !page.contains(" onclick"), "{page}");
            }
        }
    }
}

#[test]
fn the_page_without_its_style_and_script_is_this() {
    let state = state(Step::Starting, Message::Waking, "a <b> & \"c\"");
    let page = theme::built_in(&variables(Language::German, &state)).unwrap();
    let page = page.replace(include_str!("page.css"), "STYLE");
    let page = page.replace(include_str!("page.js"), "SCRIPT").replace(&state.id(), "ID");
    insta::assert_snapshot!(page, @r#"
    <!doctype html>
    <html lang="de" data-step="starting">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="robots" content="noindex">
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="data:,">
    <noscript><meta http-equiv="refresh" content="2"></noscript>
    <title>Wacht auf · &lt;wiki&gt;</title>
    <style nonce="NONCE">STYLE</style>
    </head>
    <body>
    <main>
    <svg class="sky" viewBox="0 0 64 64" aria-hidden="true"><circle class="halo" cx="32" cy="32" r="28"/><path class="moon" d="M41.6 40.6A16 16 0 0 1 25 16.9 17 17 0 1 0 47.2 38.4a16 16 0 0 1-5.6 2.2Z"/><circle class="star" cx="44" cy="19" r="1.5"/><circle class="star two" cx="51" cy="28" r="1"/></svg>
    <h1>&lt;wiki&gt;</h1>
    <div role="status">
    <p class="title" data-drowse="title">Wacht auf</p>
    <p class="hint" data-drowse="hint">Die Anwendung schlief, weil niemand sie brauchte. Gleich ist sie da.</p>
    </div>
    <div class="way" data-drowse="way">
    <progress max="100" aria-label="Wie weit sie ist" data-drowse="bar" value="32.0"></progress>
    <p class="time"><span data-drowse="usual">Dauert meist etwa 12 s</span><span data-drowse="clock" aria-hidden="true"></span></p>
    <ol>
    <li data-drowse-step="dependencies" data-state="done" hidden>Was sie braucht</li>
    <li data-drowse-step="starting" data-state="now" aria-current="step">Startet</li>
    <li data-drowse-step="answering" data-state="next">Wartet auf ihre Antwort</li>
    </ol>
    </div>
    <p class="detail" lang="en" dir="auto" data-drowse="detail">a &lt;b&gt; &amp; &quot;c&quot;</p>
    <a class="again" href="" data-drowse="again" hidden>Noch einmal versuchen</a>
    </main>
    <script type="application/json" id="drowse">{"minutes":"{} min","name":"\u003cwiki>","seconds":"{} s","slow":{"hint":"Es dauert länger als erwartet. Aufgegeben wird nicht.","title":"Startet noch"},"state":{"detail":"a \u003cb> & \"c\"","elapsed_ms":3000,"hint":"Die Anwendung schlief, weil niemand sie brauchte. Gleich ist sie da.","id":"ID","phase":"starting","ready":false,"step":"starting","title":"Wacht auf","usual":"Dauert meist etwa 12 s","usual_ms":12000},"stopped":{"hint":"Sie war mehrmals bereit und dann doch nicht. Von selbst versucht es diese Seite nicht weiter.","title":"Bleibt nicht wach"}}</script>
    <script nonce="NONCE">SCRIPT</script>
    </body>
    </html>
    "#);
}

#[test]
fn the_policy_admits_what_has_its_nonce() {
    insta::assert_snapshot!(policy("NONCE"), @"default-src 'none'; style-src 'nonce-NONCE'; script-src 'nonce-NONCE'; img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    let nonces = [nonce().unwrap(), nonce().unwrap()];
    assert!(nonces[0].len() == 22 && nonces[0] != nonces[1], "{nonces:?}");
}

#[test]
fn the_script_has_the_curve_of_the_server() {
    let script = include_str!("page.js");
    assert!(script.contains("97 * (1 - Math.exp(-(1.4 * part + 0.8 * part * part)))"));
}

/// A folder with these templates.
pub(super) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

pub(super) fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn a_theme_has_all_of_these_variables() {
    let guide = include_str!("../../../../docs/waiting-page.md");
    let state = state(Step::Starting, Message::Waking, "");
    let variables = variables(Language::English, &state);
    for name in variables.try_iter().unwrap() {
        assert!(guide.contains(&format!("| `{name}` |")), "{name} is not in the guide");
    }
    // And the example of the guide is one.
    let example = guide.split("```html\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = folder(&[("waiting.html", example.unwrap())]);
    let page = Theme::new(folder.path()).render(Kind::Waiting, &variables).unwrap();
    assert!(page.contains("&lt;wiki&gt;") && page.contains("nonce=\"NONCE\""), "{page}");
}
