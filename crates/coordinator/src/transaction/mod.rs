//! The transaction coordinator (KIP-98, KIP-360, KIP-447, KIP-890): one [`TransactionShard`] per
//! partition of `__transaction_state`.
//!
//! A transactional id has a producer id and epoch, and at most one transaction: `Empty` →
//! `Ongoing` → `PrepareCommit` or `PrepareAbort` → `CompleteCommit` or `CompleteAbort`, and on to the
//! next. The record of a Prepare state is the decision. Once it is committed, markers go to every
//! partition of the transaction ([`TxnAction::WriteMarkers`]); when all are written, the record of
//! the Complete state follows. After a restart the replay of a Prepare state sends its markers again.
//!
//! Kafka keeps a transition in memory as "pending" until it is committed, and answers
//! CONCURRENT_TRANSACTIONS meanwhile. Here the next command sees the new state at once, and its
//! answer waits for both.

mod command;
mod config;
mod list;
mod markers;
mod records;
mod requests;
mod shard;
mod state;
mod sweep;
mod transition;

pub use command::{
    AddPartitions, MarkerOutcome, MarkerResults, Markers, MarkersId, TopicPartition, TxnAction,
    TxnCommand, TxnResponse,
};
pub use config::TransactionConfig;
pub use list::TransactionFilter;
pub use shard::TransactionShard;
pub use state::TransactionState;
