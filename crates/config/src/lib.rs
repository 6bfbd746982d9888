//! Every Kafka configuration key declared once.
//!
//! A key is one [`KeyDef`] row in [`keys`]. The parser, validation, `DescribeConfigs` with synonyms
//! and documentation, dynamic updates and `docs/reference/configs.md` derive from it.

mod broker;
mod checks;
mod def;
mod error;
mod key;
pub mod keys;
mod listener;
mod network;
pub mod properties;
mod value;

pub use broker::{BrokerConfig, PACKAGED, Settings, Source, parse_override};
pub use def::{Default, Importance, KeyDef, Support, Type, UpdateMode, Valid};
pub use error::{AlterError, ConfigError, Warning};
pub use key::{Key, KeyType};
pub use keys::Kind;
pub use listener::{Listener, SecurityProtocol, Server, Voter};
pub use value::{Value, duration_ms};
