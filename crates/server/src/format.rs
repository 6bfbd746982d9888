//! Formatting a node's directories, as `kafka-storage format` does.

use std::path::{Path, PathBuf};

use ottla_config::BrokerConfig;
use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, encode_batches};
use ottla_metadata::bootstrap::format_records;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset, Timestamp};
use ottla_raft::{
    ControlPlace, ControlRecord, Endpoint, ReplicaKey, Voter, VoterSet, encode_control,
    snapshot_header,
};
use ottla_storage::Disk;
use ottla_storage::dirs::{FormatParams, Formatted, MetaProperties, MetadataDir, format_dirs};

use crate::clock::Clock;
use crate::env::random_bytes;
use crate::error::StartError;

/// What to format a node with.
#[derive(Debug, Clone, Default)]
pub struct Format {
    /// The cluster's id; a random one if none is given.
    pub cluster_id: Option<String>,
    /// This node is the first and only voter of a quorum that may grow later (KIP-853).
    pub standalone: bool,
    /// Leave directories that are formatted as they are.
    pub ignore_formatted: bool,
    /// Feature levels other than the default: name and level.
    pub levels: Vec<(String, i16)>,
    /// Where the controller is reached, if it is bound already; else the configuration says so.
    pub controller: Option<Vec<ottla_config::Listener>>,
}

/// A random id, as `kafka-storage random-uuid` prints it.
#[must_use]
pub fn random_uuid() -> Uuid {
    Uuid::from_random(random_bytes())
}

