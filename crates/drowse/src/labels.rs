//! What a container's labels say. They speak the file's own language ([`crate::config`]), and they
//! can say less: never a command, a file, an engine or a secret, since whoever may label a
//! container must not thereby command this machine.

use std::collections::BTreeMap;

use crate::config::{
    Definition, Given, Origin, ROUTE_KEYS, RouteSettings, Settings, WORKLOAD_KEYS, did_you_mean,
};

const PREFIX: &str = "drowse.";
const ROUTES: &str = "routes.";
/// The route that the plain keys are about.
pub(crate) const DEFAULT_ROUTE: &str = "default";

/// What only the file may say.
const FILE_ONLY: &[&str] = &[
    "container",
    "engine",
    "engines",
    "process",
    "command",
    "cwd",
    "env",
    "listen",
    "never-sleep",
    "shutdown-grace",
    "trusted-proxies",
];

/// What a container's labels ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// The workload's name, if it is not to be the container's.
    pub(crate) name: Option<Given<String>>,
    pub(crate) settings: Settings,
    /// The routes that have a host.
    pub(crate) routes: Vec<RouteSettings>,
    /// Ports of routes that have no host: they tell where the application listens.
    pub(crate) port: Option<Given<u16>>,
}

/// How a container's labels read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There is not one label of ours.
    Nothing,
    /// It has labels of ours, and `drowse.enable=true` is not among them.
    NotEnabled,
    /// It is to be managed so.
    Enabled(Box<Labelled>),
    /// It is to be managed, and its labels are wrong: each mistake, with the label's name.
    Wrong(Vec<String>),
}

/// Whether any label is ours: cheap, for lists of many containers.
pub(crate) fn concern_us(labels: &BTreeMap<String, String>) -> bool {
    labels.range(PREFIX.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(PREFIX))
}

/// Reads a container's labels.
pub(crate) fn read(labels: &BTreeMap<String, String>) -> Reading {
    if !concern_us(labels) {
        return Reading::Nothing;
    }
    match labels.get("drowse.enable").map(|value| value.trim()) {
        Some("true") => {}
        None | Some("false") => return Reading::NotEnabled,
        Some(other) => {
            return Reading::Wrong(vec![format!(
                "label `drowse.enable`: expected `true` or `false`, found `{other}`"
            )]);
        }
    }
    let mut labelled = Labelled::default();
    let mut routes: BTreeMap<&str, RouteSettings> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (label, value) in labels {
        let Some(key) = label.strip_prefix(PREFIX) else { continue };
        if let Err(why) = apply(&mut labelled, &mut routes, label, key, value.trim()) {
            mistakes.push(format!("label `{label}`: {why}"));
        }
    }
    for (name, mut route) in routes {
        name.clone_into(&mut route.name);
        if route.hosts.is_some() {
            labelled.routes.push(route);
        } else if name != DEFAULT_ROUTE {
            mistakes.push(format!("route `{name}` has no host: set `drowse.routes.{name}.host`"));
        } else if route.path.is_some() || route.address.is_some() {
            mistakes.push("a path or an address without a host: set `drowse.host`".to_owned());
        } else {
            labelled.port = route.port;
        }
    }
    if mistakes.is_empty() {
        Reading::Enabled(Box::new(labelled))
    } else {
        Reading::Wrong(mistakes)
    }
}

fn apply<'a>(
    labelled: &mut Labelled,
    routes: &mut BTreeMap<&'a str, RouteSettings>,
    label: &'a str,
    key: &'a str,
    value: &str,
) -> Result<(), String> {
    let origin = Origin::Label(label.to_owned());
    if let Some((name, key)) = key.strip_prefix(ROUTES).and_then(|rest| rest.rsplit_once('.')) {
        let definition = ROUTE_KEYS
            .iter()
            .find(|known| known.label() == key)
            .ok_or_else(|| unknown(label, &format!("routes.{name}.")))?;
        return (definition.set)(routes.entry(name).or_default(), value, origin);
    }
    if let Some(definition) = ROUTE_KEYS.iter().find(|known| known.label() == key) {
        return (definition.set)(routes.entry(DEFAULT_ROUTE).or_default(), value, origin);
    }
    if let Some(definition) = WORKLOAD_KEYS.iter().find(|known| known.label() == key) {
        return (definition.set)(&mut labelled.settings, value, origin);
    }
    match key {
        "enable" => Ok(()),
        "name" if is_name(value) => {
            labelled.name = Some(Given { value: value.to_owned(), origin });
            Ok(())
        }
        "name" => {
            Err(format!("`{value}` is no name: letters, digits, `-`, `_` and `.` are expected"))
        }
        _ if FILE_ONLY.contains(&key) => Err("only the configuration file can say this".to_owned()),
        _ => Err(unknown(label, "")),
    }
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && text.chars().all(good)
}

