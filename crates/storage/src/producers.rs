//! What a log knows about the producers that wrote to it: idempotence and open transactions
//! (KIP-98), which transactions are being verified (KIP-890), and the `.snapshot` files that keep it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{BatchHeader, crc32c, sequence_plus};

use crate::error::ProducerStateError;

/// Batches remembered per producer: a client has at most this many in flight (KIP-98).
const BATCHES_KEPT: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_ENTRY_LEN: usize = 46;
const SNAPSHOT_HEADER_LEN: usize = 10;

/// One remembered batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset less first offset.
    pub offset_delta: i32,
    /// Its maximum timestamp.
    pub timestamp: Timestamp,
}

impl ProducerBatch {
    /// Offset of its first record.
    #[must_use]
    pub const fn first_offset(&self) -> Offset {
        self.last_offset.plus(-(self.offset_delta as i64))
    }

    /// Sequence number of its first record.
    #[must_use]
    pub const fn first_sequence(&self) -> i32 {
        sequence_plus(self.last_sequence, self.offset_delta.wrapping_neg())
    }
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its current epoch.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator whose marker came last, -1 if none did.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// First offset of its open transaction.
    pub txn_first_offset: Option<Offset>,
    batches: [Option<ProducerBatch>; BATCHES_KEPT],
}

impl ProducerState {
    const fn new(producer_id: ProducerId, epoch: ProducerEpoch) -> Self {
        Self {
            producer_id,
            epoch,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            txn_first_offset: None,
            batches: [None; BATCHES_KEPT],
        }
    }

    /// The remembered batches of the current epoch, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.batches.iter().flatten()
    }

    /// The newest batch of the current epoch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&ProducerBatch> {
        self.batches().last()
    }

    /// Sequence number of the last record of the current epoch, -1 if none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(-1, |batch| batch.last_sequence)
    }

    fn remember(&mut self, batch: ProducerBatch) {
        match self.batches.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(batch),
            None => {
                self.batches.rotate_left(1);
                if let Some(last) = self.batches.last_mut() {
                    *last = Some(batch);
                }
            }
        }
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = [None; BATCHES_KEPT];
        }
    }

    /// Kafka's rule: the next number, or 0 after 2^31-1; any number if nothing is known; 0 in a
    /// new epoch.
    fn check_sequence(&self, epoch: ProducerEpoch, first: i32) -> Result<(), ProducerStateError> {
        let last = if epoch == self.epoch { self.last_sequence() } else { -1 };
        let follows = first.checked_sub(1) == Some(last) || (first == 0 && last == i32::MAX);
        if follows {
            return Ok(());
        }
        Err(ProducerStateError::OutOfOrderSequence {
            producer_id: self.producer_id,
            got: first,
            last,
        })
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnEnd {
    /// Its records are to be read.
    Commit,
    /// Its records are to be skipped.
    Abort,
}

/// The content of an end-of-transaction marker batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnMarker {
    /// The producer whose transaction ends.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Commit or abort.
    pub end: TxnEnd,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// Timestamp of the marker.
    pub timestamp: Timestamp,
}

/// A transaction that had records and was ended by a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// The producer.
    pub producer_id: ProducerId,
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the marker.
    pub last_offset: Offset,
    /// How it ended.
    pub end: TxnEnd,
}

/// Allows the first batch of a transaction into a log: between the making of the guard and the append
/// the transaction was verified with its coordinator, and no marker ended it meanwhile (KIP-890). Good
/// for one append to the log that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard(u64);

/// The batch whose transaction is to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its producer's epoch.
    pub epoch: ProducerEpoch,
    /// Its first sequence number.
    pub first_sequence: i32,
    /// The client speaks transaction.version 2: a producer that the log does not know begins with
    /// sequence number 0, and the verification adds the partition to the transaction.
    pub implicit: bool,
}

/// A verification under way.
#[derive(Debug)]
struct Verification {
    guard: VerificationGuard,
    since: Timestamp,
    epoch: ProducerEpoch,
    /// The lowest that was sent: batches in flight must not overtake each other while it is verified.
    first_sequence: i32,
    implicit: bool,
}

/// What [`Producers::check`] says about a batch that may be answered without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequenced {
    /// It continues the producer's sequence, or has none: append it.
    Next,
    /// It is in the log already.
    Duplicate(ProducerBatch),
}

/// The producers of one log.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    states: BTreeMap<ProducerId, Box<ProducerState>>,
    /// Open transactions by first offset.
    open: BTreeSet<(Offset, ProducerId)>,
    /// Ended transactions whose marker is not below the high watermark, by first offset.
    unreplicated: BTreeMap<Offset, Offset>,
    /// Transactions that are being verified. Not in snapshots: who verifies asks again.
    verifying: BTreeMap<ProducerId, Verification>,
    next_guard: u64,
}

