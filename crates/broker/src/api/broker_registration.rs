//! BrokerRegistration: a broker starts (KIP-631).

use ottla_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The BrokerRegistration API.
pub(super) struct BrokerRegistration;

impl Handler for BrokerRegistration {
    type Request = BrokerRegistrationRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: BrokerRegistrationRequest,
    ) -> Reply<BrokerRegistrationResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| BrokerRegistrationResponse {
            error_code: error.code(),
            broker_epoch: -1,
            ..BrokerRegistrationResponse::default()
        })
    }
}
