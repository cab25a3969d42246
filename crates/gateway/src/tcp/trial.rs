//! An upstream that was connected to, until it is known whether an application is behind it.
//!
//! Where somebody accepts before the application does (an engine, at a published port), a connection may be
//! closed without a word although the application was taken for ready: on a loaded machine that takes
//! longer than readiness can wait. While the run is young it is no answer. What the client says is sent at
//! once, and kept until the upstream has said something, or has stayed for a while.
//!
//! Whoever closes with something unread resets: that it has read nothing at all is not known, and is what an
//! engine's proxy does. So a beginning that was read in part may be sent again, a few times.

use std::{io, net::Shutdown, pin::pin, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpStream, time::sleep};

use super::early::{Early, Gone};

/// How long an upstream is watched for being closed without a word.
const SETTLING: Duration = Duration::from_millis(100);

/// The same in a young run, where somebody may accept before the application does.
const SETTLING_YOUNG: Duration = Duration::from_secs(1);

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has said something, or was not closed, or was closed by somebody who has read what it was sent:
    /// that much of what the client has said.
    Stays { sent: usize },
    /// It was closed without a word, and with what it was sent unread, or something of it, if it was sent
    /// anything.
    Closed { was_sent: bool },
}

/// Watches an upstream that was just connected to. If it is not young, nothing is sent to it meanwhile.
pub(super) async fn watch(
    upstream: &TcpStream,
    early: &mut Early,
    is_young: bool,
) -> Result<Outcome, Gone> {
    let mut settling = pin!(sleep(if is_young { SETTLING_YOUNG } else { SETTLING }));
    let (mut sent, mut is_ended, mut is_reset) = (0, false, false);
    loop {
        if early.has_spoken() && !is_young {
            return Ok(Outcome::Stays { sent });
        }
        while let Some(rest) = early.said().get(sent..).filter(|rest| !rest.is_empty()) {
            match upstream.try_write(rest) {
                Ok(written) => sent += written,
                Err(error) => {
                    // Told but once: whoever reads, below, would find an end and no reset.
                    is_reset = error.kind() != io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        let is_stuck = sent < early.said().len();
        if !is_stuck && early.is_full() {
            // There is no room to keep more of it.
            return Ok(Outcome::Stays { sent });
        }
        if !is_stuck && early.has_ended() && !is_ended {
            _ = SockRef::from(upstream).shutdown(Shutdown::Write);
            is_ended = true;
        }
        tokio::select! {
            biased;
            word = first_word(upstream) => {
                let is_unread = match word {
                    Ok(true) => false,
                    // Whoever closes with something unread says so, if need be when more comes.
                    Ok(false) => {
                        is_reset || sent == 0 || matches!(upstream.take_error(), Ok(Some(_)))
                    }
                    Err(_) => true,
                };
                let closed = Outcome::Closed { was_sent: sent > 0 };
                return Ok(if is_unread { closed } else { Outcome::Stays { sent } });
            }
            _ = upstream.writable(), if is_stuck => {}
            said = early.listen(), if !is_stuck => said?,
            () = settling.as_mut() => return Ok(Outcome::Stays { sent }),
        }
    }
}

/// Whether an upstream says something, rather than closing; an error says that it was reset.
async fn first_word(upstream: &TcpStream) -> io::Result<bool> {
    Ok(upstream.peek(&mut [0]).await? > 0)
}
