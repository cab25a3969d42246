use proptest::prelude::*;

use super::*;

fn schedule(zone: &str, awake: &str, wake_at: &str) -> Schedule {
    let read = |text: &str| if text.is_empty() { Vec::new() } else { read_windows(text).unwrap() };
    Schedule {
        zone: Zone::named(zone).unwrap(),
        awake: read(awake),
        wake_at: if wake_at.is_empty() { Vec::new() } else { read_occasions(wake_at).unwrap() },
    }
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

/// What it does within the time, in the zone's own clock.
fn story(schedule: &Schedule, from: &str, how_many: usize) -> String {
    let switches = schedule.next_switches(at(from), how_many);
    let lines: Vec<_> = switches
        .iter()
        .map(|(moment, switch)| {
            let local = moment.to_zoned_datetime(schedule.zone.time_zone().clone());
            format!("{} {}", local.strftime("%a %Y-%m-%d %H:%M %:z"), switch.as_str())
        })
        .collect();
    lines.join("\n")
}

#[test]
fn a_working_week() {
    let office = schedule("Europe/Berlin", "Mon-Fri 08:00-18:00", "Mon-Fri 07:45");
    assert!(!office.is_awake(at("2026-11-26T06:59:59Z")));
    assert!(office.is_awake(at("2026-11-26T07:00:00Z")));
    assert!(office.is_awake(at("2026-11-26T16:59:59Z")));
    assert!(!office.is_awake(at("2026-11-26T17:00:00Z")));
    insta::assert_snapshot!(story(&office, "2026-11-26T20:00:00Z", 7), @r"
    Fri 2026-11-27 07:45 +01:00 woken
    Fri 2026-11-27 08:00 +01:00 kept awake
    Fri 2026-11-27 18:00 +01:00 may sleep
    Mon 2026-11-30 07:45 +01:00 woken
    Mon 2026-11-30 08:00 +01:00 kept awake
    Mon 2026-11-30 18:00 +01:00 may sleep
    Tue 2026-12-01 07:45 +01:00 woken
    ");
}

#[test]
fn windows_over_midnight_are_of_the_day_on_which_they_begin() {
    let club = schedule("Europe/Berlin", "Sat,Sun 10:00-02:00", "");
    insta::assert_snapshot!(story(&club, "2026-11-26T20:00:00Z", 5), @r"
    Sat 2026-11-28 10:00 +01:00 kept awake
    Sun 2026-11-29 02:00 +01:00 may sleep
    Sun 2026-11-29 10:00 +01:00 kept awake
    Mon 2026-11-30 02:00 +01:00 may sleep
    Sat 2026-12-05 10:00 +01:00 kept awake
    ");
}

#[test]
fn windows_that_touch_are_one() {
    let long = schedule("UTC", "Fri 18:00-24:00,Sat,Sun 00:00-24:00,Mon 00:00-06:00", "");
    insta::assert_snapshot!(story(&long, "2026-11-26T20:00:00Z", 3), @r"
    Fri 2026-11-27 18:00 +00:00 kept awake
    Mon 2026-11-30 06:00 +00:00 may sleep
    Fri 2026-12-04 18:00 +00:00 kept awake
    ");
    let always = schedule("UTC", "00:00-24:00", "");
    assert!(always.is_awake(at("2026-11-26T00:00:00Z")));
    assert_eq!(always.next_turn(at("2026-11-26T00:00:00Z")), None);
    let never = schedule("UTC", "", "");
    assert_eq!(never.next_turn(at("2026-11-26T00:00:00Z")), None);
    assert_eq!(never.next_wake(at("2026-11-26T00:00:00Z")), None);
}

#[test]
fn a_time_that_does_not_exist_is_the_moment_after_the_leap() {
    // In Berlin 02:00 becomes 03:00.
    let night = schedule("Europe/Berlin", "02:30-02:45,02:15-04:00", "02:30");
    insta::assert_snapshot!(story(&night, "2026-03-28T12:00:00Z", 3), @r"
    Sun 2026-03-29 03:00 +02:00 kept awake
    Sun 2026-03-29 03:00 +02:00 woken
    Sun 2026-03-29 04:00 +02:00 may sleep
    ");
}

#[test]
fn of_a_time_that_comes_twice_a_window_begins_at_the_first_and_ends_at_the_last() {
    // In Berlin 03:00 becomes 02:00; on Lord Howe it is 02:00 that becomes 01:30.
    let night = schedule("Europe/Berlin", "02:30-02:45", "02:15");
    insta::assert_snapshot!(story(&night, "2026-10-24T22:00:00Z", 4), @r"
    Sun 2026-10-25 02:15 +02:00 woken
    Sun 2026-10-25 02:30 +02:00 kept awake
    Sun 2026-10-25 02:45 +01:00 may sleep
    Mon 2026-10-26 02:15 +01:00 woken
    ");
    let odd = schedule("Australia/Lord_Howe", "01:45-01:50", "01:40");
    insta::assert_snapshot!(story(&odd, "2026-04-04T12:00:00Z", 4), @r"
    Sun 2026-04-05 01:40 +11:00 woken
    Sun 2026-04-05 01:45 +11:00 kept awake
    Sun 2026-04-05 01:50 +10:30 may sleep
    Mon 2026-04-06 01:40 +10:30 woken
    ");
}

#[test]
fn a_clock_that_is_set_back_over_midnight_does_not_end_what_has_begun() {
    // At 00:01 of the 29th it was 23:01 of the 28th again.
    let early = schedule("America/St_Johns", "Sun 00:00-00:30", "");
    insta::assert_snapshot!(story(&early, "2006-10-28T12:00:00Z", 2), @r"
    Sun 2006-10-29 00:00 -02:30 kept awake
    Sun 2006-10-29 00:30 -03:30 may sleep
    ");
    assert!(early.is_awake(at("2006-10-29T03:00:00Z")));
}

/// Zones with a change of the clocks, or worse, within these hours.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("America/St_Johns", "2006-04-02T03:31:00Z"),
    ("America/St_Johns", "2006-10-29T02:31:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Africa/Cairo", "2026-10-29T21:00:00Z"),
    ("Asia/Beirut", "2026-03-28T22:00:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
    ("Asia/Kolkata", "2026-03-29T01:00:00Z"),
    // A whole day left out.
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    // A day that came twice.
    ("Pacific/Kwajalein", "1969-09-30T13:00:00Z"),
    ("UTC", "2026-03-29T01:00:00Z"),
];

/// What the wall clock shows at each minute around a change: what any reader of it would go by.
struct Dial {
    /// Some minutes before the first that is asked about, and after the last.
    shown: Vec<(Timestamp, jiff::civil::DateTime)>,
}

const MINUTES_AROUND: i64 = 36 * 60;
const MARGIN: i64 = 50 * 60;

impl Dial {
    fn around(zone: &Zone, change: Timestamp) -> Self {
        let minutes = -(MINUTES_AROUND + MARGIN)..=(MINUTES_AROUND + MARGIN);
        let moments = minutes.map(|minutes| change + jiff::SignedDuration::from_mins(minutes));
        Self { shown: moments.map(|it| (it, zone.time_zone().to_datetime(it))).collect() }
    }

    /// All moments at which it shows this; the first after it, if it never does.
    fn shows(&self, wanted: jiff::civil::DateTime) -> Option<(Timestamp, Timestamp)> {
        let mut exact = self.shown.iter().filter(|(_, shown)| *shown == wanted).map(|(at, _)| *at);
        if let Some(first) = exact.next() {
            return Some((first, exact.next_back().unwrap_or(first)));
        }
        // Where it leaps over it.
        let leap = self.shown.windows(2).find(|pair| pair[0].1 < wanted && wanted < pair[1].1)?;
        Some((leap[1].0, leap[1].0))
    }

    /// When a window is open, as far as the dial tells.
    fn open(&self, window: Window) -> Vec<(Timestamp, Timestamp)> {
        let (first, last) = (self.shown[0].1.date(), self.shown[self.shown.len() - 1].1.date());
        // Days that are left out have windows as well.
        let days =
            (0..).map_while(|n: i64| first.checked_add(n.days()).ok().filter(|day| *day <= last));
        let time = |time: TimeOfDay, day: Date| {
            let day = day.checked_add(i64::from(time.minutes / 1_440).days()).unwrap();
            let (hour, minute) = (time.minutes % 1_440 / 60, time.minutes % 60);
            self.shows(day.at(hour.try_into().unwrap(), minute.try_into().unwrap(), 0, 0))
        };
        let on_day = |day: Date| {
            let end_day = if window.to > window.from { day } else { day.tomorrow().unwrap() };
            Some((time(window.from, day)?.0, time(window.to, end_day)?.1))
        };
        days.filter(|day| window.days.has(day.weekday())).filter_map(on_day).collect()
    }
}

fn a_time() -> impl Strategy<Value = TimeOfDay> {
    // Most changes are near midnight or in the small hours.
    prop_oneof![0..=240_u16, 0..=1_440_u16, 1_380..=1_440_u16]
        .prop_map(|minutes| TimeOfDay { minutes })
}

fn a_window() -> impl Strategy<Value = Window> {
    (1..=127_u8, a_time(), a_time()).prop_filter_map("no window", |(days, from, to)| {
        let is_good = from != to && from != TimeOfDay::MIDNIGHT_AFTER;
        is_good.then_some(Window { days: Days(days), from, to })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_minute_around_a_change_is_as_the_wall_clock_says(
        index in 0..CHANGES.len(),
        windows in prop::collection::vec(a_window(), 1..3),
    ) {
        let (zone, change) = CHANGES[index];
        let zone = Zone::named(zone).unwrap();
        let change = at(change);
        let dial = Dial::around(&zone, change);
        let open: Vec<_> = windows.iter().flat_map(|window| dial.open(*window)).collect();
        let schedule = Schedule { zone, awake: windows, wake_at: Vec::new() };
        let mut turn = None;
        for minutes in -MINUTES_AROUND..MINUTES_AROUND {
            let moment = change + jiff::SignedDuration::from_mins(minutes);
            let expected = open.iter().any(|(begin, end)| *begin <= moment && moment < *end);
            prop_assert_eq!(schedule.is_awake(moment), expected, "{} {:?}", moment, schedule);
            // A turn is told before it comes, and nothing turns before that.
            if let Some((told, was)) = turn {
                prop_assert_eq!(expected != was, moment >= told, "{} {:?}", moment, told);
            }
            let is_due = turn.is_none_or(|(told, _)| told <= moment);
            if is_due || minutes % 97 == 0 {
                turn = schedule.next_turn(moment).map(|next| (next, expected));
            }
        }
    }

    #[test]
    fn each_occasion_comes_once_a_day_at_what_the_wall_clock_says(
        index in 0..CHANGES.len(),
        at_minutes in 0..1_440_u16,
    ) {
        let (zone, change) = CHANGES[index];
        let zone = Zone::named(zone).unwrap();
        let change = at(change);
        let dial = Dial::around(&zone, change);
        let occasion = Occasion { days: Days::ALL, at: TimeOfDay { minutes: at_minutes } };
        let schedule = Schedule { zone, awake: Vec::new(), wake_at: vec![occasion] };
        let mut moment = change - jiff::SignedDuration::from_mins(MINUTES_AROUND);
        let until = change + jiff::SignedDuration::from_mins(MINUTES_AROUND);
        while moment < until {
            let next = schedule.next_wake(moment).unwrap();
            prop_assert!(next > moment);
            let shown = schedule.zone.time_zone().to_datetime(next);
            let (hour, minute) = (at_minutes / 60, at_minutes % 60);
            let wanted = shown.date().at(hour.try_into().unwrap(), minute.try_into().unwrap(), 0, 0);
            let (first, _) = dial.shows(wanted).unwrap_or((next, next));
            // Where it does not exist, the clock shows something later, of another day perhaps.
            prop_assert!(next == first || shown > wanted || wanted > shown && next < first, "{} {}", next, first);
            moment = next;
        }
    }
}
