//! `hold` and `unhold`: what came of them, in words and for programs.

use serde::Serialize;

use crate::{
    cli::{HoldArgs, UnholdArgs},
    control::{Held, Refusal, client},
    exit::CommandResult,
    output::{complain, one_line, say, say_json},
    state::StateFolder,
};

pub(crate) async fn hold(state: &StateFolder, arguments: &HoldArgs) -> CommandResult {
    let held = conclude(client::hold(state, arguments).await?, arguments.json)?;
    if arguments.json {
        return Ok(());
    }
    say(words(&held))?;
    if !held.lasting {
        complain(
            "warning: it ends with drowse: holds cannot be kept over a restart now, and `drowse list` \
             says why",
        );
    }
    if let Some(why) = &held.not_yet {
        complain(format_args!("warning: it does not count yet, and does as soon as it can: {why}"));
    }
    Ok(())
}

pub(crate) async fn unhold(state: &StateFolder, arguments: &UnholdArgs) -> CommandResult {
    let unheld = conclude(client::unhold(state, &arguments.name).await?, arguments.json)?;
    if !arguments.json {
        say(format_args!("{} is no longer held {}", one_line(&unheld.workload), unheld.hold))?;
    }
    Ok(())
}

/// Tells programs what came of it, whatever it is.
fn conclude<T: Serialize>(
    outcome: Result<T, Refusal>,
    json: bool,
) -> Result<T, crate::exit::CommandError> {
    match outcome {
        Ok(done) => {
            if json {
                say_json(&done)?;
            }
            Ok(done)
        }
        Err(refusal) => {
            if json {
                say_json(&refusal)?;
            }
            Err(client::refused(refusal))
        }
    }
}

fn words(held: &Held) -> String {
    let Held { workload, state, hold, until, .. } = held;
    let until = match until {
        Some(until) => format!("until {until}"),
        None => format!("until `drowse unhold {}`", one_line(workload)),
    };
    format!("{} is {state}, and held {hold} {until}", one_line(workload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_until_when() {
        let mut held = Held {
            workload: "wiki".to_owned(),
            state: "asleep".to_owned(),
            hold: "asleep".to_owned(),
            until: None,
            reason: Some("restore".to_owned()),
            lasting: true,
            not_yet: None,
            took_ms: 1_240,
        };
        let for_good = words(&held);
        held.until = Some("2026-11-26T18:00:00Z".to_owned());
        insta::assert_snapshot!([for_good, words(&held)].join("\n"), @r"
        wiki is asleep, and held asleep until `drowse unhold wiki`
        wiki is asleep, and held asleep until 2026-11-26T18:00:00Z
        ");
        insta::assert_snapshot!(serde_json::to_string(&held).unwrap(), @r#"{"workload":"wiki","state":"asleep","hold":"asleep","until":"2026-11-26T18:00:00Z","reason":"restore","lasting":true,"not_yet":null,"took_ms":1240}"#);
    }
}
