//! The control records of the metadata log and its snapshots.

use bytestring::ByteString;
use ottla_protocol::codec::{EncodeError, Message, encode_to_bytes};
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset, Timestamp};
use ottla_protocol::messages::leader_change_message as change;
use ottla_protocol::messages::voters_record as voters;
use ottla_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, BuildError, ControlType, WalkLimits, records,
};

use crate::voters::{Endpoint, ReplicaKey, Voter, VoterSet};

/// A control record (on-disk types 2 to 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlRecord {
    /// The first record of an epoch (LeaderChangeMessage).
    LeaderChange {
        /// The new leader.
        leader: BrokerId,
        /// Everybody who could vote.
        voters: Vec<ReplicaKey>,
        /// Who voted for the leader.
        granting: Vec<ReplicaKey>,
    },
    /// The first record of a snapshot (SnapshotHeaderRecord).
    SnapshotHeader {
        /// The timestamp of the last batch that the snapshot covers; 0 for the bootstrap snapshot
        /// written by `storage format`, as in Kafka the time of the format.
        last_timestamp: Timestamp,
    },
    /// The last record of a snapshot (SnapshotFooterRecord).
    SnapshotFooter,
    /// The finalized kraft.version (KRaftVersionRecord).
    KRaftVersion(i16),
    /// The voter set from here on (VotersRecord).
    Voters(VoterSet),
}

/// Where a control batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPlace {
    /// The offset of its first record.
    pub base: Offset,
    /// Its partition leader epoch.
    pub epoch: LeaderEpoch,
    /// The timestamp of its records.
    pub timestamp: Timestamp,
}

