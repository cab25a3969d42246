//! How a container is named to the engine without ever meaning another one.

use std::{collections::BTreeMap, sync::Arc};

use drowse_provider::{Reference, compose};

/// What the engine's paths take for a whole id.
const ID_LENGTH: usize = 64;

/// A container, by id, by name, or as what serves a compose service.
///
/// The engine takes either in the same place of a path, and the beginning of an id as well: a name
/// of hexadecimal digits may find a stranger. So each answer is checked, and no order is given
/// under a word that could mean two containers. A cheap handle: it is the key of many maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// By id, perhaps only its beginning.
    Id(Arc<str>),
    /// By name, without the leading `/`.
    Name(Arc<str>),
    /// As the container of a compose service. `word` is what it is called in errors and logs.
    Service { project: Arc<str>, service: Arc<str>, word: Arc<str> },
}

impl Target {
    /// `None` for a kind of reference that Docker does not know.
    pub(crate) fn of(reference: &Reference) -> Option<Self> {
        match reference {
            Reference::Id(id) => Some(Self::Id(id.as_str().into())),
            Reference::Name(name) => {
                Some(Self::Name(name.strip_prefix('/').unwrap_or(name).into()))
            }
            Reference::Service { project, service } => Some(Self::Service {
                project: project.as_str().into(),
                service: service.as_str().into(),
                word: reference.to_string().into(),
            }),
            _ => None,
        }
    }

    /// What an engine itself has written: a whole id, else a name.
    pub(crate) fn of_word(word: String) -> Self {
        if word.len() == ID_LENGTH && is_hexadecimal(&word) {
            Self::Id(word.into())
        } else {
            Self::Name(word.into())
        }
    }

    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Id(word) | Self::Name(word) | Self::Service { word, .. } => word,
        }
    }

    /// Whether any engine could have a container of this name: only then may the word become part
    /// of a path.
    pub(crate) fn can_exist(&self) -> bool {
        match self {
            Self::Id(id) => is_hexadecimal(id),
            Self::Name(name) => {
                name.starts_with(|first: char| first.is_ascii_alphanumeric())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            }
            Self::Service { project, service, .. } => !project.is_empty() && !service.is_empty(),
        }
    }

    /// Whether the engine, given this word, can only find the container that is meant.
    pub(crate) fn is_unmistakable(&self) -> bool {
        match self {
            Self::Id(id) => id.len() == ID_LENGTH,
            Self::Name(name) => !is_hexadecimal(name),
            // Found by what its labels say, and then named by its id.
            Self::Service { .. } => false,
        }
    }

    /// Whether the container of this id, this name and these labels is the one that is meant, or,
    /// of a service, may be.
    pub(crate) fn is(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Id(meant) => id.starts_with(&**meant),
            Self::Name(meant) => name == &**meant,
            Self::Service { project, service, .. } => {
                compose::service_of(labels) == Some((&**project, &**service))
            }
        }
    }
}

fn is_hexadecimal(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The container's own name among those that a list gives: the others are links, `/of/another`.
pub(crate) fn own_name(names: &[String]) -> &str {
    let plain = |name: &&str| !name.contains('/');
    let mut undecorated = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    undecorated.clone().find(plain).or_else(|| undecorated.next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_could_be_the_beginning_of_an_id_is_not_unmistakable() {
        let id = "0123456789abcdef".repeat(4);
        assert!(Target::Id(id.as_str().into()).is_unmistakable());
        assert!(!Target::Id(id[..12].into()).is_unmistakable());
        assert!(!Target::Name("cafe".into()).is_unmistakable());
        assert!(Target::Name("cafe-1".into()).is_unmistakable());
        assert!(!Target::Name("cafe".into()).is("cafe00", "other", &BTreeMap::new()));
    }

    #[test]
    fn what_would_change_a_path_cannot_exist() {
        for name in ["", "..", "a/b", "a?b", "-a", "ä"] {
            assert!(!Target::Name(name.into()).can_exist(), "{name}");
        }
        for id in ["", "xyz", "../a", "ABC"] {
            assert!(!Target::Id(id.into()).can_exist(), "{id}");
        }
        assert!(Target::Name("my_app.web-1".into()).can_exist());
    }

    #[test]
    fn links_are_not_the_name() {
        let names = ["/other/alias".to_owned(), "/web".to_owned()];
        assert_eq!(own_name(&names), "web");
        assert_eq!(own_name(&[]), "");
    }
}
