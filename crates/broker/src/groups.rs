//! The group coordinator on this broker: a shard per partition of `__consumer_offsets` that it leads.

use ottla_config::{BrokerConfig, keys};
use ottla_coordinator::{GroupConfig, GroupShard};
use ottla_metadata::Image;
use ottla_protocol::records::Compression;

use crate::Broker;
use crate::shard_log::LogSettings;
use crate::shards::{Coordinator, Shards};

/// The topic that group state is stored in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// All group shards of this broker.
pub type Groups = Shards<GroupShard>;

impl Coordinator for GroupShard {
    const TOPIC: &'static str = OFFSETS_TOPIC;

    fn shards(broker: &Broker) -> &Shards<Self> {
        &broker.groups
    }

    fn config(config: &BrokerConfig, _image: &Image) -> GroupConfig {
        let count = |value: i32| usize::try_from(value).unwrap_or(0);
        GroupConfig {
            group_size_max: count(config.get(keys::GROUP_MAX_SIZE)),
            session_timeout_ms_min: config.get(keys::GROUP_MIN_SESSION_TIMEOUT_MS),
            session_timeout_ms_max: config.get(keys::GROUP_MAX_SESSION_TIMEOUT_MS),
            initial_rebalance_delay_ms: config.get(keys::GROUP_INITIAL_REBALANCE_DELAY_MS),
            offset_metadata_max: count(config.get(keys::OFFSET_METADATA_MAX_BYTES)),
            offsets_retention_ms: i64::from(config.get(keys::OFFSETS_RETENTION_MINUTES)) * 60_000,
            retention_check_interval_ms: config.get(keys::OFFSETS_RETENTION_CHECK_INTERVAL_MS),
            ..GroupConfig::default()
        }
    }

    fn log_settings(config: &BrokerConfig) -> LogSettings {
        let codec = i16::try_from(config.get(keys::OFFSETS_TOPIC_COMPRESSION_CODEC)).ok();
        LogSettings {
            // A start refuses other numbers.
            compression: codec.and_then(Compression::from_id).unwrap_or(Compression::None),
            commit_timeout_ms: Some(config.get(keys::OFFSETS_COMMIT_TIMEOUT_MS).into()),
            load_bytes: config.get(keys::OFFSETS_LOAD_BUFFER_SIZE).unsigned_abs(),
        }
    }

    fn act(_broker: &Broker, _index: i32, action: Self::Action) {
        match action {}
    }
}
