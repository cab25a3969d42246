//! Windows and occasions as people write them: `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-02:00`, `07:45`.

use std::fmt;

use jiff::civil::Weekday;

use super::{Days, Occasion, Switch, TimeOfDay, Window};

const NAMES: [(&str, &str, Weekday); 7] = [
    ("Mon", "Monday", Weekday::Monday),
    ("Tue", "Tuesday", Weekday::Tuesday),
    ("Wed", "Wednesday", Weekday::Wednesday),
    ("Thu", "Thursday", Weekday::Thursday),
    ("Fri", "Friday", Weekday::Friday),
    ("Sat", "Saturday", Weekday::Saturday),
    ("Sun", "Sunday", Weekday::Sunday),
];

/// Reads windows, with commas between them.
///
/// # Errors
/// What is wrong, and what is expected: a lower-case fragment.
pub(crate) fn read_windows(text: &str) -> Result<Vec<Window>, String> {
    read(text, "times such as `Mon-Fri 08:00-18:00`", window)
}

/// Reads occasions, with commas between them.
///
/// # Errors
/// What is wrong, and what is expected: a lower-case fragment.
pub(crate) fn read_occasions(text: &str) -> Result<Vec<Occasion>, String> {
    read(text, "a time such as `Mon-Fri 07:45`", |days, time| {
        let at = time_of_day(time)?;
        if at == TimeOfDay::MIDNIGHT_AFTER {
            return Err("`24:00` is no time of that day: write `00:00` of the next".to_owned());
        }
        Ok(Occasion { days, at })
    })
}

/// Commas stand between days as well: what has no time yet belongs to what follows.
fn read<T>(
    text: &str,
    expected: &str,
    one: impl Fn(Days, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    let mut days: Option<Days> = None;
    let mut parts = text.split(',').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        let refuse = |why: String| format!("`{}`: {why}", part.escape_debug());
        let (day, time) = match part.rsplit_once(char::is_whitespace) {
            Some((day, time)) => (Some(day.trim()), Some(time)),
            None if part.starts_with(|first: char| first.is_ascii_digit()) => (None, Some(part)),
            None => (Some(part), None),
        };
        if let Some(day) = day {
            let more =
                self::days(day).map_err(|why| refuse(format!("{why}: expected {expected}")))?;
            days = Some(days.map_or(more, |days| days.and(more)));
        }
        match time {
            Some(time) => {
                let days = days.take().unwrap_or(Days::ALL);
                all.push(one(days, time).map_err(refuse)?);
            }
            None if parts.peek().is_none() => {
                return Err(refuse(format!("a time of day is missing: expected {expected}")));
            }
            None => {}
        }
    }
    Ok(all)
}

fn window(days: Days, text: &str) -> Result<Window, String> {
    let Some((from, to)) = text.split_once('-') else {
        return Err("when does it end? expected times such as `08:00-18:00`".to_owned());
    };
    let window = Window { days, from: time_of_day(from)?, to: time_of_day(to)? };
    if window.from == window.to {
        return Err("it ends when it begins: `00:00-24:00` is a whole day".to_owned());
    }
    if window.from == TimeOfDay::MIDNIGHT_AFTER {
        return Err("it begins at `24:00`: write `00:00` of the next day".to_owned());
    }
    Ok(window)
}

fn days(text: &str) -> Result<Days, String> {
    match text.split_once('-') {
        Some((first, last)) => Ok(Days::range(day(first.trim())?, day(last.trim())?)),
        None => Ok(Days::of(day(text)?)),
    }
}

fn day(text: &str) -> Result<Weekday, String> {
    let is_meant = |(short, long, _): &&(&str, &str, Weekday)| {
        text.eq_ignore_ascii_case(short) || text.eq_ignore_ascii_case(long)
    };
    let found = NAMES.iter().find(is_meant).map(|(_, _, day)| *day);
    found.ok_or_else(|| format!("`{}` is no day of the week", text.escape_debug()))
}

fn time_of_day(text: &str) -> Result<TimeOfDay, String> {
    let number = |digits: &str, most: usize| -> Option<u16> {
        let is_good =
            (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_good.then(|| digits.parse().ok())?
    };
    let read = || {
        let (hour, minute) = text.split_once(':')?;
        TimeOfDay::new(number(hour, 2)?, number(minute, 2).filter(|_| minute.len() == 2)?)
    };
    read().ok_or_else(|| {
        format!("`{}` is no time of day: from `00:00` to `24:00`", text.escape_debug())
    })
}

impl fmt::Display for Days {
    /// `Mon-Fri`, `Sat,Sun`, `Sat-Mon`; a single day between others stands alone.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |index: usize| self.has(NAMES[index % 7].2);
        // Begins after a day that is not one of them, so that a range over the end of the week is one.
        let first = (0..7).find(|index| !has(index + 6) && has(*index)).unwrap_or(0);
        let mut written = 0;
        let mut index = first;
        while index < first + 7 {
            if !has(index) {
                index += 1;
                continue;
            }
            let length = (index..first + 7).take_while(|day| has(*day)).count();
            if written > 0 {
                formatter.write_str(",")?;
            }
            let name = |index: usize| NAMES[index % 7].0;
            match length {
                1 => formatter.write_str(name(index))?,
                2 => write!(formatter, "{},{}", name(index), name(index + 1))?,
                _ => write!(formatter, "{}-{}", name(index), name(index + length - 1))?,
            }
            written += 1;
            index += length;
        }
        Ok(())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, from, to } = self;
        if *days != Days::ALL {
            write!(formatter, "{days} ")?;
        }
        write!(formatter, "{from}-{to}")
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, at } = self;
        if *days != Days::ALL {
            write!(formatter, "{days} ")?;
        }
        write!(formatter, "{at}")
    }
}

