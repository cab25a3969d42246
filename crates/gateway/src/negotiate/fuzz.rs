//! What a client accepts.

use http::{Request, header::ACCEPT_LANGUAGE};

use super::*;
use crate::page::Language;

fn parts(name: &http::HeaderName, lines: &[HeaderValue]) -> Parts {
    let mut request = Request::new(());
    for line in lines {
        request.headers_mut().append(name, line.clone());
    }
    request.into_parts().0
}

#[test]
fn negotiation() {
    drowse_fuzz::target("negotiation", |input| {
        let Ok(said) = HeaderValue::from_bytes(input) else { return };
        let lines = |more: &'static str| [said.clone(), HeaderValue::from_static(more)];

        let is_page = is_navigation(&parts(&ACCEPT, std::slice::from_ref(&said)));
        assert!(is_navigation(&parts(&ACCEPT, &lines("text/html"))));
        assert_eq!(is_navigation(&parts(&ACCEPT, &lines("text/html;q=0.000, */*"))), is_page);
        if is_page {
            assert!(input.to_ascii_lowercase().windows(9).any(|window| window == b"text/html"));
        }

        let wanted =
            |lines: &[HeaderValue]| Language::wanted_by(&parts(&ACCEPT_LANGUAGE, lines).headers);
        let language = wanted(std::slice::from_ref(&said));
        assert_eq!(
            wanted(&lines("de;q=0, fr; q=0, *")),
            language,
            "what is refused counts nothing"
        );
        let names_one = |language: Language| {
            let tag = language.as_str().as_bytes();
            input.windows(2).any(|window| window.eq_ignore_ascii_case(tag))
        };
        assert!(language == Language::English || names_one(language));
        if !Language::ALL.into_iter().any(names_one)
            && input.split(|byte| *byte == b',').count() <= 20
        {
            assert_eq!(wanted(&lines("xx, zh-TW;q=0.1")), Language::Chinese);
        }
    });
}
