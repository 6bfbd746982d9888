//! DeleteGroups (KIP-229): removes empty groups with their offsets.

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::{Handler, Operation, Reply, Rule, describe_groups, group};
use crate::context::Context;

/// The DeleteGroups API.
pub(super) struct DeleteGroups;

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;
    const RULE: Rule = Rule::Group(Operation::Delete);

    fn handle(ctx: &Context<'_>, request: DeleteGroupsRequest) -> Reply<DeleteGroupsResponse> {
        let promises =
            describe_groups::submit_each(ctx, request.groups_names, Command::DeleteGroups);
        group::gather(ctx, promises, |responses| {
            let results = responses.into_iter().flat_map(|response| match response {
                Response::DeleteGroups(results) => results,
                _ => Vec::new(),
            });
            DeleteGroupsResponse { results: results.collect(), ..Default::default() }
        })
    }
}
