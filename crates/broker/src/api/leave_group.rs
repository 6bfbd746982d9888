//! LeaveGroup (KIP-345, 800): members leave at once.

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The LeaveGroup API.
pub(super) struct LeaveGroup;

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, request: LeaveGroupRequest) -> Reply<LeaveGroupResponse> {
        let group_id = request.group_id.clone();
        group::ask(ctx, &group_id, Command::LeaveGroup(request), |response| match response {
            Response::LeaveGroup(response) => Some(response),
            _ => None,
        })
    }
}
