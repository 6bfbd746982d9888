//! BrokerHeartbeat: a broker lives, is ready, or wants to stop (KIP-631).

use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The BrokerHeartbeat API.
pub(super) struct BrokerHeartbeat;

impl Handler for BrokerHeartbeat {
    type Request = BrokerHeartbeatRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: BrokerHeartbeatRequest,
    ) -> Reply<BrokerHeartbeatResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| BrokerHeartbeatResponse {
            error_code: error.code(),
            is_fenced: true,
            ..BrokerHeartbeatResponse::default()
        })
    }
}
