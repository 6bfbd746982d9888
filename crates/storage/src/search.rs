//! ListOffsets: the first record at or after a timestamp, and the one with the largest.

use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::{BatchView, TimestampType, WalkLimits, records};

use crate::error::{Context, StorageError};
use crate::home::ext;
use crate::log::Log;
use crate::scan::{Entry, SEEK_CHUNK, Scanner, Step};
use crate::segment::Segment;

/// Most bytes a batch of the log may inflate to while it is searched.
const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 30 };

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundTimestamp {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Epoch of the leader that appended it; -1 in old formats.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record whose timestamp is `target` or later.
    ///
    /// # Errors
    /// What the disk says.
    pub fn offset_for_timestamp(
        &self,
        target: Timestamp,
    ) -> Result<Option<FoundTimestamp>, StorageError> {
        for segment in self.segments.iter().skip(self.segment_at(self.log_start)) {
            if segment.size == 0 || segment.largest(&self.home)?.timestamp < target {
                continue;
            }
            if let Some(found) = self.search_segment(segment, target)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first of several (KIP-734).
    ///
    /// # Errors
    /// What the disk says.
    pub fn max_timestamp(&self) -> Result<Option<FoundTimestamp>, StorageError> {
        let mut best: Option<(Timestamp, usize)> = None;
        for (at, segment) in self.segments.iter().enumerate() {
            let largest = segment.largest(&self.home)?.timestamp;
            if segment.size > 0 && best.is_none_or(|(timestamp, _)| largest > timestamp) {
                best = Some((largest, at));
            }
        }
        let Some((timestamp, at)) = best.filter(|(timestamp, _)| *timestamp >= Timestamp(0)) else {
            return Ok(None);
        };
        match self.segments.get(at) {
            Some(segment) => self.search_segment(segment, timestamp),
            None => Ok(None),
        }
    }

    /// The leader epoch at the log start and before the log end, for ListOffsets -2 and -1.
    #[must_use]
    pub fn epoch_at_start(&self) -> Option<LeaderEpoch> {
        self.epochs.epoch_at(self.log_start)
    }

    fn search_segment(
        &self,
        segment: &Segment,
        target: Timestamp,
    ) -> Result<Option<FoundTimestamp>, StorageError> {
        let home = &self.home;
        // Before this entry's offset no record is later than its timestamp.
        let before = segment.time_index.last_where(home, |entry| entry.timestamp < target)?;
        let from = before.map_or(segment.base, |entry| entry.offset).max(self.log_start);
        let Some((position, _)) = segment.find(home, from)? else { return Ok(None) };
        let path = home.path(segment.base, ext::LOG);
        let file = segment.file(home)?;
        let mut scanner = Scanner::new(file.as_ref(), position, segment.size, SEEK_CHUNK);
        while let Step::Entry { position, entry } = scanner.step_headers().context("read", &path)? {
            if entry.max_timestamp < target {
                continue;
            }
            let bytes = scanner.whole(position, &entry).context("read", &path)?;
            if let Some(found) = search_batch(bytes, &entry, target, self.log_start) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The first record of a batch at or after `target`. A batch that cannot be read has none.
fn search_batch(
    bytes: &[u8],
    entry: &Entry,
    target: Timestamp,
    log_start: Offset,
) -> Option<FoundTimestamp> {
    let found =
        |offset, timestamp| FoundTimestamp { offset, timestamp, leader_epoch: entry.leader_epoch };
    let Some(header) = entry.header else {
        return Some(found(entry.base_offset, entry.max_timestamp));
    };
    // Compaction may have taken the first record, or all of them.
    let whole = i64::from(header.records_count) == i64::from(header.last_offset_delta) + 1;
    if whole && header.timestamp_type() == TimestampType::LogAppendTime {
        return Some(found(header.base_offset.max(log_start), header.max_timestamp));
    }
    let batch = BatchView::parse(bytes).ok()?;
    records(&batch, &LIMITS)
        .ok()?
        .map_while(Result::ok)
        .find(|record| record.timestamp >= target && record.offset >= log_start)
        .map(|record| found(record.offset, record.timestamp))
}
