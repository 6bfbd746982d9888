//! Parsing and checking one value against its [`KeyDef`], and rendering it as Kafka does.

use crate::def::{Default, KeyDef, Type, Valid};
use crate::error::ConfigError;
use crate::listener;

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Absent.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// INT, SHORT and LONG; the row's type bounds it.
    Integer(i64),
    /// DOUBLE.
    Double(f64),
    /// STRING, CLASS and PASSWORD.
    Text(String),
    /// LIST.
    List(Vec<String>),
}

impl Value {
    /// The text `DescribeConfigs` shows, `None` when absent. Does not hide passwords.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Integer(value) => Some(value.to_string()),
            Self::Double(value) => Some(java_double(*value)),
            Self::Text(value) => Some(value.clone()),
            Self::List(values) => Some(values.join(",")),
        }
    }
}

impl KeyDef {
    /// Parses and checks a configured value. Surrounding white space does not count.
    ///
    /// # Errors
    /// The value is not of the key's type, or not one it accepts.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = self.parse_type(text.trim())?;
        self.check(&value, text.trim())?;
        Ok(value)
    }

    /// The value of a key nobody set; absent for required ones.
    pub fn default_value(&self) -> Value {
        match self.default {
            Default::Required | Default::Null => Value::Null,
            // Rows are tested to have defaults of their own type.
            Default::Is(text) => self.parse_type(text).unwrap_or(Value::Null),
        }
    }

    fn parse_type(&self, text: &str) -> Result<Value, ConfigError> {
        let integer = |min: i64, max: i64, bits: &str| {
            text.parse::<i64>()
                .ok()
                .filter(|value| (min..=max).contains(value))
                .map(Value::Integer)
                .ok_or_else(|| {
                    ConfigError::value(self, text, format!("a whole number of {bits} is expected"))
                })
        };
        match self.ty {
            Type::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Type::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            Type::Boolean => Err(ConfigError::value(self, text, "true or false is expected")),
            Type::Int => integer(i32::MIN.into(), i32::MAX.into(), "32 bits"),
            Type::Short => integer(i16::MIN.into(), i16::MAX.into(), "16 bits"),
            Type::Long => integer(i64::MIN, i64::MAX, "64 bits"),
            Type::Double => text
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
                .map(Value::Double)
                .ok_or_else(|| ConfigError::value(self, text, "a number is expected")),
            Type::String | Type::Class | Type::Password => Ok(Value::Text(text.to_owned())),
            Type::List => Ok(Value::List(split_list(text))),
        }
    }

    fn check(&self, value: &Value, text: &str) -> Result<(), ConfigError> {
        let fail = |allowed: String| Err(ConfigError::value(self, text, allowed));
        match (self.valid, value) {
            (Valid::AtLeast(min), Value::Integer(got)) if *got < min => {
                fail(format!("at least {min} is expected"))
            }
            (Valid::Between(min, max), Value::Integer(got)) if !(min..=max).contains(got) => {
                fail(format!("a number from {min} to {max} is expected"))
            }
            (Valid::Ratio(min, max), Value::Double(got)) if !(min..=max).contains(got) => {
                fail(format!("a number from {min} to {max} is expected"))
            }
            (Valid::GzipLevel, Value::Integer(got)) if *got != -1 && !(1..=9).contains(got) => {
                fail("a level from 1 to 9, or -1 for the default, is expected".to_owned())
            }
            (Valid::OneOf(all), Value::Text(got)) if !all.contains(&got.as_str()) => {
                fail(format!("one of {} is expected", all.join(", ")))
            }
            (Valid::OneOfAnyCase(all), Value::Text(got))
                if !all.iter().any(|one| one.eq_ignore_ascii_case(got)) =>
            {
                fail(format!("one of {} is expected", all.join(", ")))
            }
            (Valid::NonEmpty, Value::Text(got)) if got.is_empty() => {
                fail("a value is expected, or no such line".to_owned())
            }
            (Valid::OffsetReset, Value::Text(got)) if !is_offset_reset(got) => {
                fail("latest, earliest or by_duration:PnDTnHnMn.nS is expected".to_owned())
            }
            (_, Value::List(items)) => self.check_list(items, text),
            _ => Ok(()),
        }
    }

    fn check_list(&self, items: &[String], text: &str) -> Result<(), ConfigError> {
        let fail = |allowed: String| Err(ConfigError::value(self, text, allowed));
        match self.valid {
            Valid::ListOf(all) => {
                let bad = items.iter().find(|item| !all.contains(&item.as_str()));
                if bad.is_some() {
                    return fail(format!("a list of {} is expected", all.join(", ")));
                }
                if let Some(twice) = first_repeated(items) {
                    return fail(format!("{twice} is there twice"));
                }
                Ok(())
            }
            Valid::Voters => match items.iter().find(|item| listener::voter(item).is_none()) {
                Some(bad) => fail(format!("id@host:port is expected instead of {bad}")),
                None => Ok(()),
            },
            Valid::Servers => match items.iter().find(|item| listener::server(item).is_none()) {
                Some(bad) => fail(format!("host:port is expected instead of {bad}")),
                None => Ok(()),
            },
            Valid::ThrottledReplicas if !throttled_replicas(items) => {
                fail("*, or partition:broker pairs separated by commas, is expected".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Splits at commas; the items lose surrounding white space. An empty text is an empty list.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// The first item that occurs a second time.
pub(crate) fn first_repeated(items: &[String]) -> Option<&String> {
    let mut sorted: Vec<&String> = items.iter().collect();
    sorted.sort();
    let twice = sorted.windows(2).find(|pair| pair.first() == pair.last())?;
    twice.first().copied()
}

fn throttled_replicas(items: &[String]) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    matches!(items, [one] if one == "*")
        || items.iter().all(|item| {
            item.split_once(':')
                .is_some_and(|(partition, broker)| number(partition) && number(broker))
        })
}

/// `latest`, `earliest`, or `by_duration:` and a duration that is not negative (KIP-1106).
fn is_offset_reset(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("by_duration:") {
        Some(duration) => duration_ms(duration).is_some(),
        None => matches!(lower.as_str(), "latest" | "earliest"),
    }
}

/// Milliseconds of an ISO-8601 duration in days, hours, minutes and seconds (`P1DT2H3M4.5S`), in
/// any case. `None` if malformed, negative or too large.
pub fn duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    if !days.is_empty() {
        total = days.strip_suffix('D')?.parse::<u32>().map(i64::from).ok()? * 86_400_000;
    }
    let mut rest = time;
    for (unit, ms) in [('H', 3_600_000_i64), ('M', 60_000)] {
        if let Some((number, after)) = rest.split_once(unit) {
            let part = number.parse::<u32>().map(i64::from).ok()?.checked_mul(ms)?;
            total = total.checked_add(part)?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        total = total.checked_add(seconds_ms(rest.strip_suffix('S')?)?)?;
    }
    Some(total)
}

fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    i64::from(whole.parse::<u32>().ok()?).checked_mul(1000)?.checked_add(millis)
}

/// `Double.toString` of Java: at least one digit after the point, exponents outside [1e-3, 1e7).
fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}E{exponent}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: KeyDef = KeyDef::int("k", Default::Null, "doc").valid(Valid::AtLeast(1));

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        for (text, want) in [
            ("x", "k=x: a whole number of 32 bits is expected"),
            ("", "k=: a whole number of 32 bits is expected"),
            ("3000000000", "k=3000000000: a whole number of 32 bits is expected"),
            ("0", "k=0: at least 1 is expected"),
        ] {
            assert_eq!(ROW.parse(text).unwrap_err().to_string(), want);
        }
        assert_eq!(ROW.parse(" +7 "), Ok(Value::Integer(7)));
    }

    #[test]
    fn a_password_is_never_part_of_an_error() {
        let row = KeyDef::password("p", Default::Null, "doc").valid(Valid::NonEmpty);
        assert_eq!(ConfigError::value(&row, "secret", "x").to_string(), "p=[hidden]: x");
    }

    #[test]
    fn doubles_are_rendered_as_java_does() {
        for (value, want) in [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (1e7, "1.0E7"),
            (1e-4, "1.0E-4"),
        ] {
            assert_eq!(java_double(value), want);
        }
    }

    #[test]
    fn durations_are_iso_8601() {
        for (text, want) in [
            ("PT0S", Some(0)),
            ("P1D", Some(86_400_000)),
            ("p1dt2h3m4.5s", Some(93_784_500)),
            ("PT1.25S", Some(1250)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("PT-1S", None),
            ("1D", None),
        ] {
            assert_eq!(duration_ms(text), want, "{text}");
        }
    }
}
