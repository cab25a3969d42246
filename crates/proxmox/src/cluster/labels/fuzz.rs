//! Notes and tags, which whoever may edit a container writes.

use super::*;

#[test]
fn notes() {
    drowse_fuzz::target("notes", |input| {
        let text = String::from_utf8_lossy(input);
        let (tags, notes) = text.split_once('\0').unwrap_or(("", &text));
        let tags: Vec<String> = tags.split(';').map(str::to_owned).collect();
        let labels = labels_of(&tags, notes, "drowse.");
        for (key, value) in &labels {
            if key.starts_with("drowse.") {
                assert!(key.len() > "drowse.".len() && !key.contains(char::is_whitespace));
                assert!(!key.contains('='));
                assert_eq!(value, value.trim());
                assert!(notes.contains(key.as_str()) && notes.contains(value.as_str()));
            } else {
                assert!(tags.contains(key) && value.is_empty());
            }
        }
        // Written as notes they are the same again.
        let ours = labels.iter().filter(|(key, _)| key.starts_with("drowse."));
        let plain = |text: &str| !text.ends_with('`') && !text.contains(['\r', '\n']);
        let ours: BTreeMap<_, _> = ours
            .filter(|(_, value)| plain(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for line in [("", ""), ("- ", ""), ("`", "`"), ("* ``", "``")] {
            let written: Vec<_> = ours
                .iter()
                .map(|(key, value)| format!("{}{key} = {value}{}", line.0, line.1))
                .collect();
            assert_eq!(labels_of(&[], &written.join("\r\n"), "drowse."), ours);
        }
    });
}