/// What to say about a label that nobody knows; `route` is the part before a route's key.
fn unknown(label: &str, route: &str) -> String {
    let known: Vec<String> = if route.is_empty() {
        let own = ["enable", "name"].map(str::to_owned).into_iter();
        let routes = ROUTE_KEYS.iter().map(Definition::label);
        own.chain(WORKLOAD_KEYS.iter().map(Definition::label)).chain(routes).collect()
    } else {
        ROUTE_KEYS.iter().map(|known| format!("{route}{}", known.label())).collect()
    };
    let key = label.strip_prefix(PREFIX).unwrap_or(label);
    match did_you_mean(key, known.iter().map(String::as_str)) {
        Some(meant) => format!("there is no such label: did you mean `{PREFIX}{meant}`?"),
        None => "there is no such label".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Sleep;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn enabled(pairs: &[(&str, &str)]) -> Labelled {
        let mut all = labels(pairs);
        all.insert("drowse.enable".to_owned(), "true".to_owned());
        match read(&all) {
            Reading::Enabled(labelled) => *labelled,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(pairs: &[(&str, &str)]) -> String {
        let mut all = labels(pairs);
        all.entry("drowse.enable".to_owned()).or_insert_with(|| "true".to_owned());
        match read(&all) {
            Reading::Wrong(mistakes) => mistakes.join("\n"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_enabled_is_read() {
        assert_eq!(read(&labels(&[])), Reading::Nothing);
        assert_eq!(read(&labels(&[("drowsed", "x"), ("com.example", "y")])), Reading::Nothing);
        assert_eq!(read(&labels(&[("drowse.host", "a")])), Reading::NotEnabled);
        assert_eq!(
            read(&labels(&[("drowse.enable", "false"), ("drowse.nonsense", "")])),
            Reading::NotEnabled
        );
    }

    #[test]
    fn every_key_of_a_workload_is_a_label() {
        let settings = enabled(&[
            ("drowse.idle", "15m"),
            ("drowse.sleep", "pause"),
            ("drowse.stop-signal", "SIGINT"),
            ("drowse.stop-timeout", "20s"),
            ("drowse.wake-timeout", "1m"),
            ("drowse.start-grace", "1h"),
            ("drowse.network", "proxy"),
            ("drowse.passive-user-agents", "UptimeRobot, kube-probe"),
            ("drowse.passive-paths", "/healthz"),
        ])
        .settings;
        assert_eq!(settings.idle.unwrap().value, Duration::from_mins(15));
        assert_eq!(settings.sleep.unwrap().value, Sleep::Pause);
        assert_eq!(settings.stop_signal.unwrap().value, drowse_provider::Signal::INT);
        assert_eq!(settings.stop_timeout.unwrap().value, Duration::from_secs(20));
        assert_eq!(settings.wake_timeout.unwrap().value, Duration::from_mins(1));
        assert_eq!(
            settings.start_grace.unwrap().origin,
            Origin::Label("drowse.start-grace".to_owned())
        );
        assert_eq!(settings.network.unwrap().value, "proxy");
        assert_eq!(settings.passive_user_agents.unwrap().value, ["UptimeRobot", "kube-probe"]);
        assert_eq!(settings.passive_paths.unwrap().value[0].as_str(), "/healthz");
    }

    #[test]
    fn the_plain_keys_are_the_default_route_and_others_have_names() {
        let labelled = enabled(&[
            ("drowse.host", "a.example,b.example"),
            ("drowse.port", "80"),
            ("drowse.routes.api.host", "api.example"),
            ("drowse.routes.api.path", "/v1"),
            ("drowse.routes.api.port", "8081"),
            ("drowse.name", "shop"),
        ]);
        assert_eq!(labelled.name.unwrap().value, "shop");
        let [api, default] = labelled.routes.as_slice() else { panic!() };
        assert_eq!((api.name.as_str(), default.name.as_str()), ("api", "default"));
        let hosts: Vec<_> =
            default.hosts.as_ref().unwrap().value.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["a.example", "b.example"]);
        assert_eq!(api.path.as_ref().unwrap().value.as_str(), "/v1");
        assert_eq!(api.port.as_ref().unwrap().value, 8081);
    }

    #[test]
    fn without_a_host_there_is_no_route() {
        let labelled = enabled(&[("drowse.port", "5432")]);
        assert!(labelled.routes.is_empty());
        assert_eq!(labelled.port.unwrap().value, 5432);
    }

    #[test]
    fn every_mistake_is_told_with_its_label() {
        insta::assert_snapshot!(wrong(&[
            ("drowse.idel", "15m"),
            ("drowse.idle", "15"),
            ("drowse.stop_timeout", "5s"),
            ("drowse.engine", "home"),
            ("drowse.command", "rm -rf /"),
            ("drowse.port", "http"),
            ("drowse.routes.api.path", "/v1"),
            ("drowse.routes.api.prt", "80"),
            ("drowse.zzz", ""),
        ]), @r"
        label `drowse.command`: only the configuration file can say this
        label `drowse.engine`: only the configuration file can say this
        label `drowse.idel`: there is no such label: did you mean `drowse.idle`?
        label `drowse.idle`: a duration needs a unit: `15s`, `15m`, `15h` or `15d`
        label `drowse.port`: `http` is no port: a number from 1 to 65535 is expected
        label `drowse.routes.api.prt`: there is no such label: did you mean `drowse.routes.api.port`?
        label `drowse.stop_timeout`: there is no such label: did you mean `drowse.stop-timeout`?
        label `drowse.zzz`: there is no such label
        route `api` has no host: set `drowse.routes.api.host`
        ");
        insta::assert_snapshot!(wrong(&[("drowse.enable", "yes")]), @"label `drowse.enable`: expected `true` or `false`, found `yes`");
        insta::assert_snapshot!(wrong(&[("drowse.path", "/x")]), @"a path or an address without a host: set `drowse.host`");
    }
}
