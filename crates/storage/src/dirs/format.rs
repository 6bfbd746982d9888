//! Formatting: giving directories their identity, once.

use std::path::{Path, PathBuf};

use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

use super::meta::is_reserved;
use super::{DirsError, METADATA_LOG, MetaProperties, files};
use crate::disk::Disk;

/// The snapshot in the metadata log's directory that holds the cluster's first records.
pub const BOOTSTRAP_SNAPSHOT: &str = "00000000000000000000-0000000000.checkpoint";

/// What to format.
#[derive(Debug, Clone, Copy)]
pub struct FormatParams<'a> {
    /// The cluster's id: a [`Uuid`] in its text form.
    pub cluster_id: &'a str,
    /// The node.
    pub node_id: BrokerId,
    /// `log.dirs` and `metadata.log.dir`, each once, with the id it gets if it is not formatted.
    pub dirs: &'a [(PathBuf, Uuid)],
    /// On a controller, or for a voter-less broker `None`.
    pub metadata: Option<MetadataDir<'a>>,
    /// Leave formatted directories as they are, instead of refusing.
    pub ignore_formatted: bool,
}

/// Where the metadata log will be, and what it begins with.
#[derive(Debug, Clone, Copy)]
pub struct MetadataDir<'a> {
    /// `metadata.log.dir`, one of the directories.
    pub path: &'a Path,
    /// The bytes of [`BOOTSTRAP_SNAPSHOT`].
    pub snapshot: &'a [u8],
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formatted {
    /// Directories that are formatted now, sorted.
    pub new: Vec<PathBuf>,
    /// Directories that were formatted before and were left as they are, sorted.
    pub old: Vec<PathBuf>,
}

/// Formats the directories that are not formatted, with the refusals of `kafka-storage format`. A
/// directory counts as formatted once `meta.properties` is there; it is written last.
///
/// # Errors
/// A formatted directory without `ignore_formatted`, one of another cluster or node, an id that may
/// not be used, or a failed disk operation. Nothing was written if an identity is refused.
pub fn format_dirs(disk: &dyn Disk, params: &FormatParams<'_>) -> Result<Formatted, DirsError> {
    let FormatParams { cluster_id, node_id, metadata, .. } = *params;
    if cluster_id.parse::<Uuid>().is_err() {
        return Err(DirsError::InvalidClusterId(cluster_id.to_owned()));
    }
    let mut dirs: Vec<&(PathBuf, Uuid)> = params.dirs.iter().collect();
    dirs.sort();
    let (mut done, mut ids) = (Formatted::default(), Vec::new());
    for (path, id) in dirs.iter().copied() {
        let id = match MetaProperties::read(disk, path)? {
            Some(found) => {
                check_formatted(path, &found, params)?;
                done.old.push(path.clone());
                found.directory_id
            }
            None => {
                done.new.push(path.clone());
                Some(*id)
            }
        };
        if let Some(id) = id {
            check_id(&mut ids, path, id)?;
        }
    }
    for (path, id) in dirs.iter().copied().filter(|(path, _)| done.new.contains(path)) {
        files::create_dir(disk, path)?;
        if let Some(metadata) = metadata.filter(|metadata| metadata.path == path) {
            let log = path.join(METADATA_LOG);
            files::create_dir(disk, &log)?;
            files::replace(disk, &log.join(BOOTSTRAP_SNAPSHOT), metadata.snapshot)?;
        }
        let (cluster_id, directory_id) = (cluster_id.to_owned(), Some(*id));
        let meta = MetaProperties { cluster_id, node_id, directory_id, unknown: Vec::new() };
        meta.write(disk, path)?;
    }
    Ok(done)
}

fn check_formatted(
    path: &Path,
    found: &MetaProperties,
    params: &FormatParams<'_>,
) -> Result<(), DirsError> {
    let path = path.to_path_buf();
    if !params.ignore_formatted {
        return Err(DirsError::AlreadyFormatted { path });
    }
    if found.cluster_id != params.cluster_id {
        let (found, expected) = (found.cluster_id.clone(), params.cluster_id.to_owned());
        return Err(DirsError::ClusterId { path, found, expected });
    }
    if found.node_id != params.node_id {
        return Err(DirsError::NodeId { path, found: found.node_id, expected: params.node_id });
    }
    Ok(())
}

/// Notes a directory's id; two must not share one.
pub(super) fn check_id(
    seen: &mut Vec<(PathBuf, Uuid)>,
    path: &Path,
    id: Uuid,
) -> Result<(), DirsError> {
    if is_reserved(id) {
        return Err(DirsError::ReservedDirectoryId(id));
    }
    if let Some((first, _)) = seen.iter().find(|(_, other)| *other == id) {
        let (first, second) = (first.clone(), path.to_path_buf());
        return Err(DirsError::DuplicateDirectoryId { first, second, id });
    }
    seen.push((path.to_path_buf(), id));
    Ok(())
}
