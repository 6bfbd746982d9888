//! Client metrics subscriptions (KIP-714).

use regex::RegexBuilder;

pub use regex::Regex;

use crate::broker::Settings;
use crate::error::AlterError;
use crate::keys::Kind;
use crate::value::split_list;

/// What a subscription may look at to choose clients.
pub const SELECTORS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

const INTERVAL_MS_MIN: i32 = 100;
const INTERVAL_MS_MAX: i32 = 3_600_000;

/// A subscription: which clients push which metrics how often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientMetricsConfig {
    /// Milliseconds between two pushes.
    pub interval_ms: i32,
    /// Prefixes of names; `*` for all, empty for none.
    pub metrics: Vec<String>,
    /// Selector and regular expression; all have to match.
    pub matches: Vec<(String, String)>,
}

impl ClientMetricsConfig {
    /// Reads a subscription.
    ///
    /// # Errors
    /// `InvalidRequest` for unknown keys and bad intervals, `InvalidConfig` for bad matches, as
    /// Kafka answers.
    pub fn new(settings: &Settings) -> Result<Self, AlterError> {
        if let Some(name) = settings.keys().find(|name| Kind::ClientMetrics.find(name).is_none()) {
            return Err(AlterError::InvalidRequest(format!(
                "{name} is not a client metrics configuration key"
            )));
        }
        let interval_ms = match settings.get("interval.ms") {
            None => 300_000,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|ms| (INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(ms))
                .ok_or_else(|| {
                    AlterError::InvalidRequest(format!(
                        "interval.ms={text}: {INTERVAL_MS_MIN} to {INTERVAL_MS_MAX} is expected"
                    ))
                })?,
        };
        let list = |name: &str| settings.get(name).map(|text| split_list(text)).unwrap_or_default();
        let pair = |item: String| {
            let parsed = item.split_once('=').filter(|(selector, pattern)| {
                SELECTORS.contains(&selector.trim()) && !pattern.trim().is_empty()
            });
            parsed.map(|(s, p)| (s.trim().to_owned(), p.trim().to_owned())).ok_or_else(|| {
                AlterError::InvalidConfig(format!(
                    "match has {item}: selector=pattern is expected, the selector one of {}",
                    SELECTORS.join(", ")
                ))
            })
        };
        let matches = list("match").into_iter().map(pair).collect::<Result<_, _>>()?;
        let config = Self { interval_ms, metrics: list("metrics"), matches };
        config.patterns()?;
        Ok(config)
    }

    /// The selectors with their expressions, which have to match a whole value.
    ///
    /// # Errors
    /// `InvalidConfig` for what is no regular expression. Those that look ahead or behind, or back
    /// at a group, are none here: their time is not bounded by the value's length.
    pub fn patterns(&self) -> Result<Vec<(String, Regex)>, AlterError> {
        let compile = |(selector, pattern): &(String, String)| {
            let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build();
            let whole = whole.map_err(|error| {
                let error = error.to_string();
                let line = error.lines().last().unwrap_or("").trim_start_matches("error: ");
                AlterError::InvalidConfig(format!("match has {selector}={pattern}: {line}"))
            })?;
            Ok((selector.clone(), whole))
        };
        self.matches.iter().map(compile).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_read_or_refused_as_kafka_does() {
        for (key, value, want) in [
            ("interval.ms", "100", None),
            ("interval.ms", "99", Some(42)),
            ("interval.ms", "3600001", Some(42)),
            ("interval.ms", "x", Some(42)),
            ("nonsense", "1", Some(42)),
            ("metrics", "a.b,c", None),
            ("match", "client_id=a.*,client_source_port=1", None),
            ("match", "", None),
            ("match", "foo=bar", Some(40)),
            ("match", "client_id", Some(40)),
            ("match", "client_id=a(", Some(40)),
            ("match", "client_id=(?=a)", Some(40)),
        ] {
            let settings = Settings::from([(key.to_owned(), value.to_owned())]);
            let got = ClientMetricsConfig::new(&settings).err().map(|e| e.code());
            assert_eq!(got, want, "{key}={value}");
        }
    }
}
