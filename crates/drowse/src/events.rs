//! `events`: what fell asleep and was woken, when and why; and how the daemon comes to know it.

mod follow;
mod line;
mod witness;

use std::ops::ControlFlow;

pub(crate) use line::Line;
use line::Words;
pub(crate) use witness::Witness;

use crate::{
    cli::EventsArgs,
    control::client::{self, WantedEvents},
    exit::CommandResult,
    output::{complain, say_while_read},
    state::StateFolder,
    wall::Clock,
};

pub(crate) async fn events(state: &StateFolder, arguments: &EventsArgs) -> CommandResult {
    let teller = Teller { is_json: arguments.json };
    let wanted = WantedEvents {
        workload: arguments.name.as_deref(),
        last: arguments.last,
        after: 0,
        follow: arguments.follow,
    };
    if arguments.follow {
        return follow::follow(state, wanted, &teller).await;
    }
    let mut lines = client::events(state, &wanted).await?;
    let mut is_empty = true;
    while let Some(line) = lines.next_in_time().await? {
        is_empty = false;
        if teller.tell(&line)?.is_break() {
            break;
        }
    }
    if is_empty && !arguments.json {
        complain("nothing has happened yet");
    }
    Ok(())
}

/// Tells of events as they come.
#[derive(Debug)]
struct Teller {
    is_json: bool,
}

impl Teller {
    /// Breaks when nobody reads any more.
    fn tell(&self, line: &Line) -> anyhow::Result<ControlFlow<()>> {
        if self.is_json {
            return say_while_read(serde_json::to_string(line)?);
        }
        match line.words(&Clock::now()) {
            Words::Event(words) => say_while_read(words),
            Words::Remark(words) => {
                complain(words);
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}
