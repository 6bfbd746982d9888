//! Kafka's data directory over a [`Disk`]: the log, its indexes, recovery and checkpoints.
//!
//! - [`Log`]: one partition's log: append, read, truncate, retention, flush, recovery.
//! - [`Log::cleanable`], [`CleanWork`]: compaction.
//! - [`dirs`], [`checkpoint`]: the data directory around the logs.
//! - [`inspect`]: indexes and producer snapshots decoded, for tools.
//! - [`validate`]: what a client's batch must be before it may be appended.

mod append;
pub mod checkpoint;
mod clean;
mod config;
mod cut;
pub mod dirs;
pub mod disk;
mod epochs;
mod error;
mod flush;
mod home;
mod index_file;
pub mod inspect;
mod log;
mod marker;
mod names;
mod open_files;
mod producers;
mod read;
mod recovery;
mod scan;
mod search;
mod segment;
mod swap;
mod tail;
mod txn_index;
mod validate;

pub use append::Appended;
pub use clean::{
    CleanError, CleanProgress, CleanRules, CleanWork, Cleanable, Cleaning, Installing,
};
pub use config::{LogConfig, OpenLog};
pub use cut::{DeleteWork, Retired};
pub use disk::{DirEntry, Disk, DiskFile, OpenMode, Space};
pub use epochs::{EpochCache, EpochEntry};
pub use error::{AppendError, ProducerStateError, ReadError, StorageError, is_temporary};
pub use flush::{FlushWork, Flushed, SharedFlush};
pub use home::LogDisk;
pub use log::Log;
pub use names::NamesWork;
pub use open_files::OpenFiles;
pub use producers::{
    CompletedTxn, ProducerBatch, ProducerState, TxnEnd, TxnMarker, Unverified, VerificationGuard,
};
pub use read::LogSlice;
pub use recovery::{Cut, RecoveryReport};
pub use search::FoundTimestamp;
pub use txn_index::AbortedTxn;
pub use validate::{ProduceError, ProduceRules, RejectedRecord, ValidatedBatch, validate};
