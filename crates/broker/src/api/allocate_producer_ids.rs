//! AllocateProducerIds: a block of producer ids for a broker (KIP-730).

use ottla_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AllocateProducerIds API.
pub(super) struct AllocateProducerIds;

impl Handler for AllocateProducerIds {
    type Request = AllocateProducerIdsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: AllocateProducerIdsRequest,
    ) -> Reply<AllocateProducerIdsResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| AllocateProducerIdsResponse {
            error_code: error.code(),
            ..AllocateProducerIdsResponse::default()
        })
    }
}
