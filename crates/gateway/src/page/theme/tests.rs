use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use futures::FutureExt as _;
use minijinja::context;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::{
    disk::PATIENCE,
    page::tests::{folder, write},
};

/// What is logged by this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged, with `FOLDER` for the theme's.
fn logged(folder: &Path, work: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.replace(&folder.display().to_string(), "FOLDER")
}

fn greeting() -> Value {
    context! { name => "<b>", style => Value::from_safe_string("a > b".to_owned()) }
}

#[test]
fn a_theme_is_read_again_when_it_changes() {
    let folder = folder(&[
        ("waiting.html", "{% include 'top.html' %} {{ name }} {{ style }}"),
        ("top.html", "one"),
    ]);
    let theme = Theme::new(folder.path());
    let page = |kind| theme.render(kind, &greeting());
    assert_eq!(page(Kind::Waiting).unwrap(), "one &lt;b&gt; a > b");
    assert_eq!(page(Kind::Failed).unwrap(), "one &lt;b&gt; a > b");
    write(folder.path(), "top.html", "another");
    write(folder.path(), "failed.html", "alas, {{ name }}");
    assert_eq!(page(Kind::Waiting).unwrap(), "another &lt;b&gt; a > b");
    assert_eq!(page(Kind::Failed).unwrap(), "alas, &lt;b&gt;");
}

#[test]
fn whatever_a_theme_says_a_containers_text_is_escaped() {
    for template in [
        "{% autoescape false %}{{ name }}{% endautoescape %}",
        "{% autoescape false %}{% set x = name %}{{ x }}{% endautoescape %}",
        "{% autoescape 'json' %}{{ name }}{% endautoescape %}",
        "{% filter upper %}{% autoescape false %}{{ name }}{% endautoescape %}{% endfilter %}",
        "{% autoescape false %}{% set x %}{{ name }}{% endset %}{{ x }}{% endautoescape %}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{% autoescape false %}{{ m(name) }}{% endautoescape %}",
        "{{ style ~ name }}",
        "{{ [style, name]|join }}",
        "{{ style|replace('a', name) }}",
        "{{ name|safe }}",
        "{{ name|tojson }}",
        "{{ '%s'|format(name) }}",
        "{{ [name] }}",
    ] {
        let folder = folder(&[("waiting.html", template)]);
        let page = Theme::new(folder.path()).render(Kind::Waiting, &greeting());
        let page = page.unwrap_or_default().to_lowercase();
        assert!(!page.contains("<b"), "{template}: {page}");
    }
}

#[test]
fn a_broken_theme_is_named_once_with_file_and_line() {
    let folder = folder(&[]);
    let theme = Theme::new(folder.path());
    let log = logged(folder.path(), || {
        for text in [
            None,
            Some("one\n{{ nmae }}"),
            Some("one\n{{ nmae }}"),
            Some("{% if %}"),
            Some("{% include 'nothing.html' %}"),
            Some(
                "{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}",
            ),
            Some("good"),
            Some("one\n{{ nmae }}"),
        ] {
            if let Some(text) = text {
                write(folder.path(), "waiting.html", text);
            }
            let page = theme.render(Kind::Waiting, &greeting());
            assert_eq!(page.is_some(), text == Some("good"), "{text:?}");
        }
    });
    insta::assert_snapshot!(log, @r#"
    WARN the theme of the waiting page is broken, the built-in page is shown: template not found: template "waiting.html" does not exist theme=FOLDER
    WARN the theme of the waiting page is broken, the built-in page is shown: FOLDER/waiting.html:2: undefined value: `nmae` is undefined theme=FOLDER
    WARN the theme of the waiting page is broken, the built-in page is shown: FOLDER/waiting.html:1: syntax error: unexpected end of block theme=FOLDER
    WARN the theme of the waiting page is broken, the built-in page is shown: FOLDER/waiting.html:1: template not found: tried to include non-existing template 'nothing.html' theme=FOLDER
    WARN the theme of the waiting page is broken, the built-in page is shown: FOLDER/waiting.html:1: engine ran out of fuel theme=FOLDER
    WARN the theme of the waiting page is broken, the built-in page is shown: FOLDER/waiting.html:2: undefined value: `nmae` is undefined theme=FOLDER
    "#);
}

#[test]
fn nothing_outside_of_its_folder_is_a_template() {
    let above = folder(&[("secret.html", "secret")]);
    let inner = above.path().join("theme");
    std::fs::create_dir(&inner).unwrap();
    for name in ["../secret.html", "/etc/hostname", "..", "./../secret.html"] {
        write(&inner, "waiting.html", &format!("{{% include '{name}' %}}"));
        assert_eq!(Theme::new(&inner).render(Kind::Waiting, &greeting()), None, "{name}");
    }
}

#[test]
fn a_page_is_not_larger_than_anybody_waits_for() {
    let folder = folder(&[("waiting.html", &"x".repeat(LARGEST_PAGE + 1))]);
    let theme = Theme::new(folder.path());
    let log = logged(folder.path(), || assert_eq!(theme.render(Kind::Waiting, &greeting()), None));
    insta::assert_snapshot!(log, @" WARN the theme of the waiting page is broken, the built-in page is shown: its page has 2097153 bytes, more than 2 MiB theme=FOLDER");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_takes_one_thread_and_keeps_nobody_waiting() {
    let folder = folder(&[]);
    let file = folder.path().join("waiting.html");
    // Whoever reads it waits for somebody who writes.
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let theme = Arc::new(Theme::new(folder.path()));
    let page = || {
        let theme = Arc::clone(&theme);
        tokio::spawn(async move { theme.page(Kind::Waiting, greeting()).await })
    };
    let pages = [page(), page(), page()];
    while !theme.looks.is_busy() {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(PATIENCE).await;
    for page in pages {
        assert_eq!(page.await.unwrap(), None);
    }
    let at_once = theme.page(Kind::Waiting, greeting()).now_or_never();
    assert_eq!(at_once, Some(None));

    let writer = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    write(folder.path(), "waiting.html", "it answers");
    drop(writer);
    while theme.looks.is_busy() {
        tokio::task::yield_now().await;
    }
    assert_eq!(page().await.unwrap().as_deref(), Some("it answers"));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_many_ask_for_is_not_broken() {
    let folder = folder(&[("waiting.html", "it answers")]);
    let theme = Arc::new(Theme::new(folder.path()));
    // The one who reads begins anew each time: none of them takes long.
    let others = theme.looks.taken().await;
    let page = {
        let theme = Arc::clone(&theme);
        tokio::spawn(async move { theme.page(Kind::Waiting, greeting()).await })
    };
    assert_eq!(page.await.unwrap(), None, "nobody waits for that long");
    drop(others);
    assert_eq!(*theme.complaint(), None);
    let page = theme.page(Kind::Waiting, greeting()).await;
    assert_eq!(page.as_deref(), Some("it answers"));
}
