//! What applies to one group of the consumer, share or streams protocol: its overrides over the
//! broker's defaults, kept within the broker's bounds.

use crate::broker::{BrokerConfig, Settings};
use crate::def::KeyDef;
use crate::error::ConfigError;
use crate::key::Key;
use crate::keys::{self, Kind};
use crate::value::{Value, duration_ms};

/// Where a share group starts in a partition it has no state for (KIP-932, KIP-1106).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OffsetReset {
    /// At the end.
    Latest,
    /// At the start.
    Earliest,
    /// At the first record not older than this many milliseconds.
    ByDuration(i64),
}

/// Times of one protocol, in milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GroupTimes {
    /// `*.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `*.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `*.assignment.interval.ms`.
    pub assignment_interval_ms: i32,
}

/// Effective configuration of a group. The rows of [`Kind::Group`] say what each field means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupConfig {
    /// As a consumer group.
    pub consumer: GroupTimes,
    /// As a share group.
    pub share: GroupTimes,
    /// As a streams group.
    pub streams: GroupTimes,
    /// `share.auto.offset.reset`.
    pub share_offset_reset: OffsetReset,
    /// `share.isolation.level` is `read_committed`.
    pub share_read_committed: bool,
    /// `share.delivery.count.limit`.
    pub share_delivery_count_limit: i32,
    /// `share.partition.max.record.locks`.
    pub share_partition_max_record_locks: i32,
    /// `share.record.lock.duration.ms`.
    pub share_record_lock_duration_ms: i32,
    /// `share.renew.acknowledge.enable`.
    pub share_renew_acknowledge: bool,
    /// `streams.initial.rebalance.delay.ms`.
    pub streams_initial_rebalance_delay_ms: i32,
    /// `streams.num.standby.replicas`.
    pub streams_num_standby_replicas: i32,
    /// `streams.assignor.name`.
    pub streams_assignor: String,
}

