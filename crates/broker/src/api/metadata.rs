//! Metadata (KIP-4, 516, 700, 1102): brokers, and topics with their partitions' leaders. Topics that
//! do not exist are created when the client and `auto.create.topics.enable` allow it.

use bytestring::ByteString;
use ottla_config::keys;
use ottla_metadata::names::{is_internal_topic, validate_topic_name};
use ottla_metadata::{PartitionImage, TopicImage};
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{MetadataRequest, MetadataResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Handler, Operation, Reply, Rule, operations};
use crate::context::Context;

/// The Metadata API.
pub(super) struct Metadata;

/// The first version in which a null name with a topic id may be asked for.
const BY_ID: i16 = 12;

impl Handler for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;
    const RULE: Rule = Rule::FilterEach(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: MetadataRequest) -> Reply<MetadataResponse> {
        let all = match &request.topics {
            None => true,
            Some(topics) => topics.is_empty() && ctx.version() == 0,
        };
        let operations = request.include_topic_authorized_operations;
        let mut topics: Vec<_> = if all {
            ctx.image.topics().map(|topic| known(ctx, topic, operations)).collect()
        } else {
            let wanted = request.topics.unwrap_or_default();
            if let Some(refused) = refuse(ctx, &wanted) {
                return Reply::Now(refused);
            }
            let create = request.allow_auto_topic_creation
                && ctx.broker.config().get(keys::AUTO_CREATE_TOPICS_ENABLE);
            named(ctx, &wanted, create, operations)
        };
        topics.dedup_by(|a, b| a.name == b.name && a.topic_id == b.topic_id);
        let brokers = ctx.endpoints().map(|(id, endpoint, rack)| MetadataResponseBroker {
            node_id: id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            rack,
            ..MetadataResponseBroker::default()
        });
        let mut response = MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(ctx.broker.cluster_id().into()),
            controller_id: ctx.broker.node_id().0,
            topics,
            ..MetadataResponse::default()
        };
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = operations::CLUSTER;
        }
        Reply::Now(response)
    }
}

/// Requests that Kafka answers without looking further: a missing name.
fn refuse(ctx: &Context<'_>, wanted: &[MetadataRequestTopic]) -> Option<MetadataResponse> {
    let by_id_too_early = |t: &MetadataRequestTopic| {
        ctx.version() < BY_ID && (t.name.is_none() || !t.topic_id.is_zero())
    };
    let nothing = |t: &MetadataRequestTopic| t.name.is_none() && t.topic_id.is_zero();
    let error = if wanted.iter().any(by_id_too_early) {
        ErrorCode::InvalidRequest
    } else if wanted.iter().any(nothing) {
        // Kafka fails on it without a better word.
        ErrorCode::UnknownServerError
    } else {
        return None;
    };
    let topics = wanted.iter().map(|t| {
        let name = t.name.clone().unwrap_or_default();
        failed(Some(name), t.topic_id, error)
    });
    Some(MetadataResponse { topics: topics.collect(), ..MetadataResponse::default() })
}

fn named(
    ctx: &Context<'_>,
    wanted: &[MetadataRequestTopic],
    create: bool,
    operations: bool,
) -> Vec<MetadataResponseTopic> {
    let mut missing = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for topic in wanted {
        let answer = if !topic.topic_id.is_zero() {
            match ctx.image.topic_by_id(topic.topic_id) {
                Some(found) => known(ctx, found, operations),
                None => failed(None, topic.topic_id, ErrorCode::UnknownTopicId),
            }
        } else {
            let name = topic.name.clone().unwrap_or_default();
            match ctx.image.topic(&name) {
                Some(found) => known(ctx, found, operations),
                None if validate_topic_name(&name).is_err() => {
                    failed(Some(name), Uuid::ZERO, ErrorCode::InvalidTopicException)
                }
                None => {
                    if create {
                        missing.push(name.clone());
                    }
                    failed(Some(name), Uuid::ZERO, ErrorCode::UnknownTopicOrPartition)
                }
            }
        };
        if seen.insert((answer.name.clone(), answer.topic_id)) {
            topics.push(answer);
        }
    }
    ctx.broker.create_automatically(ctx, missing);
    topics
}

fn failed(name: Option<ByteString>, topic_id: Uuid, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: error.code(), name, topic_id, ..Default::default() }
}

fn known(ctx: &Context<'_>, topic: &TopicImage, operations: bool) -> MetadataResponseTopic {
    let partitions = topic.partitions().map(|(index, p)| partition(ctx, index, p));
    MetadataResponseTopic {
        name: Some(ByteString::from(&*topic.name)),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: if operations { operations::TOPIC } else { i32::MIN },
        ..MetadataResponseTopic::default()
    }
}

fn partition(
    ctx: &Context<'_>,
    index: PartitionIndex,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let error = leader_error(ctx, partition);
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index.0,
        leader_id: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: offline(ctx, partition),
        ..MetadataResponsePartition::default()
    }
}

/// LEADER_NOT_AVAILABLE without a leader that can be reached.
pub(super) fn leader_error(ctx: &Context<'_>, partition: &PartitionImage) -> ErrorCode {
    match partition.leader() {
        Some(leader) if ctx.image.is_alive(leader) => ErrorCode::None,
        _ => ErrorCode::LeaderNotAvailable,
    }
}

/// The numbers of brokers.
pub(super) fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

/// The replicas whose broker is not there.
pub(super) fn offline(ctx: &Context<'_>, partition: &PartitionImage) -> Vec<i32> {
    let gone = partition.replicas.iter().filter(|id| !ctx.image.is_alive(**id));
    gone.map(|id| id.0).collect()
}
