//! A data directory around the partition logs: its identity, its lock, the mark of a clean stop,
//! and which logs it holds.

pub mod files;
mod format;
mod log_dirs;
mod meta;
mod names;
mod partition_metadata;
mod shutdown;

use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

pub use self::format::{BOOTSTRAP_SNAPSHOT, FormatParams, Formatted, MetadataDir, format_dirs};
pub use self::log_dirs::{DirState, LogDir, LogDirs, OpenDirs};
pub use self::meta::{META_PROPERTIES, MetaProperties};
pub use self::names::{
    FoundLog, Listing, LogKind, METADATA_LOG, delete_dir_name, future_dir_name, list_logs,
    log_dir_name, parse_dir_name, remove_log, rename_log, stray_dir_name,
};
pub use self::partition_metadata::{PARTITION_METADATA, PartitionMetadata};
pub use self::shutdown::{CLEAN_SHUTDOWN, CleanShutdown};

/// Name of the file in the metadata log's directory that holds epoch and vote of this node; its
/// text is `raft`'s. Write it with [`files::replace`].
pub const QUORUM_STATE: &str = "quorum-state";

/// Name of the file whose lock says that a process uses the directory.
pub const LOCK: &str = ".lock";

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// A disk operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it must.
    #[error("{path} is not usable: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// There is no `meta.properties`.
    #[error(
        "{path} is not formatted: it holds no meta.properties; format it with the format command, \
         or mount the right disk there"
    )]
    Unformatted {
        /// The directory.
        path: PathBuf,
    },
    /// It is formatted already.
    #[error(
        "{path} is already formatted; with --ignore-formatted it is left as it is and the other \
         directories are formatted"
    )]
    AlreadyFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another cluster.
    #[error(
        "{path} belongs to cluster {found}, but cluster {expected} is expected; a directory of \
         another cluster is listed in log.dirs"
    )]
    ClusterId {
        /// The directory.
        path: PathBuf,
        /// `cluster.id` in it.
        found: String,
        /// What the other directories or the command say.
        expected: String,
    },
    /// It belongs to another node.
    #[error(
        "{path} belongs to node {found}, but node.id is {expected}; correct node.id or log.dirs"
    )]
    NodeId {
        /// The directory.
        path: PathBuf,
        /// `node.id` in it.
        found: BrokerId,
        /// What the configuration says.
        expected: BrokerId,
    },
    /// Two directories have one identity: one is a copy.
    #[error("{first} and {second} have the same directory.id {id}; one is a copy, remove it")]
    DuplicateDirectoryId {
        /// A directory.
        first: PathBuf,
        /// Another directory.
        second: PathBuf,
        /// The id of both.
        id: Uuid,
    },
    /// Another process works on it.
    #[error("{path} is used by another process, which holds the lock on {path}/.lock; stop it")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A metadata log outside of `metadata.log.dir`.
    #[error(
        "{path} holds a {METADATA_LOG} directory, but metadata.log.dir is {expected}; point \
         metadata.log.dir to it, or remove the one that is not in use"
    )]
    MetadataElsewhere {
        /// The directory that holds it.
        path: PathBuf,
        /// `metadata.log.dir`.
        expected: PathBuf,
    },
    /// A cluster id that no Kafka accepts.
    #[error("cluster id {0:?} is not usable: 22 characters of URL-safe base64 are expected")]
    InvalidClusterId(String),
    /// A directory id with a reserved value.
    #[error("directory id {0} is reserved; choose a random one")]
    ReservedDirectoryId(Uuid),
    /// No directory is left.
    #[error("no log directory is usable; the last error: {0}")]
    AllOffline(String),
    /// A removal of something that was not marked for it.
    #[error("{0} is not marked for deletion; it is left alone")]
    NotMarked(PathBuf),
}

impl DirsError {
    /// Whether a full disk is the cause: the operation may succeed later. Any other I/O error takes
    /// the directory offline.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}

/// Adds the operation and the path to an I/O result.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DirsError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DirsError> {
        self.map_err(|source| DirsError::Io { action, path: path.to_path_buf(), source })
    }
}
