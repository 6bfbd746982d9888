//! The log of one partition: its state and what can be asked of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use ottla_protocol::ids::{LeaderEpoch, Monotonic, Offset, Timestamp};

use crate::clean::Swap;
use crate::config::LogConfig;
use crate::epochs::{EpochCache, EpochEntry};
use crate::error::StorageError;
use crate::home::Home;
use crate::names::NamesWork;
use crate::producers::{ProducerState, Producers};
use crate::segment::Segment;
use crate::tail::Tail;
use crate::txn_index::AbortedTxn;

/// The log of one partition. The caller holds the partition's lock around every call.
pub struct Log {
    pub(crate) home: Home,
    pub(crate) config: Arc<LogConfig>,
    /// By base offset; never empty, the last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) producers: Producers,
    pub(crate) epochs: EpochCache,
    /// Offsets of the producer snapshot files, increasing.
    pub(crate) snapshots: Vec<Offset>,
    pub(crate) active: Active,
    pub(crate) unsynced: Unsynced,
    /// Counts truncations, shared with the slices given out.
    pub(crate) truncations: Arc<AtomicU32>,
    pub(crate) offline: bool,
    /// A compacted segment that is taking its place.
    pub(crate) swap: Option<Box<Swap>>,
    /// Names of segments that retention took out; they may not have been changed yet.
    pub(crate) retiring: Option<NamesWork>,
}

/// What only the active segment has.
#[derive(Default)]
pub(crate) struct Active {
    /// Bytes appended since the last index entry.
    pub(crate) since_index: u32,
    /// Bytes appended since the last producer snapshot.
    pub(crate) since_snapshot: u32,
    /// The newest batches.
    pub(crate) tail: Tail,
    /// A failed append may have left bytes behind the end.
    pub(crate) dirty_end: bool,
    /// The abort index entry that was written for a marker which is not in the log yet.
    pub(crate) foreseen: Foreseen,
}

/// What is behind the counted entries of the active segment's abort index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Foreseen {
    /// Nothing.
    #[default]
    Nothing,
    /// Perhaps an entry, or a part of one, whose marker did not come into the log.
    Maybe,
    /// This entry.
    Written(AbortedTxn),
}

/// What a crash may still take away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsynced {
    /// Records below it are on the disk.
    pub(crate) flushed: Offset,
    /// What `recovery-point-offset-checkpoint` says, on the disk.
    pub(crate) checkpointed: Offset,
    pub(crate) last_flush: Monotonic,
    /// Changes of names in the directory, and how many of them are on the disk.
    pub(crate) names: Changes,
    /// Changes of the leader epochs, and how many of them are on the disk.
    pub(crate) epochs: Changes,
    /// The directory itself is new.
    pub(crate) new_dir: bool,
}

impl Unsynced {
    /// The log ends at `end` now.
    pub(crate) fn cap(&mut self, end: Offset) {
        self.flushed = self.flushed.min(end);
        self.checkpointed = self.checkpointed.min(end);
    }
}

/// Counts changes and how many of them are on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) made: u32,
    pub(crate) synced: u32,
}

impl Changes {
    pub(crate) const fn change(&mut self) {
        self.made = self.made.wrapping_add(1);
    }

    pub(crate) const fn pending(self) -> bool {
        self.made != self.synced
    }
}

impl Log {
    /// First offset that is served.
    #[must_use]
    pub const fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset of the next record.
    #[must_use]
    pub const fn log_end_offset(&self) -> Offset {
        self.next_offset
    }

    /// Every record below it is on the disk: what `recovery-point-offset-checkpoint` is to say.
    /// After a truncation that is to be written before anything is appended, since the old one may
    /// lie above the new log end.
    #[must_use]
    pub const fn flushed_offset(&self) -> Offset {
        self.unsynced.flushed
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// When a flush last succeeded, or the log was opened.
    #[must_use]
    pub const fn last_flush(&self) -> Monotonic {
        self.unsynced.last_flush
    }

    /// Number of segments.
    #[must_use]
    pub const fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset of the active segment.
    #[must_use]
    pub fn active_segment_base(&self) -> Offset {
        self.segments.last().map_or(self.next_offset, |segment| segment.base)
    }

    /// Base offsets of all segments, increasing.
    pub fn segment_bases(&self) -> impl Iterator<Item = Offset> {
        self.segments.iter().map(|segment| segment.base)
    }

    /// First offset a read-committed consumer must not pass, if a transaction is open or its marker
    /// not below `high_watermark`.
    #[must_use]
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        self.producers.first_unstable(high_watermark).map(|first| first.max(self.log_start))
    }

