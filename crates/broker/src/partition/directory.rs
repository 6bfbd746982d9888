//! A log directory, and which of its checkpoints are to be written.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_protocol::Uuid;
use ottla_protocol::ids::PartitionIndex;
use parking_lot::Mutex;

/// A log directory as its partitions see it. Once offline it stays so until a restart has recovered
/// it: after a failed fsync, pages may be marked clean that never reached the disk.
#[derive(Debug)]
pub struct Directory {
    /// Its id in `meta.properties`.
    pub id: Uuid,
    /// Its path, as configured.
    pub path: std::path::PathBuf,
    offline: OnceLock<String>,
    /// Partitions whose flush was refused and has not succeeded since.
    refused: Mutex<BTreeSet<PartitionId>>,
    /// Partitions with records that no flush is asked for, each once.
    unsynced: Mutex<Vec<PartitionId>>,
    /// What its checkpoints do not say yet.
    pub(crate) changed: Changed,
}

/// Topic id and index.
pub(crate) type PartitionId = (Uuid, PartitionIndex);

/// Which checkpoints of a directory are to be written: set by what changes an offset, taken by who
/// writes.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    high_watermarks: AtomicBool,
    recovery_points: AtomicBool,
    log_starts: AtomicBool,
}

impl Changed {
    /// A high watermark moved. Cheap where it is set already.
    pub(crate) fn high_watermark(&self) {
        set(&self.high_watermarks);
    }

    /// A recovery point moved.
    pub(crate) fn recovery_point(&self) {
        set(&self.recovery_points);
    }

    /// A log start offset moved.
    pub(crate) fn log_start(&self) {
        set(&self.log_starts);
    }

    /// A partition came or went.
    pub(crate) fn everything(&self) {
        [&self.high_watermarks, &self.recovery_points, &self.log_starts].into_iter().for_each(set);
    }

    /// Whether recovery points are to be written.
    pub(crate) fn has_recovery_points(&self) -> bool {
        self.recovery_points.load(Ordering::Relaxed)
    }

    pub(crate) fn take_log_starts(&self) -> bool {
        self.log_starts.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_high_watermarks(&self) -> bool {
        self.high_watermarks.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_recovery_points(&self) -> bool {
        self.recovery_points.swap(false, Ordering::AcqRel)
    }
}

fn set(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Release);
    }
}

impl Directory {
    /// A directory that is online.
    #[must_use]
    pub fn new(id: Uuid, path: std::path::PathBuf) -> Arc<Self> {
        let (offline, refused, unsynced, changed) = <_>::default();
        Arc::new(Self { id, path, offline, refused, unsynced, changed })
    }

    /// Why it is offline, if it is.
    #[must_use]
    pub fn offline(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }

    /// A flush of this partition was refused for want of room or open files: the log says so when it
    /// begins.
    pub(crate) fn flush_refused(&self, id: PartitionId, error: &std::io::Error) {
        let mut refused = self.refused.lock();
        if refused.is_empty() {
            let path = self.path.display();
            tracing::warn!("flushes in {path} are tried again until they succeed: {error}");
        }
        refused.insert(id);
    }

    /// A flush of this partition succeeded, or it needs none any more.
    pub(crate) fn flush_done(&self, id: PartitionId) {
        let mut refused = self.refused.lock();
        if refused.remove(&id) && refused.is_empty() {
            tracing::info!("flushes in {} succeed again", self.path.display());
        }
    }

    /// Notes a partition that has records which no flush is asked for.
    pub(crate) fn add_unsynced(&self, id: PartitionId) {
        self.unsynced.lock().push(id);
    }

    /// Whether there are such partitions.
    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.lock().is_empty()
    }

    /// Takes them; who still has such records is to be added again.
    pub(crate) fn take_unsynced(&self) -> Vec<PartitionId> {
        std::mem::take(&mut *self.unsynced.lock())
    }

    /// Takes it offline; the first reason stays.
    pub fn take_offline(&self, reason: &str) {
        if self.offline.set(reason.to_owned()).is_ok() {
            tracing::error!(
                directory = %self.path.display(),
                "log directory is offline: {reason}; its partitions refuse requests until a restart has recovered it"
            );
        }
    }
}
