//! From a line of the engine's events to the contract's [`Event`].

use std::time::{Duration, SystemTime};

use drowse_provider::{Actor, Event, EventAction};

use crate::{state::health_of, wire::EventLine};

/// What is asked for: everything that may change state, run or name. `exec_*` is not, since health
/// checks flood the stream with it. Podman filters by its own names (`died`, `remove`).
pub(crate) const ACTIONS: &[&str] = &[
    "create",
    "start",
    "kill",
    "die",
    "died",
    "stop",
    "restart",
    "pause",
    "unpause",
    "oom",
    "health_status",
    "rename",
    "update",
    "destroy",
    "remove",
    "connect",
    "disconnect",
];

/// One event as it was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) event: Event,
    /// When, in nanoseconds since 1970 on the engine's clock.
    pub(crate) nanoseconds: i64,
}

/// Reads one line. `Ok(None)`: it is not about a container.
pub(crate) fn parse(line: &[u8]) -> Result<Option<Told>, serde_json::Error> {
    let line: EventLine = serde_json::from_slice(line)?;
    let Some((action, actor)) = line.action.zip(line.actor) else { return Ok(None) };
    let seconds = line.time.unwrap_or_default().saturating_mul(1_000_000_000);
    let nanoseconds = line.time_nano.unwrap_or(seconds);
    let mut attributes = actor.attributes.unwrap_or_default();
    if let Some(verdict) = line.health_status {
        attributes.entry("health_status".to_owned()).or_insert(verdict);
    }
    let (actor, action) = match line.kind.as_deref() {
        None | Some("container") => {
            let Some(id) = actor.id else { return Ok(None) };
            let name = attributes.remove("name").unwrap_or_default();
            let action = action_of(&action, |key| attributes.get(key).map(String::as_str));
            (Actor::new(id, name, attributes.into_iter().collect()), action)
        }
        // Told of the network; the name among the attributes is the network's.
        Some("network") if matches!(action.as_str(), "connect" | "disconnect") => {
            let Some(id) = attributes.remove("container") else { return Ok(None) };
            (Actor::new(id, "", attributes.into_iter().collect()), EventAction::Network)
        }
        Some(_) => return Ok(None),
    };
    let time = SystemTime::UNIX_EPOCH
        + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
    Ok(Some(Told { event: Event::container(actor, action, time), nanoseconds }))
}

fn action_of<'a>(word: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> EventAction {
    match word {
        "create" => EventAction::Create,
        "start" => EventAction::Start,
        "kill" => EventAction::Kill(attribute("signal").and_then(|signal| signal.parse().ok())),
        "die" | "died" => {
            let code = attribute("exitCode").or_else(|| attribute("containerExitCode"));
            EventAction::Die(code.and_then(|code| code.parse().ok()))
        }
        "stop" => EventAction::Stop,
        "restart" => EventAction::Restart,
        "pause" => EventAction::Pause,
        "unpause" => EventAction::Unpause,
        "oom" => EventAction::OutOfMemory,
        "rename" => {
            let old = attribute("oldName").unwrap_or_default();
            EventAction::Rename(old.strip_prefix('/').unwrap_or(old).to_owned())
        }
        "update" => EventAction::Update,
        "destroy" | "remove" => EventAction::Destroy,
        _ => {
            let verdict = word
                .strip_prefix("health_status")
                .and_then(|rest| rest.strip_prefix(": ").or_else(|| attribute("health_status")));
            match verdict.and_then(health_of) {
                Some(health) => EventAction::Health(health),
                None => EventAction::Other(word.to_owned()),
            }
        }
    }
}

/// Exit codes of processes that ended because they were asked to, as a rule: by themselves, or by
/// INT, QUIT, KILL or TERM.
const STOPPED: [i64; 5] = [0, 130, 131, 137, 143];

/// The stop that an end was, most likely, where the engine would not say so. Podman tells nothing
/// at the start of one, and at its end only if its clean-up is not faster: somebody else's stop, in
/// the middle of an update perhaps, would be taken for a crash, and what is about to go be started
/// again.
pub(crate) fn implied_stop(event: &Event) -> Option<Event> {
    let is_podmans = event.actor.attributes.contains_key("containerExitCode");
    match event.action {
        EventAction::Die(Some(code)) if is_podmans && STOPPED.contains(&code) => {
            Some(Event::container(event.actor.clone(), EventAction::Stop, event.time))
        }
        _ => None,
    }
}

