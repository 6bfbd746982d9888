//! AlterConfigs (KIP-133): replaces all values of a resource.

use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterConfigs API.
pub(super) struct AlterConfigs;

/// How long the commit may take, in milliseconds; the request carries no time of its own.
const TIMEOUT_MS: i32 = 30_000;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::EachResource(Operation::AlterConfigs);

    fn handle(ctx: &Context<'_>, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let resources: Vec<_> =
            request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
        forward::forward(ctx, request, TIMEOUT_MS, move |error| AlterConfigsResponse {
            responses: resources
                .into_iter()
                .map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
                    error_code: error.code(),
                    resource_type,
                    resource_name,
                    ..AlterConfigsResourceResponse::default()
                })
                .collect(),
            ..AlterConfigsResponse::default()
        })
    }
}
