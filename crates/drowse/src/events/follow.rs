//! Following what happens, over restarts of drowse.

use std::{ops::ControlFlow, time::Duration};

use super::{Line, Teller};
use crate::{
    control::client::{self, WantedEvents},
    exit::CommandResult,
    state::StateFolder,
};

/// How often it is looked whether drowse runs again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Tells what happened, and what happens from now on, until nobody reads it any more. A drowse that ends
/// is waited for; what happened until it could be followed again is told then.
///
/// # Errors
/// If there is none to begin with.
pub(super) async fn follow(
    state: &StateFolder,
    mut wanted: WantedEvents<'_>,
    teller: &Teller,
) -> CommandResult {
    let mut is_lost = None;
    loop {
        match (client::events(state, &wanted).await, is_lost) {
            (Ok(mut lines), _) => {
                if is_lost.replace(false) == Some(true) && teller.tell(&Line::Back)?.is_break() {
                    return Ok(());
                }
                // One that was killed ends in the middle of whatever it said.
                while let Ok(Some(line)) = lines.next().await {
                    go_on_after(&mut wanted, &line);
                    if teller.tell(&line)?.is_break() {
                        return Ok(());
                    }
                }
            }
            (Err(error), None) => return Err(error),
            (Err(_), Some(_)) => {}
        }
        let is_news = is_lost.replace(true) == Some(false);
        if is_news && teller.tell(&Line::Ended)? == ControlFlow::Break(()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Asks for what comes after this line, of which nothing is to be missed. Until there is a number to go
/// on from, no more is wanted of what is past than at first.
fn go_on_after(wanted: &mut WantedEvents<'_>, line: &Line) {
    wanted.after = match line {
        Line::Change { number, .. } => *number,
        Line::BegunAnew => 0,
        Line::Missed { .. } | Line::Ended | Line::Back => return,
    };
    wanted.last = usize::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_is_not_told_because_drowse_was_restarted() {
        let mut wanted = WantedEvents { workload: None, last: 0, after: 0, follow: true };
        go_on_after(&mut wanted, &Line::Back);
        assert_eq!((wanted.last, wanted.after), (0, 0));
        let change = Line::Change {
            number: 41,
            at: "2026-11-26T13:20:03Z".parse().unwrap(),
            workload: "wiki".to_owned(),
            engine: "docker".to_owned(),
            container: "wiki-1".to_owned(),
            from: "starting".to_owned(),
            to: "ready".to_owned(),
            reason: "woken".to_owned(),
            took_ms: 1,
        };
        go_on_after(&mut wanted, &change);
        assert_eq!((wanted.last, wanted.after), (usize::MAX, 41));
    }
}
