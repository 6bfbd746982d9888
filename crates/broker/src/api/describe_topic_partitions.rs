//! DescribeTopicPartitions (KIP-966): partitions with their eligible leader replicas, page by page.

use std::collections::BTreeSet;

use bytestring::ByteString;
use ottla_config::keys;
use ottla_metadata::names::{is_internal_topic, validate_topic_name};
use ottla_metadata::{PartitionImage, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::metadata::{ids, leader_error, offline};
use super::{Handler, Operation, Reply, Rule, operations};
use crate::context::Context;

/// The DescribeTopicPartitions API.
pub(super) struct DescribeTopicPartitions;

impl Handler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::FilterEach(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeTopicPartitionsRequest,
    ) -> Reply<DescribeTopicPartitionsResponse> {
        let start = request.cursor.as_ref().map(|c| (c.topic_name.clone(), c.partition_index));
        let from = start.as_ref().map_or("", |(name, _)| name);
        let names: BTreeSet<ByteString> = if request.topics.is_empty() {
            ctx.image.topics_from(from).map(|topic| ByteString::from(&*topic.name)).collect()
        } else {
            let named = request.topics.into_iter().map(|topic| topic.name);
            named.filter(|name| &**name >= from).collect()
        };
        let limit = ctx.broker.config().get(keys::MAX_REQUEST_PARTITION_SIZE_LIMIT);
        let mut left =
            usize::try_from(request.response_partition_limit.min(limit)).unwrap_or(0).max(1);
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names {
            let first = match &start {
                Some((topic, index)) if *topic == name => *index,
                _ => 0,
            };
            let Some(topic) = ctx.image.topic(&name) else {
                response.topics.push(unknown(name));
                continue;
            };
            if first < 0 {
                response.topics.push(failed(name, ErrorCode::InvalidRequest));
                continue;
            }
            if left == 0 {
                response.next_cursor = Some(cursor(name, first));
                break;
            }
            let (answer, next) = page(ctx, topic, first, left);
            left = left.saturating_sub(answer.partitions.len());
            response.topics.push(answer);
            if let Some(next) = next {
                response.next_cursor = Some(cursor(name, next));
                break;
            }
        }
        // What is unknown comes first, as Kafka orders it.
        response.topics.sort_by_key(|topic| topic.error_code == 0);
        Reply::Now(response)
    }
}

fn cursor(topic_name: ByteString, partition_index: i32) -> Cursor {
    Cursor { topic_name, partition_index, ..Cursor::default() }
}

fn unknown(name: ByteString) -> DescribeTopicPartitionsResponseTopic {
    let valid = validate_topic_name(&name).is_ok();
    let error =
        if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    failed(name, error)
}

fn failed(name: ByteString, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        is_internal: is_internal_topic(&name),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// At most `limit` partitions from `first` on, and the index of the first one left out.
fn page(
    ctx: &Context<'_>,
    topic: &TopicImage,
    first: i32,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let mut rest = topic.partitions().filter(|(index, _)| index.0 >= first);
    let partitions = rest.by_ref().take(limit).map(|(index, p)| partition(ctx, index, p)).collect();
    let answer = DescribeTopicPartitionsResponseTopic {
        name: Some(ByteString::from(&*topic.name)),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions,
        topic_authorized_operations: operations::TOPIC,
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    (answer, rest.next().map(|(index, _)| index.0))
}

fn partition(
    ctx: &Context<'_>,
    index: PartitionIndex,
    partition: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: leader_error(ctx, partition).code(),
        partition_index: index.0,
        leader_id: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        eligible_leader_replicas: Some(ids(&partition.elr)),
        last_known_elr: Some(ids(&partition.last_known_elr)),
        offline_replicas: offline(ctx, partition),
        ..DescribeTopicPartitionsResponsePartition::default()
    }
}
