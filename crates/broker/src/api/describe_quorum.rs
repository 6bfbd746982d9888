//! DescribeQuorum (KIP-595, 836, 853): the state of the metadata quorum.

use ottla_protocol::ids::{BrokerId, LeaderEpoch};
use ottla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::{ErrorCode, Uuid};
use ottla_raft::{Description, ReplicaDescription};

use super::raft::METADATA_TOPIC;
use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The DescribeQuorum API.
pub(super) struct DescribeQuorum;

/// The first version that tells directories and listeners (KIP-853).
const DIRECTORIES: i16 = 2;

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: DescribeQuorumRequest) -> Reply<DescribeQuorumResponse> {
        Reply::Now(if asks_for_metadata(&request) {
            answer(&ctx.broker.quorum.describe(ctx.now), ctx.version())
        } else {
            unknown(request)
        })
    }
}

/// Only a request for exactly the metadata partition is answered, as in Kafka.
fn asks_for_metadata(request: &DescribeQuorumRequest) -> bool {
    let [topic] = request.topics.as_slice() else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    *topic.topic_name == *METADATA_TOPIC && partition.partition_index == 0
}

fn unknown(request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| TopicData {
        topic_name: topic.topic_name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                ..PartitionData::default()
            })
            .collect(),
        ..TopicData::default()
    });
    DescribeQuorumResponse { topics: topics.collect(), ..DescribeQuorumResponse::default() }
}

fn answer(quorum: &Description, version: i16) -> DescribeQuorumResponse {
    let error =
        if quorum.leader.is_some() { ErrorCode::None } else { ErrorCode::NotLeaderOrFollower };
    let replicas = |all: &[ReplicaDescription]| -> Vec<ReplicaState> {
        all.iter().map(|found| replica(found, version)).collect()
    };
    let nodes = if version >= DIRECTORIES { quorum.voters.as_slice() } else { &[] };
    let partition = PartitionData {
        partition_index: 0,
        error_code: error.code(),
        leader_id: quorum.leader.map_or(BrokerId::NONE, |leader| leader.id).0,
        leader_epoch: LeaderEpoch::max(quorum.epoch, LeaderEpoch(0)).0,
        high_watermark: quorum.high_watermark.0,
        current_voters: replicas(&quorum.voters),
        observers: replicas(&quorum.observers),
        ..PartitionData::default()
    };
    let topic = TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..TopicData::default()
    };
    DescribeQuorumResponse {
        topics: vec![topic],
        nodes: nodes.iter().map(node).collect(),
        ..DescribeQuorumResponse::default()
    }
}

fn replica(replica: &ReplicaDescription, version: i16) -> ReplicaState {
    ReplicaState {
        replica_id: replica.key.id.0,
        replica_directory_id: if version >= DIRECTORIES {
            replica.key.directory_id
        } else {
            Uuid::ZERO
        },
        log_end_offset: replica.log_end.0,
        last_fetch_timestamp: replica.last_fetch.0,
        last_caught_up_timestamp: replica.last_caught_up.0,
        ..ReplicaState::default()
    }
}

fn node(voter: &ReplicaDescription) -> Node {
    let listeners = voter.endpoints.iter().map(|endpoint| Listener {
        name: endpoint.listener.as_str().into(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Listener::default()
    });
    Node { node_id: voter.key.id.0, listeners: listeners.collect(), ..Node::default() }
}
