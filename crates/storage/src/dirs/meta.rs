//! `meta.properties`: which cluster, node and directory this is.

use std::fmt;
use std::path::{Path, PathBuf};

use ottla_config::properties;
use ottla_protocol::Uuid;
use ottla_protocol::ids::BrokerId;

use super::{DirsError, files};
use crate::disk::Disk;

/// The file's name.
pub const META_PROPERTIES: &str = "meta.properties";

/// The only version a KRaft node writes; 0 was ZooKeeper's.
const VERSION: &str = "1";

/// Directory ids below this value have a meaning of their own (KIP-858).
const RESERVED_IDS: u128 = 100;

/// The identity of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `directory.id`; directories older than KIP-858 have none.
    pub directory_id: Option<Uuid>,
    /// Keys that are not known here; they are written back.
    pub unknown: Vec<(String, String)>,
}

impl MetaProperties {
    /// Reads the file of directory `dir`; `None` when there is none, which means that the directory
    /// is not formatted.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold the identity.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DirsError> {
        let path = dir.join(META_PROPERTIES);
        let Some(text) = files::read_text(disk, &path)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|what| malformed(path, &what))
    }

    /// Writes the file of directory `dir`, replacing one that is there.
    ///
    /// # Errors
    /// A disk operation failed.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), DirsError> {
        files::replace(disk, &dir.join(META_PROPERTIES), self.to_string().as_bytes())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut cluster_id) = (None, None);
        let (mut node_id, mut directory_id, mut unknown) = (None, None, Vec::new());
        for property in properties::parse(text).map_err(|error| error.to_string())? {
            let value = property.value.trim().to_owned();
            match property.key.as_str() {
                "version" => version = Some(value),
                "cluster.id" => cluster_id = Some(value).filter(|value| !value.is_empty()),
                "node.id" => node_id = Some(parse_node_id(&value)?),
                "directory.id" => directory_id = Some(parse_directory_id(&value)?),
                _ => unknown.push((property.key, property.value)),
            }
        }
        match version.as_deref() {
            Some(VERSION) => {}
            Some("0") => return Err("version 0 was written by a ZooKeeper-based broker; migrate that cluster to KRaft with Kafka 3.9 first".into()),
            Some(other) => return Err(format!("version {other:?} is not known, only 1 is")),
            None => return Err("version is missing".into()),
        }
        Ok(Self {
            cluster_id: cluster_id.ok_or("cluster.id is missing")?,
            node_id: node_id.ok_or("node.id is missing")?,
            directory_id,
            unknown,
        })
    }
}

impl fmt::Display for MetaProperties {
    /// The file's text: Kafka's order, without the date of its second line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node_id = self.node_id.to_string();
        let directory_id = self.directory_id.map(|id| id.to_string());
        let mut pairs = vec![("node.id", node_id.as_str())];
        pairs.extend(directory_id.as_deref().map(|id| ("directory.id", id)));
        pairs.extend([("version", VERSION), ("cluster.id", &self.cluster_id)]);
        pairs.extend(self.unknown.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        write!(f, "#\n{}", properties::render(pairs))
    }
}

/// Whether a directory must not have this id.
pub(super) fn is_reserved(id: Uuid) -> bool {
    u128::from_be_bytes(id.0) < RESERVED_IDS
}

fn parse_node_id(text: &str) -> Result<BrokerId, String> {
    let id = text.parse().ok().filter(|&id: &i32| id >= 0);
    id.map(BrokerId).ok_or_else(|| format!("node.id is {text:?}, a number from 0 is expected"))
}

fn parse_directory_id(text: &str) -> Result<Uuid, String> {
    let id: Uuid = text.parse().map_err(|error| format!("directory.id: {error}"))?;
    if is_reserved(id) {
        return Err(format!("directory.id {id} is reserved"));
    }
    Ok(id)
}

fn malformed(path: PathBuf, what: &str) -> DirsError {
    let what = format!(
        "{what}; restore it from another directory of this node (only directory.id differs)"
    );
    DirsError::Malformed { path, what }
}