impl Switch {
    /// What it does, for `check`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Begins => "kept awake",
            Self::Ends => "may sleep",
            Self::Wakes => "woken",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_shown_in_one_way() {
        for (text, shown) in [
            ("Mon-Fri 08:00-18:00", "Mon-Fri 08:00-18:00"),
            ("mon-FRI  8:00-18:00", "Mon-Fri 08:00-18:00"),
            ("Monday-Friday 08:00-18:00", "Mon-Fri 08:00-18:00"),
            ("Sat,Sun 10:00-02:00", "Sat,Sun 10:00-02:00"),
            ("Sun, Sat 10:00-02:00", "Sat,Sun 10:00-02:00"),
            ("Sat-Mon 10:00-24:00", "Sat-Mon 10:00-24:00"),
            ("Mon,Wed-Fri,Sun 10:00-11:00", "Wed-Fri,Sun,Mon 10:00-11:00"),
            ("Tue 10:00-11:00", "Tue 10:00-11:00"),
            ("08:00-18:00", "08:00-18:00"),
            ("Mon-Sun 00:00-24:00", "00:00-24:00"),
            (
                "Mon-Fri 08:00-12:00, Mon-Fri 13:00-18:00,Sat,Sun 10:00-02:00",
                "Mon-Fri 08:00-12:00; Mon-Fri 13:00-18:00; Sat,Sun 10:00-02:00",
            ),
        ] {
            let windows = read_windows(text).unwrap();
            let windows: Vec<_> = windows.iter().map(Window::to_string).collect();
            assert_eq!(windows.join("; "), shown, "{text}");
        }
        for (text, shown) in
            [("Mon-Fri 07:45", "Mon-Fri 07:45"), ("7:45, Sat,Sun 9:00", "07:45; Sat,Sun 09:00")]
        {
            let occasions: Vec<_> =
                read_occasions(text).unwrap().iter().map(Occasion::to_string).collect();
            assert_eq!(occasions.join("; "), shown, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_words() {
        let windows = [
            "",
            "Mon-Fri",
            "Mon-Fri 08:00",
            "Mun 08:00-18:00",
            "Mon-Fri 8-18",
            "08:00-25:00",
            "08:00-08:00",
            "24:00-02:00",
            "08:60-09:00",
            "08:00-18:00 Mon-Fri",
            "Mon--Fri 08:00-18:00",
            "08:00-18:00,",
            "Mon-Fri 08:00-18:00-20:00",
            "Mon Tue 08:00-18:00",
        ];
        let windows = windows.map(|text| read_windows(text).unwrap_err());
        let occasions = ["", "Mon-Fri", "Mon-Fri 07:45-08:00", "24:00", "7.45"];
        let occasions = occasions.map(|text| read_occasions(text).unwrap_err());
        insta::assert_snapshot!([windows.join("\n"), occasions.join("\n")].join("\n"), @r"
        ``: `` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        `Mon-Fri`: a time of day is missing: expected times such as `Mon-Fri 08:00-18:00`
        `Mon-Fri 08:00`: when does it end? expected times such as `08:00-18:00`
        `Mun 08:00-18:00`: `Mun` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        `Mon-Fri 8-18`: `8` is no time of day: from `00:00` to `24:00`
        `08:00-25:00`: `25:00` is no time of day: from `00:00` to `24:00`
        `08:00-08:00`: it ends when it begins: `00:00-24:00` is a whole day
        `24:00-02:00`: it begins at `24:00`: write `00:00` of the next day
        `08:60-09:00`: `08:60` is no time of day: from `00:00` to `24:00`
        `08:00-18:00 Mon-Fri`: `08:00` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        `Mon--Fri 08:00-18:00`: `-Fri` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        ``: `` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        `Mon-Fri 08:00-18:00-20:00`: `18:00-20:00` is no time of day: from `00:00` to `24:00`
        `Mon Tue 08:00-18:00`: `Mon Tue` is no day of the week: expected times such as `Mon-Fri 08:00-18:00`
        ``: `` is no day of the week: expected a time such as `Mon-Fri 07:45`
        `Mon-Fri`: a time of day is missing: expected a time such as `Mon-Fri 07:45`
        `Mon-Fri 07:45-08:00`: `07:45-08:00` is no time of day: from `00:00` to `24:00`
        `24:00`: `24:00` is no time of that day: write `00:00` of the next
        `7.45`: `7.45` is no time of day: from `00:00` to `24:00`
        ");
    }
}
