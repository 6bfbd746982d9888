//! Fetch on a controller listener (KIP-595, 630): another node follows the metadata log.

use ottla_protocol::ids::{BrokerId, LeaderEpoch, Monotonic, Offset};
use ottla_protocol::messages::fetch_request::FetchPartition;
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    SnapshotId,
};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::{ErrorCode, Records, Uuid};
use ottla_raft::{FetchPlace, ReplicaKey};

use super::{Reply, Wait, raft};
use crate::context::Context;
use crate::quorum::{LogFetch, LogFound, LogRead};

/// The first version that names topics by id; the metadata log has no name in a Fetch.
const BY_ID: i16 = 13;
/// The first version that tells addresses of leaders.
const ENDPOINTS: i16 = 16;
/// The id of the metadata topic.
const METADATA_TOPIC_ID: Uuid = Uuid::ONE;
/// `controller.quorum.fetch.max.bytes`: most bytes of one answer, unless one batch is larger.
const BYTES_MAX: i32 = 1 << 20;

/// Answers a fetch of the metadata log. It waits until more is committed, at most for the time that
/// the request gives, unless there is something to tell.
pub(super) fn handle(ctx: &Context<'_>, request: &FetchRequest) -> Reply<FetchResponse> {
    ctx.exempt();
    let refuse = |error: ErrorCode| {
        Reply::Now(FetchResponse { error_code: error.code(), ..FetchResponse::default() })
    };
    if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
        return refuse(ErrorCode::InconsistentClusterId);
    }
    let Some(partition) = metadata_partition(ctx, request) else {
        return refuse(ErrorCode::InvalidRequest);
    };
    let replica_id =
        if ctx.version() >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let impossible = partition.fetch_offset < 0
        || partition.last_fetched_epoch < 0
        || partition.current_leader_epoch < 0
        || request.max_wait_ms < 0
        || replica_id == ctx.broker.node_id().0;
    if impossible {
        return Reply::Now(answer(ctx, LogRead::refused(ErrorCode::InvalidRequest)));
    }
    let bytes_max = request.max_bytes.clamp(0, BYTES_MAX);
    let wait = MetadataWait {
        fetch: LogFetch {
            replica: ReplicaKey {
                id: BrokerId(replica_id),
                directory_id: partition.replica_directory_id,
            },
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            offset: Offset(partition.fetch_offset),
            last_epoch: LeaderEpoch(partition.last_fetched_epoch),
            bytes_max: u32::try_from(bytes_max).unwrap_or(0),
        },
        known_high_watermark: partition.high_watermark,
        deadline: ctx.deadline(request.max_wait_ms),
    };
    let read = ctx.broker.quorum.fetch(&wait.fetch, ctx.now, None);
    match wait.ready(&read) || request.max_wait_ms == 0 {
        true => Reply::Now(answer(ctx, read)),
        false => Reply::wait(wait),
    }
}

/// The partition of a request for exactly the metadata log.
fn metadata_partition<'a>(
    ctx: &Context<'_>,
    request: &'a FetchRequest,
) -> Option<&'a FetchPartition> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let named = ctx.version() >= BY_ID && topic.topic_id == METADATA_TOPIC_ID;
    (named && partition.partition == 0).then_some(partition)
}

struct MetadataWait {
    fetch: LogFetch,
    /// What the follower knows to be committed (KIP-1166).
    known_high_watermark: i64,
    deadline: Monotonic,
}

impl MetadataWait {
    fn ready(&self, read: &LogRead) -> bool {
        let quiet = matches!(read.found, Ok(LogFound::Records(None)));
        !quiet || self.known_high_watermark < read.high_watermark.0
    }
}

impl Wait<FetchResponse> for MetadataWait {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<FetchResponse> {
        let read = ctx.broker.quorum.fetch(&self.fetch, ctx.now, Some(ctx.waiter));
        (expired || self.ready(&read)).then(|| answer(ctx, read))
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

fn answer(ctx: &Context<'_>, read: LogRead) -> FetchResponse {
    let leader = raft::leader(ctx);
    let mut data = PartitionData {
        partition_index: 0,
        high_watermark: read.high_watermark.0,
        log_start_offset: read.log_start.0,
        current_leader: LeaderIdAndEpoch {
            leader_id: leader.id.0,
            leader_epoch: leader.epoch.0,
            ..LeaderIdAndEpoch::default()
        },
        records: Some(Records::default()),
        aborted_transactions: Some(Vec::new()),
        ..PartitionData::default()
    };
    match read.found {
        Ok(LogFound::Records(None)) => {}
        Ok(LogFound::Records(Some(slice))) => data.records = Some(ctx.attach(slice)),
        Ok(LogFound::Elsewhere(place)) => set_place(&mut data, place),
        Err(error) => {
            data.error_code = error.code();
            data.high_watermark = Offset::NONE.0;
        }
    }
    let topic = FetchableTopicResponse {
        topic_id: METADATA_TOPIC_ID,
        partitions: vec![data],
        ..FetchableTopicResponse::default()
    };
    let node = |endpoint: ottla_raft::Endpoint| NodeEndpoint {
        node_id: leader.id.0,
        host: endpoint.host.into(),
        port: i32::from(endpoint.port),
        ..NodeEndpoint::default()
    };
    let nodes = leader.endpoint.filter(|_| ctx.version() >= ENDPOINTS).map(node);
    FetchResponse {
        responses: vec![topic],
        node_endpoints: nodes.into_iter().collect(),
        ..FetchResponse::default()
    }
}

fn set_place(data: &mut PartitionData, place: FetchPlace) {
    match place {
        FetchPlace::Here => {}
        FetchPlace::Diverging(epoch, end) => {
            data.diverging_epoch =
                EpochEndOffset { epoch: epoch.0, end_offset: end.0, ..EpochEndOffset::default() };
        }
        FetchPlace::Snapshot(snapshot) => {
            data.snapshot_id = SnapshotId {
                end_offset: snapshot.end.0,
                epoch: snapshot.epoch.0,
                ..SnapshotId::default()
            };
        }
    }
}
