//! Names of the logs' directories, and what becomes of a log by renaming it.

use std::path::Path;

use ottla_protocol::Uuid;
use ottla_protocol::ids::PartitionIndex;

use super::{At, DirsError};
use crate::disk::Disk;

/// The directory of the metadata log.
pub const METADATA_LOG: &str = "__cluster_metadata-0";

/// No file name is longer.
const NAME_BYTES_MAX: usize = 255;

const DELETE: &str = "-delete";
const FUTURE: &str = "-future";
const STRAY: &str = "-stray";

/// What a log's directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// A replica.
    Normal,
    /// To be removed. The topic's name may be cut.
    Delete,
    /// Copy target of a move between directories; becomes the replica when it has caught up.
    Future,
    /// A replica that the metadata did not assign here at an earlier start: kept, not loaded. The
    /// topic's name may be cut.
    Stray,
}

/// A log's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLog {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The directory's name.
    pub dir_name: String,
    /// What it is for.
    pub kind: LogKind,
}

/// What a data directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Logs, sorted by directory name, without the metadata log.
    pub logs: Vec<FoundLog>,
    /// Whether the metadata log is here.
    pub has_metadata_log: bool,
    /// Directories whose names no log has (`lost+found`). To be reported and left alone.
    pub odd: Vec<String>,
}

/// The logs in data directory `dir`.
///
/// # Errors
/// The directory cannot be read.
pub fn list_logs(disk: &dyn Disk, dir: &Path) -> Result<Listing, DirsError> {
    let mut listing = Listing::default();
    for entry in disk.list(dir).at("list", dir)?.into_iter().filter(|entry| entry.is_dir) {
        match parse_dir_name(&entry.name) {
            _ if entry.name == METADATA_LOG => listing.has_metadata_log = true,
            Some(log) => listing.logs.push(log),
            None => listing.odd.push(entry.name),
        }
    }
    Ok(listing)
}

/// Reads a log's directory name: the last `-` separates topic and partition.
#[must_use]
pub fn parse_dir_name(name: &str) -> Option<FoundLog> {
    let (plain, kind) =
        [(DELETE, LogKind::Delete), (FUTURE, LogKind::Future), (STRAY, LogKind::Stray)]
            .into_iter()
            .find_map(|(suffix, kind)| {
                let (plain, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
                (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
                    .then_some((plain, kind))
            })
            .unwrap_or((name, LogKind::Normal));
    let (topic, partition) = plain.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let partition = PartitionIndex(partition.parse().ok().filter(|_| digits)?);
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty() || !topic.bytes().all(named) {
        return None;
    }
    Some(FoundLog { topic: topic.to_owned(), partition, dir_name: name.to_owned(), kind })
}

/// The directory of a replica.
#[must_use]
pub fn log_dir_name(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// The directory of a replica to be removed; `unique` is random.
#[must_use]
pub fn delete_dir_name(topic: &str, partition: PartitionIndex, unique: Uuid) -> String {
    marked(topic, partition, unique, DELETE)
}

/// The copy target of a move between directories; `unique` is random.
#[must_use]
pub fn future_dir_name(topic: &str, partition: PartitionIndex, unique: Uuid) -> String {
    marked(topic, partition, unique, FUTURE)
}

/// The directory of a replica that the metadata does not assign here; `unique` is random.
#[must_use]
pub fn stray_dir_name(topic: &str, partition: PartitionIndex, unique: Uuid) -> String {
    marked(topic, partition, unique, STRAY)
}

/// Gives a log's directory another name, durably.
///
/// # Errors
/// The rename or the sync of the data directory `dir` failed.
pub fn rename_log(disk: &dyn Disk, dir: &Path, from: &str, to: &str) -> Result<(), DirsError> {
    let old = dir.join(from);
    disk.rename(&old, &dir.join(to)).at("rename", &old)?;
    disk.sync_dir(dir).at("sync", dir)
}

/// Removes the directory of a log that was renamed by [`delete_dir_name`]. Slow: for a worker.
///
/// # Errors
/// The removal failed, or the name is not marked for deletion.
pub fn remove_log(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), DirsError> {
    let path = dir.join(name);
    if parse_dir_name(name).is_none_or(|log| log.kind != LogKind::Delete) {
        return Err(DirsError::NotMarked(path));
    }
    disk.remove_dir_all(&path).at("remove", &path)?;
    disk.sync_dir(dir).at("sync", dir)
}

fn marked(topic: &str, partition: PartitionIndex, unique: Uuid, suffix: &str) -> String {
    let tail = format!("-{partition}.{:032x}{suffix}", u128::from_be_bytes(unique.0));
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    // Topic names are ASCII, so every cut is at a character.
    let topic = topic.get(..room).unwrap_or(topic);
    format!("{topic}{tail}")
}
