//! DeleteTopics (KIP-4, 516).

use ottla_config::keys;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_topics_response::DeletableTopicResult;
use ottla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The DeleteTopics API.
pub(super) struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=6;
    const RULE: Rule = Rule::EachTopic(Operation::Delete);

    fn handle(ctx: &Context<'_>, request: DeleteTopicsRequest) -> Reply<DeleteTopicsResponse> {
        let mut wanted: Vec<_> =
            request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
        wanted.extend(
            request.topic_names.iter().map(|name| (Some(name.clone()), Default::default())),
        );
        let refuse = move |error: ErrorCode| DeleteTopicsResponse {
            responses: wanted
                .into_iter()
                .map(|(name, topic_id)| DeletableTopicResult {
                    name,
                    topic_id,
                    error_code: error.code(),
                    ..DeletableTopicResult::default()
                })
                .collect(),
            ..DeleteTopicsResponse::default()
        };
        if !ctx.broker.config().get(keys::DELETE_TOPIC_ENABLE) {
            let error = if ctx.version() < 3 {
                ErrorCode::InvalidRequest
            } else {
                ErrorCode::TopicDeletionDisabled
            };
            return Reply::Now(refuse(error));
        }
        let timeout_ms = request.timeout_ms;
        forward::forward(ctx, request, timeout_ms, refuse)
    }
}
