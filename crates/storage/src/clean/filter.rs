//! What compaction leaves of one batch (KIP-534 for tombstones and markers).

use ottla_protocol::ids::{Offset, Timestamp};
use ottla_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, BatchView, BuildError, Record, RecordError,
    TimestampType, WalkLimits, records,
};

use super::offset_map::OffsetMap;
use super::transactions::{Control, Transactions};
use super::work::LastRecord;
use crate::txn_index::AbortedTxn;

/// Most bytes a batch may inflate to. It was accepted once, so this only bounds what damage can do.
pub(crate) const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 30 };

/// What is known for all batches of a cleaning.
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a OffsetMap,
    /// Newest offset that the map knows of.
    pub(crate) latest: Offset,
    /// When the cleaning began.
    pub(crate) now: Timestamp,
    /// Until when a tombstone or needless marker stays that is seen for the first time.
    pub(crate) horizon: Timestamp,
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All of it, byte for byte.
    Same,
    /// These bytes.
    Changed(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// What is left of a batch, and the entry of the transaction index that its marker keeps.
pub(crate) struct Filtered {
    pub(crate) left: Left,
    pub(crate) aborted: Option<AbortedTxn>,
}

impl Filter<'_> {
    /// Decides on the next batch of the walk. `keep_empty` keeps its header though no record is
    /// left; `last_record` is what is known of its producer.
    pub(crate) fn batch(
        &self,
        batch: &BatchView<'_>,
        transactions: &mut Transactions,
        last_record: Option<&LastRecord>,
        keep_empty: bool,
    ) -> Result<Filtered, BuildError> {
        let header = batch.header();
        let mut aborted = None;
        let (discard, needless_marker) = if header.is_control() {
            let needless = match transactions.on_control(batch) {
                Control::Needed(txn) => {
                    aborted = txn;
                    false
                }
                Control::Needless => true,
            };
            let expired = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
            // A marker that was emptied has no horizon and nothing to wait for.
            (needless && (expired || header.records_count == 0), needless)
        } else {
            (transactions.on_data(header), false)
        };
        let keep_empty = keep_empty || last_record.is_some_and(|last| last.is_in(header));
        let left = if discard {
            emptied(header, keep_empty)?
        } else {
            self.retain(batch, needless_marker, keep_empty)?
        };
        Ok(Filtered { left, aborted })
    }

    fn retain(
        &self,
        batch: &BatchView<'_>,
        needless_marker: bool,
        keep_empty: bool,
    ) -> Result<Left, BuildError> {
        let header = batch.header();
        let (mut all, mut tombstone, mut any) = (true, false, false);
        for record in records(batch, &LIMITS)? {
            let record = record?;
            if self.keeps(header, &record) {
                any = true;
                tombstone |= record.value.is_none();
            } else {
                all = false;
            }
        }
        if !any {
            return emptied(header, keep_empty);
        }
        let first_time = (tombstone || needless_marker) && !header.has_delete_horizon();
        if all && !first_time {
            return Ok(Left::Same);
        }
        let horizon = if first_time { Some(self.horizon) } else { header.delete_horizon() };
        self.rebuild(batch, horizon).map(Left::Changed)
    }

    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        if header.is_control() || record.offset > self.latest {
            return true;
        }
        // A compacted log has no use for records without a key.
        let Some(key) = &record.key else { return false };
        let newest = self.map.get(key).is_none_or(|newest| record.offset >= newest);
        let expired = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        newest && (record.value.is_some() || !expired)
    }

    /// The batch with the records that stay. They keep their offsets and timestamps.
    fn rebuild(
        &self,
        batch: &BatchView<'_>,
        horizon: Option<Timestamp>,
    ) -> Result<Vec<u8>, BuildError> {
        let header = batch.header();
        let mut builder = BatchBuilder::new(options(header, horizon)?);
        for record in records(batch, &LIMITS)? {
            let record = record?;
            if self.keeps(header, &record) {
                builder.append_record(&record)?;
            }
        }
        builder.set_last_offset(header.last_offset())?;
        builder.build()
    }
}

impl LastRecord {
    /// Whether what must be known of the producer is in this batch: its last sequence number, or,
    /// when its last act was a marker, its epoch.
    fn is_in(&self, header: &BatchHeader) -> bool {
        match self.offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == self.epoch,
        }
    }
}

fn emptied(header: &BatchHeader, keep_empty: bool) -> Result<Left, BuildError> {
    if !keep_empty {
        return Ok(Left::Nothing);
    }
    if header.records_count == 0 {
        return Ok(Left::Same);
    }
    let mut builder = BatchBuilder::new(options(header, None)?);
    builder.set_last_offset(header.last_offset())?;
    builder.set_max_timestamp(header.max_timestamp);
    builder.build().map(Left::Changed)
}

fn options(header: &BatchHeader, horizon: Option<Timestamp>) -> Result<BatchOptions, BuildError> {
    let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    Ok(BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.partition_leader_epoch,
        compression: header.compression().map_err(RecordError::from)?,
        level: None,
        log_append_time: append_time.then_some(header.max_timestamp),
        transactional: header.is_transactional(),
        control: header.is_control(),
        delete_horizon: horizon,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    })
}
