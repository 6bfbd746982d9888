//! UnregisterBroker (KIP-500): forgets a broker.

use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The UnregisterBroker API.
pub(super) struct UnregisterBroker;

impl Handler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: UnregisterBrokerRequest,
    ) -> Reply<UnregisterBrokerResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| UnregisterBrokerResponse {
            error_code: error.code(),
            ..UnregisterBrokerResponse::default()
        })
    }
}
