//! What can go wrong with a log, and which of it takes the directory offline.

use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId};

/// A disk operation of a log failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No space: the log is unchanged, reads go on, and a later append may succeed.
    #[error(
        "disk full: cannot {action} {path}; free space in that file system and it resumes by itself ({source})"
    )]
    Full {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No descriptor is left: as with a full disk, a later attempt may succeed.
    #[error(
        "too many open files: cannot {action} {path}; raise the limit of the process (ulimit -n), or lower ottla.log.open.files.max ({source})"
    )]
    TooManyFiles {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other error. Pages may be marked clean that never reached the disk, so the caller takes
    /// the directory offline until a restart has recovered it.
    #[error(
        "cannot {action} {path}: {source}; its log directory goes offline until a restart has recovered it"
    )]
    Offline {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes on the disk are not what they must be.
    #[error("{path} is damaged: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An earlier error took this log offline.
    #[error(
        "log {path} is offline after an earlier I/O error; restart the broker once the disk is repaired"
    )]
    AlreadyOffline {
        /// Directory of the log.
        path: PathBuf,
    },
}

impl StorageError {
    /// Sorts an I/O error into [`Self::Full`], [`Self::TooManyFiles`] and [`Self::Offline`].
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { action, path, source }
            }
            _ if is_out_of_files(&source) => Self::TooManyFiles { action, path, source },
            _ => Self::Offline { action, path, source },
        }
    }

    /// Whether the caller must take the directory offline.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::TooManyFiles { .. })
    }
}

/// Whether what failed may be tried again: the disk is full, or no descriptor is left.
#[must_use]
pub fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || is_out_of_files(error)
}

/// EMFILE and ENFILE: of the process, of the system. They have no kind in the standard library.
fn is_out_of_files(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A producer's batch does not follow from what the log knows about the producer (KIP-98).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerStateError {
    /// The first sequence number is neither the next one nor of a remembered batch.
    #[error("producer {producer_id} sent sequence {got} after {last}: out of order")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// First sequence number of the batch.
        got: i32,
        /// Last sequence number in the log, -1 if none in this epoch.
        last: i32,
    },
    /// A newer instance of the producer has written already.
    #[error("producer {producer_id} sent epoch {got}, but {current} has written already")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// Epoch of the batch.
        got: ProducerEpoch,
        /// Epoch in the log.
        current: ProducerEpoch,
    },
    /// A plain batch inside the producer's open transaction.
    #[error(
        "producer {producer_id} sent a batch outside of its transaction, open since offset {first_offset}"
    )]
    InvalidTxnState {
        /// The producer.
        producer_id: ProducerId,
        /// First offset of the open transaction.
        first_offset: Offset,
    },
    /// The first batch of a transaction that was not verified with its coordinator (KIP-890).
    #[error(
        "the batch of producer {producer_id} is not part of a transaction that is open or was verified"
    )]
    NotVerified {
        /// The producer.
        producer_id: ProducerId,
    },
    /// A marker of transaction.version 2 has the epoch with which its transaction was written: it
    /// belongs to an earlier one (KIP-890).
    #[error(
        "marker for producer {producer_id} has epoch {epoch}, and so has the open transaction: it must be later"
    )]
    MarkerNotBumped {
        /// The producer.
        producer_id: ProducerId,
        /// Epoch of both.
        epoch: ProducerEpoch,
    },
    /// A marker of an older transaction coordinator.
    #[error(
        "marker for producer {producer_id} has coordinator epoch {got}, but {current} has written already"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// Epoch of the marker.
        got: i32,
        /// Epoch in the log.
        current: i32,
    },
}

/// An append was refused. Unless it is [`AppendError::Storage`], nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Idempotence or transaction rules refuse.
    #[error(transparent)]
    Producer(#[from] ProducerStateError),
    /// The records do not fit into one segment.
    #[error("{size} bytes do not fit into a segment of {segment_bytes} bytes (segment.bytes)")]
    LargerThanSegment {
        /// Bytes of the append.
        size: usize,
        /// The limit.
        segment_bytes: u32,
    },
    /// A follower was given offsets that do not continue its log.
    #[error("batch at offset {got} does not continue the log, which ends at {expected}")]
    UnexpectedOffset {
        /// Base offset of the batch.
        got: Offset,
        /// The least acceptable.
        expected: Offset,
    },
    /// The bytes are not intact record batches.
    #[error("corrupt records: {0}")]
    Corrupt(String),
    /// The log would grow past the largest offset.
    #[error("no offsets left after {0}")]
    OffsetsExhausted(Offset),
}

impl AppendError {
    /// The wire error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Storage(_) => ErrorCode::KafkaStorageError,
            Self::Producer(ProducerStateError::OutOfOrderSequence { .. }) => {
                ErrorCode::OutOfOrderSequenceNumber
            }
            Self::Producer(
                ProducerStateError::InvalidProducerEpoch { .. }
                | ProducerStateError::MarkerNotBumped { .. },
            ) => ErrorCode::InvalidProducerEpoch,
            Self::Producer(
                ProducerStateError::InvalidTxnState { .. } | ProducerStateError::NotVerified { .. },
            ) => ErrorCode::InvalidTxnState,
            Self::Producer(ProducerStateError::CoordinatorFenced { .. }) => {
                ErrorCode::TransactionCoordinatorFenced
            }
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::UnexpectedOffset { .. } | Self::OffsetsExhausted(_) => {
                ErrorCode::UnknownServerError
            }
        }
    }

    /// Whether a Produce answer carries the partition's log start offset; -1 otherwise.
    #[must_use]
    pub const fn reports_log_start(&self) -> bool {
        !matches!(self, Self::Storage(_) | Self::Corrupt(_))
    }

    /// The answer's error message, where one helps: when it may be tried again.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        matches!(self, Self::Storage(error) if !error.is_fatal()).then(|| self.to_string())
    }
}

impl ReadError {
    /// The wire error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}

/// A read was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Outside of the log.
    #[error("offset {got} is outside of the log ({log_start} to {log_end})")]
    OutOfRange {
        /// The offset asked for.
        got: Offset,
        /// First offset served.
        log_start: Offset,
        /// The next offset to be written.
        log_end: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Adds the operation and the file to an I/O result.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, StorageError>;

    /// As [`Self::context`] where calls are frequent: the path is only made for an error.
    fn at(self, action: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, StorageError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::io(action, path, source))
    }

    fn at(self, action: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::io(action, &path(), source))
    }
}
