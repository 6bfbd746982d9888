//! EndQuorumEpoch (KIP-595, 853): a leader stops in good order. The only voter never follows one.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch};
use ottla_protocol::messages::end_quorum_epoch_request as request;
use ottla_protocol::messages::end_quorum_epoch_response::{NodeEndpoint, PartitionData, TopicData};
use ottla_protocol::messages::{EndQuorumEpochRequest, EndQuorumEpochResponse};

use super::{Handler, Operation, Reply, Rule, raft};
use crate::context::Context;
use crate::quorum::QuorumLeader;

/// The EndQuorumEpoch API.
pub(super) struct EndQuorumEpoch;

impl Handler for EndQuorumEpoch {
    type Request = EndQuorumEpochRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(ctx: &Context<'_>, request: EndQuorumEpochRequest) -> Reply<EndQuorumEpochResponse> {
        let refuse = |error: ErrorCode| {
            Reply::Now(EndQuorumEpochResponse { error_code: error.code(), ..Default::default() })
        };
        if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
            return refuse(ErrorCode::InconsistentClusterId);
        }
        let Some(partition) = metadata_partition(&request) else {
            return refuse(ErrorCode::InvalidRequest);
        };
        let claim = (BrokerId(partition.leader_id), LeaderEpoch(partition.leader_epoch));
        let checked = ctx.broker.quorum.check_claim(claim, None);
        let error = checked.err().map_or(ErrorCode::None, ErrorCode::from);
        Reply::Now(answer(raft::leader(ctx), error, ctx.version()))
    }
}

/// The partition of a request for exactly the metadata log.
fn metadata_partition(request: &EndQuorumEpochRequest) -> Option<&request::PartitionData> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let is_metadata = *topic.topic_name == *raft::METADATA_TOPIC && partition.partition_index == 0;
    is_metadata.then_some(partition)
}

fn answer(leader: QuorumLeader, error: ErrorCode, version: i16) -> EndQuorumEpochResponse {
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
    EndQuorumEpochResponse {
        topics: vec![topic],
        node_endpoints: leader.endpoint.filter(|_| version >= 1).map(node).into_iter().collect(),
        ..Default::default()
    }
}
