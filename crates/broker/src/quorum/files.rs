//! The metadata partition's files beside its segments: snapshots.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_metadata::batch::{BatchPlace, decode_batch, encode_batches};
use ottla_metadata::snapshot::{image_records, read_image};
use ottla_metadata::{Image, Provenance};
use ottla_protocol::MetadataRecord;
use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::batches;
use ottla_raft::{
    ControlPlace, ControlRecord, SnapshotKey, VoterSet, decode_control, encode_control,
    snapshot_header,
};
use ottla_storage::{Disk, OpenMode};

use super::QuorumError;

/// Most bytes in one batch of a snapshot.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The name of a snapshot's file.
pub(super) fn file_name(id: SnapshotKey) -> String {
    format!("{:020}-{:010}.checkpoint", id.end.0, id.epoch.0)
}

fn parse_name(name: &str) -> Option<SnapshotKey> {
    let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    Some(SnapshotKey { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
}

/// A snapshot in memory.
pub(super) struct Snapshot {
    pub id: SnapshotKey,
    pub image: Image,
    pub voters: Option<VoterSet>,
    pub records: Vec<MetadataRecord>,
}

/// All snapshots of the directory, oldest first.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotKey>, QuorumError> {
    let entries = disk.list(dir).map_err(|error| QuorumError::io("list", dir, error))?;
    let mut ids: Vec<_> = entries.iter().filter_map(|entry| parse_name(&entry.name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Reads a snapshot.
pub(super) fn load(disk: &dyn Disk, dir: &Path, id: SnapshotKey) -> Result<Snapshot, QuorumError> {
    let path = dir.join(file_name(id));
    let bytes = read_file(disk, &path).map_err(|error| QuorumError::io("read", &path, error))?;
    let mut all = Vec::new();
    let mut voters = None;
    let mut timestamp = Timestamp::NONE;
    for batch in batches(&bytes) {
        let damaged = |reason: String| QuorumError::Damaged {
            offset: id.end,
            reason: format!("{}: {reason}", path.display()),
        };
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        batch.verify_crc().map_err(|error| damaged(error.to_string()))?;
        timestamp = batch.header().max_timestamp;
        if batch.header().is_control() {
            let found = decode_control(&batch).map_err(|error| damaged(error.to_string()))?;
            voters = voters_of(found).or(voters);
        } else {
            let (_, records) = decode_batch(&batch).map_err(|error| damaged(error.to_string()))?;
            all.extend(records);
        }
    }
    let at = Provenance { offset: id.end.plus(-1), epoch: id.epoch, timestamp };
    let image = read_image(at, &all).map_err(QuorumError::replay)?;
    Ok(Snapshot { id, image, voters, records: all })
}

/// The voters that control records set, if they do.
pub(super) fn voters_of(records: Vec<ControlRecord>) -> Option<VoterSet> {
    records.into_iter().rev().find_map(|record| match record {
        ControlRecord::Voters(voters) => Some(voters),
        ControlRecord::LeaderChange { .. }
        | ControlRecord::SnapshotHeader { .. }
        | ControlRecord::SnapshotFooter
        | ControlRecord::KRaftVersion(_) => None,
    })
}

/// Writes a snapshot: under a temporary name, synced, renamed, directory synced.
pub(super) fn write(
    disk: &dyn Disk,
    dir: &Path,
    id: SnapshotKey,
    image: &Image,
    (kraft_version, voters): (i16, &VoterSet),
) -> Result<(), QuorumError> {
    let path = dir.join(file_name(id));
    let part: PathBuf = dir.join(format!("{}.part", file_name(id)));
    let failed = |error| QuorumError::io("write", &part, error);
    let header = snapshot_header(image.provenance().timestamp, kraft_version, voters);
    let bytes = encode(id, image, &header)?;
    if disk.exists(&part).map_err(failed)? {
        disk.remove_file(&part).map_err(failed)?;
    }
    let file = disk.open(&part, OpenMode::CreateNew).map_err(failed)?;
    file.write_at(&[std::io::IoSlice::new(&bytes)], 0).map_err(failed)?;
    file.sync().map_err(failed)?;
    disk.rename(&part, &path).map_err(failed)?;
    disk.sync_dir(dir).map_err(failed)
}

fn encode(
    id: SnapshotKey,
    image: &Image,
    header: &[ControlRecord],
) -> Result<Vec<u8>, QuorumError> {
    let timestamp = image.provenance().timestamp;
    let control = |base, records: &[_]| {
        let place = ControlPlace { base, epoch: id.epoch, timestamp };
        encode_control(records, place).map_err(QuorumError::encode)
    };
    let mut bytes = control(Offset::ZERO, header)?;
    let base = Offset(i64::try_from(header.len()).unwrap_or(0));
    let records = image_records(image);
    let end = base.plus(i64::try_from(records.len()).unwrap_or(0));
    let place = BatchPlace { base, epoch: id.epoch, timestamp };
    for batch in encode_batches(&records, place, BATCH_BYTES_MAX).map_err(QuorumError::encode)? {
        bytes.extend_from_slice(&batch.bytes);
    }
    bytes.extend_from_slice(&control(end, &[ControlRecord::SnapshotFooter])?);
    Ok(bytes)
}

/// Removes the snapshots older than `keep`: nothing needs an older one once a newer is durable.
pub(super) fn remove_older(
    disk: &dyn Disk,
    dir: &Path,
    keep: SnapshotKey,
) -> Result<(), QuorumError> {
    for id in list(disk, dir)?.into_iter().filter(|id| *id < keep) {
        let path = dir.join(file_name(id));
        disk.remove_file(&path).map_err(|error| QuorumError::io("remove", &path, error))?;
    }
    Ok(())
}

fn read_file(disk: &dyn Disk, path: &Path) -> std::io::Result<Bytes> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes.into())
}