/// Whether what happened may have changed what a read would tell.
pub(crate) fn changes_state(action: &EventAction) -> bool {
    match action {
        EventAction::Network => false,
        // Of a check that tells no verdict.
        EventAction::Other(word) => word.starts_with("health_status"),
        // A signal as well: it resumes a container that is paused.
        _ => true,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use drowse_provider::{Health, Signal};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    fn action(word: &str, attributes: serde_json::Value) -> EventAction {
        let line = serde_json::json!({
            "status": word, "id": "1", "from": "image", "scope": "local", "time": 1_500_000_000,
            "Type": "container", "Action": word, "timeNano": 1_500_000_000_000_000_001_i64,
            "Actor": {"ID": "1", "Attributes": attributes},
        });
        parse(line.to_string().as_bytes()).unwrap().unwrap().event.action
    }

    #[test]
    fn dockers_and_podmans_words_mean_the_same() {
        use serde_json::json;
        assert_eq!(action("die", json!({"exitCode": "137"})), EventAction::Die(Some(137)));
        assert_eq!(action("died", json!({"containerExitCode": "1"})), EventAction::Die(Some(1)));
        assert_eq!(action("remove", json!({})), EventAction::Destroy);
        assert_eq!(action("kill", json!({"signal": "1"})), EventAction::Kill(Some(Signal::HUP)));
        let healthy = EventAction::Health(Health::Healthy);
        assert_eq!(action("health_status: healthy", json!({})), healthy);
        assert_eq!(action("health_status", json!({"health_status": "healthy"})), healthy);
        let rename = EventAction::Rename("old".to_owned());
        assert_eq!(action("rename", json!({"oldName": "/old", "name": "new"})), rename);
        assert_eq!(action("exec_die", json!({})), EventAction::Other("exec_die".to_owned()));
    }

    #[test]
    fn an_end_is_taken_for_a_stop_only_on_podman_and_only_if_it_looks_like_one() {
        let implied = |attributes: serde_json::Value| {
            let line = serde_json::json!({
                "Type": "container", "Action": "die", "Actor": {"ID": "1", "Attributes": attributes},
            });
            let told = parse(line.to_string().as_bytes()).unwrap().unwrap();
            implied_stop(&told.event).map(|event| event.action)
        };
        let podmans = |code| serde_json::json!({"containerExitCode": code, "exitCode": code});
        assert_eq!(implied(podmans("0")), Some(EventAction::Stop));
        assert_eq!(implied(podmans("143")), Some(EventAction::Stop));
        assert_eq!(implied(podmans("3")), None);
        assert_eq!(implied(serde_json::json!({"exitCode": "0"})), None);
    }

    #[test]
    fn a_verdict_beside_the_action_is_heard_and_none_is_a_reason_to_read() {
        let line = |verdict| {
            let line = serde_json::json!({
                "Type": "container", "Action": "health_status", "HealthStatus": verdict,
                "Actor": {"ID": "1", "Attributes": {"name": "web"}},
            });
            parse(line.to_string().as_bytes()).unwrap().unwrap().event.action
        };
        assert_eq!(line("unhealthy"), EventAction::Health(Health::Unhealthy));
        assert!(changes_state(&line("")));
        assert!(!changes_state(&EventAction::Other("exec_die".to_owned())));
    }

    #[test]
    fn what_is_no_container_is_passed_over_and_garbage_is_an_error() {
        assert!(parse(br#"{"Type":"network","Action":"connect"}"#).unwrap().is_none());
        assert!(
            parse(br#"{"Type":"network","Action":"create","Actor":{"ID":"1"}}"#).unwrap().is_none()
        );
        assert!(parse(b"{\"Type\":").is_err());
    }

    #[test]
    fn a_network_tells_of_the_container_that_is_attached_to_it() {
        let line = br#"{"Type":"network","Action":"connect","timeNano":1,"Actor":{"ID":"n",
            "Attributes":{"container":"c","name":"shop","type":"bridge"}}}"#;
        let told = parse(line).unwrap().unwrap().event;
        assert_eq!((told.actor.id.as_str(), told.actor.name.as_str()), ("c", ""));
        assert_eq!(told.action, EventAction::Network);
        assert!(!changes_state(&told.action), "a read for each start is enough");
    }
}
