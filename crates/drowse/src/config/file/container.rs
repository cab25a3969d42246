//! What a workload of the file puts to sleep: a container of an engine, or a process.

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf};

use drowse_provider::Reference;

use super::Reader;
use crate::config::{
    ContainerConfig, ProcessConfig,
    tree::{Key, Node, Place, Value},
    unknown,
};

const CONTAINER_KEYS: &[&str] = &["engine", "name", "id", "vmid", "project", "service", "process"];
/// As Proxmox has them.
const VMIDS: RangeInclusive<u32> = 100..=999_999_999;
const PROCESS_KEYS: &[&str] = &["command", "cwd", "env"];

impl Reader<'_> {
    /// What a workload puts to sleep; `None` if it cannot be read, which has been noted then.
    pub(super) fn container(
        &mut self,
        key: &Key,
        node: &Node,
        engines: &[String],
    ) -> Option<ContainerConfig> {
        let mut engine: Option<(&str, &Place)> = None;
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        let mut vmid = None;
        let mut process = None;
        let expected =
            "a mapping such as `{engine: home, name: db}` or `{process: {command: […]}}`";
        let Value::Map(entries) = &node.value else {
            self.error(&node.place, format!("expected {expected}, found {}", node.value.kind()));
            return None;
        };
        for (key, value) in entries {
            match key.name.as_str() {
                "engine" => {
                    engine = self.text(value, "an engine's name").map(|name| (name, &value.place));
                }
                "process" => process = Some((key, self.process(key, value))),
                name @ ("name" | "id" | "project" | "service") => {
                    if let Some(text) = self.text(value, "text") {
                        given.insert(name, text);
                    }
                }
                "vmid" => vmid = Some(self.vmid(value)),
                other => self.error(&key.place, unknown("key", other, CONTAINER_KEYS)),
            }
        }
        if let Some((process_key, process)) = process {
            if engine.is_some() || !given.is_empty() || vmid.is_some() {
                let why = "a process has neither engine nor name: give one or the other";
                self.error(&process_key.place, why);
            }
            return process.map(ContainerConfig::Process);
        }
        let reference = match (
            given.get("name"),
            given.get("id"),
            given.get("project"),
            given.get("service"),
            vmid,
        ) {
            (Some(name), None, None, None, None) => {
                Reference::Name(name.strip_prefix('/').unwrap_or(name).to_owned())
            }
            (None, Some(id), None, None, None) => Reference::Id((*id).to_owned()),
            (None, None, Some(project), Some(service), None) => Reference::Service {
                project: (*project).to_owned(),
                service: (*service).to_owned(),
            },
            (None, None, None, None, Some(vmid)) => Reference::Vmid(vmid?),
            _ => {
                let why = "which container? give exactly one of `name`, `id`, `vmid`, `project` \
                           with `service`, or `process`";
                self.error(&key.place, why);
                return None;
            }
        };
        let engine = match engine {
            Some((name, place)) => {
                if !engines.iter().any(|engine| engine == name) {
                    let known: Vec<_> = engines.iter().map(String::as_str).collect();
                    let why = if known.is_empty() {
                        format!("there is no engine `{name}`: `engines` is empty")
                    } else {
                        unknown("engine", name, &known)
                    };
                    self.error(place, why);
                    return None;
                }
                name.to_owned()
            }
            None => match engines {
                [only] => only.clone(),
                [] => {
                    self.error(&key.place, "there is no engine for it: `engines` is empty");
                    return None;
                }
                several => {
                    let known: Vec<_> =
                        several.iter().map(|engine| format!("`{engine}`")).collect();
                    let why =
                        format!("on which engine? give `engine`, one of {}", known.join(", "));
                    self.error(&key.place, why);
                    return None;
                }
            },
        };
        Some(ContainerConfig::OnEngine { engine, reference })
    }

    fn vmid(&mut self, node: &Node) -> Option<u32> {
        let text = self.text(node, "a number, such as `201`")?;
        let vmid = text.parse().ok().filter(|vmid| VMIDS.contains(vmid));
        if vmid.is_none() {
            let why = format!("`{text}` is no VMID: a number from 100 to 999999999 is expected");
            self.error(&node.place, why);
        }
        vmid
    }

    fn process(&mut self, key: &Key, node: &Node) -> Option<ProcessConfig> {
        let mut command = None;
        let mut directory = None;
        let mut environment = Vec::new();
        for (key, value) in self.mapping(node, "a process, such as `{command: [node, app.js]}`,") {
            match key.name.as_str() {
                "command" => command = Some(self.command(value)),
                "cwd" => directory = self.text(value, "a folder").map(PathBuf::from),
                "env" => {
                    for (name, value) in self.mapping(value, "variables and their values") {
                        if name.name.is_empty() || name.name.contains(['=', '\0']) {
                            self.error(&name.place, "this is no name of an environment variable");
                        } else if let Some(text) = self.text(value, "text") {
                            environment.push((name.name.clone(), text.to_owned()));
                        }
                    }
                }
                other => self.error(&key.place, unknown("key", other, PROCESS_KEYS)),
            }
        }
        let Some(command) = command else {
            if matches!(node.value, Value::Map(_)) {
                self.error(&key.place, "`command` is missing, such as `command: [node, app.js]`");
            }
            return None;
        };
        Some(ProcessConfig { command: command?, directory, environment })
    }

    pub(super) fn command(&mut self, node: &Node) -> Option<Vec<String>> {
        let expected = "a list of the program and its arguments, such as `[node, app.js]`";
        let Value::List(items) = &node.value else {
            self.error(&node.place, format!("expected {expected}, found {}", node.value.kind()));
            return None;
        };
        let words: Vec<String> = items
            .iter()
            .map(|item| self.text(item, "text").map(str::to_owned))
            .collect::<Option<_>>()?;
        if words.first().is_none_or(String::is_empty) {
            self.error(&node.place, format!("the command is empty: expected {expected}"));
            return None;
        }
        Some(words)
    }
}
