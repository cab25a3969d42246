//! `docs/proxmox.md`, taken at its word: its configurations are read, its notes too, its commands are
//! parsed, and those of Proxmox are compared with the API's parameters.

use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser as _;

use crate::{
    cli::Cli,
    config,
    engines::{NEEDED, ROLE},
    labels::{Dialect, Reading, TAG},
};

/// A box of the page.
struct Block {
    kind: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/proxmox.md");
    let page = fs::read_to_string(path).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.trim_start().strip_prefix("```") else { continue };
        // A box in a list is as far in as the list.
        let margin = line.len() - line.trim_start().len();
        let within = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = within.map(|line| format!("{}\n", line.get(margin..).unwrap_or_default()));
        blocks.push(Block { kind: kind.to_owned(), text: text.collect() });
    }
    blocks
}

fn of_kind(kind: &str) -> Vec<String> {
    let blocks = blocks().into_iter().filter(|block| block.kind == kind);
    blocks.map(|block| block.text).collect()
}

/// The words of a command line, as a shell has them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn every_configuration_is_read() {
    let configurations = of_kind("yaml");
    assert!(configurations.len() >= 3);
    for text in configurations {
        config::from_text(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    }
}

#[test]
fn every_command_of_drowse_exists() {
    let commands: Vec<_> = of_kind("sh").iter().flat_map(|text| text.lines().map(words)).collect();
    assert!(commands.len() >= 3);
    for command in commands {
        Cli::try_parse_from(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

#[test]
fn every_note_says_what_it_seems_to_say() {
    let notes: Vec<_> =
        of_kind("text").into_iter().filter(|text| text.starts_with("drowse.")).collect();
    assert!(notes.len() >= 2);
    let hosts = ["*.example.com".parse().unwrap()];
    let dialect = Dialect::Notes { engine: "pve".into(), hosts: hosts.into() };
    for text in notes {
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        let mut labels: BTreeMap<_, _> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        labels.insert(TAG.to_owned(), String::new());
        assert!(matches!(dialect.read(&labels), Reading::Enabled(_)), "{text}");
    }
}

/// A command of Proxmox: how many words it takes besides its own, and which options. Its API call's
/// parameters, so what `pveum help` and `pvenode help` list.
const COMMANDS: &[(&str, usize, &[&str])] = &[
    // POST /access/roles
    ("pveum role add", 1, &["--privs"]),
    // DELETE /access/roles/{roleid}
    ("pveum role delete", 1, &[]),
    // POST /access/users
    (
        "pveum user add",
        1,
        &["--comment", "--email", "--enable", "--expire", "--firstname", "--groups", "--lastname"],
    ),
    // DELETE /access/users/{userid}
    ("pveum user delete", 1, &[]),
    // POST, GET, DELETE /access/users/{userid}/token[/{tokenid}]
    ("pveum user token add", 2, &["--comment", "--expire", "--privsep"]),
    ("pveum user token list", 1, &[]),
    ("pveum user token remove", 2, &[]),
    // PUT /access/acl
    ("pveum acl modify", 1, &["--roles", "--users", "--tokens", "--groups", "--propagate"]),
    // GET /nodes/{node}/certificates/info
    ("pvenode cert info", 0, &[]),
    ("pct unlock", 0, &[]),
];

fn is_known(command: &str) -> Result<(), String> {
    let known = COMMANDS.iter().find(|(name, ..)| {
        command.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    let Some((name, wanted, options)) = known else { return Err("no such command".to_owned()) };
    let rest = command[name.len()..].trim();
    let rest = if rest.is_empty() { Vec::new() } else { words(rest) };
    let mut given = 0;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        if !word.starts_with("--") {
            given += 1;
        } else if !options.contains(&word.as_str()) || rest.next().is_none() {
            return Err(format!("no such option, or no value: {word}"));
        }
    }
    if given == *wanted { Ok(()) } else { Err(format!("{given} words, {wanted} are expected")) }
}

#[test]
fn every_command_of_proxmox_exists() {
    let consoles = of_kind("console");
    let lines = consoles.iter().flat_map(|text| text.lines());
    let in_boxes = lines.filter_map(|line| line.strip_prefix("# ")).map(str::to_owned);
    // And what is named within a sentence.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/proxmox.md");
    let page = fs::read_to_string(path).unwrap();
    let in_words = page.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_proxmoxs =
        |command: &String| ["pveum ", "pvenode ", "pct "].iter().any(|it| command.starts_with(it));
    let commands: Vec<_> = in_boxes.chain(in_words).filter(is_proxmoxs).collect();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in &commands {
        is_known(command).unwrap_or_else(|why| panic!("`{command}`: {why}"));
    }
    // What drowse itself says in `check` is of the same kind, about the same role.
    let role = format!("pveum role add {ROLE} --privs \"{}\"", NEEDED.join(" "));
    assert!(commands.contains(&role), "{role}");
    assert!(is_known("pveum acl modify /vms/201 --roles Drowse --colour red").is_err());
    assert!(is_known("pveum role remove Drowse").is_err());
}