impl Producers {
    /// Whether a client's batch may be appended. `verified` is false if the batch needs a guard and
    /// has none.
    ///
    /// # Errors
    /// Not verified, old epoch, sequence gap, or a plain batch inside a transaction. Nothing changes.
    pub(crate) fn check(
        &self,
        batch: &BatchHeader,
        verified: bool,
    ) -> Result<Sequenced, ProducerStateError> {
        let first = batch.base_sequence;
        if let Some(state) = self.get(batch.producer_id)
            && batch.producer_epoch == state.epoch
        {
            let last = batch.last_sequence();
            let same = |b: &&ProducerBatch| b.last_sequence == last && b.first_sequence() == first;
            if let Some(duplicate) = state.batches().find(same) {
                return Ok(Sequenced::Duplicate(*duplicate));
            }
        }
        self.check_own(batch, verified)?;
        self.check_sequence(batch)?;
        match self.get(batch.producer_id).and_then(|state| state.txn_first_offset) {
            Some(first_offset) if !batch.is_transactional() => {
                Err(ProducerStateError::InvalidTxnState {
                    producer_id: batch.producer_id,
                    first_offset,
                })
            }
            _ => Ok(Sequenced::Next),
        }
    }

    /// Whether a coordinator's records may be appended in a client's transaction: as [`Self::check`]
    /// without sequence numbers.
    ///
    /// # Errors
    /// Not verified, or old epoch. Nothing changes.
    pub(crate) fn check_own(
        &self,
        batch: &BatchHeader,
        verified: bool,
    ) -> Result<(), ProducerStateError> {
        let (producer_id, epoch) = (batch.producer_id, batch.producer_epoch);
        if batch.is_transactional() && !verified && !self.is_open(producer_id, epoch) {
            return Err(ProducerStateError::NotVerified { producer_id });
        }
        self.get(producer_id).map_or(Ok(()), |state| check_epoch(state, epoch))
    }

    fn check_sequence(&self, batch: &BatchHeader) -> Result<(), ProducerStateError> {
        let first = batch.base_sequence;
        let state = self.get(batch.producer_id);
        if let Some(state) = state {
            state.check_sequence(batch.producer_epoch, first)?;
        }
        // One of an earlier epoch comes from a batch that arrived late: it has no say here.
        let verification = self.verifying.get(&batch.producer_id);
        let Some(verification) = verification.filter(|v| v.epoch == batch.producer_epoch) else {
            return Ok(());
        };
        let begins_late = verification.implicit
            && first != 0
            && state.is_none_or(|state| state.last_batch().is_none());
        if begins_late || first > verification.first_sequence {
            return Err(ProducerStateError::OutOfOrderSequence {
                producer_id: batch.producer_id,
                got: first,
                last: if begins_late { -1 } else { verification.first_sequence.saturating_sub(1) },
            });
        }
        Ok(())
    }

    /// Whether a marker may be appended. `bumped`: it comes from transaction.version 2, where a
    /// transaction ends with an epoch above the one it was written with (KIP-890); so a late marker
    /// cannot end the transaction after its own.
    ///
    /// # Errors
    /// Old producer epoch, or old coordinator epoch. Nothing changes.
    pub(crate) fn check_marker(
        &self,
        marker: &TxnMarker,
        bumped: bool,
    ) -> Result<(), ProducerStateError> {
        let Some(state) = self.get(marker.producer_id) else { return Ok(()) };
        check_epoch(state, marker.epoch)?;
        // Without an open transaction it is a marker that is written again.
        if bumped && marker.epoch == state.epoch && state.txn_first_offset.is_some() {
            return Err(ProducerStateError::MarkerNotBumped {
                producer_id: marker.producer_id,
                epoch: marker.epoch,
            });
        }
        if marker.coordinator_epoch < state.coordinator_epoch {
            return Err(ProducerStateError::CoordinatorFenced {
                producer_id: marker.producer_id,
                got: marker.coordinator_epoch,
                current: state.coordinator_epoch,
            });
        }
        Ok(())
    }

    fn is_open(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        let state = self.get(producer_id);
        state.is_some_and(|state| state.epoch == epoch && state.txn_first_offset.is_some())
    }

