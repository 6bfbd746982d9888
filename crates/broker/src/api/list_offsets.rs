//! ListOffsets (KIP-79, 207, 734, 405, 1005, 1023): offsets by time and by special timestamps.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use ottla_storage::FoundTimestamp;

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;
use crate::partition::Partition;

/// The ListOffsets API.
pub(super) struct ListOffsets;

/// The special timestamps, with the version that brought each.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3; // v7, KIP-734
const EARLIEST_LOCAL: i64 = -4; // v8, KIP-405
const LATEST_TIERED: i64 = -5; // v9, KIP-1005
const EARLIEST_PENDING_UPLOAD: i64 = -6; // v11, KIP-1023

/// Offset, timestamp and leader epoch of an answer.
type Found = (Offset, Timestamp, LeaderEpoch);

const NOTHING: Found = (Offset::NONE, Timestamp::NONE, LeaderEpoch::NONE);

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=11;
    const RULE: Rule = Rule::EachTopic(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let mut times = BTreeMap::new();
        for (name, index) in named(&request) {
            *times.entry((name.clone(), index)).or_insert(0) += 1;
        }
        let committed_only = request.isolation_level == 1;
        let mut refused = BTreeSet::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let index = wanted.partition_index;
                let key = (topic.name.clone(), index);
                if times.get(&key).is_some_and(|&times| times > 1) {
                    // Named more than once: refused, and answered once.
                    if refused.insert(key) {
                        partitions.push(answer(ctx, index, Err(ErrorCode::InvalidRequest)));
                    }
                    continue;
                }
                let found = ctx.partition(&topic.name, index);
                let result = found.and_then(|p| list(ctx, &p, wanted, committed_only));
                partitions.push(answer(ctx, index, result));
            }
            topics.push(ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions,
                ..ListOffsetsTopicResponse::default()
            });
        }
        Reply::Now(ListOffsetsResponse { topics, ..Default::default() })
    }
}

fn named(request: &ListOffsetsRequest) -> impl Iterator<Item = (&ByteString, i32)> {
    let partitions = |topic: &ListOffsetsTopic| {
        topic.partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>()
    };
    request
        .topics
        .iter()
        .flat_map(move |topic| partitions(topic).into_iter().map(move |index| (&topic.name, index)))
}

fn triple(found: FoundTimestamp) -> Found {
    (found.offset, found.timestamp, found.leader_epoch)
}

fn answer(
    ctx: &Context<'_>,
    partition_index: i32,
    result: Result<Found, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let error = result.err().unwrap_or(ErrorCode::None);
    let (offset, timestamp, leader_epoch) = result.unwrap_or(NOTHING);
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: timestamp.0,
        offset: offset.0,
        // Versions before 4 have no place for it.
        leader_epoch: if ctx.version() >= 4 { leader_epoch.0 } else { -1 },
        ..ListOffsetsPartitionResponse::default()
    }
}

fn list(
    ctx: &Context<'_>,
    partition: &Partition,
    wanted: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<Found, ErrorCode> {
    let needs = match wanted.timestamp {
        EARLIEST_PENDING_UPLOAD => 11,
        LATEST_TIERED => 9,
        EARLIEST_LOCAL => 8,
        MAX_TIMESTAMP => 7,
        LATEST | EARLIEST | 0.. => 1,
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    if ctx.version() < needs {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let epoch =
        (wanted.current_leader_epoch >= 0).then_some(LeaderEpoch(wanted.current_leader_epoch));
    let found = partition.with_log(epoch, |log, offsets| {
        let end = if committed_only { offsets.last_stable } else { offsets.high_watermark };
        Ok(match wanted.timestamp {
            LATEST => {
                let epoch = log.latest_epoch().unwrap_or(LeaderEpoch::NONE);
                (end, Timestamp::NONE, epoch)
            }
            EARLIEST | EARLIEST_LOCAL => {
                let start = offsets.log_start;
                let epoch = log.epoch_at(start).unwrap_or(LeaderEpoch::NONE);
                (start, Timestamp::NONE, epoch)
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => NOTHING,
            MAX_TIMESTAMP => {
                log.max_timestamp()?.filter(|found| found.offset < end).map_or(NOTHING, triple)
            }
            timestamp => log
                .offset_for_timestamp(Timestamp(timestamp))?
                .filter(|found| found.offset < end)
                .map_or(NOTHING, triple),
        })
    });
    match found {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(ErrorCode::from(&partition.storage_failed(&error))),
        Err(error) => Err(ErrorCode::from(&error)),
    }
}
