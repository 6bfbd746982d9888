//! Vote (KIP-595, 853, 996): a node wants to lead the metadata quorum.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Offset};
use ottla_protocol::messages::vote_request as request;
use ottla_protocol::messages::vote_response::{NodeEndpoint, PartitionData, TopicData};
use ottla_protocol::messages::{VoteRequest, VoteResponse};
use ottla_raft::{ReplicaKey, VoteAnswer};

use super::{Handler, Operation, Reply, Rule, Wait, forward, raft};
use crate::context::Context;
use crate::wait::Promise;

/// The Vote API.
pub(super) struct Vote;

impl Handler for Vote {
    type Request = VoteRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(ctx: &Context<'_>, request: VoteRequest) -> Reply<VoteResponse> {
        let refuse = |error: ErrorCode| {
            Reply::Now(VoteResponse { error_code: error.code(), ..VoteResponse::default() })
        };
        if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
            return refuse(ErrorCode::InconsistentClusterId);
        }
        let Some(partition) = metadata_partition(&request) else {
            return refuse(ErrorCode::InvalidRequest);
        };
        let asked = asked(request.voter_id, partition);
        let promise = ctx.broker.quorum.vote(ctx.broker, &asked);
        let deadline = ctx.deadline(forward::TIMEOUT_MS);
        let mut wait = VoteWait { promise, deadline };
        match wait.poll(ctx, false) {
            Some(response) => Reply::Now(response),
            None => Reply::wait(wait),
        }
    }
}

/// The partition of a request for exactly the metadata log.
fn metadata_partition(request: &VoteRequest) -> Option<&request::PartitionData> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let is_metadata = *topic.topic_name == *raft::METADATA_TOPIC && partition.partition_index == 0;
    is_metadata.then_some(partition)
}

fn asked(voter_id: i32, partition: &request::PartitionData) -> ottla_raft::VoteRequest {
    let voter = ReplicaKey { id: BrokerId(voter_id), directory_id: partition.voter_directory_id };
    ottla_raft::VoteRequest {
        candidate: ReplicaKey {
            id: BrokerId(partition.replica_id),
            directory_id: partition.replica_directory_id,
        },
        epoch: LeaderEpoch(partition.replica_epoch),
        last_epoch: LeaderEpoch(partition.last_offset_epoch),
        log_end: Offset(partition.last_offset),
        pre_vote: partition.pre_vote,
        voter: (voter_id >= 0).then_some(voter),
    }
}

/// Waits until a larger epoch is durable.
struct VoteWait {
    promise: Arc<Promise<VoteAnswer>>,
    deadline: Monotonic,
}

impl Wait<VoteResponse> for VoteWait {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<VoteResponse> {
        match self.promise.take(ctx.waiter) {
            Some(answer) => Some(response(ctx, &answer)),
            None => expired.then(|| VoteResponse {
                error_code: ErrorCode::RequestTimedOut.code(),
                ..VoteResponse::default()
            }),
        }
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

fn response(ctx: &Context<'_>, answer: &VoteAnswer) -> VoteResponse {
    let known = raft::leader(ctx);
    // An answer in an epoch without a leader tells no address, though one leads by now.
    let endpoint = known.endpoint.filter(|_| answer.leader == Some(known.id));
    let partition = PartitionData {
        partition_index: 0,
        error_code: answer.refused.map_or(ErrorCode::None, ErrorCode::from).code(),
        leader_id: answer.leader.unwrap_or(BrokerId::NONE).0,
        leader_epoch: answer.epoch.0,
        vote_granted: answer.granted,
        ..PartitionData::default()
    };
    let topic = TopicData {
        topic_name: raft::METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..TopicData::default()
    };
    let node = |endpoint: ottla_raft::Endpoint| NodeEndpoint {
        node_id: known.id.0,
        host: endpoint.host.into(),
        port: endpoint.port,
        ..NodeEndpoint::default()
    };
    let node_endpoints = endpoint.map(node).into_iter();
    VoteResponse {
        topics: vec![topic],
        node_endpoints: node_endpoints.filter(|_| ctx.version() >= 1).collect(),
        ..VoteResponse::default()
    }
}
