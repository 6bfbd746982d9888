//! RemoveRaftVoter (KIP-853). The last voter cannot be removed, and there is one.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The RemoveRaftVoter API.
pub(super) struct RemoveRaftVoter;

impl Handler for RemoveRaftVoter {
    type Request = RemoveRaftVoterRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: RemoveRaftVoterRequest,
    ) -> Reply<RemoveRaftVoterResponse> {
        let voter = request.voter_id;
        let (error, message) =
            if request.cluster_id.is_some_and(|id| *id != *ctx.broker.cluster_id()) {
                (ErrorCode::InconsistentClusterId, "the request is for another cluster".to_owned())
            } else {
                // The code of Kafka for the only voter, too.
                let message = format!(
                    "node {voter} with directory {} is not a voter that can be removed",
                    request.voter_directory_id
                );
                (ErrorCode::VoterNotFound, message)
            };
        Reply::Now(RemoveRaftVoterResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            ..RemoveRaftVoterResponse::default()
        })
    }
}
