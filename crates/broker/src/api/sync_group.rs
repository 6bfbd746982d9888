//! SyncGroup: brings or waits for the leader's assignment.

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The SyncGroup API.
pub(super) struct SyncGroup;

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        let group_id = request.group_id.clone();
        group::ask(ctx, &group_id, Command::SyncGroup(request), |response| match response {
            Response::SyncGroup(response) => Some(response),
            _ => None,
        })
    }
}
