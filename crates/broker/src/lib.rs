//! The broker as a library without a runtime: frames in, answers out.
//!
//! - [`Connection`]: one client's requests in order; [`api`]: one file and one row per API.
//! - [`Broker`]: what requests reach: [`partition::Partition`]s, the [`quorum`], the coordinators'
//!   [`shards`].
//! - [`Env`]: time, randomness, threads and a timer, given by `server` or by `sim`.
//! - [`jobs::Job`]: slow work as data.
//!
//! What is absent: sockets, files (only `ottla_storage::Disk`), clocks, threads, tokio.

pub mod api;
mod assignments;
mod broker;
mod checkpoints;
mod cleaner;
mod connection;
mod context;
mod dynamic_config;
mod env;
mod flusher;
pub mod groups;
pub mod histogram;
mod isr;
pub mod jobs;
mod listener;
mod loggers;
pub mod metrics;
mod moves;
pub mod partition;
pub mod partitions;
mod producer_ids;
mod publish;
pub mod quorum;
pub mod quotas;
mod router;
pub mod sessions;
mod shard_log;
pub mod shards;
mod startup;
mod sync;
pub mod telemetry;
mod throttle;
mod timers;
pub mod topics;
pub mod transactions;
pub mod wait;

pub use broker::{Broker, Identity};
pub use connection::{
    ANONYMOUS, Connection, ConnectionInfo, IN_FLIGHT_MAX, Part, Response, Software,
};
pub use context::{Context, RequestInfo};
pub use env::Env;
pub use listener::{Endpoint, Listener, ListenerKind};
pub use startup::{OpenTask, StartBroker, StartError};

/// The hasher of all maps keyed by what clients send: fixed, so that a simulation repeats; keys that
/// clients choose freely are bounded in number wherever such a map is used.
pub type Hasher = foldhash::fast::FixedState;
