//! Times and durations as people and Kafka's tools write them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970-01-01 UTC, now.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time as RFC 3339 in UTC, with milliseconds; `-` for none.
pub(crate) fn show_millis(millis: i64) -> String {
    if millis < 0 {
        return "-".to_owned();
    }
    let (year, month, day) = civil(millis.div_euclid(DAY_MS));
    let ms = millis.rem_euclid(DAY_MS);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
}

/// A length of time in its two largest units, such as `1d 3h`.
pub(crate) fn show_duration(millis: i64) -> String {
    let units = [("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = millis.max(0);
    let mut text = String::new();
    let mut parts = 0;
    for (name, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 && parts < 2 && !(name == "ms" && parts > 0) {
            let space = if parts == 0 { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(text, "{space}{count}{name}");
            parts += 1;
        } else if parts > 0 {
            break;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a time: milliseconds since 1970, or ISO 8601 (`2026-01-31`, `2026-01-31T12:00`, with
/// seconds, fractions, and `Z` or an offset; UTC without).
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!("{text} is no time: 2026-01-31T12:00:00Z, or milliseconds since 1970, is expected")
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let mut parts = date.split('-').map(|part| number(part).ok_or_else(wrong));
    let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
    let (year, month, day) = (next()?, next()?, next()?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1970..=9999).contains(&year) {
        return Err(wrong());
    }
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return Err(wrong());
    }
    Ok(days * DAY_MS + parse_clock(clock).ok_or_else(wrong)?)
}

/// Milliseconds since midnight UTC of `HH:MM[:SS[.fff]][Z|±HH[:MM]]`, or of nothing.
fn parse_clock(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let (clock, offset) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, "Z"),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(number);
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() || h > 23 || m > 59 || s > 59 || fraction.len() > 9 {
        return None;
    }
    let ms = number(&format!("{fraction:0<3}").chars().take(3).collect::<String>())?;
    number(fraction)?;
    let offset = match offset.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, rest) => {
            let (hours, minutes) = match rest.split_once(':') {
                Some((hours, minutes)) => (number(hours)?, number(minutes)?),
                None if rest.len() == 4 => (number(rest.get(..2)?)?, number(rest.get(2..)?)?),
                None => (number(rest)?, 0),
            };
            let total = hours * 60 + minutes;
            if sign == "-" { -total } else { total }
        }
    };
    Some(((h * 60 + m - offset) * 60 + s) * 1000 + ms)
}

/// Reads a duration: ISO 8601 (`P7D`, `PT1H30M`), or `7d`, `1h30m`, `90s`, `500ms`.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text} is no duration: PT1H30M, 1h30m, 7d or 90s is expected");
    let lower = text.to_ascii_lowercase();
    let mut rest = lower.strip_prefix('p').unwrap_or(&lower);
    let mut total: i64 = 0;
    let mut any = false;
    while !rest.is_empty() {
        rest = rest.strip_prefix('t').unwrap_or(rest);
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        // The T of ISO 8601 stands between days and hours.
        let letters = tail.get(..letters).and_then(|l| l.find('t')).unwrap_or(letters);
        let (unit, tail) = tail.split_at(letters);
        let size = match unit {
            "w" => 7 * DAY_MS,
            "d" => DAY_MS,
            "h" => 3_600_000,
            "m" | "min" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return Err(wrong()),
        };
        let count = number(count).ok_or_else(wrong)?;
        total = count.checked_mul(size).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        any = true;
        rest = tail;
    }
    if any { Ok(total) } else { Err(wrong()) }
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Days since 1970-01-01 of a date (Howard Hinnant's algorithm, for years from 1970 on).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day, the inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_of_iso_8601() {
        for (text, want) in [
            ("1970-01-01", Some(0)),
            ("2020-01-01T00:00:00.000", Some(1_577_836_800_000)),
            ("2020-01-01T00:00:00.5Z", Some(1_577_836_800_500)),
            ("2020-01-01T02:00:00+02:00", Some(1_577_836_800_000)),
            ("2019-12-31T22:30-0130", Some(1_577_836_800_000)),
            ("2020-02-29 12:34", Some(1_582_979_640_000)),
            ("1577836800000", Some(1_577_836_800_000)),
            ("2021-02-29", None),
            ("2020-13-01", None),
            ("2020-01-01T24:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for millis in [0, 1_577_836_799_999, 1_582_979_640_123, 4_102_444_800_000] {
            assert_eq!(parse_time(&show_millis(millis)), Ok(millis));
        }
        assert_eq!(show_millis(1_582_979_640_123), "2020-02-29T12:34:00.123Z");
        assert_eq!(show_millis(-1), "-");
    }

    #[test]
    fn durations_are_isos_or_short() {
        for (text, want) in [
            ("P7D", Some(7 * DAY_MS)),
            ("PT1H30M", Some(5_400_000)),
            ("P1DT2H", Some(26 * 3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("90s", Some(90_000)),
            ("500ms", Some(500)),
            ("2w", Some(14 * DAY_MS)),
            ("90", None),
            ("", None),
            ("P", None),
            ("1y", None),
        ] {
            assert_eq!(parse_duration(text).ok(), want, "{text}");
        }
        assert_eq!(show_duration(26 * 3_600_000 + 5), "1d 2h");
        assert_eq!(show_duration(90_000), "1m 30s");
        assert_eq!(show_duration(1_500), "1s");
        assert_eq!(show_duration(7), "7ms");
        assert_eq!(show_duration(0), "0s");
    }
}
