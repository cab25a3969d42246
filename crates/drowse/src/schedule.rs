//! Times of the week at which a workload is kept awake, and at which it is woken: pure, as a calendar
//! is. What acts upon them is the [`driver`].
//!
//! Around a change of the clocks the wall clock's own times count. A time that the clock leaps over
//! (02:30, where 02:00 becomes 03:00) is the moment after the leap. Of a time that comes twice a window
//! begins at the first and ends at the last, and a workload is woken at the first.

pub(crate) mod driver;
mod words;
mod zone;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Weekday},
    tz::AmbiguousOffset,
};

pub(crate) use self::{
    words::{read_occasions, read_windows},
    zone::Zone,
};

/// Every day of the week comes within so many days, and a week later again, even if a day is left out,
/// as it is where a country moves across the date line.
const HORIZON_DAYS: i64 = 15;

/// Some days of the week; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Days(u8);

/// A time of day, to the minute: 00:00 to 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay {
    minutes: u16,
}

/// From one time of day to another on some days; to one of the next day, if that is the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    days: Days,
    from: TimeOfDay,
    to: TimeOfDay,
}

/// A time of day on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occasion {
    days: Days,
    at: TimeOfDay,
}

/// What is planned for a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) zone: Zone,
    /// When it is kept awake.
    pub(crate) awake: Vec<Window>,
    /// When it is woken.
    pub(crate) wake_at: Vec<Occasion>,
}

/// From a moment on until just before another; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    begin: Timestamp,
    end: Timestamp,
}

/// Something that a schedule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Switch {
    /// It is kept awake from then on.
    Begins,
    /// It is no longer kept awake.
    Ends,
    /// It is woken.
    Wakes,
}

impl Days {
    pub(crate) const ALL: Self = Self(0b111_1111);

    fn of(day: Weekday) -> Self {
        Self(1 << day.to_monday_zero_offset())
    }

    /// From one day to another, over the end of the week if need be.
    fn range(first: Weekday, last: Weekday) -> Self {
        let mut days = Self::of(first);
        let mut day = first;
        while day != last {
            day = day.next();
            days = days.and(Self::of(day));
        }
        days
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, day: Weekday) -> bool {
        self.0 & Self::of(day).0 != 0
    }
}

impl TimeOfDay {
    /// The end of a day, which is no time on it.
    const MIDNIGHT_AFTER: Self = Self { minutes: 24 * 60 };

    fn new(hour: u16, minute: u16) -> Option<Self> {
        let time = Self { minutes: hour.checked_mul(60)?.checked_add(minute)? };
        (minute < 60 && time <= Self::MIDNIGHT_AFTER).then_some(time)
    }

    /// When that is on a day: the first and the last time, which are almost always the same.
    fn on(self, day: Date, zone: &Zone) -> Option<(Timestamp, Timestamp)> {
        let day = if self == Self::MIDNIGHT_AFTER { day.tomorrow().ok()? } else { day };
        let minutes = i8::try_from(self.minutes % 60).ok()?;
        let hours = i8::try_from(self.minutes / 60 % 24).ok()?;
        let wanted = day.at(hours, minutes, 0, 0);
        match zone.time_zone().to_ambiguous_timestamp(wanted).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                let moment = offset.to_timestamp(wanted).ok()?;
                Some((moment, moment))
            }
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock of after the leap it would have been before it.
                let before = after.to_timestamp(wanted).ok()?;
                let leap = zone.time_zone().following(before).next()?.timestamp();
                Some((leap, leap))
            }
            AmbiguousOffset::Fold { before, after } => {
                Some((before.to_timestamp(wanted).ok()?, after.to_timestamp(wanted).ok()?))
            }
        }
    }
}

impl Window {
    /// The one that begins on this day; `None` if none does, or if it ends where it begins, as where
    /// the clock leaps over the whole of it.
    fn on(self, day: Date, zone: &Zone) -> Option<Interval> {
        if !self.days.has(day.weekday()) {
            return None;
        }
        let last_day = if self.to > self.from { day } else { day.tomorrow().ok()? };
        let (begin, _) = self.from.on(day, zone)?;
        let (_, end) = self.to.on(last_day, zone)?;
        (begin < end).then_some(Interval { begin, end })
    }
}

impl Occasion {
    fn on(self, day: Date, zone: &Zone) -> Option<Timestamp> {
        let (first, _) = self.days.has(day.weekday()).then(|| self.at.on(day, zone))??;
        Some(first)
    }
}

impl Schedule {
    /// The first window that `now` is in, if it is in any.
    pub(crate) fn window_at(&self, now: Timestamp) -> Option<Window> {
        let is_now = |window: &Window| {
            let mut near = days_around(now, &self.zone, 1);
            near.any(|day| {
                window.on(day, &self.zone).is_some_and(|it| it.begin <= now && now < it.end)
            })
        };
        self.awake.iter().copied().find(is_now)
    }

    /// Whether it is to be kept awake now.
    pub(crate) fn is_awake(&self, now: Timestamp) -> bool {
        self.window_at(now).is_some()
    }

    /// When that changes next, if it ever does.
    pub(crate) fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let days = || days_around(now, &self.zone, HORIZON_DAYS);
        let all = self
            .awake
            .iter()
            .flat_map(|window| days().filter_map(|day| window.on(day, &self.zone)));
        let mut all: Vec<Interval> = all.filter(|interval| interval.end > now).collect();
        all.sort_by_key(|interval| interval.begin);
        let first = all.first()?;
        if first.begin > now {
            return Some(first.begin);
        }
        let mut end = first.end;
        for interval in &all {
            if interval.begin > end {
                return Some(end);
            }
            end = end.max(interval.end);
        }
        // Windows without a gap between them to the end of all days that were looked at go on.
        let looked_at = now.checked_add((HORIZON_DAYS * 24 - 48).hours()).ok()?;
        (end < looked_at).then_some(end)
    }

    /// When it is woken next, after `now`.
    pub(crate) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let of = |occasion: &Occasion| {
            let days = days_around(now, &self.zone, HORIZON_DAYS);
            days.filter_map(|day| occasion.on(day, &self.zone)).filter(|moment| *moment > now).min()
        };
        self.wake_at.iter().filter_map(of).min()
    }

    /// The next things that it does, in their order.
    pub(crate) fn next_switches(
        &self,
        now: Timestamp,
        how_many: usize,
    ) -> Vec<(Timestamp, Switch)> {
        let mut switches = Vec::new();
        let (mut turn, mut wake) = (now, now);
        let mut is_awake = self.is_awake(now);
        for _ in 0..how_many {
            if let Some(next) = self.next_turn(turn) {
                turn = next;
                is_awake = !is_awake;
                switches.push((next, if is_awake { Switch::Begins } else { Switch::Ends }));
            }
            if let Some(next) = self.next_wake(wake) {
                wake = next;
                switches.push((next, Switch::Wakes));
            }
        }
        switches.sort();
        switches.truncate(how_many);
        switches
    }
}

/// The days from before the one that it is now: a window of yesterday may still be open, and one of
/// tomorrow has begun where a clock is set back over midnight.
fn days_around(now: Timestamp, zone: &Zone, ahead: i64) -> impl Iterator<Item = Date> {
    let today = zone.time_zone().to_datetime(now).date();
    (-1..=ahead).filter_map(move |days| today.checked_add(days.days()).ok())
}

#[cfg(test)]
mod tests;