    /// Begins to verify a transaction, or joins a verification that is under way; `None` if the
    /// transaction is open here: whoever began it was verified. At most `max` are under way; at the
    /// bound the one that began first is forgotten, and its batch refused.
    pub(crate) fn verify(
        &mut self,
        batch: &Unverified,
        wall: Timestamp,
        max: u32,
    ) -> Option<VerificationGuard> {
        if self.is_open(batch.producer_id, batch.epoch) {
            return None;
        }
        if let Some(known) = self.verifying.get_mut(&batch.producer_id) {
            if batch.epoch > known.epoch {
                (known.epoch, known.first_sequence) = (batch.epoch, batch.first_sequence);
                known.implicit = batch.implicit;
            } else if batch.epoch == known.epoch {
                known.first_sequence = known.first_sequence.min(batch.first_sequence);
            }
            return Some(known.guard);
        }
        if self.verifying.len() >= max as usize {
            let oldest = self.verifying.iter().min_by_key(|(_, v)| v.guard.0).map(|(id, _)| *id);
            oldest.and_then(|id| self.verifying.remove(&id));
        }
        let guard = VerificationGuard(self.next_guard);
        self.next_guard += 1;
        let &Unverified { epoch, first_sequence, implicit, .. } = batch;
        let verification = Verification { guard, since: wall, epoch, first_sequence, implicit };
        self.verifying.insert(batch.producer_id, verification);
        Some(guard)
    }

    /// Whether `guard` is the one that was given for this producer, and still good.
    pub(crate) fn is_verified(
        &self,
        producer_id: ProducerId,
        guard: Option<VerificationGuard>,
    ) -> bool {
        let current = self.verifying.get(&producer_id).map(|verification| verification.guard);
        guard.is_some() && guard == current
    }

