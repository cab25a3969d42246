//! `wake --all` and `release`: what came of each workload as it is known, and what is to be known of all
//! of them at the end.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cli::{ReleaseArgs, WakeArgs},
    control::{
        Done, Refusal, Told,
        client::{self, OrderForAll},
    },
    exit::{CommandError, CommandResult, Exit},
    output::{complain, one_line, say, say_json},
    state::StateFolder,
};

/// What `wake --all --json` and `release --json` write. Keys are added, never renamed.
#[derive(Debug, Default, Serialize)]
struct Report {
    workloads: Vec<Outcome>,
    /// Whether drowse has ended.
    ended: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Awake(Done),
    Refused {
        #[serde(skip_serializing_if = "Option::is_none")]
        workload: Option<String>,
        #[serde(flatten)]
        refusal: Refusal,
    },
}

pub(crate) async fn wake_all(state: &StateFolder, arguments: &WakeArgs) -> CommandResult {
    let report = order(state, OrderForAll::Wake, arguments.timeout, arguments.json).await?;
    conclude(&report, arguments.json, OrderForAll::Wake)
}

pub(crate) async fn release(state: &StateFolder, arguments: &ReleaseArgs) -> CommandResult {
    let all = OrderForAll::Release { force: arguments.force };
    let report = order(state, all, arguments.timeout, arguments.json).await?;
    conclude(&report, arguments.json, all)
}

/// Gives the order, and says what is told of it as it comes; programs are told at the end.
async fn order(
    state: &StateFolder,
    all: OrderForAll,
    wait: Duration,
    json: bool,
) -> Result<Report, CommandError> {
    let mut report = Report::default();
    client::order_all(state, all, wait, |told| {
        match told {
            Told::Awake(done) => {
                if !json {
                    say(line(&done))?;
                }
                report.workloads.push(Outcome::Awake(done));
            }
            Told::Refused { workload, refusal } => {
                complain(format_args!("error: {}", failure(workload.as_deref(), &refusal)));
                report.workloads.push(Outcome::Refused { workload, refusal });
            }
            Told::Ending { grace_ms } => {
                report.ended = true;
                if !json {
                    let seconds = Duration::from_millis(grace_ms).as_secs();
                    say(format_args!(
                        "drowse ends; requests in flight have up to {seconds} s to go on"
                    ))?;
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(report)
}

/// A workload that is awake, or asleep, and how long that took.
pub(crate) fn line(done: &Done) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown to a tenth of a second")]
    let took = done.took_ms as f64 / 1_000.0;
    format!("{} is {} ({took:.1} s)", one_line(&done.workload), done.state)
}

fn failure(workload: Option<&str>, refusal: &Refusal) -> String {
    let error = one_line(&refusal.error);
    workload.map_or_else(|| error.clone(), |name| format!("{}: {error}", one_line(name)))
}

fn conclude(report: &Report, json: bool, all: OrderForAll) -> CommandResult {
    if json {
        say_json(report)?;
    }
    match last_words(report, all) {
        Ok(words) if json => drop(words),
        Ok(words) => say(words)?,
        Err(words) => return Err(CommandError::words(Exit::Failure, words)),
    }
    Ok(())
}

/// What came of all of them; an error if any failed.
fn last_words(report: &Report, all: OrderForAll) -> Result<String, String> {
    let awake = report.workloads.iter().filter(|one| matches!(one, Outcome::Awake(_))).count();
    let failed = report.workloads.len() - awake;
    let are_awake = match awake {
        0 => "no workload is awake".to_owned(),
        1 => "1 workload is awake".to_owned(),
        several => format!("{several} workloads are awake"),
    };
    let left_so = if awake == 0 { are_awake.clone() } else { format!("{are_awake} and left so") };
    match (all, failed) {
        (OrderForAll::Wake, 0) if awake == 0 => Ok("nothing is managed".to_owned()),
        (OrderForAll::Wake, 0) => Ok(format!(
            "{are_awake}. Each sleeps again after its idle time; `drowse release` ends drowse with \
             all of them awake"
        )),
        (OrderForAll::Wake, _) => Err(format!("{are_awake}, {failed} failed (see above)")),
        (OrderForAll::Release { .. }, 0) => Ok(format!("{left_so}: drowse has ended")),
        (OrderForAll::Release { .. }, _) if report.ended => {
            Err(format!("{left_so}, {failed} failed (see above); drowse has ended"))
        }
        (OrderForAll::Release { .. }, _) => Err(format!(
            "{are_awake}, {failed} failed (see above), so drowse goes on as before: mend what failed \
             and try again, or end drowse nevertheless with `drowse release --force`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Class;

    fn report(awake: usize, ended: bool, failures: &[(Option<&str>, &str, Class)]) -> Report {
        let awake = (0..awake).map(|number| {
            let workload = format!("app-{number}");
            Outcome::Awake(Done { workload, state: "ready".to_owned(), took_ms: 1_240 })
        });
        let failures = failures.iter().map(|(workload, error, class)| Outcome::Refused {
            workload: workload.map(str::to_owned),
            refusal: Refusal { error: (*error).to_owned(), class: *class },
        });
        Report { workloads: awake.chain(failures).collect(), ended }
    }

    #[test]
    fn the_last_line_says_what_is_awake_and_what_to_do() {
        let broken = [(Some("wiki"), "it does not start: exit code 1", Class::Failed)];
        let release = OrderForAll::Release { force: false };
        let said = [
            last_words(&report(12, false, &[]), OrderForAll::Wake).unwrap(),
            last_words(&report(0, false, &[]), OrderForAll::Wake).unwrap(),
            last_words(&report(2, false, &broken), OrderForAll::Wake).unwrap_err(),
            last_words(&report(1, true, &[]), release).unwrap(),
            last_words(&report(2, false, &broken), release).unwrap_err(),
            last_words(&report(2, true, &broken), OrderForAll::Release { force: true })
                .unwrap_err(),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        12 workloads are awake. Each sleeps again after its idle time; `drowse release` ends drowse with all of them awake
        nothing is managed
        2 workloads are awake, 1 failed (see above)
        1 workload is awake and left so: drowse has ended
        2 workloads are awake, 1 failed (see above), so drowse goes on as before: mend what failed and try again, or end drowse nevertheless with `drowse release --force`
        2 workloads are awake and left so, 1 failed (see above); drowse has ended
        ");
    }

    #[test]
    fn each_failure_names_what_it_is_about() {
        let refusal = |error: &str| Refusal { error: error.to_owned(), class: Class::Failed };
        let said = [
            failure(Some("wiki"), &refusal("there is no such container")),
            failure(None, &refusal("not managed, and left as it is: container `x`: no")),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        wiki: there is no such container
        not managed, and left as it is: container `x`: no
        ");
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let failures = [
            (Some("wiki"), "there is no such container", Class::NotFound),
            (None, "not managed, and left as it is: container `x`: no", Class::NotManaged),
        ];
        let json = serde_json::to_string_pretty(&report(1, false, &failures)).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "workloads": [
            {
              "workload": "app-0",
              "state": "ready",
              "took_ms": 1240
            },
            {
              "workload": "wiki",
              "error": "there is no such container",
              "class": "not_found"
            },
            {
              "error": "not managed, and left as it is: container `x`: no",
              "class": "not_managed"
            }
          ],
          "ended": false
        }
        "#);
    }
}
