//! Durations as people write them: `15m`, `1h30m`, `2d`, `1.5h`, `500ms`.

use std::time::Duration;

/// The units, the longest first: in this order they are written, and `ms` is tried before `m`.
const UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

/// Longer than anybody means: a slip of the keyboard.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Reads a duration.
///
/// # Errors
/// What is wrong, in words that say what to write instead: a lower-case fragment.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a duration is expected, such as `15m` or `1h30m`".to_owned());
    }
    if let Some(rest) = text.strip_prefix('-') {
        return Err(match parse(rest) {
            Ok(_) => format!("a duration cannot be negative: `{text}`"),
            Err(_) => not_a_duration(text),
        });
    }
    if text.parse::<f64>().is_ok() {
        return Err(format!(
            "a duration needs a unit: `{text}s`, `{text}m`, `{text}h` or `{text}d`"
        ));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = UNITS.iter().find(|(unit, _)| tail.starts_with(unit));
        let (Some((unit, milliseconds)), Ok(number)) = (unit, number.parse::<f64>()) else {
            return Err(not_a_duration(text));
        };
        #[expect(clippy::cast_precision_loss, reason = "the largest unit is far below 2^52")]
        let seconds = number * (*milliseconds as f64) / 1_000.0;
        total = Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| format!("a duration of more than ten years: `{text}`"))?;
        rest = tail[unit.len()..].trim_start();
    }
    Ok(total)
}

fn not_a_duration(text: &str) -> String {
    format!(
        "`{text}` is no duration: write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as \
         `15m`, `1h30m` or `2d`"
    )
}

/// Writes a duration as [`parse`] reads it, to the millisecond.
pub(crate) fn show(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for unit in ["d", "h", "m", "s", "ms"] {
        let size = UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |(_, size)| *size);
        if left >= size {
            text.push_str(&(left / size).to_string());
            text.push_str(unit);
            left %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, seconds) in [
            ("15m", 900.0),
            ("1h30m", 5_400.0),
            ("1h 30m", 5_400.0),
            ("2d", 172_800.0),
            ("1.5h", 5_400.0),
            ("500ms", 0.5),
            ("1m1ms", 60.001),
            ("0s", 0.0),
            (" 5s ", 5.0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_words() {
        let words: Vec<_> = ["300", "-5m", "-x", "15 minutes", "m", "1.2.3s", "", "99999999d"]
            .into_iter()
            .map(|text| parse(text).unwrap_err())
            .collect();
        insta::assert_snapshot!(words.join("\n"), @r"
        a duration needs a unit: `300s`, `300m`, `300h` or `300d`
        a duration cannot be negative: `-5m`
        `-x` is no duration: write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `15m`, `1h30m` or `2d`
        `15 minutes` is no duration: write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `15m`, `1h30m` or `2d`
        `m` is no duration: write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `15m`, `1h30m` or `2d`
        `1.2.3s` is no duration: write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `15m`, `1h30m` or `2d`
        a duration is expected, such as `15m` or `1h30m`
        a duration of more than ten years: `99999999d`
        ");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for milliseconds in [0, 1, 999, 1_000, 61_001, 5_400_000, 90_061_001] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(&show(duration)), Ok(duration), "{}", show(duration));
        }
        assert_eq!(show(Duration::from_mins(90)), "1h30m");
    }
}
