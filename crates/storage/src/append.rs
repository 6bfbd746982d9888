//! Appends: by the leader, of batches the leader made itself, and by a follower.

use std::io::IoSlice;

use ottla_protocol::ids::{LeaderEpoch, Now, Offset, Timestamp};
use ottla_protocol::records::{
    BATCH_HEADER_LEN, BatchHeader, BatchView, TimestampType, batches, patch_header,
};

use crate::error::{AppendError, Context, StorageError};
use crate::home::ext;
use crate::log::{Active, Foreseen, Log};
use crate::marker::build_marker;
use crate::producers::{CompletedTxn, Sequenced, TxnEnd, TxnMarker, Unverified, VerificationGuard};
use crate::scan::Entry;
use crate::segment::{Indexing, Segment};
use crate::txn_index::{self, AbortedTxn};
use crate::validate::ValidatedBatch;

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record; of the first append when `duplicate`.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Set when the topic uses LogAppendTime, and, as Kafka does, for a duplicate.
    pub log_append_time: Option<Timestamp>,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// The batch was in the log already; nothing was written.
    pub duplicate: bool,
    /// A new segment was begun.
    pub rolled: bool,
}

impl Log {
    /// Says what the first batch of a transaction needs to be appended, if the log is told to verify:
    /// the caller asks the transaction's coordinator and comes back with the guard. `None`: no guard
    /// is needed.
    pub fn begin_verification(
        &mut self,
        batch: &Unverified,
        wall: Timestamp,
    ) -> Option<VerificationGuard> {
        let config = &self.config;
        if !config.verify_transactions {
            return None;
        }
        self.producers.verify(batch, wall, config.producers_max)
    }

    fn is_verified(&self, header: &BatchHeader, guard: Option<VerificationGuard>) -> bool {
        !self.config.verify_transactions || self.producers.is_verified(header.producer_id, guard)
    }

    /// Appends a client's batch: idempotence and transaction rules are checked, then offsets and
    /// leader epoch are written into its header. One vectored write, no copy. The first batch of a
    /// transaction needs the guard of [`Log::begin_verification`].
    ///
    /// # Errors
    /// See [`AppendError`]; nothing changes then.
    pub fn append_as_leader(
        &mut self,
        batch: &ValidatedBatch<'_>,
        guard: Option<VerificationGuard>,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        let header = batch.header();
        if header.has_producer_id()
            && let Sequenced::Duplicate(first) =
                self.producers.check(header, self.is_verified(header, guard))?
        {
            return Ok(Appended {
                base_offset: first.first_offset(),
                last_offset: first.last_offset,
                log_append_time: Some(first.timestamp),
                log_start_offset: self.log_start,
                duplicate: true,
                rolled: false,
            });
        }
        self.append_placed(batch.header_bytes(), batch.payload(), leader_epoch, now)
    }

    /// Appends one batch that the leader made itself: a leader change, the records of a coordinator
    /// or of the controller. Its base offset and leader epoch are set here. Records that belong to a
    /// client's transaction need a guard as [`Log::append_as_leader`] does.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing changes then.
    pub fn append_own(
        &mut self,
        batch: &[u8],
        guard: Option<VerificationGuard>,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        let view = BatchView::parse(batch).map_err(|e| AppendError::Corrupt(e.to_string()))?;
        let header = view.header();
        if header.has_producer_id() {
            self.producers.check_own(header, self.is_verified(header, guard))?;
        }
        self.append_placed(view.header_bytes(), view.records_payload(), leader_epoch, now)
    }

    /// Appends the marker that ends a transaction. `bumped`: under transaction.version 2 its epoch is
    /// above the one that the transaction was written with (KIP-890).
    ///
    /// # Errors
    /// See [`AppendError`]; nothing changes then.
    pub fn append_marker(
        &mut self,
        marker: &TxnMarker,
        bumped: bool,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        self.producers.check_marker(marker, bumped)?;
        let batch = build_marker(marker).map_err(|e| AppendError::Corrupt(e.to_string()))?;
        let view = BatchView::parse(&batch).map_err(|e| AppendError::Corrupt(e.to_string()))?;
        self.append_placed(view.header_bytes(), view.records_payload(), leader_epoch, now)
    }

