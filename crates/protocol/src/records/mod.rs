//! Record batches, magic 2 (KIP-98): views, checks, records, and the way to build them.
//!
//! - [`BatchView`], [`batches`]: batches in a buffer, nothing decoded; [`BatchHeader`].
//! - [`walk`], [`walk_each`]: every record checked, none built (the produce path).
//! - [`records`]: records decoded one by one.
//! - [`BatchBuilder`], [`recompress`], [`EndTxnMarker`]: new batches.
//! - [`patch_header`] and its siblings: a leader's changes to a client's batch.
//! - [`entry_bounds`], [`LegacyMessage`]: formats 0 and 1, served from old logs only.
//!
//! Decompression runs in chunks, with contexts kept per thread, and never beyond the caller's bound.

mod builder;
mod control;
mod crc;
mod deflate;
mod header;
mod inflate;
mod legacy;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod varint;
mod view;
mod walk;

pub use builder::{BatchBuilder, BatchOptions, BuildError, recompress};
pub use control::{ControlType, EndTxnMarker};
pub use crc::{crc32c, crc32c_append, crc32c_combine};
pub use header::{
    BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchError, BatchHeader, CRC_START, Compression, MAGIC_END,
    TimestampType, patch_header, patch_log_append_time, patch_max_timestamp, sequence_plus,
};
pub use inflate::inflate;
pub use legacy::LegacyMessage;
pub use record::{Record, RecordHeader, RecordIter, records};
pub use view::{BatchView, Batches, EntryBounds, batches, entry_bounds, magic_of};
pub use walk::{RecordError, RecordFacts, WalkLimits, WalkSummary, walk, walk_each};
