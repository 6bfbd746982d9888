//! AddRaftVoter (KIP-853). Answered, not advertised: the quorum is one voter until others can follow.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, Monotonic};
use ottla_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use ottla_raft::ReplicaKey;

use super::{Handler, Operation, Reply, Rule, Wait, raft};
use crate::context::Context;

/// The AddRaftVoter API.
pub(super) struct AddRaftVoter;

impl Handler for AddRaftVoter {
    type Request = AddRaftVoterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(ctx: &Context<'_>, request: AddRaftVoterRequest) -> Reply<AddRaftVoterResponse> {
        let key =
            ReplicaKey { id: BrokerId(request.voter_id), directory_id: request.voter_directory_id };
        if let Some((error, message)) = refused(ctx, &request, key) {
            return Reply::Now(answer(error, message));
        }
        let mut wait = CatchUp { key, deadline: ctx.deadline(request.timeout_ms) };
        match wait.poll(ctx, request.timeout_ms <= 0) {
            Some(response) => Reply::Now(response),
            None => Reply::wait(wait),
        }
    }
}

fn refused(
    ctx: &Context<'_>,
    request: &AddRaftVoterRequest,
    key: ReplicaKey,
) -> Option<(ErrorCode, String)> {
    let quorum = &ctx.broker.quorum;
    if !raft::is_this_cluster(ctx, request.cluster_id.as_ref()) {
        let message = "the request is for another cluster".to_owned();
        return Some((ErrorCode::InconsistentClusterId, message));
    }
    if quorum.describe(ctx.now).voters.iter().any(|voter| voter.key.id == key.id) {
        return Some((ErrorCode::DuplicateVoter, format!("node {} is a voter already", key.id)));
    }
    let names = ctx.broker.static_config.controller_listener_names();
    let listener = names.first().map_or("", String::as_str);
    if !request.listeners.iter().any(|given| *given.name == *listener) {
        let message = format!("the request tells no address for the listener {listener}");
        return Some((ErrorCode::InvalidRequest, message));
    }
    None
}

/// A node that is to vote has to follow the log first, and to hold what is committed.
struct CatchUp {
    key: ReplicaKey,
    deadline: Monotonic,
}

impl Wait<AddRaftVoterResponse> for CatchUp {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<AddRaftVoterResponse> {
        if ctx.broker.quorum.is_caught_up(self.key, ctx.now) {
            let message = "this release keeps the metadata quorum at one voter".to_owned();
            return Some(answer(ErrorCode::UnsupportedVersion, message));
        }
        expired.then(|| {
            let id = self.key.id;
            let message = format!("node {id} does not follow the metadata log of this quorum");
            answer(ErrorCode::RequestTimedOut, message)
        })
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

fn answer(error: ErrorCode, message: String) -> AddRaftVoterResponse {
    AddRaftVoterResponse {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..AddRaftVoterResponse::default()
    }
}
