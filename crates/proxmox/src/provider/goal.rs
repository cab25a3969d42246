//! What an operation of the contract becomes on Proxmox.

use std::time::Duration;

use drowse_provider::{Signal, StopOptions};

/// The number of SIGPWR, by which LXC asks an init to end.
const PWR: u8 = 30;
/// What Proxmox's own `shutdown` allows a container, if nobody says.
pub(super) const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_mins(1);
/// What a start may take: high availability management works in rounds of 10 s, and may have to move
/// the container first.
const START_WITHIN: Duration = Duration::from_mins(5);
/// What an end may take beyond the container's own time: the kill, what has to be unmounted, and
/// high availability management.
const STOP_MARGIN: Duration = Duration::from_mins(2);

/// What is wanted of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That it runs.
    Start,
    /// That it ends by itself, and is killed after this time: whole seconds, at least one, since
    /// Proxmox waits for ever if it is told zero.
    Shutdown {
        /// How long it may take.
        timeout: Duration,
    },
    /// That it is killed.
    Kill,
}

impl Goal {
    /// How long an order for it is followed, however short those wait who asked for it: another may
    /// ask for the same meanwhile.
    pub(super) fn within(self) -> Duration {
        match self {
            Self::Start => START_WITHIN,
            Self::Shutdown { timeout } => timeout.saturating_add(STOP_MARGIN),
            Self::Kill => STOP_MARGIN,
        }
    }

    /// Whether a task of this kind leads to it.
    pub(super) fn is_served_by(self, task_kind: &str) -> bool {
        match self {
            Self::Start => matches!(task_kind, "vzstart" | "hastart"),
            Self::Shutdown { .. } => matches!(task_kind, "vzshutdown" | "vzstop" | "hastop"),
            Self::Kill => matches!(task_kind, "vzstop" | "hastop"),
        }
    }
}

/// How a stop asks and kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopPlan {
    /// Just killed.
    Kill,
    /// Asked, and killed after this time: not yet rounded.
    Shutdown(Duration),
    /// Asked, and killed after the container's own time.
    ShutdownAsDefined,
}

/// What `stop` with these options is here; an error says why it can't be done.
pub(super) fn plan_stop(options: &StopOptions) -> Result<StopPlan, String> {
    match options.signal {
        Some(Signal::KILL) => return Ok(StopPlan::Kill),
        // All three mean "the request to end that its init understands".
        None | Some(Signal::TERM) => {}
        Some(signal) if signal.number() == PWR => {}
        Some(signal) => return Err(unsendable(signal)),
    }
    Ok(match options.timeout {
        Some(Duration::ZERO) => StopPlan::Kill,
        Some(timeout) => StopPlan::Shutdown(timeout),
        None => StopPlan::ShutdownAsDefined,
    })
}

/// A shutdown that ends by a kill after `timeout`.
pub(super) fn shutdown_within(timeout: Duration) -> Goal {
    let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    // Proxmox counts in a signed 32-bit number.
    let seconds = seconds.clamp(1, i32::MAX.unsigned_abs().into());
    Goal::Shutdown { timeout: Duration::from_secs(seconds) }
}

/// Why this signal cannot be sent.
pub(super) fn unsendable(signal: Signal) -> String {
    format!(
        "Proxmox's API cannot send {signal}: a container is either asked to shut down (its init gets \
         its own halt signal) or killed, so leave the signal away or say KILL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(signal: Option<u8>, timeout: Option<Duration>) -> Result<StopPlan, String> {
        let mut options = StopOptions::new();
        options.signal = signal.map(|number| Signal::from_number(number).unwrap());
        options.timeout = timeout;
        plan_stop(&options)
    }

    #[test]
    fn a_stop_is_a_shutdown_or_a_kill() {
        const TEN: Duration = Duration::from_secs(10);
        for signal in [None, Some(15), Some(PWR)] {
            assert_eq!(stop(signal, None), Ok(StopPlan::ShutdownAsDefined));
            assert_eq!(stop(signal, Some(TEN)), Ok(StopPlan::Shutdown(TEN)));
            assert_eq!(stop(signal, Some(Duration::ZERO)), Ok(StopPlan::Kill));
        }
        for timeout in [None, Some(TEN), Some(Duration::ZERO)] {
            assert_eq!(stop(Some(9), timeout), Ok(StopPlan::Kill));
        }
    }

    #[test]
    fn other_signals_are_refused_in_words() {
        insta::assert_snapshot!(
            stop(Some(2), None).unwrap_err(),
            @"Proxmox's API cannot send INT: a container is either asked to shut down (its init gets its own halt signal) or killed, so leave the signal away or say KILL"
        );
    }

    /// A shutdown with a timeout of zero would hang for ever.
    #[test]
    fn a_shutdowns_timeout_is_whole_seconds_and_never_zero() {
        let seconds = |timeout| match shutdown_within(timeout) {
            Goal::Shutdown { timeout } => {
                assert_eq!(timeout.subsec_nanos(), 0);
                timeout.as_secs()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), 2_147_483_647);
    }
}
