//! What a container says about itself: tags, and lines of its notes.

use std::collections::BTreeMap;

/// Each tag with an empty value, and each `prefix….=value` line of the notes. What a note says wins
/// over a tag; a tag that looks like one of our own keys says nothing, since tags cannot have values.
///
/// Notes are Markdown, and people write lists and code in it: a list's mark and backticks around a
/// line are taken off.
pub(super) fn labels_of(tags: &[String], notes: &str, prefix: &str) -> BTreeMap<String, String> {
    let tags = tags.iter().filter(|tag| !tag.starts_with(prefix));
    let mut labels: BTreeMap<String, String> =
        tags.map(|tag| (tag.clone(), String::new())).collect();
    for line in notes.lines() {
        let line = undecorated(line);
        if let Some((key, value)) = line.split_once('=')
            && let key = key.trim()
            && key.len() > prefix.len()
            && key.starts_with(prefix)
            && !key.contains(char::is_whitespace)
        {
            labels.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    labels
}

fn undecorated(line: &str) -> &str {
    let line = line.trim();
    let line = match line.strip_prefix(['-', '*']) {
        Some(item) if item.starts_with(char::is_whitespace) => item.trim(),
        _ => line,
    };
    let ticks = line.len() - line.trim_start_matches('`').len();
    let mark = &line[..ticks];
    match line[ticks..].strip_suffix(mark) {
        Some(code) if ticks > 0 => code.trim(),
        _ => line,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tags: &[&str], notes: &str) -> Vec<(String, String)> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        labels_of(&tags, notes, "drowse.").into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_and_lines_of_the_notes_are_labels() {
        let notes = "# Wiki\r\nThe wiki of the house.\r\n\r\n\
                     drowse.host=wiki.example.com\r\n\
                     - drowse.port = 8080\n\
                     * `drowse.idle=15m`\n\
                     ``drowse.routes.api.path=/api?a=b``\n\
                     see drowse.idle=1m in the guide\n\
                     other.key=1\n";
        let expected = pairs(&[
            ("drowse", ""),
            ("drowse.host", "wiki.example.com"),
            ("drowse.idle", "15m"),
            ("drowse.port", "8080"),
            ("drowse.routes.api.path", "/api?a=b"),
            ("web", ""),
        ]);
        assert_eq!(of(&["web", "drowse"], notes), expected);
    }

    #[test]
    fn what_is_no_key_is_no_label() {
        assert_eq!(of(&["drowse.enable"], "drowse.\ndrowse.=x\ndrowse\n`\n-\n=\ndrowse.a b=c"), []);
        assert_eq!(of(&[], "drowse.empty="), pairs(&[("drowse.empty", "")]));
        assert_eq!(of(&[], "`drowse.half=1"), []);
        assert_eq!(of(&[], "-drowse.flag=1"), []);
    }
}
