//! A partition that this broker leads: its log behind one lock, its high watermark, and who waits.
//!
//! Role, leader epoch and configuration are checked here, under the lock; the metadata image only
//! routes. The lock is never held across a wait, and wakes are delivered after its release.

mod directory;
mod error;
mod flush;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytestring::ByteString;
use ottla_config::{CompressionType, TimestampType as TopicTimestampType, TopicConfig};
use ottla_protocol::Uuid;
use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, PartitionIndex};
use ottla_protocol::records::{Compression, TimestampType};
use ottla_storage::{
    AbortedTxn, AppendError, Appended, Log, LogConfig, LogSlice, ProduceRules, ReadError,
    StorageError, TxnMarker, Unverified, ValidatedBatch, VerificationGuard,
};
use parking_lot::Mutex;

pub use directory::Directory;
pub use error::PartitionError;
pub(crate) use flush::Unsynced;

use crate::isr::Replicas;
use crate::metrics::Traffic;
use crate::wait::{WaitList, Waiter, Wakes};
use flush::Flush;

/// Names a partition for people and for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionName {
    /// Topic name.
    pub topic: ByteString,
    /// Topic id.
    pub topic_id: Uuid,
    /// Index within the topic.
    pub index: PartitionIndex,
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// What a fetch may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark (READ_UNCOMMITTED).
    Uncommitted,
    /// Up to the last stable offset (READ_COMMITTED).
    Committed,
}

/// A read of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// The first offset wanted.
    pub offset: Offset,
    /// The epoch the client believes in, if it says one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What may be seen.
    pub isolation: Isolation,
    /// Most bytes wanted.
    pub bytes_max: u32,
    /// Give the first batch whole even if it is larger.
    pub at_least_one_batch: bool,
}

/// Where a partition's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that can be read.
    pub log_start: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Everything below is decided (no open transaction).
    pub last_stable: Offset,
    /// One past the last record.
    pub log_end: Offset,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadOutcome {
    /// The offsets at the time of the read.
    pub offsets: Offsets,
    /// The bytes; `None` when there is nothing yet at the offset.
    pub slice: Option<LogSlice>,
    /// Aborted transactions that overlap the slice, for a read of committed records.
    pub aborted: Vec<AbortedTxn>,
}

/// An append and what must follow it, after the lock is released.
pub struct AppendOutcome {
    /// Where the batch is.
    pub appended: Appended,
    /// Whether everything up to the batch's end is committed already.
    pub committed: bool,
    /// Whether the leader has it as safe as it makes it: what `acks=1` waits for.
    pub taken: bool,
    /// Whether the caller must submit [`crate::jobs::Job::Flush`] for this partition.
    pub flush: bool,
}

/// A partition of this broker.
pub struct Partition {
    /// Which one.
    pub name: PartitionName,
    /// What went in and out.
    pub traffic: Traffic,
    directory: ArcSwap<Directory>,
    config: ArcSwap<TopicConfig>,
    state: Mutex<State>,
}

struct State {
    log: Log,
    /// In the directory's list of partitions with unsynced records, since then.
    unsynced_since: Option<Monotonic>,
    leader_epoch: LeaderEpoch,
    leads: bool,
    replicas: Replicas,
    /// `min.insync.replicas`.
    min_isr: usize,
    /// Its topic was deleted: its files are about to be renamed.
    deleted: bool,
    /// Acknowledgements and the high watermark wait for fsync (`flush.messages=1`).
    synced_acks: bool,
    high_watermark: Offset,
    flush: Flush,
    appended: WaitList,
    committed: WaitList,
}

impl Partition {
    /// A partition that nobody leads yet. Without other replicas everything that survived in its log
    /// is committed.
    #[must_use]
    pub fn new(
        name: PartitionName,
        directory: Arc<Directory>,
        log: Log,
        config: Arc<TopicConfig>,
    ) -> Self {
        let synced_acks = log.config().flush_messages == 1;
        let min_isr = min_isr(&config);
        let high_watermark = log.log_end_offset();
        let state = State {
            log,
            unsynced_since: None,
            leader_epoch: LeaderEpoch::NONE,
            leads: false,
            replicas: Replicas::default(),
            min_isr,
            deleted: false,
            synced_acks,
            high_watermark,
            flush: Flush::Idle,
            appended: WaitList::default(),
            committed: WaitList::default(),
        };
        Self {
            name,
            traffic: Traffic::default(),
            directory: ArcSwap::new(directory),
            config: ArcSwap::new(config),
            state: Mutex::new(state),
        }
    }

