//! AlterUserScramCredentials (KIP-554): sets and removes SCRAM credentials.

use ottla_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use ottla_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterUserScramCredentials API.
pub(super) struct AlterUserScramCredentials;

impl Handler for AlterUserScramCredentials {
    type Request = AlterUserScramCredentialsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: AlterUserScramCredentialsRequest,
    ) -> Reply<AlterUserScramCredentialsResponse> {
        let deleted = request.deletions.iter().map(|deletion| deletion.name.clone());
        let upserted = request.upsertions.iter().map(|upsertion| upsertion.name.clone());
        let mut users: Vec<_> = deleted.chain(upserted).collect();
        users.sort_unstable();
        users.dedup();
        forward::forward(ctx, request, forward::TIMEOUT_MS, move |error| {
            let result = |user| AlterUserScramCredentialsResult {
                user,
                error_code: error.code(),
                ..AlterUserScramCredentialsResult::default()
            };
            AlterUserScramCredentialsResponse {
                results: users.into_iter().map(result).collect(),
                ..AlterUserScramCredentialsResponse::default()
            }
        })
    }
}
