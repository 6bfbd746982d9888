//! AlterPartitionReassignments (KIP-455): moves replicas to other brokers, or stops moving them.

use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterPartitionReassignments API.
pub(super) struct AlterPartitionReassignments;

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: AlterPartitionReassignmentsRequest,
    ) -> Reply<AlterPartitionReassignmentsResponse> {
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, |error| AlterPartitionReassignmentsResponse {
            error_code: error.code(),
            ..AlterPartitionReassignmentsResponse::default()
        })
    }
}
