//! ListGroups (KIP-518, 848): the groups this broker coordinates.

use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The ListGroups API.
pub(super) struct ListGroups;

impl Handler for ListGroups {
    type Request = ListGroupsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::FilterEach(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: ListGroupsRequest) -> Reply<ListGroupsResponse> {
        let shards = ctx.broker.groups.indexes();
        let promises = shards.into_iter().map(|index| {
            let (states, types) = (request.states_filter.clone(), request.types_filter.clone());
            ctx.broker.groups.submit(ctx, index, Command::ListGroups { states, types })
        });
        group::gather(ctx, promises.collect(), |responses| {
            let mut all = ListGroupsResponse::default();
            for response in responses {
                let Response::ListGroups(part) = response else { continue };
                match ErrorCode::from_code(part.error_code) {
                    Some(ErrorCode::None) => all.groups.extend(part.groups),
                    // Given up meanwhile: its groups are listed elsewhere.
                    Some(ErrorCode::NotCoordinator) => {}
                    // A list that leaves out what is loading would be taken for the whole.
                    _ => return part,
                }
            }
            all
        })
    }
}
