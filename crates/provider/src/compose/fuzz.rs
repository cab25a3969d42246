//! Compose's label of what a service needs.

use super::*;

#[test]
fn depends_on() {
    drowse_fuzz::target("depends_on", |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let read = |text: String| -> Vec<_> {
            dependencies_of(&[(DEPENDS_ON.to_owned(), text)].into()).collect()
        };
        let all = read(text.clone());
        assert!(all.len() <= 1 + text.matches(',').count());
        for entry in &all {
            match entry {
                Ok(needed) => {
                    assert!(text.contains(&needed.service) && !needed.service.is_empty());
                    assert!(!needed.service.contains([':', ',', '/', ' ']));
                }
                Err(why) => assert!(!why.contains(char::is_control), "{why}"),
            }
        }
        // Written as compose does, they are the same again.
        let good: Vec<_> = all.into_iter().flatten().collect();
        let written: Vec<_> = good
            .iter()
            .map(|it| format!("{}:{}:false", it.service, it.condition.as_str()))
            .collect();
        let again: Result<Vec<_>, _> = read(written.join(",")).into_iter().collect();
        assert_eq!(again, Ok(good));
    });
}
