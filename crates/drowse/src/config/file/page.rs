//! The key `page`: how the waiting page looks and speaks. A label can say nothing of it: a theme is a
//! folder of this machine.

use std::path::PathBuf;

use drowse_gateway::{Language, LanguageError, PageOptions};

use super::{Node, Reader, unknown};

pub(crate) const PAGE_KEYS: &[&str] = &["theme", "language"];

impl Reader<'_> {
    pub(super) fn page(&mut self, node: &Node) -> PageOptions {
        let mut page = PageOptions::new();
        for (key, value) in self.mapping(node, "the waiting page, such as `{language: de}`,") {
            match key.name.as_str() {
                "theme" => page.theme = self.theme(value),
                "language" => page.language = self.language(value),
                other => self.error(&key.place, unknown("key", other, PAGE_KEYS)),
            }
        }
        page
    }

    /// It need not be there yet: it is read when a page is shown.
    fn theme(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.text(node, "a folder's path")?;
        if !text.starts_with('/') {
            self.error(&node.place, format!("`{text}` is no absolute path: begin it with `/`"));
        }
        Some(PathBuf::from(text))
    }

    fn language(&mut self, node: &Node) -> Option<Language> {
        let text = self.text(node, "a language such as `de`")?;
        text.parse().map_err(|error: LanguageError| self.error(&node.place, error.to_string())).ok()
    }
}
