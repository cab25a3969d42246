//! Compose services, as the labels of their containers tell them: what [`Reference::Service`] names.
//!
//! Compose keeps no state but its labels (`com.docker.compose.*`), and replaces a container in a few
//! steps, between which a service has two. Compose 2 makes the new one under a name for the time
//! being, `<id of the old one>_<name>`, stops and removes the old one and renames the new one;
//! compose 1 stops the old one, renames *it* to `<its own id>_<name>`, and makes the new one.
//!
//! [`Reference::Service`]: crate::Reference::Service

use std::collections::BTreeMap;

use crate::Details;

/// The label with a container's project.
pub const PROJECT: &str = "com.docker.compose.project";
/// The label with a container's service.
pub const SERVICE: &str = "com.docker.compose.service";
/// The number among a service's containers: what is replaced hands it on.
const NUMBER: &str = "com.docker.compose.container-number";
/// `True` for what `docker compose run` made: it is no part of the service.
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The id or the name of the container that this one was made to replace.
const REPLACES: &str = "com.docker.compose.replace";

/// What a container's service needs of others: `db:service_healthy:false,migrate:…`, each with its
/// condition and with whether a restart of the needed one restarts it, too.
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// All that is read here.
const READ: [&str; 6] = [PROJECT, SERVICE, NUMBER, ONE_OFF, REPLACES, DEPENDS_ON];

/// How much of an id compose puts into a name for the time being.
const SHORT_ID: usize = 12;

/// One container of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The engine's own id, whole.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Whether a process exists.
    pub is_alive: bool,
}

/// A service has more containers than one, and no update is the reason. `Display` is a lower-case
/// fragment for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the service has {} containers ({}), and only one can be put to sleep and woken: scale it to 1",
    names.len(), names.join(", ")
)]
pub struct Replicas {
    /// Their names, ordered.
    pub names: Vec<String>,
}

/// Another service that a service needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dependency {
    /// The other service, of the same project.
    pub service: String,
    /// What is needed of it.
    pub condition: DependencyCondition,
}

/// What a service needs of another one before it may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DependencyCondition {
    /// `service_started`: that it runs.
    Started,
    /// `service_healthy`: that its own health check passes.
    Healthy,
    /// `service_completed_successfully`: that it has ended with exit code 0.
    Completed,
}

impl DependencyCondition {
    /// Compose's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }
}

impl<'a> From<&'a Details> for Member<'a> {
    fn from(details: &'a Details) -> Self {
        let Details { id, name, labels, observation, .. } = details;
        Self { id, name, labels, is_alive: observation.status.is_alive() }
    }
}

/// Whether anything here depends on this label: whoever keeps a container's labels for what compose
/// says by them need keep no others.
pub fn is_read(label: &str) -> bool {
    READ.contains(&label)
}

