//! UpdateRaftVoter (KIP-853): a voter tells the leader where it listens. The only voter is the leader
//! itself, which corrects its own entry when it starts.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch};
use ottla_protocol::messages::update_raft_voter_response::CurrentLeader;
use ottla_protocol::messages::{UpdateRaftVoterRequest, UpdateRaftVoterResponse};
use ottla_raft::ReplicaKey;

use super::{Handler, Operation, Reply, Rule, raft};
use crate::context::Context;

/// The UpdateRaftVoter API.
pub(super) struct UpdateRaftVoter;

impl Handler for UpdateRaftVoter {
    type Request = UpdateRaftVoterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: UpdateRaftVoterRequest,
    ) -> Reply<UpdateRaftVoterResponse> {
        let error = check(ctx, &request).err().unwrap_or(ErrorCode::None);
        let leader = raft::leader(ctx);
        let (host, port) = leader.endpoint.map(|at| (at.host, at.port)).unwrap_or_default();
        Reply::Now(UpdateRaftVoterResponse {
            error_code: error.code(),
            current_leader: CurrentLeader {
                leader_id: leader.id.0,
                leader_epoch: leader.epoch.0,
                host: host.into(),
                port: i32::from(port),
                ..CurrentLeader::default()
            },
            ..UpdateRaftVoterResponse::default()
        })
    }
}

fn check(ctx: &Context<'_>, request: &UpdateRaftVoterRequest) -> Result<(), ErrorCode> {
    if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
        return Err(ErrorCode::InconsistentClusterId);
    }
    let quorum = &ctx.broker.quorum;
    quorum.check_leader(LeaderEpoch(request.current_leader_epoch))?;
    let key =
        ReplicaKey { id: BrokerId(request.voter_id), directory_id: request.voter_directory_id };
    if quorum.describe(ctx.now).voters.iter().any(|voter| voter.key == key) {
        Err(ErrorCode::InvalidRequest)
    } else {
        Err(ErrorCode::VoterNotFound)
    }
}
