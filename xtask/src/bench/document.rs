//! BENCHMARKS.md: words from a template, and two parts that are measured by runs of their own.

use std::fs;

use anyhow::Context;

use crate::cargo;

const TEMPLATE: &str = include_str!("BENCHMARKS.md.in");

/// A part of the document that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// By `cargo xtask bench`.
    Results,
    /// By `cargo xtask bench gateway`.
    Gateway,
}

impl Section {
    const ALL: [Self; 2] = [Self::Results, Self::Gateway];

    /// What stands around it in the document, and for it in the template.
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Results => ("<!-- results -->\n", "<!-- end of results -->\n"),
            Self::Gateway => ("<!-- gateway -->\n", "<!-- end of gateway -->\n"),
        }
    }

    /// As it is in a document.
    fn of(self, document: &str) -> Option<&str> {
        let (begin, end) = self.marks();
        let (_, rest) = document.split_once(begin)?;
        rest.split_once(end).map(|(section, _)| section)
    }
}

/// Writes one section anew. The other stays as it is, and the words become the template's.
pub(super) fn write(section: Section, text: &str) -> anyhow::Result<()> {
    let path = cargo::root().join("BENCHMARKS.md");
    // There may be none yet.
    let present = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, with(&present, section, text)).with_context(|| path.display().to_string())
}

fn with(present: &str, section: Section, text: &str) -> String {
    Section::ALL.iter().fold(TEMPLATE.to_owned(), |document, one| {
        let (begin, end) = one.marks();
        let words = if *one == section { text } else { one.of(present).unwrap_or_default() };
        document.replace(&format!("{begin}{end}"), &format!("{begin}{words}{end}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_other_kept() {
        let first = with("", Section::Results, "one\n");
        let both = with(&first, Section::Gateway, "two\n");
        let again = with(&both, Section::Results, "three\n");
        assert_eq!(Section::Results.of(&again), Some("three\n"));
        assert_eq!(Section::Gateway.of(&again), Some("two\n"));
    }

    /// Whoever changes the template writes the document anew, by either part.
    #[test]
    fn the_document_is_the_templates() {
        let path = cargo::root().join("BENCHMARKS.md");
        let present = fs::read_to_string(path).unwrap();
        let results = Section::Results.of(&present).unwrap();
        assert_eq!(with(&present, Section::Results, results), present);
    }
}
