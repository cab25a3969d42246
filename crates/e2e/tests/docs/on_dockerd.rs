//! The pages, from the first command to the last.

use std::time::Duration;

use crate::{
    page::{Expected, Step, steps},
    terminal::{Printed, Terminal},
};

const DOCKER: &str = include_str!("../../../../docs/docker.md");

/// An idle time of the page, and more.
const DEADLINE: Duration = Duration::from_mins(1);

/// What changes nothing, and may be done again.
const LOOKS: [&str; 3] = ["drowse list", "drowse check", "docker ps"];

#[tokio::test]
async fn each_command_of_the_guide_does_what_it_says() {
    let mut terminal = Terminal::open().await;
    for step in steps(DOCKER) {
        match step {
            Step::Write { name, text } => std::fs::write(terminal.path(&name), text).unwrap(),
            Step::Type { line, commands, expected } => {
                follow(&mut terminal, line, &commands, expected.as_ref()).await;
            }
        }
    }
    terminal.close().await;
}

async fn follow(
    terminal: &mut Terminal,
    line: usize,
    commands: &[String],
    expected: Option<&Expected>,
) {
    let only_looks = commands.iter().all(|one| LOOKS.iter().any(|look| one.starts_with(look)));
    let mut last = None;
    let attempt = async {
        loop {
            let outcome = attempt(terminal, commands, expected).await;
            if outcome.is_ok() || !only_looks {
                return outcome;
            }
            last = Some(outcome);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let outcome = tokio::time::timeout(DEADLINE, attempt).await;
    let outcome = outcome.ok().or(last).unwrap_or_else(|| Err("it does not end".to_owned()));
    if let Err(why) = outcome {
        panic!("docs/docker.md, line {line}: {why}\n--- drowse's log:\n{}", terminal.log());
    }
}

/// Types the commands once; an error says what is not as it should be.
async fn attempt(
    terminal: &mut Terminal,
    commands: &[String],
    expected: Option<&Expected>,
) -> Result<(), String> {
    let must_fail = expected.is_some_and(Expected::is_a_failure);
    let mut all = String::new();
    for command in commands {
        let Printed { text, exit_code } = terminal.enter(command).await;
        if (exit_code != "0") != must_fail {
            return Err(format!("`{command}` ends with {exit_code}:\n{text}"));
        }
        all.push_str(&text);
    }
    match expected {
        Some(expected) if !expected.is_met_by(&all) => {
            Err(format!("expected:\n{}\n--- printed:\n{all}", expected.0))
        }
        _ => Ok(()),
    }
}
