//! ControllerRegistration: a controller starts (KIP-919).

use ottla_protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The ControllerRegistration API.
pub(super) struct ControllerRegistration;

impl Handler for ControllerRegistration {
    type Request = ControllerRegistrationRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: ControllerRegistrationRequest,
    ) -> Reply<ControllerRegistrationResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| {
            ControllerRegistrationResponse {
                error_code: error.code(),
                ..ControllerRegistrationResponse::default()
            }
        })
    }
}
