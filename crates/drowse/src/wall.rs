//! Moments on the wall: as the daemon tells them to programs, and as people read them where they are.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A moment that every clock on a wall can show. As text: RFC 3339, in UTC, to the millisecond.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Wall(Timestamp);

impl Wall {
    /// When that was, or will be, by the clock as it goes now: one that is set meanwhile takes what has
    /// been and what will be with it.
    pub(crate) fn of(moment: Instant) -> Self {
        let (here, now) = (Instant::now(), Timestamp::now());
        let ahead = SignedDuration::try_from(moment.saturating_duration_since(here));
        let behind = SignedDuration::try_from(here.saturating_duration_since(moment));
        let [ahead, behind] = [ahead, behind].map(|far| far.unwrap_or(SignedDuration::MAX));
        Self(now.checked_add(ahead).and_then(|then| then.checked_sub(behind)).unwrap_or(now))
    }

    /// The same, to the second.
    pub(crate) fn to_the_second(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// How long it is from `earlier` to this; zero if that was later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }
}

impl From<Timestamp> for Wall {
    fn from(moment: Timestamp) -> Self {
        Self(moment)
    }
}

impl From<Wall> for Timestamp {
    fn from(Wall(moment): Wall) -> Self {
        moment
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").fmt(formatter)
    }
}

impl From<Wall> for String {
    fn from(moment: Wall) -> Self {
        moment.to_string()
    }
}

impl FromStr for Wall {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Wall {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The clock on the wall of whoever reads: their time zone, and what it shows.
#[derive(Clone, Debug)]
pub(crate) struct Clock(ZonedDateTime);

impl Clock {
    /// As it is now, in the zone that `TZ` names, else in the system's.
    pub(crate) fn now() -> Self {
        Self(ZonedDateTime::now())
    }

    #[cfg(test)]
    pub(crate) fn showing(now: &str, zone: &str) -> Self {
        Self(now.parse::<Timestamp>().unwrap().in_tz(zone).unwrap())
    }

    /// For sentences: no longer than it must be to be understood now.
    pub(crate) fn brief(&self, Wall(moment): Wall) -> String {
        let then = moment.to_zoned_datetime(self.0.time_zone().clone());
        let is_near =
            self.0.timestamp().duration_since(moment).abs() < SignedDuration::from_mins(2);
        let format = match (then.date() == self.0.date(), is_near) {
            (true, true) => "%H:%M:%S",
            (true, false) => "%H:%M",
            (false, _) => "%Y-%m-%d %H:%M",
        };
        then.strftime(format).to_string()
    }

    /// For columns.
    pub(crate) fn full(&self, Wall(moment): Wall) -> String {
        let then = moment.to_zoned_datetime(self.0.time_zone().clone());
        then.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// How long it has been since then.
    pub(crate) fn since(&self, moment: Wall) -> Duration {
        Wall(self.0.timestamp()).since(moment)
    }

    /// How long it is until then.
    pub(crate) fn until(&self, moment: Wall) -> Duration {
        moment.since(Wall(self.0.timestamp()))
    }
}

/// A time in its largest unit.
pub(crate) fn roughly(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A time that something took: to a tenth of a second while that says something.
pub(crate) fn took(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds @ 0..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{:.1}s", duration.as_secs_f64()).replace(".0s", "s"),
        _ => {
            let seconds = duration.as_secs();
            let (large, small) = match seconds {
                ..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
                3_600..172_800 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
                _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
            };
            match small {
                (0, _) => format!("{}{}", large.0, large.1),
                (small, unit) => format!("{}{}{small}{unit}", large.0, large.1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        text.parse().unwrap()
    }

    #[test]
    fn a_moment_is_shown_where_its_reader_is() {
        let clock = Clock::showing("2026-11-26T13:30:00Z", "Europe/Berlin");
        let shown = ["13:31:05Z", "13:32:30Z", "22:59:00Z", "23:30:00Z"]
            .map(|time| clock.brief(wall(&format!("2026-11-26T{time}"))));
        assert_eq!(shown, ["14:31:05", "14:32", "23:59", "2026-11-27 00:30"]);
        assert_eq!(clock.full(wall("2026-11-26T13:31:05.250Z")), "2026-11-26 14:31:05");
    }

    #[test]
    fn its_text_is_read_back() {
        let moment = wall("2026-11-26T13:31:05.25Z");
        assert_eq!(moment.to_string(), "2026-11-26T13:31:05.250Z");
        assert_eq!(wall(&moment.to_string()), moment);
        assert_eq!(moment.to_the_second(), "2026-11-26T13:31:05Z");
    }

    #[test]
    fn both_clocks_go_on_alike() {
        let now = Instant::now();
        let minute = Duration::from_mins(1);
        let far = Wall::of(now + minute).since(Wall::of(now));
        assert!(far.abs_diff(minute) < Duration::from_secs(30), "{far:?}");
    }

    #[test]
    fn times_are_short() {
        let shown = [12, 1_240, 2_000, 61_000, 3_600_000, 9_000_000, 180_000_000]
            .map(|milliseconds| took(Duration::from_millis(milliseconds)));
        assert_eq!(shown, ["12ms", "1.2s", "2s", "1m1s", "1h", "2h30m", "2d2h"]);
        let shown = [59, 7_300, 172_800].map(|seconds| roughly(Duration::from_secs(seconds)));
        assert_eq!(shown, ["59s", "2h", "2d"]);
    }
}
