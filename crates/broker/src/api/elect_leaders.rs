//! ElectLeaders (KIP-183, 460): preferred leaders, or leaders that may lack records.

use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The ElectLeaders API.
pub(super) struct ElectLeaders;

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(ctx: &Context<'_>, request: ElectLeadersRequest) -> Reply<ElectLeadersResponse> {
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, |error| ElectLeadersResponse {
            error_code: error.code(),
            ..ElectLeadersResponse::default()
        })
    }
}
