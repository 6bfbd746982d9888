//! Every Kafka configuration key declared once.
//!
//! A key is one [`KeyDef`] row in [`keys`]. The parser, validation, `DescribeConfigs` with synonyms
//! and documentation, dynamic updates and `docs/reference/configs.md` derive from it.

mod alter;
mod broker;
mod checks;
mod client_metrics;
mod def;
mod describe;
mod error;
mod group;
mod key;
pub mod keys;
mod listener;
mod network;
pub mod properties;
mod quota;
mod reference;
mod safety;
mod topic;
mod value;

pub use alter::{
    BrokerLayer, Change, Delta, Operation, apply, apply_broker, for_new_topic, replace, validate,
};
pub use broker::{BrokerConfig, PACKAGED, Settings, Source, parse_override};
pub use client_metrics::{ClientMetricsConfig, Regex, SELECTORS};
pub use def::{Default, Importance, KeyDef, Support, Type, UpdateMode, Valid};
pub use describe::{
    Entry, Synonym, created_topic, describe_broker, describe_broker_defaults,
    describe_client_metrics, describe_group, describe_topic,
};
pub use error::{AlterError, ConfigError, Warning};
pub use group::{GroupConfig, GroupTimes, OffsetReset, validate_group};
pub use key::{Key, KeyType};
pub use keys::Kind;
pub use listener::{Listener, SecurityProtocol, Server, Voter};
pub use quota::QuotaEntity;
pub use reference::reference_markdown;
pub use safety::{Feature, IMPLEMENTED, refuse_unsafe};
pub use topic::{CompressionType, ThrottledReplicas, TimestampType, TopicConfig, validate_topic};
pub use value::{Value, duration_ms};
