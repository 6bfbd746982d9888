//! Slow work as data: the environment runs [`Job`]s on threads where they may block, and what they
//! find comes back into the broker as an input.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_raft::VoteAnswer;
use ottla_storage::{DeleteWork, StorageError, is_temporary};

use crate::Broker;
use crate::partition::Partition;
use crate::wait::Promise;

/// Which thread a job runs on. Metadata is apart from data: a data disk that stalls must not stall
/// the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The metadata log.
    Metadata,
    /// Everything that acknowledgements may wait for.
    Data,
    /// Deletes, compaction and checkpoints: nobody waits.
    Background,
}

/// After how long files are removed that a full disk did not let be renamed.
const DELETE_AGAIN_MS: i64 = 10_000;

/// Work that blocks.
pub enum Job {
    /// Syncs the metadata log; what it covers is committed then.
    FlushMetadata,
    /// Writes a snapshot of the committed metadata image.
    SnapshotMetadata,
    /// Goes on in an epoch above that of a candidate, then answers it.
    AdoptEpoch(VoteAnswer, Arc<Promise<VoteAnswer>>),
    /// Opens the partitions that a full disk did not let open.
    OpenPartitions,
    /// Syncs a partition's log.
    Flush(Arc<Partition>),
    /// Replays a partition of a coordinator's topic.
    LoadShard(Arc<Partition>),
    /// Reports the markers of transactions that are committed by now.
    FinishMarkers,
    /// Applies retention to every partition.
    Retention,
    /// Forgets idle producers of every partition.
    ExpireProducers,
    /// Flushes the partitions whose `flush.ms` passed, and what was written some time ago.
    FlushAged,
    /// Writes high watermarks.
    CheckpointHighWatermarks,
    /// Writes recovery points and log start offsets.
    CheckpointRecoveryPoints,
    /// Compacts logs, one step.
    Clean,
    /// Copies a replica to another directory, one step.
    Move,
    /// Removes files that were renamed `.deleted`.
    Delete(DeleteWork),
    /// Removes the directory of a deleted partition.
    RemoveDirectory(PathBuf),
}

impl Job {
    /// Where it runs.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            // On the lane that publishes images: nobody else opens partitions.
            Self::FlushMetadata
            | Self::SnapshotMetadata
            | Self::AdoptEpoch(..)
            | Self::OpenPartitions => Lane::Metadata,
            Self::Flush(_) | Self::LoadShard(_) | Self::FinishMarkers => Lane::Data,
            Self::FlushAged
            | Self::Retention
            | Self::ExpireProducers
            | Self::CheckpointHighWatermarks
            | Self::CheckpointRecoveryPoints
            | Self::Clean
            | Self::Move
            | Self::Delete(_)
            | Self::RemoveDirectory(_) => Lane::Background,
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FlushMetadata => f.write_str("flush metadata"),
            Self::SnapshotMetadata => f.write_str("snapshot metadata"),
            Self::AdoptEpoch(answer, _) => write!(f, "adopt epoch {}", answer.epoch),
            Self::OpenPartitions => f.write_str("open partitions"),
            Self::Flush(partition) => write!(f, "flush {}", partition.name),
            Self::LoadShard(partition) => write!(f, "load {}", partition.name),
            Self::FinishMarkers => f.write_str("finish markers"),
            Self::Retention => f.write_str("retention"),
            Self::ExpireProducers => f.write_str("expire producers"),
            Self::FlushAged => f.write_str("flush aged"),
            Self::CheckpointHighWatermarks => f.write_str("checkpoint high watermarks"),
            Self::CheckpointRecoveryPoints => f.write_str("checkpoint recovery points"),
            Self::Clean => f.write_str("clean"),
            Self::Move => f.write_str("move"),
            Self::Delete(_) => f.write_str("delete segments"),
            Self::RemoveDirectory(path) => write!(f, "remove {}", path.display()),
        }
    }
}

/// What a timer brings.
pub enum Due {
    /// Submit this job now.
    Job(Job),
    /// Retention, and the next one.
    Retention,
    /// A look for idle producers, and the next one.
    ExpireProducers,
    /// High watermark checkpoints, and the next ones.
    HighWatermarks,
    /// Recovery point checkpoints, and the next ones.
    RecoveryPoints,
    /// A look for logs to flush by age, and the next one.
    FlushAged,
    /// A heartbeat to the controller, and the next one.
    Heartbeat,
}