/// The project and the service that a container with these labels is a part of; `None` for what
/// compose did not make, or made with `run`.
pub fn service_of(labels: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let is_one_off = label(ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_one_off { None } else { Some((label(PROJECT)?, label(SERVICE)?)) }
}

/// Whether a container with these labels was made by `docker compose run`.
pub fn is_one_off(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(PROJECT) && service_of(labels).is_none()
}

/// The compose project of a container with these labels, also of what `docker compose run` made.
pub fn project_of(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(PROJECT).map(String::as_str)
}

/// What the service of a container with these labels needs of others of its project, in compose's
/// order: each entry, or why it cannot be read (a lower-case fragment). Also of what `docker compose
/// run` made.
pub fn dependencies_of(
    labels: &BTreeMap<String, String>,
) -> impl Iterator<Item = Result<Dependency, String>> {
    let said = labels.get(DEPENDS_ON).map_or("", String::as_str);
    said.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(dependency)
}

fn dependency(entry: &str) -> Result<Dependency, String> {
    let mut parts = entry.split(':');
    let service = parts.next().unwrap_or_default();
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if service.is_empty() || !service.chars().all(is_good) {
        return Err(format!("`{}` names no service", entry.escape_debug()));
    }
    let condition = match parts.next() {
        // As the first versions of compose 2 wrote it: names alone.
        None | Some("service_started") => DependencyCondition::Started,
        Some("service_healthy") => DependencyCondition::Healthy,
        Some("service_completed_successfully") => DependencyCondition::Completed,
        Some(other) => {
            let other = other.escape_debug();
            return Err(format!("`{service}` has the condition `{other}`, which nobody knows"));
        }
    };
    Ok(Dependency { service: service.to_owned(), condition })
}

/// The container that a service's name means, of all containers of that service.
///
/// While one is being replaced there are two. The one that goes is meant for as long as it alone
/// runs, since it serves; from its end on it is the new one, so that the one that goes is never
/// started again.
///
/// # Errors
/// [`Replicas`] if the service has several containers for good.
pub fn choose<'a>(
    members: impl IntoIterator<Item = Member<'a>>,
) -> Result<Option<Member<'a>>, Replicas> {
    let members: Vec<Member<'a>> = members.into_iter().collect();
    let (going, staying): (Vec<Member<'a>>, Vec<Member<'a>>) = members
        .iter()
        .copied()
        .partition(|one| members.iter().any(|other| one.is_replaced_by(other)));
    let [successor] = staying.as_slice() else {
        let mut names: Vec<String> = members.iter().map(|one| one.name.to_owned()).collect();
        names.sort_unstable();
        return if names.is_empty() { Ok(None) } else { Err(Replicas { names }) };
    };
    let serves_still = going.into_iter().find(|one| one.is_alive && !successor.is_alive);
    Ok(Some(serves_still.unwrap_or(*successor)))
}

impl<'a> Member<'a> {
    /// Its name, without what compose puts before it for the time being.
    pub fn lasting_name(&self) -> &'a str {
        match self.name.split_once('_') {
            Some((before, name)) if self.labels.contains_key(PROJECT) && is_short_id(before) => {
                name
            }
            _ => self.name,
        }
    }

    fn is_replaced_by(&self, other: &Self) -> bool {
        if self.id == other.id || self.labels.get(NUMBER) != other.labels.get(NUMBER) {
            return false;
        }
        let replaces = other.labels.get(REPLACES).map(String::as_str);
        replaces == Some(self.id)
            || replaces == Some(self.name)
            || other.is_named_after(self)
            || self.is_named_after(self)
    }

    /// Whether its name for the time being says this container.
    fn is_named_after(&self, container: &Self) -> bool {
        let short = container.id.get(..SHORT_ID);
        self.name.split_once('_').is_some_and(|(before, _)| Some(before) == short)
    }
}

