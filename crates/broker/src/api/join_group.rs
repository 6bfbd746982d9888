//! JoinGroup (KIP-62, 345, 394, 800): takes part in a rebalance; answered when it has gathered its members.

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The JoinGroup API.
pub(super) struct JoinGroup;

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=9;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let group_id = request.group_id.clone();
        group::ask(ctx, &group_id, Command::JoinGroup(request), |response| match response {
            Response::JoinGroup(response) => Some(response),
            _ => None,
        })
    }
}
