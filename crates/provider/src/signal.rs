//! Signals, by name or by number.

use std::{fmt, str::FromStr};

/// The signals that have a name on Linux, with their numbers there (signal(7), x86 and ARM).
const NAMES: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

const HIGHEST: u8 = 64;
const RTMIN: u8 = 34;

/// A Linux signal: `TERM`, `SIGTERM`, `15` and `RTMIN+3` all parse.
///
/// The numbers are Linux's. Displays as the name without `SIG`, or as `RTMIN+n`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(u8);

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT.
    pub const QUIT: Self = Self(3);
    /// SIGKILL: cannot be handled.
    pub const KILL: Self = Self(9);
    /// SIGUSR1.
    pub const USR1: Self = Self(10);
    /// SIGTERM: the usual request to end.
    pub const TERM: Self = Self(15);

    /// The signal of this number, 1 to 64.
    ///
    /// # Errors
    /// [`ParseSignalError`] for any other number.
    pub fn from_number(number: u8) -> Result<Self, ParseSignalError> {
        if (1..=HIGHEST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(ParseSignalError { given: number.to_string() })
        }
    }

    /// Its number on Linux.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => formatter.write_str(name),
            None if self.0 == RTMIN => formatter.write_str("RTMIN"),
            None if self.0 > RTMIN => write!(formatter, "RTMIN+{}", self.0 - RTMIN),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signal({self})")
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let refused = || ParseSignalError { given: text.to_owned() };
        if let Ok(number) = text.parse::<u8>() {
            return Self::from_number(number).map_err(|_| refused());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        let offset = match name {
            "RTMIN" => Some(0),
            "RTMAX" => Some(HIGHEST - RTMIN),
            _ => name.strip_prefix("RTMIN+").and_then(|above| above.parse::<u8>().ok()).or_else(
                || {
                    let below = name.strip_prefix("RTMAX-")?.parse::<u8>().ok()?;
                    (HIGHEST - RTMIN).checked_sub(below)
                },
            ),
        };
        match offset {
            Some(offset) if offset <= HIGHEST - RTMIN => Ok(Self(RTMIN + offset)),
            _ => Err(refused()),
        }
    }
}

/// The text names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no signal: give a name such as TERM or SIGINT, or a number from 1 to 64")]
pub struct ParseSignalError {
    given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_prefix_and_numbers_are_the_same_signal() {
        for text in ["TERM", "SIGTERM", "sigterm", "term", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
    }

    #[test]
    fn real_time_signals_count_from_either_end() {
        assert_eq!("SIGRTMIN+3".parse::<Signal>().unwrap().number(), 37);
        assert_eq!("RTMAX-1".parse::<Signal>().unwrap().number(), 63);
        assert_eq!("RTMAX".parse::<Signal>().unwrap().to_string(), "RTMIN+30");
        assert!("RTMIN+31".parse::<Signal>().is_err());
    }

    #[test]
    fn what_is_no_signal_is_refused_with_the_text() {
        for text in ["", "0", "65", "SIG", "TERMINATE", "-9", "SIGSIGTERM"] {
            let error = text.parse::<Signal>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_number_survives_its_own_name(number in 1_u8..=64) {
            let signal = Signal::from_number(number).unwrap();
            proptest::prop_assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }
}