fn is_short_id(word: &str) -> bool {
    word.len() == SHORT_ID && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn labels(number: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = [(PROJECT, "shop"), (SERVICE, "web"), (NUMBER, number), (ONE_OFF, "False")];
        let all = own.iter().chain(more);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The id of the container that is meant.
    fn chosen(members: &[(&str, &str, &BTreeMap<String, String>, bool)]) -> String {
        let members = members.iter().map(|(id, name, labels, is_alive)| Member {
            id,
            name,
            labels,
            is_alive: *is_alive,
        });
        match choose(members) {
            Ok(Some(member)) => member.id.to_owned(),
            Ok(None) => "none".to_owned(),
            Err(replicas) => replicas.to_string(),
        }
    }

    #[test]
    fn who_goes_serves_to_its_end_and_is_never_meant_again() {
        let (plain, by_id) = (labels("1", &[]), labels("1", &[(REPLACES, OLD)]));
        let by_number = labels("1", &[(REPLACES, "web-1")]);
        // As compose 2 does it, early and late.
        for new in [&by_id, &by_number] {
            let temporary = format!("{}_shop-web-1", &OLD[..12]);
            let both = |old_runs, new_runs| {
                chosen(&[(OLD, "shop-web-1", &plain, old_runs), (NEW, &temporary, new, new_runs)])
            };
            assert_eq!(both(true, false), OLD);
            assert_eq!(both(false, false), NEW);
            assert_eq!(both(false, true), NEW);
            assert_eq!(both(true, true), NEW);
            assert_eq!(chosen(&[(NEW, &temporary, new, false)]), NEW);
            assert_eq!(chosen(&[(NEW, "shop-web-1", new, true)]), NEW);
        }
        // As compose 1 does it.
        let renamed = format!("{}_shop_web_1", &OLD[..12]);
        let both = |new_runs| {
            chosen(&[(OLD, &renamed, &plain, false), (NEW, "shop_web_1", &plain, new_runs)])
        };
        assert_eq!(both(false), NEW);
        assert_eq!(both(true), NEW);
    }

    #[test]
    fn one_that_was_itself_a_replacement_is_replaced_as_well() {
        let (old, new) = (labels("1", &[(REPLACES, "gone")]), labels("1", &[(REPLACES, OLD)]));
        let temporary = format!("{}_shop-web-1", &OLD[..12]);
        assert_eq!(chosen(&[(OLD, "shop-web-1", &old, true), (NEW, &temporary, &new, false)]), OLD);
        assert_eq!(
            chosen(&[(OLD, "shop-web-1", &old, false), (NEW, &temporary, &new, false)]),
            NEW
        );
    }

    #[test]
    fn a_name_for_the_time_being_is_told_from_one_that_lasts() {
        let labels = labels("1", &[]);
        for (name, lasting) in [
            ("0123456789ab_shop-web-1", "shop-web-1"),
            ("shop_web_1", "shop_web_1"),
            ("0123456789xy_web", "0123456789xy_web"),
        ] {
            let member = Member { id: OLD, name, labels: &labels, is_alive: true };
            assert_eq!(member.lasting_name(), lasting);
        }
    }

    #[test]
    fn several_for_good_are_refused_by_name() {
        let (first, second) = (labels("1", &[]), labels("2", &[]));
        insta::assert_snapshot!(
            chosen(&[(NEW, "shop-web-2", &second, true), (OLD, "shop-web-1", &first, true)]),
            @"the service has 2 containers (shop-web-1, shop-web-2), and only one can be put to sleep and woken: scale it to 1"
        );
        assert_eq!(chosen(&[]), "none");
    }

    #[test]
    fn what_a_service_needs_is_read_entry_by_entry() {
        let read = |text: &str| -> Vec<String> {
            let labels = labels("1", &[(DEPENDS_ON, text)]);
            let word = |it: Result<Dependency, String>| match it {
                Ok(it) => format!("{} {}", it.service, it.condition.as_str()),
                Err(why) => why,
            };
            dependencies_of(&labels).map(word).collect()
        };
        assert_eq!(
            read("db:service_healthy:false,migrate:service_completed_successfully:false"),
            ["db service_healthy", "migrate service_completed_successfully"]
        );
        assert_eq!(
            read("db:service_started:true, cache"),
            ["db service_started", "cache service_started"]
        );
        insta::assert_snapshot!(read("db:service_ready:false,:x,a b,cache:").join("\n"), @r"
        `db` has the condition `service_ready`, which nobody knows
        `:x` names no service
        `a b` names no service
        `cache` has the condition ``, which nobody knows
        ");
        assert_eq!(read(""), [""; 0]);
        assert!(dependencies_of(&BTreeMap::new()).next().is_none());
    }

    #[test]
    fn what_compose_run_made_is_no_service() {
        assert_eq!(service_of(&labels("1", &[])), Some(("shop", "web")));
        let one_off = labels("1", &[(ONE_OFF, "True")]);
        assert_eq!(service_of(&one_off), None);
        assert!(is_one_off(&one_off) && !is_one_off(&labels("1", &[])));
        assert!(!is_one_off(&BTreeMap::new()));
    }
}