/// Control records that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// A host name that is too long, or the like.
    #[error(transparent)]
    Record(#[from] EncodeError),
    /// Too large.
    #[error(transparent)]
    Batch(#[from] BuildError),
    /// Bytes that are no control batch known here.
    #[error("control batch at offset {0} is damaged or was written by a later release")]
    Unreadable(Offset),
}

impl ControlRecord {
    fn control_type(&self) -> ControlType {
        match self {
            Self::LeaderChange { .. } => ControlType::LeaderChange,
            Self::SnapshotHeader { .. } => ControlType::SnapshotHeader,
            Self::SnapshotFooter => ControlType::SnapshotFooter,
            Self::KRaftVersion(_) => ControlType::KRaftVersion,
            Self::Voters(_) => ControlType::KRaftVoters,
        }
    }

    fn value(&self) -> Result<bytes::Bytes, EncodeError> {
        match self {
            Self::LeaderChange { leader, voters, granting } => {
                let voter =
                    |key: &ReplicaKey| change::Voter { voter_id: key.id.0, ..Default::default() };
                body(&LeaderChangeMessage {
                    leader_id: leader.0,
                    voters: voters.iter().map(voter).collect(),
                    granting_voters: granting.iter().map(voter).collect(),
                    ..Default::default()
                })
            }
            Self::SnapshotHeader { last_timestamp } => body(&SnapshotHeaderRecord {
                last_contained_log_timestamp: last_timestamp.0,
                ..Default::default()
            }),
            Self::SnapshotFooter => body(&SnapshotFooterRecord::default()),
            Self::KRaftVersion(version) => {
                body(&KRaftVersionRecord { kraft_version: *version, ..Default::default() })
            }
            Self::Voters(set) => body(&voters_record(set)),
        }
    }
}

/// Encodes one control batch.
///
/// # Errors
/// A name that is too long for the format.
pub fn encode_control(
    records: &[ControlRecord],
    place: ControlPlace,
) -> Result<Vec<u8>, ControlError> {
    let mut batch = BatchBuilder::new(BatchOptions {
        base_offset: place.base,
        leader_epoch: place.epoch,
        control: true,
        ..BatchOptions::default()
    });
    for record in records {
        batch.append(
            place.timestamp,
            Some(&record.control_type().key()),
            Some(&record.value()?),
        )?;
    }
    Ok(batch.build()?)
}

/// Reads the control records of a batch; transaction markers and unknown types are left out, as
/// Kafka does.
///
/// # Errors
/// Records that cannot be read.
pub fn decode_control(batch: &BatchView<'_>) -> Result<Vec<ControlRecord>, ControlError> {
    let base = batch.header().base_offset;
    let damaged = || ControlError::Unreadable(base);
    let limits = WalkLimits { inflated_bytes_max: 64 * 1024 * 1024 };
    let mut found = Vec::new();
    for record in records(batch, &limits).map_err(|_| damaged())? {
        let record = record.map_err(|_| damaged())?;
        let (Some(key), Some(value)) = (&record.key, &record.value) else { return Err(damaged()) };
        found.extend(decode_one(key, value).map_err(|_| damaged())?);
    }
    Ok(found)
}

/// A snapshot is: this batch at offset 0, the data batches from offset `records.len()` on, and
/// [`encode_control`] of a footer. With kraft.version 0 the header stands alone.
#[must_use]
pub fn snapshot_header(
    last_timestamp: Timestamp,
    kraft_version: i16,
    voters: &VoterSet,
) -> Vec<ControlRecord> {
    let mut records = vec![ControlRecord::SnapshotHeader { last_timestamp }];
    if kraft_version > 0 {
        records.push(ControlRecord::KRaftVersion(kraft_version));
        records.push(ControlRecord::Voters(voters.clone()));
    }
    records
}

/// All messages here have a field `Version`, too, which stays 0: the bytes are those of version 0.
fn body<M: Message>(message: &M) -> Result<bytes::Bytes, EncodeError> {
    encode_to_bytes(message, 0)
}

fn voters_record(set: &VoterSet) -> VotersRecord {
    let endpoint = |endpoint: &Endpoint| voters::Endpoint {
        name: ByteString::from(endpoint.listener.clone()),
        host: ByteString::from(endpoint.host.clone()),
        port: endpoint.port,
        ..Default::default()
    };
    let voter = |voter: &Voter| voters::Voter {
        voter_id: voter.key.id.0,
        voter_directory_id: voter.key.directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: voters::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    };
    VotersRecord { voters: set.iter().map(voter).collect(), ..Default::default() }
}

fn decode_one(
    key: &[u8],
    value: &[u8],
) -> Result<Option<ControlRecord>, ottla_protocol::codec::DecodeError> {
    use ottla_protocol::codec::decode_prefix;
    let value = bytes::Bytes::copy_from_slice(value);
    Ok(Some(match ControlType::from_key(key) {
        Some(ControlType::LeaderChange) => {
            // The directory ids of version 1 are not needed: the voters are in their own record.
            let message: LeaderChangeMessage = decode_prefix(value, 0)?;
            let key = |voter: &change::Voter| ReplicaKey {
                id: BrokerId(voter.voter_id),
                directory_id: voter.voter_directory_id,
            };
            ControlRecord::LeaderChange {
                leader: BrokerId(message.leader_id),
                voters: message.voters.iter().map(key).collect(),
                granting: message.granting_voters.iter().map(key).collect(),
            }
        }
        Some(ControlType::SnapshotHeader) => {
            let message: SnapshotHeaderRecord = decode_prefix(value, 0)?;
            ControlRecord::SnapshotHeader {
                last_timestamp: Timestamp(message.last_contained_log_timestamp),
            }
        }
        Some(ControlType::SnapshotFooter) => ControlRecord::SnapshotFooter,
        Some(ControlType::KRaftVersion) => {
            let message: KRaftVersionRecord = decode_prefix(value, 0)?;
            ControlRecord::KRaftVersion(message.kraft_version)
        }
        Some(ControlType::KRaftVoters) => {
            let message: VotersRecord = decode_prefix(value, 0)?;
            ControlRecord::Voters(voter_set(&message))
        }
        Some(ControlType::Abort | ControlType::Commit) | None => return Ok(None),
    }))
}

fn voter_set(message: &VotersRecord) -> VoterSet {
    let endpoint = |endpoint: &voters::Endpoint| Endpoint {
        listener: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    let versions = |voter: &voters::Voter| {
        let range = &voter.kraft_version_feature;
        (range.min_supported_version, range.max_supported_version)
    };
    VoterSet::new(message.voters.iter().map(|voter| Voter {
        key: ReplicaKey { id: BrokerId(voter.voter_id), directory_id: voter.voter_directory_id },
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_versions: versions(voter),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::batches;

    /// Written by Kafka 4.4.0: a standalone node's format, and the log of its first minute.
    const FORMAT: &[u8] = include_bytes!("../../metadata/testdata/format-4.4.0.checkpoint");
    const LOG: &[u8] = include_bytes!("../../metadata/testdata/single-node-4.4.0.log");

    #[test]
    fn control_batches_are_kafkas_byte_for_byte() {
        let mut seen = Vec::new();
        for batch in batches(FORMAT).chain(batches(LOG)).map(Result::unwrap) {
            if !batch.header().is_control() {
                continue;
            }
            let records = decode_control(&batch).unwrap();
            let header = batch.header();
            let place = ControlPlace {
                base: header.base_offset,
                epoch: header.partition_leader_epoch,
                timestamp: header.max_timestamp,
            };
            assert_eq!(encode_control(&records, place).unwrap(), batch.bytes(), "{records:?}");
            seen.push(records.len());
        }
        assert_eq!(seen, [3, 1, 3], "snapshot header, snapshot footer, first epoch");
    }

    #[test]
    fn a_snapshot_starts_with_the_quorums_records() {
        let first = batches(FORMAT).next().unwrap().unwrap();
        let records = decode_control(&first).unwrap();
        let [ControlRecord::SnapshotHeader { last_timestamp }, _, ControlRecord::Voters(voters)] =
            records.as_slice()
        else {
            panic!("{records:?}")
        };
        assert_eq!(snapshot_header(*last_timestamp, 1, voters), records);
        assert_eq!(snapshot_header(*last_timestamp, 0, voters).len(), 1);
    }
}
