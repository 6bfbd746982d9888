//! CreateTopics (KIP-4, 464, 525).

use ottla_protocol::messages::create_topics_response::CreatableTopicResult;
use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The CreateTopics API.
pub(super) struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=7;
    const RULE: Rule = Rule::EachTopic(Operation::Create);

    fn handle(ctx: &Context<'_>, mut request: CreateTopicsRequest) -> Reply<CreateTopicsResponse> {
        if ctx.version() < 4 {
            // Before KIP-464 the answer has no place for what the defaults came to; they hold all
            // the same, as in Kafka.
            request.validate_only &= ctx.version() >= 1;
        }
        let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, move |error| CreateTopicsResponse {
            topics: names
                .into_iter()
                .map(|name| CreatableTopicResult {
                    name,
                    error_code: error.code(),
                    configs: Some(Vec::new()),
                    ..CreatableTopicResult::default()
                })
                .collect(),
            ..CreateTopicsResponse::default()
        })
    }
}
