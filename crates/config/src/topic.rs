//! What applies to one topic: its overrides over the broker's defaults.

use crate::broker::{BrokerConfig, Settings};
use crate::def::KeyDef;
use crate::error::{ConfigError, Warning};
use crate::key::KeyType;
use crate::keys::Kind;
use crate::value::Value;

/// Codec of stored batches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    /// Stored uncompressed.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Whose clock a record's timestamp is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// Which replicas of a topic are throttled (KIP-73).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ThrottledReplicas {
    /// These (partition, broker) pairs; none by default.
    Some(Vec<(i32, i32)>),
    /// All of them.
    All,
}

impl ThrottledReplicas {
    /// Whether the replica of `partition` on `broker` is throttled.
    pub fn contains(&self, (partition, broker): (i32, i32)) -> bool {
        match self {
            Self::All => true,
            Self::Some(pairs) => pairs.contains(&(partition, broker)),
        }
    }
}

/// Effective configuration of a topic. Times are in milliseconds, sizes in bytes; the rows of
/// [`Kind::Topic`] say what each field means.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` has delete.
    pub delete: bool,
    /// `cleanup.policy` has compact.
    pub compact: bool,
    /// `compression.type`.
    pub compression: CompressionType,
    /// `compression.gzip.level`; -1 is the library's choice.
    pub gzip_level: i32,
    /// `compression.lz4.level`.
    pub lz4_level: i32,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `follower.replication.throttled.replicas`.
    pub follower_throttled: ThrottledReplicas,
    /// `leader.replication.throttled.replicas`.
    pub leader_throttled: ThrottledReplicas,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.decompressed.message.bytes`.
    pub max_decompressed_message_bytes: i32,
    /// `max.message.bytes`.
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; -1 has no bound.
    pub retention_bytes: i64,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: i64,
    /// `segment.bytes`, or `internal.segment.bytes` where that is set.
    pub segment_bytes: i32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
}

impl TopicConfig {
    /// What a topic without overrides gets from the broker.
    pub fn defaults(broker: &BrokerConfig) -> Self {
        let mut config = Self::blank();
        for row in Kind::Topic.keys() {
            config.apply(row.name, &default_of(row, broker));
        }
        config
    }

    /// These defaults with a topic's overrides. An override that cannot be used, which only an
    /// older or foreign controller can have let through, is left out with a warning.
    pub fn with(&self, overrides: &Settings) -> (Self, Vec<Warning>) {
        let mut config = self.clone();
        let mut warnings = Vec::new();
        for (name, text) in overrides {
            match Kind::Topic.find(name).map(|row| row.parse(text)) {
                Some(Ok(value)) => config.apply(name, &value),
                Some(Err(e)) => {
                    warnings.push(Warning(format!("a topic's setting is not used: {e}")))
                }
                None => warnings.push(Warning(format!("{name} is not a topic configuration key"))),
            }
        }
        // The internal key wins over the public one, whatever the order of names.
        if let Some(text) = overrides.get("internal.segment.bytes") {
            config.segment_bytes = text.trim().parse().unwrap_or(config.segment_bytes);
        }
        (config, warnings)
    }

    /// Every field is overwritten by [`Self::defaults`]; a test proves it.
    fn blank() -> Self {
        Self {
            delete: false,
            compact: false,
            compression: CompressionType::Producer,
            gzip_level: 0,
            lz4_level: 0,
            zstd_level: 0,
            delete_retention_ms: 0,
            file_delete_delay_ms: 0,
            flush_messages: 0,
            flush_ms: 0,
            follower_throttled: ThrottledReplicas::All,
            leader_throttled: ThrottledReplicas::All,
            index_interval_bytes: 0,
            max_compaction_lag_ms: 0,
            min_compaction_lag_ms: -1,
            max_decompressed_message_bytes: 0,
            max_message_bytes: 0,
            timestamp_after_max_ms: 0,
            timestamp_before_max_ms: 0,
            timestamp_type: TimestampType::LogAppendTime,
            min_cleanable_dirty_ratio: 0.0,
            min_insync_replicas: 0,
            preallocate: true,
            retention_bytes: 0,
            retention_ms: 0,
            segment_bytes: 0,
            segment_index_bytes: 0,
            segment_jitter_ms: -1,
            segment_ms: 0,
            unclean_leader_election: true,
        }
    }

    /// Takes over one value; keys without a field are none of the log's business.
    fn apply(&mut self, name: &str, value: &Value) {
        match name {
            "cleanup.policy" => {
                let has = |policy: &str| matches!(value, Value::List(all) if all.iter().any(|p| p == policy));
                (self.delete, self.compact) = (has("delete"), has("compact"));
            }
            "compression.type" => self.compression = compression(value),
            "compression.gzip.level" => set(&mut self.gzip_level, value),
            "compression.lz4.level" => set(&mut self.lz4_level, value),
            "compression.zstd.level" => set(&mut self.zstd_level, value),
            "delete.retention.ms" => set(&mut self.delete_retention_ms, value),
            "file.delete.delay.ms" => set(&mut self.file_delete_delay_ms, value),
            "flush.messages" => set(&mut self.flush_messages, value),
            "flush.ms" => set(&mut self.flush_ms, value),
            "follower.replication.throttled.replicas" => self.follower_throttled = throttled(value),
            "leader.replication.throttled.replicas" => self.leader_throttled = throttled(value),
            "index.interval.bytes" => set(&mut self.index_interval_bytes, value),
            "max.compaction.lag.ms" => set(&mut self.max_compaction_lag_ms, value),
            "min.compaction.lag.ms" => set(&mut self.min_compaction_lag_ms, value),
            "max.decompressed.message.bytes" => {
                set(&mut self.max_decompressed_message_bytes, value);
            }
            "max.message.bytes" => set(&mut self.max_message_bytes, value),
            "message.timestamp.after.max.ms" => set(&mut self.timestamp_after_max_ms, value),
            "message.timestamp.before.max.ms" => set(&mut self.timestamp_before_max_ms, value),
            "message.timestamp.type" => self.timestamp_type = timestamp_type(value),
            "min.cleanable.dirty.ratio" => set(&mut self.min_cleanable_dirty_ratio, value),
            "min.insync.replicas" => set(&mut self.min_insync_replicas, value),
            "preallocate" => set(&mut self.preallocate, value),
            "retention.bytes" => set(&mut self.retention_bytes, value),
            "retention.ms" => set(&mut self.retention_ms, value),
            "segment.bytes" => set(&mut self.segment_bytes, value),
            "segment.index.bytes" => set(&mut self.segment_index_bytes, value),
            "segment.jitter.ms" => set(&mut self.segment_jitter_ms, value),
            "segment.ms" => set(&mut self.segment_ms, value),
            "unclean.leader.election.enable" => set(&mut self.unclean_leader_election, value),
            _ => {}
        }
    }
}

/// Checks all overrides a topic would have.
///
/// # Errors
/// The first key nobody declared, value out of range, contradiction, or wish for tiered storage.
pub fn validate_topic(overrides: &Settings, broker: &BrokerConfig) -> Result<(), ConfigError> {
    for (name, text) in overrides {
        let row = Kind::Topic
            .find(name)
            .ok_or_else(|| ConfigError::Unknown { key: name.clone(), kind: "topic" })?;
        row.parse(text)?;
    }
    let long = |name: &str| match effective(name, overrides, broker) {
        Value::Integer(value) => value,
        _ => 0,
    };
    let (min, max) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::conflict(format!(
            "min.compaction.lag.ms={min} is above max.compaction.lag.ms={max}"
        )));
    }
    if effective("remote.storage.enable", overrides, broker) == Value::Bool(true) {
        return Err(ConfigError::Unsafe(
            "remote.storage.enable=true: tiered storage is not available on this broker".to_owned(),
        ));
    }
    Ok(())
}

/// The value of a topic key: the override, else what the broker supplies.
pub(crate) fn effective(name: &str, overrides: &Settings, broker: &BrokerConfig) -> Value {
    let Some(row) = Kind::Topic.find(name) else { return Value::Null };
    let own = overrides.get(name).and_then(|text| row.parse(text).ok());
    own.unwrap_or_else(|| default_of(row, broker))
}

/// What the broker supplies for a topic key. The keys with several spellings convert units.
fn default_of(row: &'static KeyDef, broker: &BrokerConfig) -> Value {
    match row.name {
        "retention.ms" => Value::Integer(broker.log_retention_ms()),
        "segment.ms" => Value::Integer(broker.log_roll_ms()),
        "segment.jitter.ms" => Value::Integer(broker.log_roll_jitter_ms()),
        "flush.ms" => Value::Integer(broker.log_flush_interval_ms()),
        _ => {
            let supplied = row.synonyms.first().and_then(|name| broker.value(name));
            supplied.cloned().unwrap_or_else(|| row.default_value())
        }
    }
}

/// Overwrites a field with a value of its type.
fn set<T>(field: &mut T, value: &Value)
where
    T: for<'a> KeyType<Read<'a> = T>,
{
    if let Some(value) = T::read(value) {
        *field = value;
    }
}

fn compression(value: &Value) -> CompressionType {
    match String::read(value) {
        Some("uncompressed") => CompressionType::Uncompressed,
        Some("gzip") => CompressionType::Gzip,
        Some("snappy") => CompressionType::Snappy,
        Some("lz4") => CompressionType::Lz4,
        Some("zstd") => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

fn timestamp_type(value: &Value) -> TimestampType {
    match String::read(value) {
        Some("LogAppendTime") => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    }
}

fn throttled(value: &Value) -> ThrottledReplicas {
    let Value::List(items) = value else { return ThrottledReplicas::Some(Vec::new()) };
    if items.iter().any(|item| item == "*") {
        return ThrottledReplicas::All;
    }
    let pair = |item: &String| {
        let (partition, broker) = item.split_once(':')?;
        Some((partition.parse().ok()?, broker.parse().ok()?))
    };
    ThrottledReplicas::Some(items.iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn broker(pairs: &[(&str, &str)]) -> BrokerConfig {
        BrokerConfig::load(None, pairs).unwrap().0
    }

    #[test]
    fn a_topic_without_overrides_has_kafkas_defaults() {
        let got = TopicConfig::defaults(&broker(&[]));
        let want = TopicConfig {
            delete: true,
            compact: false,
            compression: CompressionType::Producer,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            follower_throttled: ThrottledReplicas::Some(vec![]),
            leader_throttled: ThrottledReplicas::Some(vec![]),
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            min_compaction_lag_ms: 0,
            max_decompressed_message_bytes: 2_147_483_639,
            max_message_bytes: 1_048_588,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
            timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            segment_bytes: 1 << 30,
            segment_index_bytes: 10_485_760,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            unclean_leader_election: false,
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_finer_unit_of_the_broker_wins_and_the_topic_over_both() {
        for (at_broker, at_topic, want) in [
            (&[("log.retention.hours", "2")][..], &[][..], 7_200_000),
            (&[("log.retention.hours", "2"), ("log.retention.minutes", "3")], &[], 180_000),
            (&[("log.retention.minutes", "3"), ("log.retention.ms", "4")], &[], 4),
            (&[("log.retention.ms", "-1")], &[], -1),
            (&[("log.retention.hours", "-1")], &[], -1),
            (&[("log.retention.ms", "4")], &[("retention.ms", "5")], 5),
        ] {
            let defaults = TopicConfig::defaults(&broker(at_broker));
            let (got, warnings) = defaults.with(&settings(at_topic));
            assert_eq!((got.retention_ms, warnings.len()), (want, 0), "{at_broker:?} {at_topic:?}");
        }
    }

    #[test]
    fn what_kafka_refuses_of_a_topic_is_refused_in_one_sentence() {
        let broker = broker(&[]);
        for (key, value, want) in [
            ("nonsense", "1", "nonsense is not a topic configuration key"),
            ("retention.ms", "abc", "retention.ms=abc: a whole number of 64 bits is expected"),
            ("retention.ms", "-5", "retention.ms=-5: at least -1 is expected"),
            ("segment.bytes", "1", "segment.bytes=1: at least 1048576 is expected"),
            ("min.insync.replicas", "0", "min.insync.replicas=0: at least 1 is expected"),
            ("cleanup.policy", "foo", "cleanup.policy=foo: a list of compact, delete is expected"),
            (
                "cleanup.policy",
                "compact,compact",
                "cleanup.policy=compact,compact: compact is there twice",
            ),
            ("preallocate", "maybe", "preallocate=maybe: true or false is expected"),
            (
                "compression.gzip.level",
                "0",
                "compression.gzip.level=0: a level from 1 to 9, or -1 for the default, is expected",
            ),
            (
                "leader.replication.throttled.replicas",
                "x",
                "leader.replication.throttled.replicas=x: *, or partition:broker pairs separated by \
                 commas, is expected",
            ),
            (
                "remote.storage.enable",
                "true",
                "remote.storage.enable=true: tiered storage is not available on this broker",
            ),
        ] {
            let error = validate_topic(&settings(&[(key, value)]), &broker).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let lags = [("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")];
        let error = validate_topic(&settings(&lags), &broker).unwrap_err();
        assert_eq!(error.to_string(), "min.compaction.lag.ms=9 is above max.compaction.lag.ms=8");
    }

    #[test]
    fn what_kafka_accepts_of_a_topic_is_accepted() {
        let broker = broker(&[]);
        for (key, value) in [
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact, delete"),
            ("local.retention.ms", "999999999999"),
            ("remote.log.copy.disable", "true"),
            ("leader.replication.throttled.replicas", "0:1,2:3"),
            ("follower.replication.throttled.replicas", "*"),
            ("internal.segment.bytes", "100"),
        ] {
            assert_eq!(
                validate_topic(&settings(&[(key, value)]), &broker),
                Ok(()),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn an_unusable_override_is_left_out_with_a_warning() {
        let defaults = TopicConfig::defaults(&broker(&[]));
        let (got, warnings) =
            defaults.with(&settings(&[("segment.bytes", "x"), ("segment.ms", "5")]));
        assert_eq!((got.segment_bytes, got.segment_ms, warnings.len()), (1 << 30, 5, 1));
    }
}
