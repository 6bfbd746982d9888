//! OffsetCommit (KIP-98, 345, 848, 1241): stores a group's positions.

use bytestring::ByteString;
use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The OffsetCommit API.
pub(super) struct OffsetCommit;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=10;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, mut request: OffsetCommitRequest) -> Reply<OffsetCommitResponse> {
        let mut refused = Vec::new();
        for topic in &mut request.topics {
            let missing = take_unknown(ctx, topic);
            if !missing.partitions.is_empty() {
                refused.push(missing);
            }
        }
        request.topics.retain(|topic| !topic.partitions.is_empty());
        if request.topics.is_empty() && !refused.is_empty() {
            return Reply::Now(OffsetCommitResponse { topics: refused, ..Default::default() });
        }
        let group_id = request.group_id.clone();
        let promise = group::submit(ctx, &group_id, Command::OffsetCommit(request));
        group::gather(ctx, vec![promise], move |responses| {
            let mut response = match responses.into_iter().next() {
                Some(Response::OffsetCommit(response)) => response,
                _ => OffsetCommitResponse::default(),
            };
            for topic in refused {
                merge(&mut response.topics, topic);
            }
            response
        })
    }
}

/// Takes the partitions that do not exist out of the request and answers them. A topic id is
/// resolved: the coordinator stores offsets under the topic's name.
fn take_unknown(
    ctx: &Context<'_>,
    topic: &mut OffsetCommitRequestTopic,
) -> OffsetCommitResponseTopic {
    let (found, error) = if ctx.version() >= 10 {
        (ctx.image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId)
    } else {
        (ctx.image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition)
    };
    let mut refused = OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..OffsetCommitResponseTopic::default()
    };
    let mut refuse = |partition_index, error: ErrorCode| {
        refused.partitions.push(OffsetCommitResponsePartition {
            partition_index,
            error_code: error.code(),
            ..OffsetCommitResponsePartition::default()
        });
    };
    match found {
        None => topic.partitions.drain(..).for_each(|p| refuse(p.partition_index, error)),
        Some(found) => {
            topic.name = ByteString::from(&*found.name);
            topic.topic_id = found.id;
            topic.partitions.retain(|p| {
                let known = found.partition(PartitionIndex(p.partition_index)).is_some();
                if !known {
                    refuse(p.partition_index, ErrorCode::UnknownTopicOrPartition);
                }
                known
            });
        }
    }
    refused
}

fn merge(topics: &mut Vec<OffsetCommitResponseTopic>, topic: OffsetCommitResponseTopic) {
    let same = |other: &&mut OffsetCommitResponseTopic| {
        other.topic_id == topic.topic_id && (other.name == topic.name || !topic.topic_id.is_zero())
    };
    match topics.iter_mut().find(same) {
        Some(other) => other.partitions.extend(topic.partitions),
        None => topics.push(topic),
    }
}
