//! A topic's configuration as its logs and its produce requests need it.

use bytestring::ByteString;
use ottla_config::{BrokerConfig, Settings, TopicConfig, keys};
use ottla_metadata::{ConfigResource, Image};
use ottla_protocol::messages::create_topics_request::CreatableTopicConfig;
use ottla_storage::LogConfig;

/// The settings of a topic that differ from the broker's.
#[must_use]
pub fn overrides(image: &Image, topic: &str) -> Settings {
    image.config(&ConfigResource::topic(topic)).cloned().unwrap_or_default()
}

/// The effective configuration of a topic. Settings that this release cannot use are reported once
/// per change of configuration and left at their defaults.
#[must_use]
pub fn config(image: &Image, broker: &BrokerConfig, topic: &str) -> TopicConfig {
    let (config, warnings) = TopicConfig::defaults(broker).with(&overrides(image, topic));
    for warning in warnings {
        tracing::warn!(topic, "{warning}");
    }
    config
}

/// What the log is told. `jitter` is a number drawn once per log, taken modulo `segment.jitter.ms`.
#[must_use]
pub fn log_config(topic: &TopicConfig, broker: &BrokerConfig, jitter: u64) -> LogConfig {
    let jitter_ms = match u64::try_from(topic.segment_jitter_ms) {
        Ok(bound @ 1..) => i64::try_from(jitter % bound).unwrap_or(0),
        _ => 0,
    };
    // A compacted log must seal what is due for compaction (KIP-354).
    let lag_ms = topic.max_compaction_lag_ms;
    let segment_ms =
        if topic.compact && lag_ms > 0 { topic.segment_ms.min(lag_ms) } else { topic.segment_ms };
    LogConfig {
        segment_bytes: u32::try_from(topic.segment_bytes).unwrap_or(1 << 30),
        segment_ms,
        segment_jitter_ms: jitter_ms,
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(4096),
        segment_index_bytes: u32::try_from(topic.segment_index_bytes).unwrap_or(10 << 20),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        max_message_bytes: u32::try_from(topic.max_message_bytes).unwrap_or(u32::MAX),
        cleanup_delete: topic.delete,
        cleanup_compact: topic.compact,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        preallocate: topic.preallocate,
        producer_expiry_ms: i64::from(broker.get(keys::PRODUCER_ID_EXPIRATION_MS)),
        verify_transactions: broker.get(keys::TRANSACTION_PARTITION_VERIFICATION_ENABLE),
        ..LogConfig::default()
    }
}

/// One setting of a topic to create.
#[must_use]
pub fn setting(name: &str, value: &str) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: name.into(),
        value: Some(ByteString::from(value)),
        ..CreatableTopicConfig::default()
    }
}
