//! AlterConfigs (KIP-133): replaces all values of a resource.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_resource::{self, Key};
use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterConfigs API.
pub(super) struct AlterConfigs;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::EachResource(Operation::AlterConfigs);

    fn handle(ctx: &Context<'_>, mut request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let (slots, rest) = config_resource::decide_here(
            ctx,
            request.resources,
            |resource| (resource.resource_type, resource.resource_name.clone()),
            |_| None,
        );
        request.resources = rest;
        let merge = |forwarded, missing| AlterConfigsResponse {
            responses: config_resource::merge(slots, forwarded, missing, answer),
            ..AlterConfigsResponse::default()
        };
        if request.resources.is_empty() {
            return Reply::Now(merge(Vec::new(), ErrorCode::None));
        }
        forward::forward_then(ctx, request, forward::TIMEOUT_MS, |result| match result {
            Ok(AlterConfigsResponse { responses, .. }) => {
                merge(responses, ErrorCode::UnknownServerError)
            }
            Err(error) => merge(Vec::new(), error),
        })
    }
}

fn answer(
    (resource_type, resource_name): Key,
    error: ErrorCode,
    error_message: Option<ByteString>,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: error.code(),
        error_message,
        resource_type,
        resource_name,
        ..AlterConfigsResourceResponse::default()
    }
}
