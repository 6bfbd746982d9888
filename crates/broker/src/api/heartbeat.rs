//! Heartbeat: keeps a member alive and tells it of rebalances.

use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The Heartbeat API.
pub(super) struct Heartbeat;

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;
    const RULE: Rule = Rule::Group(Operation::Read);

    fn handle(ctx: &Context<'_>, request: HeartbeatRequest) -> Reply<HeartbeatResponse> {
        let group_id = request.group_id.clone();
        group::ask(ctx, &group_id, Command::Heartbeat(request), |response| match response {
            Response::Heartbeat(response) => Some(response),
            _ => None,
        })
    }
}