    /// Appends batches as the leader has them: offsets and epochs stay. What follows the last whole
    /// batch is ignored. Returns `None` if there is no whole batch.
    ///
    /// # Errors
    /// [`AppendError::Corrupt`], [`AppendError::UnexpectedOffset`] when the offsets do not go on
    /// from the log end (gaps are fine: the leader's log may be compacted), or what the disk says.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        now: Now,
    ) -> Result<Option<Appended>, AppendError> {
        self.check_online()?;
        let Some(run) = self.check_run(records)? else { return Ok(None) };
        let records = records.get(..run.len).unwrap_or_default();
        let rolled = self.make_room(&run, now)?;
        let mut position = self.write(&[IoSlice::new(records)], run.len)?;
        for batch in batches(records).flatten() {
            self.settle(position, &batch, now)?;
            position += u32::try_from(batch.size()).unwrap_or(0); // Bounded by the segment size.
        }
        Ok(Some(Appended {
            base_offset: run.base_offset,
            last_offset: run.last_offset,
            log_append_time: None,
            log_start_offset: self.log_start,
            duplicate: false,
            rolled,
        }))
    }

    fn append_placed(
        &mut self,
        header: &[u8; BATCH_HEADER_LEN],
        payload: &[u8],
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let placed = patch_header(header, self.next_offset, leader_epoch);
        let parsed =
            BatchHeader::parse(&placed).map_err(|e| AppendError::Corrupt(e.to_string()))?;
        if self.next_offset.0.checked_add(i64::from(parsed.last_offset_delta)).is_none() {
            return Err(AppendError::OffsetsExhausted(self.next_offset));
        }
        let run = Run {
            base_offset: parsed.base_offset,
            last_offset: parsed.last_offset(),
            len: BATCH_HEADER_LEN + payload.len(),
            max_timestamp: parsed.max_timestamp,
        };
        let rolled = self.make_room(&run, now)?;
        self.foresee_abort(&parsed, payload)?;
        let position = self.write(&[IoSlice::new(&placed), IoSlice::new(payload)], run.len)?;
        self.settle_parsed(position, &parsed, payload, now)?;
        let append_time = parsed.timestamp_type() == TimestampType::LogAppendTime;
        Ok(Appended {
            base_offset: run.base_offset,
            last_offset: run.last_offset,
            log_append_time: append_time.then_some(parsed.max_timestamp),
            log_start_offset: self.log_start,
            duplicate: false,
            rolled,
        })
    }

    /// Checks a follower's records as a whole.
    fn check_run(&self, records: &[u8]) -> Result<Option<Run>, AppendError> {
        let mut run: Option<Run> = None;
        for batch in batches(records) {
            let batch = batch.map_err(|e| AppendError::Corrupt(e.to_string()))?;
            batch.verify_crc().map_err(|e| AppendError::Corrupt(e.to_string()))?;
            let header = batch.header();
            let expected = run.as_ref().map_or(self.next_offset, |run| run.last_offset.plus(1));
            if header.base_offset < expected {
                return Err(AppendError::UnexpectedOffset { got: header.base_offset, expected });
            }
            if header.last_offset_delta < 0 || header.next_offset() <= header.base_offset {
                return Err(AppendError::Corrupt(format!(
                    "last offset delta {} at offset {}",
                    header.last_offset_delta, header.base_offset
                )));
            }
            let run = run.get_or_insert(Run {
                base_offset: header.base_offset,
                last_offset: header.base_offset,
                len: 0,
                max_timestamp: header.max_timestamp,
            });
            run.last_offset = header.last_offset();
            run.len += batch.size();
            run.max_timestamp = run.max_timestamp.max(header.max_timestamp);
        }
        Ok(run)
    }

    /// Rolls the active segment if `run` must not go into it. Returns whether it did.
    fn make_room(&mut self, run: &Run, now: Now) -> Result<bool, AppendError> {
        if run.len > self.config.segment_bytes as usize {
            return Err(AppendError::LargerThanSegment {
                size: run.len,
                segment_bytes: self.config.segment_bytes,
            });
        }
        let must = self.must_roll(run, now);
        if !self.watch(must)? {
            return Ok(false);
        }
        // A follower's first batch may lie beyond the log end; the segment starts where it starts.
        let base = run.base_offset.max(self.next_offset);
        self.roll_at(base, now)?;
        Ok(true)
    }

    fn must_roll(&self, run: &Run, now: Now) -> Result<bool, StorageError> {
        let segment = self.active_segment()?;
        let config = &self.config;
        let too_far = run.last_offset.0.saturating_sub(segment.base.0) > i64::from(i32::MAX);
        if segment.size == 0 {
            return Ok(too_far);
        }
        let full = segment.size as usize + run.len > config.segment_bytes as usize;
        if full || too_far {
            return Ok(true);
        }
        let first = segment.first_timestamp(&self.home)?;
        let waited = if first >= Timestamp(0) && run.max_timestamp >= Timestamp(0) {
            run.max_timestamp.0.saturating_sub(first.0)
        } else {
            now.wall.0.saturating_sub(segment.created.0)
        };
        if waited > config.segment_ms.saturating_sub(config.segment_jitter_ms) {
            return Ok(true);
        }
        // One slot of the time index stays free for the entry at sealing.
        Ok(segment.index.len(&self.home)? >= config.segment_index_bytes / 8
            || segment.time_index.len(&self.home)? + 1 >= config.segment_index_bytes / 12)
    }

    /// Begins a new segment at the log end. Nothing happens if the active one is empty.
    ///
    /// # Errors
    /// What the disk says; on a full disk the log is unchanged.
    pub fn roll(&mut self, now: Now) -> Result<(), StorageError> {
        self.check_online()?;
        if self.active_segment()?.size == 0 {
            return Ok(());
        }
        self.roll_at(self.next_offset, now)
    }

    pub(crate) fn roll_at(&mut self, base: Offset, now: Now) -> Result<(), StorageError> {
        let rolled = self.try_roll(base, now);
        self.watch(rolled)
    }

    fn try_roll(&mut self, base: Offset, now: Now) -> Result<(), StorageError> {
        if let Some(active) = self.segments.last_mut() {
            if active.base == base {
                return Ok(());
            }
            active.seal(&self.home, &self.config)?;
            if self.active.foreseen != Foreseen::Nothing {
                txn_index::cut(&self.home, active.base, active.txn_len)?;
            }
            active.durable = false; // One that was opened again was taken for durable until now.
        }
        if self.unsynced.names.pending() {
            // A segment must not outlive the one before it.
            self.home.sync_dir()?;
            self.unsynced.names.synced = self.unsynced.names.made;
        }
        self.write_snapshot(base)?;
        let segment = Segment::create(&self.home, base, &self.config, now.wall)?;
        self.unsynced.names.change();
        if self.segments.last().is_some_and(|active| active.size == 0) {
            // A segment that never got a record is replaced, not kept.
            if let Some(empty) = self.segments.pop() {
                self.remove_segment_files(&empty)?;
            }
        }
        self.segments.push(segment);
        self.active = Active::default();
        Ok(())
    }

    /// Writes at the end of the active segment. On an error the log is what it was.
    fn write(&mut self, parts: &[IoSlice<'_>], len: usize) -> Result<u32, AppendError> {
        let segment = self.active_segment()?;
        let position = segment.size;
        let written = segment.file(&self.home).and_then(|file| {
            file.write_at(parts, u64::from(position))
                .at("write", || self.home.path(segment.base, ext::LOG))
        });
        debug_assert_eq!(
            parts.iter().map(|part| part.len()).sum::<usize>(),
            len,
            "length of a run"
        );
        if written.is_err() {
            // The next append overwrites what was written; without one, it is cut here or at close.
            self.active.dirty_end = segment.cut_log(&self.home).is_err();
        }
        self.watch(written)?;
        Ok(position)
    }

    fn settle(
        &mut self,
        position: u32,
        batch: &BatchView<'_>,
        now: Now,
    ) -> Result<(), StorageError> {
        self.settle_parsed(position, batch.header(), batch.records_payload(), now)
    }

    /// Takes in a batch that was written at `position` of the active segment.
    fn settle_parsed(
        &mut self,
        position: u32,
        header: &BatchHeader,
        payload: &[u8],
        now: Now,
    ) -> Result<(), StorageError> {
        let entry = Entry::from(header);
        let indexing =
            Indexing { since: self.active.since_index, interval: self.config.index_interval_bytes };
        self.next_offset = header.next_offset();
        self.active.since_snapshot = self.active.since_snapshot.saturating_add(entry.size);
        self.active.tail.push(header.base_offset, header.last_offset(), position);
        if self.epochs.latest().is_none_or(|latest| header.partition_leader_epoch > latest)
            && self.epochs.assign(header.partition_leader_epoch, header.base_offset)
        {
            self.unsynced.epochs.change();
        }
        let mut settled = Ok(());
        if let Some(segment) = self.segments.last_mut() {
            match segment.on_entry(&self.home, position, &entry, indexing) {
                Ok(since) => self.active.since_index = since,
                Err(error) => settled = Err(error),
            }
        }
        let settled = settled.and_then(|()| self.write_indexes());
        let settled = settled.and_then(|()| self.settle_producer(header, payload, now));
        self.watch(settled)
    }

    fn settle_producer(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        now: Now,
    ) -> Result<(), StorageError> {
        if !header.has_producer_id() {
            return Ok(());
        }
        if !header.is_control() {
            self.producers.on_batch(header);
            let config = &self.config;
            self.producers.bound(config.producers_max, now.wall, config.producer_expiry_ms);
            return Ok(());
        }
        let Some(marker) = crate::marker::parse_marker(header, payload) else { return Ok(()) };
        match self.producers.on_marker(&marker, header.base_offset) {
            Some(txn) => self.on_completed(&txn),
            None => Ok(()),
        }
    }

    /// Writes the index entry of the transaction that this batch aborts, if it is such a marker, before
    /// the batch: a full disk must not take the marker without the entry, or the aborted records would
    /// be read. The entry counts once the marker is in the log.
    fn foresee_abort(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), StorageError> {
        let marker = crate::marker::parse_marker(header, payload);
        let Some(marker) = marker.filter(|marker| marker.end == TxnEnd::Abort) else {
            return Ok(());
        };
        let Some(txn) = self.producers.ended_by(&marker, header.base_offset) else {
            return Ok(());
        };
        let aborted = self.aborted(&txn);
        let Some(segment) = self.segments.last() else { return Ok(()) };
        self.active.foreseen = Foreseen::Maybe;
        let written = txn_index::append(&self.home, segment.base, segment.txn_len, &aborted);
        self.watch(written)?;
        self.active.foreseen = Foreseen::Written(aborted);
        Ok(())
    }

    fn aborted(&self, txn: &CompletedTxn) -> AbortedTxn {
        AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset: self.producers.last_stable_after(txn),
        }
    }

    /// Notes an aborted transaction in the index of its segment.
    pub(crate) fn on_completed(&mut self, txn: &CompletedTxn) -> Result<(), StorageError> {
        if txn.end != TxnEnd::Abort {
            return Ok(());
        }
        let aborted = self.aborted(txn);
        let foreseen = std::mem::take(&mut self.active.foreseen) == Foreseen::Written(aborted);
        let at = self.segment_at(txn.last_offset);
        if let Some(segment) = self.segments.get_mut(at) {
            if segment.txn_len == 0 {
                self.unsynced.names.change();
            }
            if !foreseen {
                txn_index::append(&self.home, segment.base, segment.txn_len, &aborted)?;
            }
            segment.txn_len += txn_index::ENTRY_LEN;
        }
        Ok(())
    }

    /// Brings gathered index entries to the files. A full disk is no error: they stay gathered.
    fn write_indexes(&mut self) -> Result<(), StorageError> {
        let bytes = self.config.segment_index_bytes;
        let Some(segment) = self.segments.last_mut() else { return Ok(()) };
        let mut written = Ok(());
        if segment.index.wants_write() {
            written = segment.time_index.write_gathered(&self.home, bytes);
            written = written.and_then(|()| segment.index.write_gathered(&self.home, bytes));
        }
        match written {
            Err(error) if !error.is_fatal() => Ok(()),
            other => other,
        }
    }
}

/// Batches that are written together.
struct Run {
    base_offset: Offset,
    last_offset: Offset,
    len: usize,
    max_timestamp: Timestamp,
}
