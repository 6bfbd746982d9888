//! The records of `__consumer_offsets`: what this crate writes, and what it reads of them.
//!
//! Key = type (int16) and body; value = version (int16) and body, or null for "delete".

use bytes::Bytes;
use bytestring::ByteString;
use ottla_protocol::codec::{
    self, DecodeError, EncodeError, LogRecord as _, decode_exact, decode_prefix,
};
use ottla_protocol::ids::Offset;
use ottla_protocol::log_record::{decode_value, encode_key, encode_value, key_type};
use ottla_protocol::messages::group_metadata_value::MemberMetadata;
use ottla_protocol::messages::{
    ConsumerGroupMetadataKey, ConsumerProtocolSubscription, GroupMetadataKey, GroupMetadataValue,
    LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue, ShareGroupMetadataKey,
    StreamsGroupMetadataKey,
};

use crate::classic::{ClassicGroup, Member};
use crate::find::CoordinatorKind;
use crate::machine::LogRecord;
use crate::offsets::Committed;

const TOPIC: &str = CoordinatorKind::Group.topic();
/// Written by Kafka 4.4.0 at metadata.version 33.
const GROUP_METADATA_VERSION: i16 = 3;
/// Has the topic id.
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only version with an expiry of its own.
const OFFSET_COMMIT_VERSION_WITH_EXPIRY: i16 = 1;
/// A subscription's metadata of a later version is read as this one.
const SUBSCRIPTION_VERSION_MAX: i16 = 3;

/// A record of a known type that cannot be read. Loading the partition must not go on: state that
/// cannot be read would be lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The key has no type.
    #[error("the record at offset {offset} of {topic} has a key of {length} bytes")]
    ShortKey {
        /// Where the record is.
        topic: &'static str,
        /// Of the record.
        offset: Offset,
        /// Of the key, in bytes.
        length: usize,
    },
    /// The key or value of a known type is malformed.
    #[error("the record of type {kind} at offset {offset} of {topic}: {reason}")]
    Malformed {
        /// Where the record is.
        topic: &'static str,
        /// Of the record.
        offset: Offset,
        /// The type number of its key.
        kind: i16,
        /// What is wrong.
        reason: String,
    },
}

/// A record as this crate understands it.
#[derive(Debug)]
pub(crate) enum Entry {
    Offset {
        group: ByteString,
        topic: ByteString,
        partition: i32,
        value: Option<OffsetCommitValue>,
    },
    Group {
        group: ByteString,
        value: Option<GroupMetadataValue>,
    },
    /// The existence of a group of another kind.
    Foreign {
        group: ByteString,
        exists: bool,
    },
    /// A type that has no meaning here.
    Unknown,
}

/// Reads a record.
pub(crate) fn parse(record: &LogRecord, offset: Offset) -> Result<Entry, ReplayError> {
    let Ok(kind) = key_type(&record.key) else {
        return Err(ReplayError::ShortKey { topic: TOPIC, offset, length: record.key.len() });
    };
    let key = record.key.slice(2..);
    entry(kind, key, record.value.as_ref()).map_err(|reason| ReplayError::Malformed {
        topic: TOPIC,
        offset,
        kind,
        reason: reason.to_string(),
    })
}

fn entry(kind: i16, key: Bytes, value: Option<&Bytes>) -> Result<Entry, DecodeError> {
    Ok(match kind {
        OffsetCommitKey::TYPE | LegacyOffsetCommitKey::TYPE => {
            let key: OffsetCommitKey = decode_exact(key, 0)?;
            Entry::Offset {
                group: key.group,
                topic: key.topic,
                partition: key.partition,
                value: value.map(read_value).transpose()?,
            }
        }
        GroupMetadataKey::TYPE => {
            let key: GroupMetadataKey = decode_exact(key, 0)?;
            Entry::Group { group: key.group, value: value.map(read_value).transpose()? }
        }
        ConsumerGroupMetadataKey::TYPE
        | ShareGroupMetadataKey::TYPE
        | StreamsGroupMetadataKey::TYPE => {
            // The three keys are the group id alone.
            let key: GroupMetadataKey = decode_exact(key, 0)?;
            Entry::Foreign { group: key.group, exists: value.is_some() }
        }
        _ => Entry::Unknown,
    })
}

/// The record of a classic group. `assignment` says what each member is assigned.
pub(crate) fn group_metadata(
    group: &ClassicGroup,
    assignment: impl Fn(&Member) -> Bytes,
) -> LogRecord {
    let protocol = group.protocol.clone().unwrap_or_default();
    let members = group.members.iter().map(|(id, member)| MemberMetadata {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_ms,
        session_timeout: member.session_ms,
        subscription: member.metadata(&protocol),
        assignment: assignment(member),
        ..Default::default()
    });
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        current_state_timestamp: group.state_since.0,
        members: members.collect(),
        ..Default::default()
    };
    group_record(&group.id, &value)
}

/// The record that creates a classic group, before its first generation.
pub(crate) fn new_group(group: &ClassicGroup) -> LogRecord {
    let value = GroupMetadataValue {
        protocol: None,
        leader: None,
        current_state_timestamp: group.state_since.0,
        ..Default::default()
    };
    group_record(&group.id, &value)
}

/// Deletes a classic group.
pub(crate) fn group_tombstone(group: &ByteString) -> LogRecord {
    LogRecord { key: group_key(group), value: None }
}

/// A committed offset.
pub(crate) fn offset_commit(
    (group, topic, partition): (&ByteString, &ByteString, i32),
    committed: &Committed,
) -> LogRecord {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.commit_timestamp,
        expire_timestamp: committed.expire_timestamp,
        topic_id: committed.topic_id,
        ..Default::default()
    };
    let version = if committed.expire_timestamp == -1 {
        OFFSET_COMMIT_VERSION
    } else {
        OFFSET_COMMIT_VERSION_WITH_EXPIRY
    };
    let key = offset_key(group, topic, partition);
    LogRecord { key, value: Some(written(encode_value(&value, version))) }
}

/// Deletes a committed offset.
pub(crate) fn offset_tombstone(
    group: &ByteString,
    topic: &ByteString,
    partition: i32,
) -> LogRecord {
    LogRecord { key: offset_key(group, topic, partition), value: None }
}

/// The topics in a consumer's protocol metadata; `None` if it is not such metadata.
pub(crate) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<ByteString>> {
    let version = i16::from_be_bytes(*metadata.first_chunk()?).min(SUBSCRIPTION_VERSION_MAX);
    let subscription: ConsumerProtocolSubscription =
        decode_prefix(metadata.slice(2..), version).ok()?;
    Some(subscription.topics)
}

fn group_record(group: &ByteString, value: &GroupMetadataValue) -> LogRecord {
    let value = written(encode_value(value, GROUP_METADATA_VERSION));
    LogRecord { key: group_key(group), value: Some(value) }
}

fn group_key(group: &ByteString) -> Bytes {
    written(encode_key(&GroupMetadataKey { group: group.clone() }))
}

fn offset_key(group: &ByteString, topic: &ByteString, partition: i32) -> Bytes {
    let key = OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition };
    written(encode_key(&key))
}

/// Every string came out of a request, so it fits into a record; see `MEMBER_ID_PREFIX_MAX`.
fn written(encoded: Result<Bytes, EncodeError>) -> Bytes {
    assert!(encoded.is_ok(), "a record that cannot be written: {encoded:?}");
    encoded.unwrap_or_default()
}

fn read_value<V: codec::LogRecord>(value: &Bytes) -> Result<V, DecodeError> {
    decode_value(value.clone()).map(|(value, _)| value)
}
