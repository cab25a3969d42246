//! One target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use drowse_fuzz::{ARGUMENTS, Corpus, TARGET};

use crate::cargo;

/// The longest input, in bytes: what is wrong with a longer one is wrong with one of these.
const LONGEST: &str = "2048";

/// After so many seconds an input takes too long.
const PATIENCE: &str = "10";

/// What a target may take of memory, in MiB.
const MEMORY: &str = "1024";

pub(super) struct Target {
    executable: PathBuf,
    /// The test's path.
    test: String,
}

impl Target {
    pub(super) fn new(executable: &Path, test: &str) -> Self {
        Self { executable: executable.to_owned(), test: test.to_owned() }
    }

    pub(super) fn name(&self) -> &str {
        self.test.rsplit("::").next().unwrap_or(&self.test)
    }

    /// Runs it for so long, and keeps what it has found.
    ///
    /// # Errors
    /// Something does not hold: with the input, which is kept.
    pub(super) fn run(&self, time: Duration) -> anyhow::Result<()> {
        let folder = cargo::target_dir()?.join("fuzz").join(self.name());
        let [kept, seen, least, failed] =
            ["kept", "seen", "least", "failed"].map(|name| folder.join(name));
        for scratch in [&kept, &least, &failed] {
            if scratch.exists() {
                fs::remove_dir_all(scratch)?;
            }
        }
        for each in [&kept, &seen, &least, &failed] {
            fs::create_dir_all(each)?;
        }
        let mut corpus = Corpus::read(self.name()).map_err(anyhow::Error::msg)?;
        for (number, input) in corpus.inputs().enumerate() {
            fs::write(kept.join(number.to_string()), input)?;
        }

        let seconds = time.as_secs().max(1);
        let looking = self.libfuzzer(&[
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", failed.display()),
            format!("-max_len={LONGEST}"),
            seen.display().to_string(),
            kept.display().to_string(),
        ]);
        let failures = read_folder(&failed)?;
        if !failures.is_empty() {
            for input in &failures {
                corpus.keep(input);
            }
            corpus.write(self.name())?;
            let input = failures[0].escape_ascii();
            bail!("{}: something does not hold of b\"{input}\", which is kept", self.name());
        }
        looking?;
        // The fewest and smallest inputs that get as far as all of them.
        self.libfuzzer(&[
            "-merge=1".to_owned(),
            least.display().to_string(),
            kept.display().to_string(),
            seen.display().to_string(),
        ])?;
        corpus.find(read_folder(&least)?);
        corpus.write(self.name())?;
        Ok(())
    }

    fn libfuzzer(&self, arguments: &[String]) -> anyhow::Result<()> {
        let common = [format!("-timeout={PATIENCE}"), format!("-rss_limit_mb={MEMORY}")];
        let arguments = [common.as_slice(), arguments].concat().join("\n");
        let mut command = Command::new(&self.executable);
        command.args(["--exact", &self.test, "--nocapture", "--test-threads", "1"]);
        command.env(TARGET, self.name()).env(ARGUMENTS, arguments);
        // For merging it starts itself once more, by its name: a script, since it is a test.
        let again = cargo::root().join("crates/fuzz/again");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(again).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        command.env("DROWSE_FUZZ_EXECUTABLE", &self.executable).env("DROWSE_FUZZ_TEST", &self.test);
        let output = command.stdin(Stdio::null()).output().context("libFuzzer")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = said.lines().rev().take(60).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!("{}: {}\n{}", self.name(), output.status, last.join("\n"));
        }
        Ok(())
    }
}

fn read_folder(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    Ok(inputs)
}
