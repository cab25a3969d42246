//! Clients that are not ours.

use std::process::Stdio;

use drowse_e2e::{DEADLINE, within};
use tokio::process::Command;

/// What a program has said, to both of its outputs, and whether it was content.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) is_success: bool,
}

/// Runs a client to its end.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = within(DEADLINE * 2, program, command.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Said { text, is_success: output.status.success() }
}

/// Runs a client that must be content, for what it has said.
pub(super) async fn ask(program: &str, arguments: &[&str]) -> String {
    let said = run(program, arguments).await;
    assert!(said.is_success, "{program} {arguments:?}: {}", said.text);
    said.text
}
