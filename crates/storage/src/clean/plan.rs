//! What of a log may be compacted, and whether it is worth it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_protocol::ids::{Now, Offset, Timestamp};

use super::work::{CleanWork, LastRecord, Settings, Snapshot, Source};
use crate::error::StorageError;
use crate::log::Log;

/// The settings of compaction that the log itself does not have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanRules {
    /// `min.cleanable.dirty.ratio`: a log is left alone while less of it is dirty.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records stay.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: a log with older dirty records is cleaned whatever the ratio.
    pub max_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones and needless markers stay after their first
    /// cleaning.
    pub delete_retention_ms: i64,
    /// `log.cleaner.dedupe.buffer.size`: bytes of the map of keys.
    pub buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full the map may be.
    pub load_factor: f64,
}

impl Default for CleanRules {
    fn default() -> Self {
        Self {
            min_dirty_ratio: 0.5,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: 86_400_000,
            buffer_bytes: 128 << 20,
            load_factor: 0.9,
        }
    }
}

/// How far a log is compacted (`cleaner-offset-checkpoint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanProgress {
    /// Below it no key is there twice.
    pub first_dirty: Offset,
    /// Truncations of the log until then.
    pub(super) truncations: u32,
}

impl CleanProgress {
    /// As a checkpoint told it, for a log that was opened just now.
    #[must_use]
    pub const fn from_checkpoint(first_dirty: Offset) -> Self {
        Self { first_dirty, truncations: 0 }
    }
}

/// A log that is to be compacted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cleanable {
    /// Where the dirty part begins.
    pub first_dirty: Offset,
    /// Where it ends: the base offset of a segment.
    pub upper_bound: Offset,
    /// Bytes of the dirty part over all bytes below its end.
    pub dirty_ratio: f64,
    /// Records wait for longer than `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Log {
    /// Whether the log is to be compacted now. Only sealed segments count, and of them only those
    /// wholly below the last stable offset, the recovery point, and the first record that is younger
    /// than `min.compaction.lag.ms`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn cleanable(
        &self,
        rules: &CleanRules,
        progress: Option<CleanProgress>,
        high_watermark: Offset,
        now: Now,
    ) -> Result<Option<Cleanable>, StorageError> {
        if self.offline || self.segments.len() < 2 {
            return Ok(None);
        }
        let first_dirty = self.first_dirty(progress);
        let bound = self
            .last_stable_offset(high_watermark)
            .min(self.flushed_offset())
            .min(self.active_segment_base())
            .min(self.first_young(rules, first_dirty, now)?);
        let end = self.segment_at(bound);
        let start = self.segment_at(first_dirty);
        let Some(upper_bound) = self.segments.get(end).map(|segment| segment.base) else {
            return Ok(None);
        };
        let bytes = |from: usize, to: usize| {
            let segments = self.segments.get(from..to).unwrap_or_default();
            segments.iter().map(|segment| u64::from(segment.size)).sum::<u64>() as f64
        };
        let dirty = bytes(start, end);
        if upper_bound <= first_dirty || dirty == 0.0 {
            return Ok(None);
        }
        let clean = bytes(0, self.segments.partition_point(|segment| segment.base < first_dirty));
        let dirty_ratio = dirty / (clean + dirty);
        let overdue = self.is_overdue(rules, start, now)?;
        let cleanable = Cleanable { first_dirty, upper_bound, dirty_ratio, overdue };
        Ok((overdue || dirty_ratio > rules.min_dirty_ratio).then_some(cleanable))
    }

    /// Takes the snapshot from which the log is compacted. A swap that nobody went on with is ended
    /// first: a start takes `.swap` files beside `.cleaned` ones for incomplete.
    ///
    /// # Errors
    /// What the disk says.
    pub fn start_cleaning(
        &mut self,
        rules: &CleanRules,
        cleanable: &Cleanable,
        now: Now,
    ) -> Result<CleanWork, StorageError> {
        self.settle_names()?;
        let upper = cleanable.upper_bound;
        let end = self.segments.partition_point(|segment| segment.base < upper);
        let mut sources = Vec::with_capacity(end);
        for (at, segment) in self.segments.iter().take(end).enumerate() {
            sources.push(Source {
                base: segment.base,
                next_base: self.segments.get(at + 1).map_or(upper, |next| next.base),
                size: segment.size,
                txn_len: segment.txn_len,
                created: segment.created,
            });
        }
        let first = sources.first().map_or(upper, |source| source.base);
        let last_records = self.producers.iter().map(|state| {
            let last = state.last_batch().map(|batch| batch.last_offset);
            (state.producer_id, LastRecord { offset: last, epoch: state.epoch })
        });
        let config = &self.config;
        Ok(CleanWork::new(
            self.home.clone(),
            Settings {
                segment_bytes: config.segment_bytes,
                index_bytes: config.segment_index_bytes,
                index_interval: config.index_interval_bytes,
                now: now.wall,
                horizon: Timestamp(now.wall.0.saturating_add(rules.delete_retention_ms.max(0))),
                buffer_bytes: rules.buffer_bytes,
                load_factor: rules.load_factor,
            },
            Snapshot {
                sources,
                first_dirty: cleanable.first_dirty,
                upper_bound: upper,
                aborted: self.aborted_transactions(first, upper)?,
                last_records: last_records.collect(),
                truncations: Arc::clone(&self.truncations),
                truncations_seen: self.truncations.load(Ordering::Acquire),
            },
        ))
    }

    /// What was noted of a log that was truncated since then counts no more.
    fn first_dirty(&self, progress: Option<CleanProgress>) -> Offset {
        let truncations = self.truncations.load(Ordering::Acquire);
        progress
            .filter(|progress| progress.truncations == truncations)
            .map(|progress| progress.first_dirty)
            .filter(|first| *first <= self.next_offset)
            .map_or(self.log_start, |first| first.max(self.log_start))
    }

    /// Where the records begin that `min.compaction.lag.ms` protects.
    fn first_young(
        &self,
        rules: &CleanRules,
        first_dirty: Offset,
        now: Now,
    ) -> Result<Offset, StorageError> {
        if rules.min_lag_ms <= 0 {
            return Ok(self.next_offset);
        }
        for segment in self.segments.iter().skip(self.segment_at(first_dirty)) {
            let largest = segment.largest(&self.home)?.timestamp;
            let newest = if largest < Timestamp(0) { segment.created } else { largest };
            if newest.0 > now.wall.0.saturating_sub(rules.min_lag_ms) {
                return Ok(segment.base);
            }
        }
        Ok(self.next_offset)
    }

    fn is_overdue(&self, rules: &CleanRules, start: usize, now: Now) -> Result<bool, StorageError> {
        if rules.max_lag_ms == i64::MAX {
            return Ok(false);
        }
        let until = now.wall.0.saturating_sub(rules.max_lag_ms.max(0));
        let sealed = self.segments.len().saturating_sub(1);
        for segment in self.segments.get(start..sealed).unwrap_or_default() {
            let first = segment.first_timestamp(&self.home)?;
            if first > Timestamp(0) && first.0 < until {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