    /// The log directory it lives in.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Appends a validated batch as leader. The first batch of a transaction needs the guard that
    /// [`Partition::begin_verification`] gave before its coordinator was asked.
    ///
    /// # Errors
    /// Not leader, directory offline, or the log refuses ([`AppendError`]). The log is unchanged.
    pub fn append(
        &self,
        batch: &ValidatedBatch<'_>,
        guard: Option<VerificationGuard>,
        now: Now,
    ) -> Result<AppendOutcome, PartitionError> {
        self.append_with(now, |log, epoch| log.append_as_leader(batch, guard, epoch, now))
    }

    /// Appends a batch that this broker made itself: a coordinator's records. Those that belong to a
    /// client's transaction need a guard.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_own(
        &self,
        batch: &[u8],
        guard: Option<VerificationGuard>,
        now: Now,
    ) -> Result<AppendOutcome, PartitionError> {
        self.append_with(now, |log, epoch| log.append_own(batch, guard, epoch, now))
    }

    /// Appends the marker that ends a transaction; see [`Log::append_marker`].
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_marker(
        &self,
        marker: &TxnMarker,
        bumped: bool,
        now: Now,
    ) -> Result<AppendOutcome, PartitionError> {
        self.append_with(now, |log, epoch| log.append_marker(marker, bumped, epoch, now))
    }

    /// Says what the first batch of a transaction needs; `None` if no guard is needed.
    ///
    /// # Errors
    /// Not leader, directory offline.
    pub fn begin_verification(
        &self,
        batch: &Unverified,
        now: Now,
    ) -> Result<Option<VerificationGuard>, PartitionError> {
        self.check_online()?;
        let mut state = self.state.lock();
        state.check_leader(None)?;
        Ok(state.log.begin_verification(batch, now.wall))
    }

    fn append_with(
        &self,
        now: Now,
        append: impl FnOnce(&mut Log, LeaderEpoch) -> Result<Appended, AppendError>,
    ) -> Result<AppendOutcome, PartitionError> {
        self.check_online()?;
        let mut wakes = Wakes::default();
        let outcome = {
            let mut state = self.state.lock();
            state.check_leader(None)?;
            let epoch = state.leader_epoch;
            let appended =
                append(&mut state.log, epoch).map_err(|error| self.append_failed(error))?;
            state.advance_high_watermark(&mut wakes);
            state.appended.take_into(&mut wakes);
            let committed = state.high_watermark > appended.last_offset;
            // A segment that was rolled is synced behind the producers' backs: it bounds recovery.
            let awaited = state.synced_acks && !committed;
            let wanted = awaited || appended.rolled || state.log.needs_flush(now);
            let flush = wanted && state.begin_flush();
            if !flush && !state.synced_acks && state.unsynced_since.is_none() {
                state.unsynced_since = Some(now.monotonic);
                self.directory.load().add_unsynced((self.name.topic_id, self.name.index));
            }
            let taken = committed || !state.synced_acks;
            AppendOutcome { appended, committed, taken, flush }
        };
        self.directory.load().changed.high_watermark();
        wakes.deliver();
        Ok(outcome)
    }

    /// Reads from the log.
    ///
    /// # Errors
    /// Wrong leader epoch, not leader, offset out of range, directory offline.
    pub fn read(&self, read: &Read) -> Result<ReadOutcome, PartitionError> {
        self.check_online()?;
        let state = self.state.lock();
        state.check_leader(read.leader_epoch)?;
        let offsets = state.offsets();
        if read.offset < offsets.log_start || read.offset > offsets.log_end {
            return Err(PartitionError::OffsetOutOfRange {
                got: read.offset,
                start: offsets.log_start,
                end: offsets.log_end,
            });
        }
        let upper_bound = match read.isolation {
            Isolation::Uncommitted => offsets.high_watermark,
            Isolation::Committed => offsets.last_stable,
        };
        let wants_nothing = read.bytes_max == 0 && !read.at_least_one_batch;
        if read.offset >= upper_bound || wants_nothing {
            return Ok(ReadOutcome { offsets, slice: None, aborted: Vec::new() });
        }
        let slice = state
            .log
            .read(read.offset, read.bytes_max, upper_bound, read.at_least_one_batch)
            .map_err(|error| self.read_failed(error))?;
        let slice = (slice.len > 0).then_some(slice);
        let aborted = match (read.isolation, &slice) {
            (Isolation::Committed, Some(slice)) => state
                .log
                .aborted_in(slice, upper_bound)
                .map_err(|error| self.storage_failed(&error))?,
            _ => Vec::new(),
        };
        Ok(ReadOutcome { offsets, slice, aborted })
    }

    /// Where the log stands, for a client that believes in `leader_epoch`.
    ///
    /// # Errors
    /// Wrong leader epoch, not leader, directory offline.
    pub fn offsets(&self, leader_epoch: Option<LeaderEpoch>) -> Result<Offsets, PartitionError> {
        self.with_log(leader_epoch, |_, offsets| offsets)
    }

    /// Looks something up in the log under the lock.
    ///
    /// # Errors
    /// Wrong leader epoch, not leader, directory offline.
    pub fn with_log<T>(
        &self,
        leader_epoch: Option<LeaderEpoch>,
        look: impl FnOnce(&Log, Offsets) -> T,
    ) -> Result<T, PartitionError> {
        self.check_online()?;
        let state = self.state.lock();
        state.check_leader(leader_epoch)?;
        Ok(look(&state.log, state.offsets()))
    }

    /// Changes the log under the lock, in ways that do not append (retention, DeleteRecords,
    /// configuration).
    ///
    /// # Errors
    /// The topic was deleted, the directory is offline, or an I/O error takes it offline now.
    pub fn update_log<T>(
        &self,
        update: impl FnOnce(&mut Log, Offsets) -> Result<T, StorageError>,
    ) -> Result<T, PartitionError> {
        self.check_online()?;
        let mut wakes = Wakes::default();
        let result = {
            let mut state = self.state.lock();
            if state.deleted {
                // Its directory may be another one's by now.
                return Err(PartitionError::NotLeader);
            }
            let offsets = state.offsets();
            let result = update(&mut state.log, offsets);
            let log_start = state.log.log_start_offset();
            state.high_watermark = state.high_watermark.max(log_start);
            if log_start != offsets.log_start {
                self.directory.load().changed.everything();
            }
            state.appended.take_into(&mut wakes);
            result
        };
        wakes.deliver();
        result.map_err(|error| self.storage_failed(&error))
    }

    /// Forgets the producers of the log that have been idle for too long.
    pub fn expire_producers(&self, now: Now) {
        self.state.lock().log.expire_producers(now.wall);
    }

    /// Replaces segments of the log by compacted ones, under the lock. Nothing changes for readers.
    ///
    /// # Errors
    /// The partition was given up meanwhile, its directory is offline, or an I/O error takes it
    /// offline now.
    pub fn replace_segments<T>(
        &self,
        replace: impl FnOnce(&mut Log) -> Result<T, StorageError>,
    ) -> Result<T, PartitionError> {
        self.check_online()?;
        let mut state = self.state.lock();
        if state.deleted {
            // Names are not changed any more.
            return Err(PartitionError::NotLeader);
        }
        state.check_leader(None)?;
        replace(&mut state.log).map_err(|error| self.storage_failed(&error))
    }

    /// The topic's configuration.
    #[must_use]
    pub fn topic_config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// The leader epoch of this leadership.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.state.lock().leader_epoch
    }

    /// Applies a new configuration. A change to acknowledged-after-fsync holds for what is appended
    /// from now on.
    pub fn configure(&self, log_config: LogConfig, config: Arc<TopicConfig>) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.synced_acks = log_config.flush_messages == 1;
            state.log.update_config(log_config);
            state.min_isr = min_isr(&config);
            state.advance_high_watermark(&mut wakes);
        }
        self.config.store(config);
        wakes.deliver();
    }

    /// What a client's batch must be, in a Produce request of this version.
    #[must_use]
    pub fn produce_rules(&self, version: i16) -> ProduceRules {
        let config = self.config.load();
        let (compression, level) = match config.compression {
            CompressionType::Producer => (None, None),
            CompressionType::Uncompressed => (Some(Compression::None), None),
            CompressionType::Gzip => (Some(Compression::Gzip), Some(config.gzip_level)),
            CompressionType::Snappy => (Some(Compression::Snappy), None),
            CompressionType::Lz4 => (Some(Compression::Lz4), Some(config.lz4_level)),
            CompressionType::Zstd => (Some(Compression::Zstd), Some(config.zstd_level)),
        };
        ProduceRules {
            version,
            max_message_bytes: u32::try_from(config.max_message_bytes).unwrap_or(u32::MAX),
            compact: config.compact,
            timestamp_type: match config.timestamp_type {
                TopicTimestampType::CreateTime => TimestampType::CreateTime,
                TopicTimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            compression,
            compression_level: level,
            inflated_bytes_max: u64::try_from(config.max_decompressed_message_bytes)
                .unwrap_or(u64::MAX),
        }
    }

    /// The high watermark.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.state.lock().high_watermark
    }

    /// The log end offset.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.state.lock().log.log_end_offset()
    }

    /// Everything below is on the disk.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.state.lock().log.flushed_offset()
    }

    /// The log start offset, if the files alone do not tell it, also because retention's have their
    /// names still.
    #[must_use]
    pub fn log_start_to_checkpoint(&self) -> Option<Offset> {
        let state = self.state.lock();
        let start = state.log.log_start_offset();
        let first = state.log.segment_bases().next().unwrap_or(Offset::ZERO);
        (start > first || state.log.is_retiring()).then_some(start)
    }

    /// Registers for the next append, or anything else that changes what a fetch would answer.
    pub fn on_append(&self, waiter: &Arc<Waiter>) {
        self.state.lock().appended.register(waiter);
    }

    /// Registers for the next advance of the high watermark.
    pub fn on_commit(&self, waiter: &Arc<Waiter>) {
        self.state.lock().committed.register(waiter);
    }

    /// Whether its topic was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }

    /// Takes over what the metadata says: whether this broker leads, and in which epoch. Who waits
    /// looks again.
    pub fn lead(&self, leads: bool, leader_epoch: LeaderEpoch) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            if state.leads == leads && state.leader_epoch == leader_epoch {
                return;
            }
            state.leads = leads;
            state.leader_epoch = leader_epoch;
            if leads && state.log.log_end_offset() > Offset::ZERO {
                state.log.assign_epoch_start(leader_epoch);
            }
            state.appended.take_into(&mut wakes);
            state.committed.take_into(&mut wakes);
        }
        wakes.deliver();
    }

    /// Takes over which replicas are in sync. While others than this one are, nothing more is
    /// committed: they would have to have it, and none follows from here. Nor is it while they are too
    /// few for `min.insync.replicas` (KIP-966).
    pub(crate) fn set_replicas(&self, replicas: Replicas) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.replicas = replicas;
            state.advance_high_watermark(&mut wakes);
        }
        wakes.deliver();
    }

    /// Whether this replica has everything below `end` as safe as it makes it.
    ///
    /// # Errors
    /// Not leader, directory offline.
    pub fn has_taken(&self, end: Offset) -> Result<bool, PartitionError> {
        self.check_online()?;
        let state = self.state.lock();
        state.check_leader(None)?;
        Ok(!state.synced_acks || state.log.flushed_offset() >= end || state.high_watermark >= end)
    }

    /// Whether replicas enough are in sync for a batch whose producer waits for all of them.
    ///
    /// # Errors
    /// They are fewer than `min.insync.replicas`, and than there are replicas.
    pub fn check_in_sync(&self) -> Result<(), PartitionError> {
        if self.config.load().min_insync_replicas <= 1 {
            return Ok(()); // The leader is in sync.
        }
        let state = self.state.lock();
        if state.replicas.suffice(state.min_isr) {
            return Ok(());
        }
        Err(PartitionError::NotEnoughReplicas {
            in_sync: state.replicas.in_sync,
            wanted: state.min_isr,
        })
    }

    /// Ends the leadership for good: every request from now on, and every one that waits, is
    /// refused.
    pub fn resign(&self) {
        {
            let mut state = self.state.lock();
            state.deleted = true;
            state.log.leave_directory();
        }
        self.lead(false, LeaderEpoch::NONE);
    }

    /// Reads batches from `offset` on, committed or not and whoever leads, with the log's start and
    /// end.
    ///
    /// # Errors
    /// The directory is offline, or an I/O error takes it offline now.
    pub(crate) fn read_to_copy(
        &self,
        offset: Offset,
        bytes_max: u32,
    ) -> Result<(Offset, Offset, Option<LogSlice>), PartitionError> {
        self.check_online()?;
        let state = self.state.lock();
        let (start, end) = (state.log.log_start_offset(), state.log.log_end_offset());
        if offset < start || offset >= end {
            return Ok((start, end, None));
        }
        let slice = state.log.read(offset, bytes_max, end, true);
        let slice = slice.map_err(|error| self.read_failed(error))?;
        Ok((start, end, Some(slice)))
    }

    /// The settings of the log.
    pub(crate) fn log_config(&self) -> LogConfig {
        self.state.lock().log.config().clone()
    }

    /// Puts `copy` in the place of the log, which it then holds, if `take_over` says that it has all
    /// of it and its name. Flushes are held. True if it is done: the caller must submit a flush.
    ///
    /// # Errors
    /// Those of `take_over`; nothing changes then.
    pub(crate) fn switch_log<E>(
        &self,
        copy: &mut Log,
        directory: &Arc<Directory>,
        take_over: impl FnOnce(&mut Log, &Log) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            if state.deleted || !take_over(copy, &state.log)? {
                return Ok(false);
            }
            std::mem::swap(&mut state.log, copy);
            let (epoch, high_watermark) = (state.leader_epoch, state.high_watermark);
            if state.leads && state.log.log_end_offset() > Offset::ZERO {
                state.log.assign_epoch_start(epoch);
            }
            state.log.on_high_watermark(high_watermark);
            self.directory.store(Arc::clone(directory));
            state.flush = Flush::Running;
            state.appended.take_into(&mut wakes);
        }
        wakes.deliver();
        Ok(true)
    }

    fn check_online(&self) -> Result<(), PartitionError> {
        match self.directory.load().offline() {
            None => Ok(()),
            Some(reason) => Err(PartitionError::Offline(reason.to_owned())),
        }
    }

    fn append_failed(&self, error: AppendError) -> PartitionError {
        match error {
            AppendError::Storage(error) => self.storage_failed(&error),
            refused => PartitionError::Append(refused),
        }
    }

    fn read_failed(&self, error: ReadError) -> PartitionError {
        match error {
            ReadError::Storage(error) => self.storage_failed(&error),
            refused => PartitionError::Read(refused),
        }
    }

    pub(crate) fn storage_failed(&self, error: &StorageError) -> PartitionError {
        if !error.is_fatal() {
            return PartitionError::DiskFull(error.to_string());
        }
        let reason = format!("{}: {error}", self.name);
        self.directory.load().take_offline(&reason);
        PartitionError::Offline(reason)
    }
}

