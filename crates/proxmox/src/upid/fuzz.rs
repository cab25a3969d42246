//! A task's name, which is put into the paths of further requests.

use super::*;

#[test]
fn upid() {
    drowse_fuzz::target("upid", |input| {
        let text = String::from_utf8_lossy(input);
        let upid = match text.parse::<Upid>() {
            Ok(upid) => upid,
            Err(error) => return assert!(error.text.chars().count() <= 200),
        };
        assert_eq!(upid.to_string(), text);
        assert!(!text.contains(['/', ' ', '\n']) && text.starts_with("UPID:"));
        assert!(!upid.node().is_empty() && !upid.kind().is_empty() && !upid.user().is_empty());
        let fields: Vec<_> = text.split(':').collect();
        assert_eq!(fields.len(), 9);
        assert_eq!((upid.node(), upid.kind()), (fields[1], fields[5]));
        assert_eq!((upid.id(), upid.user()), (fields[6], fields[7]));
    });
}
