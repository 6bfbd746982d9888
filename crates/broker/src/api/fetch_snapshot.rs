//! FetchSnapshot (KIP-630): a piece of a snapshot of the metadata.

use ottla_protocol::ids::{LeaderEpoch, Offset};
use ottla_protocol::messages::fetch_snapshot_request as request;
use ottla_protocol::messages::fetch_snapshot_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot, SnapshotId, TopicSnapshot,
};
use ottla_protocol::messages::{FetchSnapshotRequest, FetchSnapshotResponse};
use ottla_protocol::{ErrorCode, Records};
use ottla_raft::SnapshotKey;

use super::{Handler, Operation, Reply, Rule, raft};
use crate::context::Context;
use crate::quorum::SnapshotPiece;

/// The FetchSnapshot API.
pub(super) struct FetchSnapshot;

/// `controller.quorum.fetch.snapshot.max.bytes`: most bytes of one answer.
const BYTES_MAX: i32 = 1 << 20;

impl Handler for FetchSnapshot {
    type Request = FetchSnapshotRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(ctx: &Context<'_>, request: FetchSnapshotRequest) -> Reply<FetchSnapshotResponse> {
        let refuse = |error: ErrorCode| {
            Reply::Now(FetchSnapshotResponse { error_code: error.code(), ..Default::default() })
        };
        if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
            return refuse(ErrorCode::InconsistentClusterId);
        }
        let [topic] = request.topics.as_slice() else { return refuse(ErrorCode::InvalidRequest) };
        let [partition] = topic.partitions.as_slice() else {
            return refuse(ErrorCode::InvalidRequest);
        };
        let known = *topic.name == *raft::METADATA_TOPIC && partition.partition == 0;
        let piece = match known {
            true => read(ctx, partition, request.max_bytes),
            false => Err(ErrorCode::UnknownTopicOrPartition),
        };
        Reply::Now(answer(ctx, (topic, partition), piece))
    }
}

fn read(
    ctx: &Context<'_>,
    partition: &request::PartitionSnapshot,
    bytes_max: i32,
) -> Result<SnapshotPiece, ErrorCode> {
    let id = SnapshotKey {
        end: Offset(partition.snapshot_id.end_offset),
        epoch: LeaderEpoch(partition.snapshot_id.epoch),
    };
    let epoch = LeaderEpoch(partition.current_leader_epoch);
    let bytes_max = u32::try_from(bytes_max.clamp(0, BYTES_MAX)).unwrap_or(0);
    ctx.broker.quorum.read_snapshot(epoch, id, (partition.position, bytes_max))
}

/// Errors are told where they belong. (Kafka 4.4.0 cannot encode those of a partition.)
fn answer(
    ctx: &Context<'_>,
    (topic, asked): (&request::TopicSnapshot, &request::PartitionSnapshot),
    piece: Result<SnapshotPiece, ErrorCode>,
) -> FetchSnapshotResponse {
    let leader = raft::leader(ctx);
    let mut partition = PartitionSnapshot {
        index: asked.partition,
        snapshot_id: SnapshotId {
            end_offset: asked.snapshot_id.end_offset,
            epoch: asked.snapshot_id.epoch,
            ..SnapshotId::default()
        },
        current_leader: LeaderIdAndEpoch {
            leader_id: leader.id.0,
            leader_epoch: leader.epoch.0,
            ..LeaderIdAndEpoch::default()
        },
        position: asked.position,
        ..PartitionSnapshot::default()
    };
    match piece {
        Ok(piece) => {
            partition.size = i64::try_from(piece.size).unwrap_or(i64::MAX);
            partition.unaligned_records = Records::Bytes(piece.bytes);
        }
        Err(error) => partition.error_code = error.code(),
    }
    let topic = TopicSnapshot {
        name: topic.name.clone(),
        partitions: vec![partition],
        ..TopicSnapshot::default()
    };
    let node = |endpoint: ottla_raft::Endpoint| NodeEndpoint {
        node_id: leader.id.0,
        host: endpoint.host.into(),
        port: endpoint.port,
        ..NodeEndpoint::default()
    };
    let nodes = leader.endpoint.filter(|_| ctx.version() >= 1).map(node);
    FetchSnapshotResponse {
        topics: vec![topic],
        node_endpoints: nodes.into_iter().collect(),
        ..FetchSnapshotResponse::default()
    }
}
