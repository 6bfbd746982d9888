//! AssignReplicasToDirs: a broker tells in which directories its replicas are (KIP-858).

use ottla_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AssignReplicasToDirs API.
pub(super) struct AssignReplicasToDirs;

impl Handler for AssignReplicasToDirs {
    type Request = AssignReplicasToDirsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::ClusterAction);

    fn handle(
        ctx: &Context<'_>,
        request: AssignReplicasToDirsRequest,
    ) -> Reply<AssignReplicasToDirsResponse> {
        forward::forward(ctx, request, forward::TIMEOUT_MS, |error| AssignReplicasToDirsResponse {
            error_code: error.code(),
            ..AssignReplicasToDirsResponse::default()
        })
    }
}
