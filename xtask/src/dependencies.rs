//! Licences, sources and banned names of all dependencies, by the lists in deny.toml. Does for a
//! machine without cargo-deny; does not look at duplicate versions.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;
use toml::Table;

use crate::{cargo, terminal};

/// # Errors
/// If a dependency breaks a rule; each that does is told.
pub(crate) fn check() -> anyhow::Result<()> {
    let rules = Rules::read()?;
    let metadata = cargo::metadata(cargo::Packages::Tree)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let built = built()?;
    let complaints: Vec<_> = packages
        .iter()
        .filter(|package| built.contains(&named(package)))
        .flat_map(|package| rules.complaints(package))
        .collect();
    for complaint in &complaints {
        terminal::error(complaint);
    }
    match complaints.len() {
        0 => Ok(()),
        count => bail!("{count} dependencies break the rules of deny.toml"),
    }
}

/// The packages that are really built, as `cargo tree` names them. The lock file, and so `cargo
/// metadata`, also has those that a crate would use if something else turned them on (`ring?/alloc`).
fn built() -> anyhow::Result<BTreeSet<String>> {
    let mut tree = cargo::cargo(["tree", "--workspace", "--all-features", "--prefix", "none"]);
    let output = tree.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`cargo tree` failed: {}", output.status);
    }
    let text = String::from_utf8(output.stdout).context("reading what `cargo tree` says")?;
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(text.lines().map(words).collect())
}

fn named(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    format!("{} v{}", text("name"), text("version"))
}

struct Rules {
    banned: Vec<String>,
    licences: Vec<String>,
    registries: Vec<String>,
}

impl Rules {
    fn read() -> anyhow::Result<Self> {
        let text = fs::read_to_string(cargo::root().join("deny.toml")).context("deny.toml")?;
        let table: Table = text.parse().context("deny.toml")?;
        let list = |section: &str, key: &str| -> anyhow::Result<Vec<String>> {
            let list = table.get(section).and_then(|section| section.get(key));
            let list = list.and_then(toml::Value::as_array);
            let list = list.with_context(|| format!("deny.toml: no list {section}.{key}"))?;
            Ok(list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
        };
        Ok(Self {
            banned: list("bans", "deny")?,
            licences: list("licenses", "allow")?,
            registries: list("sources", "allow-registry")?,
        })
    }

    fn complaints(&self, package: &Value) -> Vec<String> {
        let name = package["name"].as_str().unwrap_or("?");
        let mut complaints = Vec::new();
        if self.banned.iter().any(|banned| banned == name) {
            complaints.push(format!("{name} is banned"));
        }
        // Without a source it is one of our own.
        if let Some(source) = package["source"].as_str()
            && !source.strip_prefix("registry+").is_some_and(|url| self.knows_registry(url))
        {
            complaints.push(format!("{name} comes from {source}"));
        }
        match package["license"].as_str() {
            Some(licence) if self.allows(licence) => {}
            Some(licence) => complaints.push(format!("{name} has the licence {licence}")),
            None => complaints.push(format!("{name} names no licence")),
        }
        complaints
    }

    fn knows_registry(&self, url: &str) -> bool {
        self.registries.iter().any(|known| known == url)
    }

    /// Whether one may use it under licences of the list: `(A OR B) AND C WITH E`, or the old `A/B`.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<_> = spaced.split_whitespace().collect();
        let mut parser = Expression { words: &words, rules: self };
        parser.any_of() && parser.words.is_empty()
    }
}

/// The rest of an SPDX licence expression.
struct Expression<'a> {
    words: &'a [&'a str],
    rules: &'a Rules,
}

impl Expression<'_> {
    fn any_of(&mut self) -> bool {
        let mut allowed = self.all_of();
        while self.take("OR") {
            allowed |= self.all_of();
        }
        allowed
    }

    fn all_of(&mut self) -> bool {
        let mut allowed = self.one();
        while self.take("AND") {
            allowed &= self.one();
        }
        allowed
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let allowed = self.any_of();
            return self.take(")") && allowed;
        }
        let Some((licence, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        let mut name = (*licence).to_owned();
        if self.take("WITH")
            && let Some((exception, rest)) = self.words.split_first()
        {
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        self.rules.licences.contains(&name)
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            banned: vec!["ring".into()],
            licences: ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]
                .map(Into::into)
                .into(),
            registries: vec!["https://github.com/rust-lang/crates.io-index".into()],
        }
    }

    #[test]
    fn expressions_are_read_with_and_before_or() {
        for allowed in [
            "MIT",
            "MIT OR Apache-2.0",
            "Apache-2.0/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-3.0 AND ISC OR MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(rules().allows(allowed), "{allowed}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "", "(MIT", "MIT GPL-3.0"] {
            assert!(!rules().allows(refused), "{refused}");
        }
    }

    #[test]
    fn each_broken_rule_is_told() {
        let package = serde_json::json!({
            "name": "ring", "license": "OpenSSL", "source": "git+https://example.com/ring",
        });
        assert_eq!(rules().complaints(&package).len(), 3);
        let own = serde_json::json!({ "name": "drowse", "license": "MIT", "source": null });
        assert_eq!(rules().complaints(&own), Vec::<String>::new());
    }

    #[test]
    fn the_lists_of_the_repository_can_be_read() {
        let rules = Rules::read().unwrap();
        assert!(rules.allows("MIT OR Apache-2.0") && !rules.allows("AGPL-3.0"));
        assert!(rules.banned.contains(&"openssl".to_owned()));
    }
}
