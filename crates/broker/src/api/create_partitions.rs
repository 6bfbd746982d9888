//! CreatePartitions (KIP-195).

use ottla_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The CreatePartitions API.
pub(super) struct CreatePartitions;

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;
    const RULE: Rule = Rule::EachTopic(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: CreatePartitionsRequest,
    ) -> Reply<CreatePartitionsResponse> {
        let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, move |error| CreatePartitionsResponse {
            results: names
                .into_iter()
                .map(|name| CreatePartitionsTopicResult {
                    name,
                    error_code: error.code(),
                    ..CreatePartitionsTopicResult::default()
                })
                .collect(),
            ..CreatePartitionsResponse::default()
        })
    }
}
