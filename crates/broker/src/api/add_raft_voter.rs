//! AddRaftVoter (KIP-853). Answered, not advertised: the quorum is one voter until others can follow.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;
use ottla_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The AddRaftVoter API.
pub(super) struct AddRaftVoter;

impl Handler for AddRaftVoter {
    type Request = AddRaftVoterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(ctx: &Context<'_>, request: AddRaftVoterRequest) -> Reply<AddRaftVoterResponse> {
        let voter = request.voter_id;
        let (error, message) =
            if request.cluster_id.is_some_and(|id| *id != *ctx.broker.cluster_id()) {
                (ErrorCode::InconsistentClusterId, "the request is for another cluster".to_owned())
            } else if is_voter(ctx, BrokerId(voter)) {
                (ErrorCode::DuplicateVoter, format!("node {voter} is a voter already"))
            } else {
                let message = "this release keeps the metadata quorum at one voter";
                (ErrorCode::UnsupportedVersion, message.to_owned())
            };
        Reply::Now(AddRaftVoterResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            ..AddRaftVoterResponse::default()
        })
    }
}

fn is_voter(ctx: &Context<'_>, id: BrokerId) -> bool {
    ctx.broker.quorum.describe(ctx.now).voters.iter().any(|voter| voter.key.id == id)
}
