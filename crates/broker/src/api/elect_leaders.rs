//! ElectLeaders (KIP-183, 460): preferred leaders, or leaders that may lack records.

use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
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
        let version = ctx.version();
        let wanted = request.topic_partitions.clone().unwrap_or_default();
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, move |error| {
            let partition = |partition_id| PartitionResult {
                partition_id,
                error_code: error.code(),
                ..PartitionResult::default()
            };
            let topic = |wish: TopicPartitions| ReplicaElectionResult {
                topic: wish.topic,
                partition_result: wish.partitions.into_iter().map(partition).collect(),
                ..ReplicaElectionResult::default()
            };
            ElectLeadersResponse {
                // Version 0 has errors of partitions only.
                error_code: if version >= 1 { error.code() } else { 0 },
                replica_election_results: wanted.into_iter().map(topic).collect(),
                ..ElectLeadersResponse::default()
            }
        })
    }
}
