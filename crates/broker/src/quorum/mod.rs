//! Drives the metadata quorum: carries out what `ottla-raft` decides, on the log
//! `__cluster_metadata-0`, and runs the controller on top of it.
//!
//! A command's records are appended and replayed at once into the controller's speculative state; they
//! are committed when the quorum says so, which takes an fsync; then the image is published, and only
//! then the command is answered. The lock is not held while the disk syncs.

mod files;
mod followers;
mod open;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_config::BrokerConfig;
use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, EncodedBatch, encode_batches};
use ottla_metadata::{
    Command, CommandContext, Controller, Image, Outcome, Provenance, Response, VersionedRecord,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::MetadataRecord;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Now, Offset};
use ottla_protocol::messages::{BeginTransactionRecord, EndTransactionRecord};
use ottla_raft::{
    Action, Append, Endpoint, Input, Quorum, RaftError, ReplicaKey, SnapshotKey, Voter, VoterSet,
};
use ottla_storage::{AppendError, Disk, Log, StorageError, is_temporary};
use parking_lot::Mutex;

use crate::Broker;
use crate::jobs::Job;
use crate::partition::Directory;
use crate::wait::{Promise, WaitList, Wakes};

pub use followers::{LogFetch, LogFound, LogRead, QuorumLeader, SnapshotPiece};
pub use open::OpenQuorum;

