//! Time zones by their names.

use std::env;

use jiff::tz::{self, TimeZone, TimeZoneDatabase};

use crate::config::did_you_mean;

/// A time zone, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    time_zone: TimeZone,
    name: String,
}

impl Zone {
    /// The zone of an IANA name, such as `Europe/Berlin`: by this system's own data, which are kept up to
    /// date, else by those that are compiled in.
    ///
    /// # Errors
    /// That there is none, and which was meant: a lower-case fragment.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let compiled_in = TimeZoneDatabase::bundled();
        if let Ok(time_zone) = tz::db().get(name).or_else(|_| compiled_in.get(name))
            && !time_zone.is_unknown()
        {
            let name = time_zone.iana_name().unwrap_or(name).to_owned();
            return Ok(Self { time_zone, name });
        }
        let shown = name.escape_debug();
        let known: Vec<String> = compiled_in.available().map(|name| name.to_string()).collect();
        let lower: Vec<String> = known.iter().map(|name| name.to_lowercase()).collect();
        let meant = did_you_mean(name, lower.iter().map(String::as_str))
            .and_then(|meant| known.iter().find(|name| name.eq_ignore_ascii_case(meant)));
        Err(match meant {
            Some(meant) => format!("there is no time zone `{shown}`: did you mean `{meant}`?"),
            None => format!(
                "there is no time zone `{shown}`: an IANA name such as `Europe/Berlin` or `UTC` is \
                 expected"
            ),
        })
    }

    /// The zone that `TZ` names, else this system's; `None` if neither says.
    pub(crate) fn of_this_system() -> Option<Self> {
        let time_zone = TimeZone::try_system().ok().filter(|zone| !zone.is_unknown())?;
        let name = time_zone.iana_name().unwrap_or("the local time of this system").to_owned();
        Some(Self { time_zone, name })
    }

    /// Why there is no zone where none is configured.
    pub(crate) fn why_there_is_none() -> String {
        let said = env::var("TZ").ok().filter(|_| TimeZone::try_system().is_err());
        why_none(said.as_deref())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }
}

fn why_none(wrong_variable: Option<&str>) -> String {
    match wrong_variable {
        Some(said) => format!("`TZ` says `{}`, which is no time zone", said.escape_debug()),
        None => "neither the configuration nor this system says of which time zone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_their_names() {
        for name in ["Europe/Berlin", "Australia/Lord_Howe", "UTC", "US/Eastern"] {
            assert_eq!(Zone::named(name).unwrap().name(), name);
        }
        assert_eq!(Zone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
        let words = ["Europe/Berlim", "CEST", "+02:00", "", "../../etc/passwd", "Etc/Unknown"];
        let words = words.map(|name| Zone::named(name).unwrap_err());
        insta::assert_snapshot!(words.join("\n"), @r"
        there is no time zone `Europe/Berlim`: did you mean `Europe/Berlin`?
        there is no time zone `CEST`: did you mean `CET`?
        there is no time zone `+02:00`: an IANA name such as `Europe/Berlin` or `UTC` is expected
        there is no time zone ``: an IANA name such as `Europe/Berlin` or `UTC` is expected
        there is no time zone `../../etc/passwd`: an IANA name such as `Europe/Berlin` or `UTC` is expected
        there is no time zone `Etc/Unknown`: an IANA name such as `Europe/Berlin` or `UTC` is expected
        ");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        insta::assert_snapshot!(why_none(Some("Europe/Berlim")), @"`TZ` says `Europe/Berlim`, which is no time zone");
    }

    /// An image has none but those.
    #[test]
    fn zone_data_are_compiled_in() {
        assert!(TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }
}
