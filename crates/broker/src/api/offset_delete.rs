//! OffsetDelete (KIP-496): removes a group's positions for topics it does not read.

use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The OffsetDelete API.
pub(super) struct OffsetDelete;

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Group(Operation::Delete);

    fn handle(ctx: &Context<'_>, mut request: OffsetDeleteRequest) -> Reply<OffsetDeleteResponse> {
        let mut refused = Vec::new();
        for topic in &mut request.topics {
            let found = ctx.image.topic(&topic.name);
            let mut unknown = Vec::new();
            topic.partitions.retain(|p| {
                let index = PartitionIndex(p.partition_index);
                let known = found.is_some_and(|topic| topic.partition(index).is_some());
                if !known {
                    unknown.push(OffsetDeleteResponsePartition {
                        partition_index: p.partition_index,
                        error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    });
                }
                known
            });
            if !unknown.is_empty() {
                refused.push(OffsetDeleteResponseTopic {
                    name: topic.name.clone(),
                    partitions: unknown,
                });
            }
        }
        request.topics.retain(|topic| !topic.partitions.is_empty());
        let group_id = request.group_id.clone();
        let promise = group::submit(ctx, &group_id, Command::OffsetDelete(request));
        group::gather(ctx, vec![promise], move |responses| {
            let mut response = match responses.into_iter().next() {
                Some(Response::OffsetDelete(response)) => response,
                _ => OffsetDeleteResponse::default(),
            };
            if response.error_code == 0 {
                for topic in refused {
                    match response.topics.iter_mut().find(|other| other.name == topic.name) {
                        Some(other) => other.partitions.extend(topic.partitions),
                        None => response.topics.push(topic),
                    }
                }
            }
            response
        })
    }
}