/// Why the metadata log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A small file.
    #[error(transparent)]
    Dirs(#[from] ottla_storage::dirs::DirsError),
    /// The log failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log refused an append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A batch or record of the metadata log is damaged, or of a later release.
    #[error("metadata log at offset {offset}: {reason}")]
    Damaged {
        /// Where.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// A record does not fit the ones before it.
    #[error("metadata record does not fit: {0}")]
    Replay(String),
    /// A record cannot be encoded.
    #[error("metadata record cannot be encoded: {0}")]
    Encode(String),
    /// The quorum refuses.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// A batch that must not stay could not be cut off.
    #[error("the metadata log holds a change that failed and cannot be taken back: {0}")]
    NotTakenBack(#[source] StorageError),
    /// `quorum-state` is unreadable.
    #[error(
        "{path}: {reason}; it says which votes this node gave: restore it, do not delete it in a cluster of several voters"
    )]
    QuorumState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl QuorumError {
    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    fn encode(error: impl std::fmt::Display) -> Self {
        Self::Encode(error.to_string())
    }

    fn replay(error: impl std::fmt::Display) -> Self {
        Self::Replay(error.to_string())
    }
}

/// What a command is answered with: the controller's response, or an error that concerns every part
/// of it (NOT_CONTROLLER, KAFKA_STORAGE_ERROR, REQUEST_TIMED_OUT).
pub type CommandResult = Result<Response, ErrorCode>;

/// The metadata partition of this node.
pub struct MetadataQuorum {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    directory: Arc<Directory>,
    state: Mutex<State>,
    /// Held by the one thread that syncs and publishes.
    publishing: Mutex<()>,
}

struct State {
    raft: Quorum,
    controller: Controller,
    log: Log,
    /// Appended and not committed, oldest first. Bounded by the quorum's limit on unflushed bytes.
    pending: VecDeque<Pending>,
    /// A flush job is submitted or running.
    flushing: bool,
    /// The snapshots on the disk, oldest first.
    snapshots: Vec<SnapshotKey>,
    /// Other nodes that wait for more of the log.
    followers: WaitList,
}

/// A batch that waits for its commit.
struct Pending {
    at: Provenance,
    records: Vec<MetadataRecord>,
    answers: Vec<(Arc<Promise<CommandResult>>, Response)>,
}

/// What one flush committed.
#[derive(Default)]
struct Committed {
    image: Option<Image>,
    records: Vec<MetadataRecord>,
    answers: Vec<(Arc<Promise<CommandResult>>, CommandResult)>,
    snapshot: bool,
    followers: Wakes,
}

impl Committed {
    /// Keeps the promises and wakes who follows the log. Call it without a lock.
    fn answer(self) {
        self.followers.deliver();
        for (promise, answer) in self.answers {
            promise.keep(answer);
        }
    }
}

impl MetadataQuorum {
    /// Hands a command to the controller. The promise is kept once the records are committed and the
    /// image is published.
    pub fn submit(
        &self,
        broker: &Broker,
        command: Command,
        context: &mut CommandContext<'_>,
    ) -> Arc<Promise<CommandResult>> {
        let mut state = self.state.lock();
        context.next_offset = state.raft.log_end();
        let Ok(outcome) = state.controller.handle(command, context) else {
            return Promise::kept(Err(ErrorCode::NotController));
        };
        let promise = Promise::new();
        if outcome.records.is_empty() {
            // It may have been decided by what is not committed yet.
            match state.pending.back_mut() {
                Some(last) => last.answers.push((Arc::clone(&promise), outcome.response)),
                None => promise.keep(Ok(outcome.response)),
            }
            return promise;
        }
        match state.append(outcome, &promise, context.now) {
            Ok(()) => {
                if !std::mem::replace(&mut state.flushing, true) {
                    broker.env().submit(Job::FlushMetadata);
                }
            }
            Err(error) => {
                drop(state);
                promise.keep(Err(self.append_failed(broker, &error)));
            }
        }
        promise
    }

    /// Syncs what was appended, and publishes and answers what is committed by it.
    pub(crate) fn run_flush(&self, broker: &Broker) {
        // Images are published in the order of the log.
        let _order = self.publishing.lock();
        loop {
            let work = self.state.lock().log.flush_work();
            let result = match work {
                Ok(work) => work.run().map(|()| work.covers),
                Err(
                    StorageError::Full { source, .. } | StorageError::TooManyFiles { source, .. },
                ) => Err(source),
                Err(error) => Err(std::io::Error::other(error)),
            };
            if let Some(error) = result.as_ref().err().filter(|error| is_temporary(error)) {
                tracing::warn!("the flush of the metadata log is tried again: {error}");
                return broker.run_soon(Job::FlushMetadata);
            }
            let (mut committed, again) = {
                let mut state = self.state.lock();
                let now = broker.env().now();
                let committed = match result {
                    Ok(covers) => {
                        state.log.flushed(covers, now);
                        state.flushed(covers.end_offset, now)
                    }
                    Err(error) => {
                        let reason = format!("fsync of the metadata log failed: {error}");
                        self.directory.take_offline(&reason);
                        state.fail(ErrorCode::KafkaStorageError)
                    }
                };
                state.flushing = !state.pending.is_empty();
                (committed, state.flushing)
            };
            if let Some(image) = committed.image.take() {
                broker.publish(image, &committed.records);
            }
            let snapshot = committed.snapshot;
            committed.answer();
            if snapshot {
                broker.env().submit(Job::SnapshotMetadata);
            }
            if !again {
                return;
            }
        }
    }

    /// Writes a snapshot of the committed image and removes what it makes superfluous.
    pub(crate) fn run_snapshot(&self, broker: &Broker) {
        let (image, kraft_version, voters) = {
            let mut state = self.state.lock();
            if !state.controller.can_snapshot() {
                let now = broker.env().now();
                let _later = state.raft.step(Input::SnapshotFailed, now);
                return;
            }
            let voters = state.raft.voters();
            let (kraft_version, voters) = (voters.kraft_version(), voters.voters().clone());
            (state.controller.image().clone(), kraft_version, voters)
        };
        let at = image.provenance();
        let id = SnapshotKey { end: at.offset.plus(1), epoch: at.epoch };
        let written = files::write(&*self.disk, &self.dir, id, &image, (kraft_version, &voters));
        let now = broker.env().now();
        let mut state = self.state.lock();
        let input = match &written {
            Ok(()) => Input::SnapshotTaken { end: id.end, epoch: id.epoch },
            Err(error) => {
                tracing::warn!("the metadata snapshot was not written: {error}");
                Input::SnapshotFailed
            }
        };
        let actions = state.raft.step(input, now).unwrap_or_default();
        let mut trimmed = None;
        for action in actions {
            let Action::LogStart { start } = action else { continue };
            state.log.increase_log_start_offset(start);
            trimmed = Some(state.log.enforce_retention(start, now));
            state.snapshots = vec![id];
        }
        drop(state);
        let Some(trimmed) = trimmed else { return };
        if let Err(error) = trimmed.map_err(QuorumError::from).and_then(|retired| {
            if let Some(retired) = retired {
                retired.names.run()?;
                broker.run_at(retired.files.due, Job::Delete(retired.files));
            }
            files::remove_older(&*self.disk, &self.dir, id)
        }) {
            tracing::warn!("old metadata segments were not removed: {error}");
        }
    }

    /// Calls `look` with the quorum's state, for DescribeQuorum.
    pub fn describe(&self, now: Now) -> ottla_raft::Description {
        self.state.lock().raft.describe(now)
    }

    /// The finalized kraft.version.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.state.lock().raft.voters().kraft_version()
    }

    /// Lets time pass: snapshots by age, and what the controller does by itself. Returns when to be
    /// called again.
    pub(crate) fn tick(&self, broker: &Broker, now: Now) -> Monotonic {
        let (actions, due) = {
            let mut state = self.state.lock();
            let actions = state.raft.step(Input::Tick, now).unwrap_or_default();
            (actions, state.controller.due(now))
        };
        if actions.iter().any(|action| matches!(action, Action::TakeSnapshot { .. })) {
            broker.env().submit(Job::SnapshotMetadata);
        }
        for command in due {
            drop(broker.own_command(now, command));
        }
        let state = self.state.lock();
        state.raft.next_deadline().min(state.controller.next_deadline())
    }

    /// Stops leading and closes the log.
    ///
    /// # Errors
    /// The log could not be closed; the next start recovers it.
    pub(crate) fn close(&self, now: Now) -> Result<(), StorageError> {
        let (failed, result) = {
            let mut state = self.state.lock();
            let _resigned = state.raft.step(Input::Shutdown, now);
            let failed = state.fail(ErrorCode::NotController);
            (failed, state.log.close(now))
        };
        failed.answer();
        result
    }

    fn append_failed(&self, broker: &Broker, error: &QuorumError) -> ErrorCode {
        tracing::error!("a metadata change was not written: {error}");
        let mut state = self.state.lock();
        match error {
            QuorumError::Raft(_) => ErrorCode::RequestTimedOut,
            QuorumError::Storage(error) | QuorumError::Append(AppendError::Storage(error))
                if !error.is_fatal() =>
            {
                ErrorCode::KafkaStorageError
            }
            _ => {
                self.directory.take_offline(&error.to_string());
                let failed = state.fail(ErrorCode::KafkaStorageError);
                let _resigned = state.raft.step(Input::LogFailed, broker.env().now());
                drop(state);
                failed.answer();
                ErrorCode::KafkaStorageError
            }
        }
    }
}

