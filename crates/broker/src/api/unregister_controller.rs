//! UnregisterController: forgets a controller that is gone for good.

use ottla_protocol::messages::{UnregisterControllerRequest, UnregisterControllerResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The UnregisterController API.
pub(super) struct UnregisterController;

impl Handler for UnregisterController {
    type Request = UnregisterControllerRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: UnregisterControllerRequest,
    ) -> Reply<UnregisterControllerResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| UnregisterControllerResponse {
            error_code: error.code(),
            ..UnregisterControllerResponse::default()
        })
    }
}