/// How often logs are looked at for `flush.ms`, in milliseconds.
pub const FLUSH_CHECK_MS: i64 = 1000;

/// How soon what a full disk refused is tried again, in milliseconds.
const RETRY_MS: i64 = 500;

impl Broker {
    /// Tries again later what a full disk refused.
    pub(crate) fn run_soon(&self, job: Job) {
        self.run_at(self.env().now().monotonic.plus_millis(RETRY_MS), job);
    }

    /// Runs a job to its end. May block; called by the environment on a thread made for it.
    pub fn run(&self, job: Job) {
        match job {
            Job::FlushMetadata => self.quorum.run_flush(self),
            Job::SnapshotMetadata => self.quorum.run_snapshot(self),
            Job::AdoptEpoch(answer, promise) => self.quorum.run_adopt(self, answer, &promise),
            Job::OpenPartitions => self.open_postponed(),
            Job::Flush(partition) => self.flush(&partition),
            Job::LoadShard(partition) => {
                if let Some(shards) = self.coordinator_of(&partition.name.topic) {
                    shards.load(partition.name.index.0, self);
                }
            }
            Job::FinishMarkers => self.finish_markers(),
            Job::Retention => self.run_retention(),
            Job::ExpireProducers => {
                for partition in self.partitions.all() {
                    partition.expire_producers(self.env().now());
                }
            }
            Job::FlushAged => self.flush_aged(),
            Job::CheckpointHighWatermarks => self.checkpoint_high_watermarks(),
            Job::CheckpointRecoveryPoints => self.checkpoint_recovery_points(),
            Job::Clean => self.run_cleaner(),
            Job::Move => self.run_moves(),
            Job::Delete(work) => {
                if let Err(error) = work.run() {
                    tracing::warn!("segment files could not be removed: {error}");
                    if is_temporary(&error) {
                        let at = self.env().now().monotonic.plus_millis(DELETE_AGAIN_MS);
                        self.run_at(at, Job::Delete(work));
                    }
                }
            }
            Job::RemoveDirectory(path) => {
                if let Err(error) = self.disk().remove_dir_all(&path) {
                    tracing::warn!("{} could not be removed: {error}", path.display());
                }
            }
        }
    }

    pub(crate) fn flush(&self, partition: &Arc<Partition>) {
        // A deleted partition's files have other names by now, and its old ones may be taken.
        while !partition.is_deleted() {
            let result = match partition.flush_work() {
                Ok(work) => work.run().map(|()| work.covers),
                Err(
                    StorageError::Full { source, .. } | StorageError::TooManyFiles { source, .. },
                ) => Err(source),
                Err(error) => Err(io::Error::other(error)),
            };
            if let Some(error) = result.as_ref().err().filter(|error| is_temporary(error)) {
                let id = (partition.name.topic_id, partition.name.index);
                partition.directory().flush_refused(id, error);
                return self.run_soon(Job::Flush(Arc::clone(partition)));
            }
            if result.is_ok() {
                partition.directory().flush_done((partition.name.topic_id, partition.name.index));
            }
            let again = partition.flushed(result, self.env().now());
            if let Some(shards) = self.coordinator_of(&partition.name.topic) {
                let index = partition.name.index.0;
                if partition.directory().offline().is_some() {
                    // Nothing more is committed here: who waits for it is told so.
                    shards.give_up(index, self.env().now());
                } else {
                    shards.committed(index, self);
                }
            }
            if !again {
                return;
            }
        }
        partition.directory().flush_done((partition.name.topic_id, partition.name.index));
    }

    fn run_retention(&self) {
        for partition in self.partitions.all() {
            let now = self.env().now();
            let taken = partition
                .update_log(|log, offsets| log.enforce_retention(offsets.high_watermark, now));
            let done = match taken {
                Ok(None) => continue,
                Ok(Some(retired)) => {
                    let named = retired.names.run();
                    self.run_at(retired.files.due, Job::Delete(retired.files));
                    named.map_err(|error| partition.storage_failed(&error))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::warn!(partition = %partition.name, "retention failed: {error}");
            }
        }
    }
}