impl State {
    /// Writes an outcome's records and replays them into the speculative state.
    fn append(
        &mut self,
        outcome: Outcome,
        promise: &Arc<Promise<CommandResult>>,
        now: Now,
    ) -> Result<(), QuorumError> {
        let epoch = self.raft.active_epoch().unwrap_or(LeaderEpoch::NONE);
        let place = BatchPlace { base: self.raft.log_end(), epoch, timestamp: now.wall };
        let Outcome { mut records, atomic, response } = outcome;
        let encode = |records: &[_]| encode_batches(records, place, BATCH_BYTES_MAX);
        let mut batches = encode(&records).map_err(QuorumError::encode)?;
        if atomic && batches.len() > 1 {
            records = in_transaction(records);
            batches = encode(&records).map_err(QuorumError::encode)?;
        }
        self.write(&batches, epoch, now)?;
        let mut records = records.into_iter().map(|versioned| versioned.record);
        for batch in batches {
            let records: Vec<_> = records.by_ref().take(batch.count as usize).collect();
            let offset = batch.base.plus(i64::from(batch.count) - 1);
            let at = Provenance { offset, epoch, timestamp: place.timestamp };
            self.controller.replay(at, &records).map_err(QuorumError::replay)?;
            self.pending.push_back(Pending { at, records, answers: Vec::new() });
        }
        if let Some(last) = self.pending.back_mut() {
            last.answers.push((Arc::clone(promise), response));
        }
        Ok(())
    }

