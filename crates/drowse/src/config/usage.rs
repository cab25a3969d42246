//! What counts as use: how methods, networks, shares of a processor and rates are written.

use std::fmt;

use drowse_gateway::{Network, NetworkError};
use http::{Method, StatusCode, uri::PathAndQuery};

/// Something that is looked at, and above which it says busy; or it is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    Off,
    Above(T),
}

/// A share of a processor, in thousandths of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(pub(crate) u32);

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate(pub(crate) u64);

/// The units of rates.
const UNITS: &[(&str, u64)] = &[
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// More cores than any machine has.
const MAX_PERCENT: f64 = 1_000_000.0;

const OFF: &str = "off";

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (percent, 0) => write!(formatter, "{percent}%"),
            (percent, tenth) => write!(formatter, "{percent}.{tenth}%"),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 10_000_000 => write!(formatter, "{}MB/s", bytes / 1_000_000),
            bytes if bytes >= 10_000 => write!(formatter, "{}kB/s", bytes / 1_000),
            bytes => write!(formatter, "{bytes}B/s"),
        }
    }
}

/// What is wrong is told in a lower-case fragment, by all of these.
pub(super) fn methods(text: &str) -> Result<Vec<Method>, String> {
    text.split(',').map(|method| self::method(method.trim())).collect()
}

/// Methods have case; nobody means anything else by `head`.
fn method(text: &str) -> Result<Method, String> {
    let is_method = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    let method = text.to_ascii_uppercase().parse().ok().filter(|_| is_method);
    method.ok_or_else(|| format!("`{}` is no method: such as `HEAD`", text.escape_debug()))
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>, String> {
    text.split(',')
        .map(|network| network.trim().parse().map_err(|error: NetworkError| error.to_string()))
        .collect()
}

pub(super) fn status(text: &str) -> Result<StatusCode, String> {
    text.parse::<u16>()
        .ok()
        .filter(|status| (200..=599).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| {
            let shown = text.escape_debug();
            format!("`{shown}` is no status to answer with: a number from 200 to 599 is expected")
        })
}

pub(super) fn share(text: &str) -> Result<Limit<Share>, String> {
    if text == OFF {
        return Ok(Limit::Off);
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= MAX_PERCENT => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between the two bounds above"
            )]
            let thousandths = (percent * 10.0).round() as u32;
            Ok(Limit::Above(Share(thousandths.max(1))))
        }
        _ => Err(format!(
            "`{}` is no share of a processor: a percentage of one core such as `5%` is expected, \
             or `{OFF}`",
            text.escape_debug()
        )),
    }
}

pub(super) fn rate(text: &str) -> Result<Limit<Rate>, String> {
    if text == OFF {
        return Ok(Limit::Off);
    }
    let refused = || {
        format!(
            "`{}` is no rate: bytes per second such as `10kB` or `1MiB` are expected, or `{OFF}`",
            text.escape_debug()
        )
    };
    let amount = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let digits = amount.find(|c: char| !c.is_ascii_digit()).unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let unit = unit.trim_start();
    let unit =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, size)| *size);
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit).filter(|bytes| *bytes > 0));
    Ok(Limit::Above(Rate(bytes.ok_or_else(refused)?)))
}

/// A path to ask at: other than a prefix it may have a query, and a slash at its end means something.
pub(super) fn asked_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/')
        && !text.contains(|c: char| c == '#' || c.is_whitespace() || c.is_control())
        && text.parse::<PathAndQuery>().is_ok();
    if is_path {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` is no path: such as `/busy` is expected", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(methods("HEAD, options").unwrap(), [Method::HEAD, Method::OPTIONS]);
        assert_eq!(networks("10.0.0.0/8,::1").unwrap().len(), 2);
        assert_eq!(status("204").unwrap(), StatusCode::NO_CONTENT);
        for (text, thousandths) in [("5%", 50), ("5", 50), ("0.5 %", 5), ("250%", 2_500)] {
            assert_eq!(share(text), Ok(Limit::Above(Share(thousandths))), "{text}");
        }
        for (text, bytes) in
            [("10kB", 10_000), ("10 KiB/s", 10_240), ("1MB/s", 1_000_000), ("512B", 512)]
        {
            assert_eq!(rate(text), Ok(Limit::Above(Rate(bytes))), "{text}");
        }
        assert_eq!((share("off"), rate("off")), (Ok(Limit::Off), Ok(Limit::Off)));
        assert_eq!(asked_path("/busy?for=sleep").unwrap(), "/busy?for=sleep");
    }

    #[test]
    fn what_is_shown_can_be_written() {
        let shown = [Share(50), Share(55), Share(1)].map(|share| share.to_string());
        assert_eq!(shown, ["5%", "5.5%", "0.1%"]);
        let shown = [Rate(9_999), Rate(10_000), Rate(25_000_000)].map(|rate| rate.to_string());
        assert_eq!(shown, ["9999B/s", "10kB/s", "25MB/s"]);
    }

    #[test]
    fn what_means_nothing_is_refused_with_words() {
        let refused = [
            methods("GET,").unwrap_err(),
            methods("ge t").unwrap_err(),
            networks("10.0.0.1/8").unwrap_err(),
            status("100").unwrap_err(),
            status("ok").unwrap_err(),
            share("-5%").unwrap_err(),
            share("much").unwrap_err(),
            rate("10").unwrap_err(),
            rate("0kB").unwrap_err(),
            rate("99999999999999999GB").unwrap_err(),
            asked_path("busy").unwrap_err(),
            asked_path("/a b").unwrap_err(),
        ];
        insta::assert_snapshot!(refused.join("\n"), @r"
        `` is no method: such as `HEAD`
        `ge t` is no method: such as `HEAD`
        `10.0.0.1/8` names an address within a network: write `10.0.0.0/8` for the whole network, or `10.0.0.1` for the one address
        `100` is no status to answer with: a number from 200 to 599 is expected
        `ok` is no status to answer with: a number from 200 to 599 is expected
        `-5%` is no share of a processor: a percentage of one core such as `5%` is expected, or `off`
        `much` is no share of a processor: a percentage of one core such as `5%` is expected, or `off`
        `10` is no rate: bytes per second such as `10kB` or `1MiB` are expected, or `off`
        `0kB` is no rate: bytes per second such as `10kB` or `1MiB` are expected, or `off`
        `99999999999999999GB` is no rate: bytes per second such as `10kB` or `1MiB` are expected, or `off`
        `busy` is no path: such as `/busy` is expected
        `/a b` is no path: such as `/busy` is expected
        ");
    }
}