    /// Takes in a data batch that is in the log now. Checks nothing, so replay uses it too.
    pub(crate) fn on_batch(&mut self, batch: &BatchHeader) {
        if !batch.has_producer_id() {
            return;
        }
        let state = self.states.entry(batch.producer_id).or_insert_with(|| {
            Box::new(ProducerState::new(batch.producer_id, batch.producer_epoch))
        });
        state.enter_epoch(batch.producer_epoch);
        state.remember(ProducerBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        state.last_timestamp = batch.max_timestamp;
        if !batch.is_transactional() {
            return;
        }
        self.verifying.remove(&batch.producer_id);
        if state.txn_first_offset.is_none() {
            state.txn_first_offset = Some(batch.base_offset);
            self.open.insert((batch.base_offset, batch.producer_id));
        }
    }

    /// The transaction that a marker at `offset` would end, if that has records.
    pub(crate) fn ended_by(&self, marker: &TxnMarker, offset: Offset) -> Option<CompletedTxn> {
        Some(CompletedTxn {
            producer_id: marker.producer_id,
            first_offset: self.get(marker.producer_id)?.txn_first_offset?,
            last_offset: offset,
            end: marker.end,
        })
    }

    /// Takes in a marker at `offset`. Returns the transaction it ended, if that had records.
    pub(crate) fn on_marker(&mut self, marker: &TxnMarker, offset: Offset) -> Option<CompletedTxn> {
        // A batch that was verified before the transaction ended must not begin it anew.
        self.verifying.remove(&marker.producer_id);
        let state = self
            .states
            .entry(marker.producer_id)
            .or_insert_with(|| Box::new(ProducerState::new(marker.producer_id, marker.epoch)));
        state.enter_epoch(marker.epoch);
        state.coordinator_epoch = marker.coordinator_epoch;
        state.last_timestamp = marker.timestamp;
        let first_offset = state.txn_first_offset.take()?;
        self.open.remove(&(first_offset, marker.producer_id));
        self.unreplicated.insert(first_offset, offset);
        Some(CompletedTxn {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: offset,
            end: marker.end,
        })
    }

    /// First offset that a read-committed consumer must not pass while `high_watermark` is what is
    /// replicated: the oldest transaction that is open, or whose marker may still be lost.
    pub(crate) fn first_unstable(&self, high_watermark: Offset) -> Option<Offset> {
        let open = self.open.first().map(|&(first, _)| first);
        let unreplicated = self
            .unreplicated
            .iter()
            .find(|&(_, &marker)| marker >= high_watermark)
            .map(|(&first, _)| first);
        match (open, unreplicated) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The last stable offset just after `txn` is ended, as its abort index entry records it.
    pub(crate) fn last_stable_after(&self, txn: &CompletedTxn) -> Offset {
        let others = self.unreplicated.keys().find(|&&first| first != txn.first_offset).copied();
        let open =
            self.open.iter().map(|&(first, _)| first).find(|&first| first != txn.first_offset);
        match (open, others) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(txn.last_offset.plus(1)),
        }
    }

    /// Forgets ended transactions whose marker is replicated.
    pub(crate) fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// What is known of a producer.
    pub(crate) fn get(&self, producer_id: ProducerId) -> Option<&ProducerState> {
        self.states.get(&producer_id).map(Box::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn has_transaction_since(&self, before: Timestamp) -> bool {
        let mut open = self.open.iter().filter_map(|&(_, id)| self.get(id));
        open.any(|state| state.last_timestamp < before)
    }

    /// All producers in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ProducerState> {
        self.states.values().map(Box::as_ref)
    }

    /// Forgets producers idle for `expiry_ms` that have no open transaction, and verifications that
    /// nobody came back with.
    pub(crate) fn expire(&mut self, wall: Timestamp, expiry_ms: i64) {
        self.verifying.retain(|_, begun| wall.0.saturating_sub(begun.since.0) < expiry_ms);
        self.states.retain(|_, state| {
            state.txn_first_offset.is_some()
                || wall.0.saturating_sub(state.last_timestamp.0) < expiry_ms
        });
    }

    /// Keeps the number of producers within `max`, see `LogConfig::producers_max`.
    pub(crate) fn bound(&mut self, max: u32, wall: Timestamp, expiry_ms: i64) {
        let max = max as usize;
        if self.states.len() <= max {
            return;
        }
        self.expire(wall, expiry_ms);
        if self.states.len() <= max {
            return;
        }
        let mut idle: Vec<(Timestamp, ProducerId)> = self
            .iter()
            .filter(|state| state.txn_first_offset.is_none())
            .map(|state| (state.last_timestamp, state.producer_id))
            .collect();
        idle.sort_unstable();
        let surplus = self.states.len() - max + max / 8;
        for (_, producer_id) in idle.into_iter().take(surplus) {
            self.states.remove(&producer_id);
        }
    }

    /// The bytes of a `.snapshot` file.
    pub(crate) fn to_snapshot(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.states.len() * SNAPSHOT_ENTRY_LEN);
        body.extend_from_slice(&i32::try_from(self.states.len()).unwrap_or(i32::MAX).to_be_bytes());
        for state in self.iter() {
            let last = state.last_batch();
            body.extend_from_slice(&state.producer_id.0.to_be_bytes());
            body.extend_from_slice(&state.epoch.0.to_be_bytes());
            body.extend_from_slice(&state.last_sequence().to_be_bytes());
            body.extend_from_slice(&last.map_or(-1, |b| b.last_offset.0).to_be_bytes());
            body.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
            body.extend_from_slice(&state.last_timestamp.0.to_be_bytes());
            body.extend_from_slice(&state.coordinator_epoch.to_be_bytes());
            let txn = state.txn_first_offset.unwrap_or(Offset::NONE);
            body.extend_from_slice(&txn.0.to_be_bytes());
        }
        let mut bytes = Vec::with_capacity(6 + body.len());
        bytes.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&crc32c(&body).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads a `.snapshot` file.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        let short = || {
            format!("a snapshot has at least {SNAPSHOT_HEADER_LEN} bytes, here are {}", bytes.len())
        };
        let (version, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let (crc, body) = rest.split_first_chunk().ok_or_else(short)?;
        let (count, mut entries) = body.split_first_chunk().ok_or_else(short)?;
        if i16::from_be_bytes(*version) != SNAPSHOT_VERSION {
            return Err(format!("version {} is not 1", i16::from_be_bytes(*version)));
        }
        if u32::from_be_bytes(*crc) != crc32c(body) {
            return Err("the CRC does not match".to_owned());
        }
        let count = usize::try_from(i32::from_be_bytes(*count)).unwrap_or(0);
        if entries.len() != count.saturating_mul(SNAPSHOT_ENTRY_LEN) {
            return Err(format!("{count} entries cannot be in {} bytes", entries.len()));
        }
        let mut producers = Self::default();
        while let Some((state, rest)) = read_state(entries) {
            if let Some(first) = state.txn_first_offset {
                producers.open.insert((first, state.producer_id));
            }
            producers.states.insert(state.producer_id, Box::new(state));
            entries = rest;
        }
        Ok(producers)
    }
}

fn check_epoch(state: &ProducerState, epoch: ProducerEpoch) -> Result<(), ProducerStateError> {
    if epoch >= state.epoch {
        return Ok(());
    }
    Err(ProducerStateError::InvalidProducerEpoch {
        producer_id: state.producer_id,
        got: epoch,
        current: state.epoch,
    })
}

fn read_state(bytes: &[u8]) -> Option<(ProducerState, &[u8])> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let (txn, rest) = rest.split_first_chunk()?;
    let mut state = ProducerState::new(
        ProducerId(i64::from_be_bytes(*producer_id)),
        ProducerEpoch(i16::from_be_bytes(*epoch)),
    );
    state.coordinator_epoch = i32::from_be_bytes(*coordinator_epoch);
    state.last_timestamp = Timestamp(i64::from_be_bytes(*timestamp));
    let txn = i64::from_be_bytes(*txn);
    state.txn_first_offset = (txn >= 0).then_some(Offset(txn));
    let last_offset = i64::from_be_bytes(*last_offset);
    if last_offset >= 0 {
        state.remember(ProducerBatch {
            last_sequence: i32::from_be_bytes(*last_sequence),
            last_offset: Offset(last_offset),
            offset_delta: i32::from_be_bytes(*offset_delta),
            timestamp: state.last_timestamp,
        });
    }
    Some((state, rest))
}
