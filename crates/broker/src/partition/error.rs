//! Why a partition refuses, and what clients are told.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Offset};
use ottla_storage::{AppendError, ReadError};

/// Why a partition did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The client's idea of the leader epoch is older than ours (KIP-320).
    #[error("leader epoch {got} in the request, {ours} here")]
    FencedLeaderEpoch {
        /// In the request.
        got: LeaderEpoch,
        /// Ours.
        ours: LeaderEpoch,
    },
    /// The client's idea of the leader epoch is newer than ours.
    #[error("leader epoch {got} in the request, only {ours} is known here")]
    UnknownLeaderEpoch {
        /// In the request.
        got: LeaderEpoch,
        /// Ours.
        ours: LeaderEpoch,
    },
    /// This broker does not lead the partition.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// Too few replicas are in sync for a batch whose producer waits for all.
    #[error("{in_sync} replicas are in sync, min.insync.replicas={wanted}")]
    NotEnoughReplicas {
        /// How many are.
        in_sync: usize,
        /// How many have to be.
        wanted: usize,
    },
    /// The log directory is offline.
    #[error("the log directory is offline: {0}")]
    Offline(String),
    /// The disk is full: the log is unchanged, reads go on.
    #[error("{0}")]
    DiskFull(String),
    /// The log refused the batch.
    #[error(transparent)]
    Append(AppendError),
    /// The log refused the read.
    #[error(transparent)]
    Read(ReadError),
    /// A DeleteRecords offset outside the log.
    #[error("offset {got} is not between the log start {start} and the high watermark {end}")]
    OffsetOutOfRange {
        /// In the request.
        got: Offset,
        /// Log start.
        start: Offset,
        /// High watermark.
        end: Offset,
    },
}

impl PartitionError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull(_))
    }
}

impl From<&PartitionError> for ErrorCode {
    fn from(error: &PartitionError) -> Self {
        match error {
            PartitionError::FencedLeaderEpoch { .. } => Self::FencedLeaderEpoch,
            PartitionError::UnknownLeaderEpoch { .. } => Self::UnknownLeaderEpoch,
            PartitionError::NotLeader => Self::NotLeaderOrFollower,
            PartitionError::NotEnoughReplicas { .. } => Self::NotEnoughReplicas,
            PartitionError::Offline(_) | PartitionError::DiskFull(_) => Self::KafkaStorageError,
            PartitionError::Append(error) => error.code(),
            PartitionError::Read(error) => error.code(),
            PartitionError::OffsetOutOfRange { .. } => Self::OffsetOutOfRange,
        }
    }
}
