//! `.kafka_cleanshutdown`: the last thing a clean stop writes.

use std::path::Path;

use super::{DirsError, files};
use crate::disk::Disk;

/// The file's name.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// The directory's logs were closed in order: they need no recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker epoch at that time, which the next registration tells (KIP-966). Older versions
    /// wrote an empty file.
    pub broker_epoch: Option<i64>,
}

impl CleanShutdown {
    /// Reads the file of directory `dir`; `None` when there is none: the logs must be recovered.
    ///
    /// # Errors
    /// A disk operation failed. Content that is not Kafka's only loses the epoch, as in Kafka.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DirsError> {
        let bytes = files::read(disk, &dir.join(CLEAN_SHUTDOWN))?;
        Ok(bytes.map(|bytes| Self { broker_epoch: parse(&bytes) }))
    }

    /// Writes the file, after everything else of the directory is durable.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), DirsError> {
        let epoch = self.broker_epoch.unwrap_or(-1);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
        files::replace(disk, &dir.join(CLEAN_SHUTDOWN), text.as_bytes())
    }

    /// Removes the file durably. To be done before the first log of the directory is changed.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn delete(disk: &dyn Disk, dir: &Path) -> Result<(), DirsError> {
        files::remove(disk, &dir.join(CLEAN_SHUTDOWN)).map(|_| ())
    }
}

fn parse(bytes: &[u8]) -> Option<i64> {
    let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    json.get("brokerEpoch")?.as_i64().filter(|&epoch| epoch >= 0)
}