/// Group key, and the broker keys of its default, minimum and maximum.
type Bounded = (&'static str, Key<i32>, Key<i32>, Key<i32>);

const CONSUMER: [Bounded; 3] = [
    (
        "consumer.session.timeout.ms",
        keys::GROUP_CONSUMER_SESSION_TIMEOUT_MS,
        keys::GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS,
        keys::GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS,
    ),
    (
        "consumer.heartbeat.interval.ms",
        keys::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_CONSUMER_MAX_HEARTBEAT_INTERVAL_MS,
    ),
    (
        "consumer.assignment.interval.ms",
        keys::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_CONSUMER_MIN_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_CONSUMER_MAX_ASSIGNMENT_INTERVAL_MS,
    ),
];
const SHARE: [Bounded; 3] = [
    (
        "share.session.timeout.ms",
        keys::GROUP_SHARE_SESSION_TIMEOUT_MS,
        keys::GROUP_SHARE_MIN_SESSION_TIMEOUT_MS,
        keys::GROUP_SHARE_MAX_SESSION_TIMEOUT_MS,
    ),
    (
        "share.heartbeat.interval.ms",
        keys::GROUP_SHARE_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_SHARE_MIN_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_SHARE_MAX_HEARTBEAT_INTERVAL_MS,
    ),
    (
        "share.assignment.interval.ms",
        keys::GROUP_SHARE_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_SHARE_MIN_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_SHARE_MAX_ASSIGNMENT_INTERVAL_MS,
    ),
];
const STREAMS: [Bounded; 3] = [
    (
        "streams.session.timeout.ms",
        keys::GROUP_STREAMS_SESSION_TIMEOUT_MS,
        keys::GROUP_STREAMS_MIN_SESSION_TIMEOUT_MS,
        keys::GROUP_STREAMS_MAX_SESSION_TIMEOUT_MS,
    ),
    (
        "streams.heartbeat.interval.ms",
        keys::GROUP_STREAMS_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_STREAMS_MIN_HEARTBEAT_INTERVAL_MS,
        keys::GROUP_STREAMS_MAX_HEARTBEAT_INTERVAL_MS,
    ),
    (
        "streams.assignment.interval.ms",
        keys::GROUP_STREAMS_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_STREAMS_MIN_ASSIGNMENT_INTERVAL_MS,
        keys::GROUP_STREAMS_MAX_ASSIGNMENT_INTERVAL_MS,
    ),
];
const DELIVERY_COUNT_LIMIT: Bounded = (
    "share.delivery.count.limit",
    keys::GROUP_SHARE_DELIVERY_COUNT_LIMIT,
    keys::GROUP_SHARE_MIN_DELIVERY_COUNT_LIMIT,
    keys::GROUP_SHARE_MAX_DELIVERY_COUNT_LIMIT,
);
const PARTITION_MAX_RECORD_LOCKS: Bounded = (
    "share.partition.max.record.locks",
    keys::GROUP_SHARE_PARTITION_MAX_RECORD_LOCKS,
    keys::GROUP_SHARE_MIN_PARTITION_MAX_RECORD_LOCKS,
    keys::GROUP_SHARE_MAX_PARTITION_MAX_RECORD_LOCKS,
);
const RECORD_LOCK_DURATION: Bounded = (
    "share.record.lock.duration.ms",
    keys::GROUP_SHARE_RECORD_LOCK_DURATION_MS,
    keys::GROUP_SHARE_MIN_RECORD_LOCK_DURATION_MS,
    keys::GROUP_SHARE_MAX_RECORD_LOCK_DURATION_MS,
);

impl GroupConfig {
    /// A group's overrides over the broker's defaults. An override outside the broker's bounds,
    /// which may have moved since it was set, counts as the nearest bound; an unusable one not.
    pub fn new(overrides: &Settings, broker: &BrokerConfig) -> Self {
        let number = |bounded: Bounded| bounded_value(bounded, overrides, broker);
        let times = |[session, heartbeat, assignment]: [Bounded; 3]| GroupTimes {
            session_timeout_ms: number(session),
            heartbeat_interval_ms: number(heartbeat),
            assignment_interval_ms: number(assignment),
        };
        let own = |name: &str| {
            let row = Kind::Group.find(name)?;
            Some(effective(row, overrides, broker))
        };
        let text = |name: &str| own(name).and_then(|value| value.text()).unwrap_or_default();
        let int = |name: &str| match own(name) {
            Some(Value::Integer(value)) => i32::try_from(value).unwrap_or(i32::MAX),
            _ => 0,
        };
        let most_standbys = broker.get(keys::GROUP_STREAMS_MAX_STANDBY_REPLICAS);
        Self {
            consumer: times(CONSUMER),
            share: times(SHARE),
            streams: times(STREAMS),
            share_offset_reset: offset_reset(&text("share.auto.offset.reset")),
            share_read_committed: text("share.isolation.level") == "read_committed",
            share_delivery_count_limit: number(DELIVERY_COUNT_LIMIT),
            share_partition_max_record_locks: number(PARTITION_MAX_RECORD_LOCKS),
            share_record_lock_duration_ms: number(RECORD_LOCK_DURATION),
            share_renew_acknowledge: own("share.renew.acknowledge.enable")
                != Some(Value::Bool(false)),
            streams_initial_rebalance_delay_ms: int("streams.initial.rebalance.delay.ms"),
            streams_num_standby_replicas: int("streams.num.standby.replicas").min(most_standbys),
            streams_assignor: text("streams.assignor.name"),
        }
    }
}

/// Checks all overrides a group would have.
///
/// # Errors
/// The first key nobody declared, value out of range or out of the broker's bounds.
pub fn validate_group(overrides: &Settings, broker: &BrokerConfig) -> Result<(), ConfigError> {
    for (name, text) in overrides {
        let row = Kind::Group
            .find(name)
            .ok_or_else(|| ConfigError::Unknown { key: name.clone(), kind: "group" })?;
        row.parse(text)?;
    }
    let others = [DELIVERY_COUNT_LIMIT, PARTITION_MAX_RECORD_LOCKS, RECORD_LOCK_DURATION];
    for (name, _, min, max) in CONSUMER.into_iter().chain(SHARE).chain(STREAMS).chain(others) {
        let (min, max) = (broker.get(min), broker.get(max));
        let outside = |text: &&String| !text.trim().parse().is_ok_and(|v| (min..=max).contains(&v));
        if let Some(text) = overrides.get(name).filter(outside) {
            return Err(ConfigError::Value {
                key: name.to_owned(),
                value: text.clone(),
                allowed: format!("the brokers allow {min} to {max}"),
            });
        }
    }
    let most = broker.get(keys::GROUP_STREAMS_MAX_STANDBY_REPLICAS);
    let standbys = overrides.get("streams.num.standby.replicas");
    if let Some(text) = standbys.filter(|text| !text.trim().parse::<i32>().is_ok_and(|n| n <= most))
    {
        return Err(ConfigError::Value {
            key: "streams.num.standby.replicas".to_owned(),
            value: text.clone(),
            allowed: format!("the brokers allow {most} at most"),
        });
    }
    validate_assignor(overrides, broker)?;
    for [session, heartbeat, _] in [CONSUMER, SHARE, STREAMS] {
        let value = |bounded: Bounded| bounded_value(bounded, overrides, broker);
        if value(heartbeat) >= value(session) {
            return Err(ConfigError::conflict(format!(
                "{}={} is not below {}={}",
                heartbeat.0,
                value(heartbeat),
                session.0,
                value(session)
            )));
        }
    }
    Ok(())
}

/// The value of a group key: the override, else what the broker supplies.
pub(crate) fn effective(
    row: &'static KeyDef,
    overrides: &Settings,
    broker: &BrokerConfig,
) -> Value {
    if let Some(value) = overrides.get(row.name).and_then(|text| row.parse(text).ok()) {
        return value;
    }
    if row.name == "streams.assignor.name" {
        let first = broker.get(keys::GROUP_STREAMS_ASSIGNORS).first();
        return first.map_or(Value::Null, |name| Value::Text(name.clone()));
    }
    let supplied = row.synonyms.first().and_then(|name| broker.value(name));
    supplied.cloned().unwrap_or_else(|| row.default_value())
}

fn bounded_value(bounded: Bounded, overrides: &Settings, broker: &BrokerConfig) -> i32 {
    let (name, default, min, max) = bounded;
    let own = overrides.get(name).and_then(|text| text.trim().parse::<i32>().ok());
    // `max` and `min` do not assume that the bounds are in order, as `clamp` does.
    own.map_or(broker.get(default), |v| v.min(broker.get(max)).max(broker.get(min)))
}

fn validate_assignor(overrides: &Settings, broker: &BrokerConfig) -> Result<(), ConfigError> {
    let known = broker.get(keys::GROUP_STREAMS_ASSIGNORS);
    match overrides.get("streams.assignor.name") {
        Some(name) if !known.contains(name) => Err(ConfigError::Value {
            key: "streams.assignor.name".to_owned(),
            value: name.clone(),
            allowed: format!("one of {} is expected", known.join(", ")),
        }),
        _ => Ok(()),
    }
}

fn offset_reset(text: &str) -> OffsetReset {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("by_duration:").and_then(duration_ms) {
        Some(ms) => OffsetReset::ByDuration(ms),
        None if lower == "earliest" => OffsetReset::Earliest,
        None => OffsetReset::Latest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn broker() -> BrokerConfig {
        BrokerConfig::load(None, &[]).unwrap().0
    }

    #[test]
    fn a_group_without_overrides_has_kafkas_defaults() {
        let times = GroupTimes {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5000,
            assignment_interval_ms: 1000,
        };
        let want = GroupConfig {
            consumer: times,
            share: times,
            streams: times,
            share_offset_reset: OffsetReset::Latest,
            share_read_committed: false,
            share_delivery_count_limit: 5,
            share_partition_max_record_locks: 2000,
            share_record_lock_duration_ms: 30_000,
            share_renew_acknowledge: true,
            streams_initial_rebalance_delay_ms: 3000,
            streams_num_standby_replicas: 0,
            streams_assignor: "sticky".to_owned(),
        };
        assert_eq!(GroupConfig::new(&Settings::new(), &broker()), want);
    }

    #[test]
    fn an_override_counts_within_the_brokers_bounds() {
        for (text, want) in [("50000", 50_000), ("1", 45_000), ("999999", 60_000), ("x", 45_000)] {
            let set = settings(&[("consumer.session.timeout.ms", text)]);
            let got = GroupConfig::new(&set, &broker());
            assert_eq!(got.consumer.session_timeout_ms, want, "{text}");
        }
        let set = settings(&[("share.auto.offset.reset", "by_duration:PT5S")]);
        let got = GroupConfig::new(&set, &broker());
        assert_eq!(got.share_offset_reset, OffsetReset::ByDuration(5000));
    }

    #[test]
    fn what_kafka_refuses_of_a_group_is_refused() {
        for (key, value, want) in [
            ("nonsense", "1", "nonsense is not a group configuration key"),
            (
                "consumer.session.timeout.ms",
                "1",
                "consumer.session.timeout.ms=1: the brokers allow 45000 to 60000",
            ),
            (
                "consumer.heartbeat.interval.ms",
                "50000",
                "consumer.heartbeat.interval.ms=50000: the brokers allow 5000 to 15000",
            ),
            (
                "share.auto.offset.reset",
                "x",
                "share.auto.offset.reset=x: latest, earliest or by_duration:PnDTnHnMn.nS is expected",
            ),
            (
                "share.delivery.count.limit",
                "11",
                "share.delivery.count.limit=11: the brokers allow 2 to 10",
            ),
            (
                "streams.assignor.name",
                "foo",
                "streams.assignor.name=foo: one of sticky is expected",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas=3: the brokers allow 2 at most",
            ),
        ] {
            let error = validate_group(&settings(&[(key, value)]), &broker()).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let set = settings(&[("share.isolation.level", "read_committed")]);
        assert_eq!(validate_group(&set, &broker()), Ok(()));
    }
}