impl State {
    fn check_leader(&self, got: Option<LeaderEpoch>) -> Result<(), PartitionError> {
        let ours = self.leader_epoch;
        match got {
            Some(got) if got < ours => Err(PartitionError::FencedLeaderEpoch { got, ours }),
            Some(got) if got > ours => Err(PartitionError::UnknownLeaderEpoch { got, ours }),
            _ if !self.leads => Err(PartitionError::NotLeader),
            _ => Ok(()),
        }
    }

    fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log.log_start_offset(),
            high_watermark: self.high_watermark,
            last_stable: self.log.last_stable_offset(self.high_watermark),
            log_end: self.log.log_end_offset(),
        }
    }

    /// One replica in sync: committed is what the leader itself counts, which is its log end, or only
    /// what is synced where acknowledgements wait for fsync.
    fn advance_high_watermark(&mut self, wakes: &mut Wakes) {
        if self.is_held() {
            return;
        }
        let end = self.log.log_end_offset();
        let counted = if self.synced_acks { self.log.flushed_offset().min(end) } else { end };
        if counted > self.high_watermark {
            self.high_watermark = counted;
            self.log.on_high_watermark(counted);
            self.committed.take_into(wakes);
            self.appended.take_into(wakes);
        }
    }

    /// Whether nothing more is committed until other replicas are in sync, or out of it.
    fn is_held(&self) -> bool {
        !self.replicas.alone || !self.replicas.suffice(self.min_isr)
    }
}

fn min_isr(config: &TopicConfig) -> usize {
    usize::try_from(config.min_insync_replicas).unwrap_or(1)
}
