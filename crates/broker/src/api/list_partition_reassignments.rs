//! ListPartitionReassignments (KIP-455): the replicas that are being moved.

use ottla_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The ListPartitionReassignments API.
pub(super) struct ListPartitionReassignments;

impl Handler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: ListPartitionReassignmentsRequest,
    ) -> Reply<ListPartitionReassignmentsResponse> {
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, |error| ListPartitionReassignmentsResponse {
            error_code: error.code(),
            ..ListPartitionReassignmentsResponse::default()
        })
    }
}
