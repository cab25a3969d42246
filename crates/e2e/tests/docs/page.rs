//! The boxes of a page, and what they expect.

use std::sync::LazyLock;

use regex::Regex;

/// A box of the page that is of use here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Commands, and what they print if the page says so.
    Type { line: usize, commands: Vec<String>, expected: Option<Expected> },
    /// A file.
    Write { name: String, text: String },
}

/// What is to be printed. Times, ids and addresses are compared by their kind, blanks by their being
/// there. `…` stands for anything in its line, and alone in a line for any lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) String);

/// The boxes of a page, in their order.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        let Some(kind) = trimmed.strip_prefix("```") else { continue };
        // A box in a list is as far in as the list.
        let margin = line.len() - trimmed.len();
        let within = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let within: Vec<_> = within.map(|line| line.get(margin..).unwrap_or_default()).collect();
        match (kind, steps.last_mut()) {
            ("sh", _) => {
                let commands = commands(&within);
                steps.push(Step::Type { line: number + 1, commands, expected: None });
            }
            ("text", Some(Step::Type { expected: expected @ None, .. })) => {
                *expected = Some(Expected(within.join("\n")));
            }
            ("text", _) => panic!("line {}: nothing prints this", number + 1),
            ("yaml", _) => {
                let name = within.first().and_then(|first| first.strip_prefix("# "));
                let name = name.filter(|name| !name.contains(['/', ' ']));
                let name = name.unwrap_or_else(|| panic!("line {}: a file's name", number + 1));
                steps.push(Step::Write { name: name.to_owned(), text: within.join("\n") + "\n" });
            }
            _ => {}
        }
    }
    steps
}

/// One command for each line, unless a backslash goes on with it.
fn commands(lines: &[&str]) -> Vec<String> {
    let text = lines.join("\n").replace("\\\n", " ");
    text.lines().map(str::to_owned).collect()
}

impl Expected {
    /// Whether it ends with an error.
    pub(crate) fn is_a_failure(&self) -> bool {
        self.0.lines().last().is_some_and(|last| last.starts_with("error:"))
    }

    pub(crate) fn is_met_by(&self, printed: &str) -> bool {
        let lines: Vec<_> = self.0.trim().lines().map(str::trim).collect();
        let mut pattern = String::from(r"\A");
        for line in lines {
            if line == "…" {
                pattern.push_str(r"(.*\n)*?");
            } else {
                let parts = line.split('…').map(|part| regex::escape(&by_kind(part)));
                pattern.push_str(&parts.collect::<Vec<_>>().join(".*"));
                pattern.push('\n');
            }
        }
        pattern.push_str(r"\z");
        let printed: Vec<_> = printed.trim().lines().map(by_kind).collect();
        Regex::new(&pattern).unwrap().is_match(&(printed.join("\n") + "\n"))
    }
}

/// The same text with what differs each time replaced by its kind.
fn by_kind(text: &str) -> String {
    static KINDS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let kind = |pattern: &str, kind| (Regex::new(pattern).unwrap(), kind);
        [
            kind(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b", "ID"),
            kind(r"\b(10|172|192)(\.\d{1,3}){3}\b", "ADDRESS"),
            kind(r"\b\d+(\.\d+)? ?(ms|s|m|h)\b", "TIME"),
            kind(r"\s+", " "),
        ]
    });
    KINDS.iter().fold(text.trim_end().to_owned(), |text, (pattern, kind)| {
        pattern.replace_all(&text, *kind).into_owned()
    })
}

#[test]
fn boxes_are_read_in_their_order_and_without_the_margin_of_a_list() {
    let page = "# x\n\n1. Do:\n\n   ```sh\n   a \\\n     --b\n   c\n   ```\n\n   ```text\n   one\n\n   \
                two\n   ```\n\n```console\n$ d\n```\n\n```yaml\n# compose.yaml\na: 1\n```\n";
    let steps = steps(page);
    let commands = vec!["a    --b".to_owned(), "c".to_owned()];
    let expected = Some(Expected("one\n\ntwo".to_owned()));
    assert_eq!(
        steps,
        [
            Step::Type { line: 5, commands, expected },
            Step::Write {
                name: "compose.yaml".to_owned(),
                text: "# compose.yaml\na: 1\n".to_owned()
            },
        ]
    );
}

#[test]
fn what_differs_each_time_is_compared_by_its_kind() {
    let met = |expected: &str, printed: &str| Expected(expected.to_owned()).is_met_by(printed);
    assert!(met("app is ready (0.4 s)", "app is ready (12.1 s)\n"));
    assert!(met("app   asleep  1s   ", "app  asleep  45m"));
    assert!(met("0123456789ab 172.17.0.2:80", "ba9876543210 10.213.0.7:80"));
    assert!(met("a … c", "a b b c"));
    assert!(met("…\nlast", "one\ntwo\nlast"));
    assert!(met("first\n…\nlast", "first\nlast"));
    for (expected, printed) in [
        ("app is ready (0.4 s)", "app is asleep (0.4 s)"),
        ("200", "502"),
        ("one", "one\ntwo"),
        ("…\nlast", "last\none"),
        ("a.c", "abc"),
        ("127.0.0.1:8080", "10.0.0.1:8080"),
    ] {
        assert!(!met(expected, printed), "{expected:?} {printed:?}");
    }
}
