//! The coordinators: groups with their offsets, and transactions, as pure state machines.
//!
//! A [`Machine`] stands for one partition of an internal topic: a [`GroupShard`] of
//! `__consumer_offsets`, a [`TransactionShard`] of `__transaction_state`. A command returns the
//! records it wants appended, and the answers and actions that follow from them; what is stored
//! changes only in [`Machine::replay`], so running and loading are one path. There is no clock, no
//! I/O, no runtime, no thread and no randomness here: time and random bits are inputs, deadlines are
//! data.
//!
//! - [`CoordinatorKind`], [`partition_for`]: which partition coordinates a group or transactional id.
//! - [`Machine`], [`CommandContext`], [`Output`]: the frame, which other group kinds can use too.
//! - [`Command`], [`Response`]: groups. [`TxnCommand`], [`TxnResponse`], [`TxnAction`]: transactions.

mod admin;
mod classic;
mod command;
mod commit;
mod config;
mod find;
mod machine;
mod offset_fetch;
mod offsets;
mod partitioner;
mod records;
mod shard;
mod timers;
mod transaction;

pub use command::{Command, GroupUndo, Response};
pub use config::GroupConfig;
pub use find::CoordinatorKind;
pub use machine::{CommandContext, LogRecord, Machine, Output, Ticket, coordinator_error};
pub use offset_fetch::{offset_fetch_groups, offset_fetch_response};
pub use partitioner::{java_string_hash, partition_for};
pub use records::ReplayError;
pub use shard::GroupShard;
pub use transaction::{
    AddPartitions, MarkerOutcome, MarkerResults, Markers, MarkersId, TopicPartition,
    TransactionConfig, TransactionFilter, TransactionShard, TransactionState, TxnAction,
    TxnCommand, TxnResponse,
};
