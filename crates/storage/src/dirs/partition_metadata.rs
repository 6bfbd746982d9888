//! `partition.metadata`: the topic id of the replica in this directory (KIP-516).

use std::path::Path;

use ottla_protocol::Uuid;

use super::{DirsError, files};
use crate::disk::Disk;

/// The file's name.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// Reads the file in a log's directory; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read, or holds no topic id.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Self>, DirsError> {
        let path = log_dir.join(PARTITION_METADATA);
        let Some(text) = files::read_text(disk, &path)? else { return Ok(None) };
        let found = parse(&text).map_err(|what| DirsError::Malformed { path, what })?;
        Ok(Some(found))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path) -> Result<(), DirsError> {
        let text = format!("version: 0\ntopic_id: {}", self.topic_id);
        files::replace(disk, &log_dir.join(PARTITION_METADATA), text.as_bytes())
    }

    /// Writes the file of a new log without syncing it: a crash may take it back or cut it, and who
    /// opens the log then writes it again. Two syncs for each of thousands of new partitions would
    /// be most of the time that their creation takes.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn write_unsynced(&self, disk: &dyn Disk, log_dir: &Path) -> Result<(), DirsError> {
        let text = format!("version: 0\ntopic_id: {}", self.topic_id);
        files::write_unsynced(disk, &log_dir.join(PARTITION_METADATA), text.as_bytes())
    }
}

fn parse(text: &str) -> Result<PartitionMetadata, String> {
    let mut lines = text.lines();
    match lines.next().and_then(|line| line.strip_prefix("version:")).map(str::trim) {
        Some("0") => {}
        Some(other) => return Err(format!("version {other:?} is not known, only 0 is")),
        None => return Err("line 1 is not \"version: 0\"".into()),
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id:")).map(str::trim);
    let id = id.ok_or("line 2 is not \"topic_id: …\"")?;
    let topic_id: Uuid = id.parse().map_err(|error| format!("topic_id: {error}"))?;
    if topic_id.is_zero() {
        return Err("the topic id is zero".into());
    }
    Ok(PartitionMetadata { topic_id })
}
