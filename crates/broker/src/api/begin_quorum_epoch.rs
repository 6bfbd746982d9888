//! BeginQuorumEpoch (KIP-595, 853): a node says that it leads. The only voter never follows, so what others claim is refused.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch};
use ottla_protocol::messages::begin_quorum_epoch_request as request;
use ottla_protocol::messages::begin_quorum_epoch_response::{
    NodeEndpoint, PartitionData, TopicData,
};
use ottla_protocol::messages::{BeginQuorumEpochRequest, BeginQuorumEpochResponse};
use ottla_raft::ReplicaKey;

use super::{Handler, Operation, Reply, Rule, raft};
use crate::context::Context;
use crate::quorum::QuorumLeader;

/// The BeginQuorumEpoch API.
pub(super) struct BeginQuorumEpoch;

impl Handler for BeginQuorumEpoch {
    type Request = BeginQuorumEpochRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: BeginQuorumEpochRequest,
    ) -> Reply<BeginQuorumEpochResponse> {
        let refuse = |error: ErrorCode| {
            Reply::Now(BeginQuorumEpochResponse { error_code: error.code(), ..Default::default() })
        };
        if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
            return refuse(ErrorCode::InconsistentClusterId);
        }
        let Some(partition) = metadata_partition(&request) else {
            return refuse(ErrorCode::InvalidRequest);
        };
        let claim = (BrokerId(partition.leader_id), LeaderEpoch(partition.leader_epoch));
        let voter = BrokerId(request.voter_id);
        let directory_id = partition.voter_directory_id;
        let meant = (voter.0 >= 0).then_some(ReplicaKey { id: voter, directory_id });
        let checked = ctx.broker.quorum.check_claim(claim, meant);
        let error = checked.err().map_or(ErrorCode::None, ErrorCode::from);
        Reply::Now(answer(raft::leader(ctx), error, ctx.version()))
    }
}

/// The partition of a request for exactly the metadata log.
fn metadata_partition(request: &BeginQuorumEpochRequest) -> Option<&request::PartitionData> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let is_metadata = *topic.topic_name == *raft::METADATA_TOPIC && partition.partition_index == 0;
    is_metadata.then_some(partition)
}

fn answer(leader: QuorumLeader, error: ErrorCode, version: i16) -> BeginQuorumEpochResponse {
    let partition = PartitionData {
        partition_index: 0,
        error_code: error.code(),
        leader_id: leader.id.0,
        leader_epoch: leader.epoch.0,
        ..PartitionData::default()
    };
    let topic = TopicData {
        topic_name: raft::METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..TopicData::default()
    };
    let node = |endpoint: ottla_raft::Endpoint| NodeEndpoint {
        node_id: leader.id.0,
        host: endpoint.host.into(),
        port: endpoint.port,
        ..NodeEndpoint::default()
    };
    BeginQuorumEpochResponse {
        topics: vec![topic],
        node_endpoints: leader.endpoint.filter(|_| version >= 1).map(node).into_iter().collect(),
        ..Default::default()
    }
}