/// The directories of a node, each once, the metadata log's among them.
pub(crate) fn all_dirs(config: &BrokerConfig) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let texts = config.log_dirs().iter().map(String::as_str);
    for text in texts.chain([config.metadata_log_dir()]) {
        let path = PathBuf::from(text);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// The cluster's id that a directory of the node names already, if any.
pub(crate) fn known_cluster_id(
    disk: &dyn Disk,
    paths: &[PathBuf],
) -> Result<Option<String>, StartError> {
    for path in paths {
        if let Some(meta) = MetaProperties::read(disk, path)? {
            return Ok(Some(meta.cluster_id));
        }
    }
    Ok(None)
}

/// Formats the directories of a node. Returns the cluster's id and what was done.
///
/// # Errors
/// What the options leave open, a directory that is formatted or not ours, or a disk error.
pub fn format(
    disk: &dyn Disk,
    config: &BrokerConfig,
    format: &Format,
) -> Result<(String, Formatted), StartError> {
    let dirs: Vec<_> = all_dirs(config).into_iter().map(|path| (path, random_uuid())).collect();
    let metadata_dir = Path::new(config.metadata_log_dir());
    let cluster_id = format.cluster_id.clone().unwrap_or_else(|| random_uuid().to_string());
    let snapshot = match config.is_controller() {
        true => {
            let id = dirs.iter().find(|(path, _)| path == metadata_dir).map(|(_, id)| *id);
            Some(bootstrap(config, format, id.unwrap_or(Uuid::ZERO))?)
        }
        false => None,
    };
    let params = FormatParams {
        cluster_id: &cluster_id,
        node_id: BrokerId(config.node_id()),
        dirs: &dirs,
        metadata: snapshot.as_deref().map(|snapshot| MetadataDir { path: metadata_dir, snapshot }),
        ignore_formatted: format.ignore_formatted,
    };
    let formatted = format_dirs(disk, &params)?;
    Ok((cluster_id, formatted))
}

/// The bytes of the bootstrap snapshot of a controller.
fn bootstrap(
    config: &BrokerConfig,
    format: &Format,
    directory_id: Uuid,
) -> Result<Vec<u8>, StartError> {
    let is_static = !config.quorum_voters().is_empty();
    let fail = |sentence: &str| Err(StartError::Format(sentence.to_owned()));
    let voters = match (format.standalone, is_static) {
        (true, true) => {
            return fail(
                "--standalone is for a quorum that can change, but controller.quorum.voters is set; remove one of the two",
            );
        }
        (false, true) => None,
        (true, false) => {
            let configured = config.advertised_controller_listeners();
            let listeners = format.controller.as_deref().unwrap_or(configured);
            Some(standalone_voter(config, listeners, directory_id)?)
        }
        (false, false) => {
            return fail(
                "this node is a controller: say --standalone if it is the first of its cluster, or set controller.quorum.voters to a fixed list",
            );
        }
    };
    let now = Clock::start().now().wall;
    let levels: Vec<_> =
        format.levels.iter().map(|(name, level)| (name.as_str(), *level)).collect();
    snapshot(voters.as_ref(), &levels, now).map_err(StartError::Format)
}

/// This node as the only voter.
fn standalone_voter(
    config: &BrokerConfig,
    listeners: &[ottla_config::Listener],
    directory_id: Uuid,
) -> Result<VoterSet, StartError> {
    let endpoints = listeners.iter().map(|listener| Endpoint {
        listener: listener.name.clone(),
        host: match listener.server.host.as_str() {
            "" => host_name(),
            host => host.to_owned(),
        },
        port: listener.server.port,
    });
    let endpoints: Vec<_> = endpoints.collect();
    if endpoints.is_empty() || endpoints.iter().any(|endpoint| endpoint.port == 0) {
        let sentence = "--standalone needs a controller listener with a fixed port in listeners";
        return Err(StartError::Format(sentence.to_owned()));
    }
    let key = ReplicaKey { id: BrokerId(config.node_id()), directory_id };
    Ok(VoterSet::new([Voter { key, endpoints, kraft_versions: (0, 1) }]))
}

/// The snapshot's bytes: header, feature levels, footer.
fn snapshot(
    voters: Option<&VoterSet>,
    levels: &[(&str, i16)],
    timestamp: Timestamp,
) -> Result<Vec<u8>, String> {
    let epoch = LeaderEpoch(0);
    let none = VoterSet::default();
    let header = snapshot_header(timestamp, i16::from(voters.is_some()), voters.unwrap_or(&none));
    let control = |base, records: &[ControlRecord]| {
        encode_control(records, ControlPlace { base, epoch, timestamp })
            .map_err(|error| error.to_string())
    };
    let mut bytes = control(Offset::ZERO, &header)?;
    let records = format_records(levels);
    let base = Offset::ZERO.plus(i64::try_from(header.len()).unwrap_or(0));
    let place = BatchPlace { base, epoch, timestamp };
    for batch in encode_batches(&records, place, BATCH_BYTES_MAX).map_err(|e| e.to_string())? {
        bytes.extend_from_slice(&batch.bytes);
    }
    let end = base.plus(i64::try_from(records.len()).unwrap_or(0));
    bytes.extend_from_slice(&control(end, &[ControlRecord::SnapshotFooter])?);
    Ok(bytes)
}

/// This machine's name.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() { "localhost".to_owned() } else { name.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::batch::decode_batch;
    use ottla_protocol::records::batches;
    use ottla_raft::decode_control;

    /// Written by Kafka 4.4.0 with `--standalone`.
    const KAFKAS: &[u8] = include_bytes!("../../metadata/testdata/format-4.4.0.checkpoint");

    #[test]
    fn the_bootstrap_snapshot_is_kafkas_but_for_times_and_ids() {
        let theirs: Vec<_> = batches(KAFKAS).map(Result::unwrap).collect();
        let [header, ..] = theirs.as_slice() else { panic!("empty") };
        let [_, _, ControlRecord::Voters(voters)] = &decode_control(header).unwrap()[..] else {
            panic!("no voters")
        };
        let ours = snapshot(Some(voters), &[], header.header().max_timestamp).unwrap();
        let ours: Vec<_> = batches(&ours).map(Result::unwrap).collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let (a, b) = (ours.header(), theirs.header());
            assert_eq!(a.base_offset, b.base_offset);
            assert_eq!(a.partition_leader_epoch, b.partition_leader_epoch);
            assert_eq!(ours.bytes().len(), theirs.bytes().len());
            if !a.is_control() {
                let records = |batch| decode_batch(batch).unwrap().1;
                assert_eq!(records(ours), records(theirs));
            }
        }
    }
}