    /// End of what a read-committed consumer may read.
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.first_unstable_offset(high_watermark)
            .map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Forgets ended transactions that are replicated; call it when the high watermark moved.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// The producers, in the order of their ids (DescribeProducers).
    pub fn producers(&self) -> impl Iterator<Item = &ProducerState> {
        self.producers.iter()
    }

    /// How many producers there are.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// Whether a transaction is open whose producer wrote last before `before`.
    #[must_use]
    pub fn has_transaction_since(&self, before: Timestamp) -> bool {
        self.producers.has_transaction_since(before)
    }

    /// Forgets producers idle for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, wall: Timestamp) {
        self.producers.expire(wall, self.config.producer_expiry_ms);
    }

    /// The newest leader epoch.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The leader epochs, oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[EpochEntry] {
        self.epochs.entries()
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_at(offset)
    }

    /// The largest epoch not above `epoch` and the offset where it ends; (-1, -1) if unknown.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset_for(epoch, self.next_offset)
    }

    /// Notes that leader epoch `epoch` begins at the log end: this broker leads now.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch) {
        if self.epochs.assign(epoch, self.next_offset) {
            self.unsynced.epochs.change();
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Replaces the settings; they count from the next operation on.
    pub fn update_config(&mut self, config: impl Into<Arc<LogConfig>>) {
        self.config = config.into();
    }

    /// Whether an I/O error took the log offline; only reads are answered then.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        self.offline
    }

    /// The log's directory is called `dir` from now on. The name may not be on the disk: it is synced
    /// with the next flush, and until then nothing at or above `confirmed` counts as synced.
    pub fn moved_to(&mut self, dir: &Path, confirmed: Offset) {
        self.home.dir = dir.into();
        self.unsynced.cap(confirmed);
        self.unsynced.new_dir = true;
    }

    /// Refuses changes from now on: a flush failed, or the directory was taken offline.
    pub const fn go_offline(&mut self) {
        self.offline = true;
    }

    /// Whether segments that retention took out may have their names still.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retiring.as_ref().is_some_and(|names| !names.is_done())
    }

    /// Closes the files until they are needed again, to bound the open ones.
    pub fn release_files(&mut self) {
        self.segments.iter_mut().for_each(Segment::release);
    }

    /// The directory is about to get another name: a flush that is under way writes nothing more
    /// into what may then have its name, and no names are changed there. Waits while one writes small
    /// files, and while names are changed.
    pub fn leave_directory(&self) {
        *self.home.ours.lock() = false;
    }

    /// Refuses changes after an I/O error.
    pub(crate) fn check_online(&self) -> Result<(), StorageError> {
        if self.offline {
            return Err(StorageError::AlreadyOffline { path: self.home.dir.to_path_buf() });
        }
        Ok(())
    }

    /// Goes offline with a fatal error.
    pub(crate) fn watch<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(StorageError::is_fatal) {
            self.offline = true;
        }
        result
    }

    /// The active segment.
    pub(crate) fn active_segment(&self) -> Result<&Segment, StorageError> {
        self.segments.last().ok_or_else(|| self.no_segment())
    }

    /// Index of the segment that contains `offset`, by base offsets.
    pub(crate) fn segment_at(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    pub(crate) fn no_segment(&self) -> StorageError {
        debug_assert!(false, "a log always has a segment");
        StorageError::Corrupt {
            path: self.home.dir.to_path_buf(),
            what: "it has no segment".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_log_is_small() {
        // 20,000 partitions with one segment each are to fit into some tens of megabytes.
        let bytes = size_of::<Log>() + size_of::<Segment>();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
