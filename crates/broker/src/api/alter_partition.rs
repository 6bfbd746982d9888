//! AlterPartition: a leader changes the ISR of its partitions (KIP-497, 903).

use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterPartition API.
pub(super) struct AlterPartition;

impl Handler for AlterPartition {
    type Request = AlterPartitionRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=3;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(ctx: &Context<'_>, request: AlterPartitionRequest) -> Reply<AlterPartitionResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| AlterPartitionResponse {
            error_code: error.code(),
            ..AlterPartitionResponse::default()
        })
    }
}
