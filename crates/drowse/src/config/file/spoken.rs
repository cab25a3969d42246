//! The keys of a route that are no plain texts, or that labels cannot say.

use super::Reader;
use crate::config::{
    Given, HeaderKey, Origin, RouteSettings,
    spoken::{CA_FILE, HEADER_KEYS},
    tree::{Key, Node, Value},
};

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HEADER_KEYS.iter().map(|key| key.name).chain([CA_FILE])
}

impl Reader<'_> {
    /// Reads one of them; `false` if it is none.
    pub(super) fn spoken(&mut self, route: &mut RouteSettings, key: &Key, node: &Node) -> bool {
        if key.name == CA_FILE {
            let (value, origin) = (self.file(node), Origin::File(node.place.clone()));
            route.spoken.ca_file = Some(Given { value, origin });
            return true;
        }
        let Some(known) = HEADER_KEYS.iter().find(|known| known.name == key.name) else {
            return false;
        };
        self.headers(route, known, node);
        true
    }

    fn headers(&mut self, route: &mut RouteSettings, key: &HeaderKey, node: &Node) {
        for (name, value) in self.mapping(node, "headers, such as `{X-Frame-Options: DENY}`,") {
            let value = match &value.value {
                Value::Nothing => "",
                _ => match self.text(value, "a header's value, or nothing") {
                    Some(text) => text,
                    None => continue,
                },
            };
            if let Err(why) = (key.of)(route).change(&name.name, value) {
                self.error(&name.place, why.to_string());
            }
        }
    }
}