    /// Writes batches to the log, all of them or none: one without the others would be half of what
    /// was asked for, or an open transaction into which later commands would write.
    fn write(
        &mut self,
        batches: &[EncodedBatch],
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<(), QuorumError> {
        let before = self.log.log_end_offset();
        let written = self.write_in_order(batches, epoch, now);
        if written.is_err() && self.log.log_end_offset() > before {
            self.log.truncate_to(before).map_err(QuorumError::NotTakenBack)?;
        }
        written
    }

    fn write_in_order(
        &mut self,
        batches: &[EncodedBatch],
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<(), QuorumError> {
        // Written first: a full disk must not leave the quorum believing in a batch.
        for batch in batches {
            debug_assert_eq!(
                self.log.log_end_offset(),
                batch.base,
                "the batch goes to the log end"
            );
            self.log.append_own(&batch.bytes, None, epoch, now)?;
        }
        let append = Append {
            records: batches.iter().map(|batch| batch.count).sum(),
            bytes: batches.iter().map(|batch| batch.bytes.len() as u64).sum(),
        };
        self.raft.step(Input::Append(append), now)?;
        Ok(())
    }

    fn flushed(&mut self, end: Offset, now: Now) -> Committed {
        let mut committed = Committed::default();
        let actions = match self.raft.step(Input::Flushed { end }, now) {
            Ok(actions) => actions,
            Err(error) => {
                tracing::error!("the quorum refused a flush: {error}");
                Vec::new()
            }
        };
        for action in actions {
            match action {
                Action::HighWatermark(high_watermark) => {
                    self.commit(high_watermark, &mut committed);
                }
                Action::TakeSnapshot { .. } => committed.snapshot = true,
                Action::Activate { .. }
                | Action::PersistQuorumState(_)
                | Action::AppendControl { .. }
                | Action::AppendData { .. }
                | Action::Flush { .. }
                | Action::BecameLeader { .. }
                | Action::LogStart { .. }
                | Action::Resigned { .. } => {}
            }
        }
        committed
    }

    fn commit(&mut self, high_watermark: Offset, committed: &mut Committed) {
        while let Some(batch) = self.pending.pop_front_if(|batch| batch.at.offset < high_watermark)
        {
            committed.records.extend(batch.records);
            let answers = batch.answers.into_iter();
            committed.answers.extend(answers.map(|(promise, response)| (promise, Ok(response))));
        }
        if let Some(image) = self.controller.commit(high_watermark) {
            committed.image = Some(image.clone());
        }
        self.followers.take_into(&mut committed.followers);
    }

    /// Fails everything that waits.
    fn fail(&mut self, error: ErrorCode) -> Committed {
        self.controller.discard();
        self.controller.resign();
        let answers = self.pending.drain(..).flat_map(|batch| batch.answers);
        let mut failed = Committed {
            answers: answers.map(|(promise, _)| (promise, Err(error))).collect(),
            ..Committed::default()
        };
        self.followers.take_into(&mut failed.followers);
        failed
    }
}

/// Puts records that do not fit into one batch between the marks of a metadata transaction
/// (KIP-868), so that nobody sees half of them.
fn in_transaction(records: Vec<VersionedRecord>) -> Vec<VersionedRecord> {
    let begin = VersionedRecord::v0(BeginTransactionRecord::default());
    let end = VersionedRecord::v0(EndTransactionRecord::default());
    std::iter::once(begin).chain(records).chain(std::iter::once(end)).collect()
}

/// The voters of `controller.quorum.voters`, if it is set.
#[must_use]
pub fn static_voters(config: &BrokerConfig) -> Option<VoterSet> {
    let voters = config.quorum_voters();
    let voter = |voter: ottla_config::Voter| Voter {
        key: ReplicaKey { id: BrokerId(voter.id), directory_id: Uuid::ZERO },
        endpoints: vec![Endpoint {
            listener: config.controller_listener_names().first().cloned().unwrap_or_default(),
            host: voter.server.host,
            port: voter.server.port,
        }],
        kraft_versions: (0, 0),
    };
    (!voters.is_empty()).then(|| VoterSet::new(voters.into_iter().map(voter)))
}
