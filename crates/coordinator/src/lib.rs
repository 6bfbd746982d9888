//! The group coordinator: consumer groups and their offsets as a pure state machine.
//!
//! One [`GroupShard`] stands for one partition of `__consumer_offsets`. A command returns the
//! records it wants appended and the answers that follow from them; what is stored changes only in
//! [`GroupShard::replay`], so running and loading are one path. There is no clock, no I/O, no
//! runtime, no thread and no randomness here: time and random bits are inputs, deadlines are data.
//!
//! - [`CoordinatorKind`], [`partition_for`]: which shard coordinates a group.
//! - [`Command`], [`CommandContext`], [`Output`], [`Response`]: the frame, which other group kinds
//!   and the transaction coordinator use too.

mod admin;
mod classic;
mod command;
mod commit;
mod config;
mod find;
mod offset_fetch;
mod offsets;
mod partitioner;
mod records;
mod shard;
mod timers;

pub use command::{
    Command, CommandContext, LogRecord, Output, Response, Ticket, coordinator_error,
};
pub use config::GroupConfig;
pub use find::CoordinatorKind;
pub use offset_fetch::{offset_fetch_groups, offset_fetch_response};
pub use partitioner::{java_string_hash, partition_for};
pub use records::ReplayError;
pub use shard::GroupShard;
