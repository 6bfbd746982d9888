//! OffsetFetch (KIP-447, 709, 848, 1241): a group's committed positions.

use bytestring::ByteString;
use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The OffsetFetch API.
pub(super) struct OffsetFetch;

/// The first version that asks for several groups (KIP-709).
const BATCHED: i16 = 8;
/// The first version by topic id.
const BY_ID: i16 = 10;

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=10;
    const RULE: Rule = Rule::Group(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: OffsetFetchRequest) -> Reply<OffsetFetchResponse> {
        let version = ctx.version();
        let groups =
            if version >= BATCHED { request.groups } else { vec![single_group(request.clone())] };
        let mut promises = Vec::with_capacity(groups.len());
        let mut unknown = Vec::with_capacity(groups.len());
        for mut group in groups {
            unknown.push(take_unknown(ctx, &mut group));
            let group_id = group.group_id.clone();
            let command = Command::OffsetFetch { group, require_stable: request.require_stable };
            promises.push(group::submit(ctx, &group_id, command));
        }
        let names = ctx.image.clone();
        group::gather(ctx, promises, move |responses| {
            let groups = responses.into_iter().zip(unknown).filter_map(|(response, unknown)| {
                let Response::OffsetFetch(mut group) = response else { return None };
                if group.error_code == 0 {
                    group.topics.extend(unknown);
                }
                if version >= BY_ID {
                    for topic in group.topics.iter_mut().filter(|t| t.topic_id.is_zero()) {
                        topic.topic_id = names.topic(&topic.name).map_or(topic.topic_id, |t| t.id);
                    }
                }
                Some(group)
            });
            let groups: Vec<_> = groups.collect();
            if version >= BATCHED {
                return OffsetFetchResponse { groups, ..Default::default() };
            }
            groups.into_iter().next().map(single_answer).unwrap_or_default()
        })
    }
}

fn single_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        topics.collect()
    });
    OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }
}

fn single_answer(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|p| OffsetFetchResponsePartition {
                partition_index: p.partition_index,
                committed_offset: p.committed_offset,
                committed_leader_epoch: p.committed_leader_epoch,
                metadata: p.metadata,
                error_code: p.error_code,
                ..OffsetFetchResponsePartition::default()
            })
            .collect(),
        ..OffsetFetchResponseTopic::default()
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

/// Resolves topic ids to names; takes unknown ids out of the request and answers them.
fn take_unknown(
    ctx: &Context<'_>,
    group: &mut OffsetFetchRequestGroup,
) -> Vec<OffsetFetchResponseTopics> {
    let mut unknown = Vec::new();
    if ctx.version() < BY_ID {
        return unknown;
    }
    let Some(topics) = &mut group.topics else { return unknown };
    topics.retain_mut(|topic| match ctx.image.topic_by_id(topic.topic_id) {
        Some(found) => {
            topic.name = ByteString::from(&*found.name);
            true
        }
        None => {
            unknown.push(OffsetFetchResponseTopics {
                topic_id: topic.topic_id,
                partitions: topic.partition_indexes.iter().map(|&p| unknown_partition(p)).collect(),
                ..OffsetFetchResponseTopics::default()
            });
            false
        }
    });
    unknown
}

fn unknown_partition(partition_index: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(ByteString::new()),
        error_code: ErrorCode::UnknownTopicId.code(),
        ..OffsetFetchResponsePartitions::default()
    }
}
