//! IncrementalAlterConfigs (KIP-339): sets, deletes, and changes lists of configuration values.

use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The IncrementalAlterConfigs API.
pub(super) struct IncrementalAlterConfigs;

/// How long the commit may take, in milliseconds; the request carries no time of its own.
const TIMEOUT_MS: i32 = 30_000;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::EachResource(Operation::AlterConfigs);

    fn handle(
        ctx: &Context<'_>,
        request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let resources: Vec<_> =
            request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
        forward::forward(ctx, request, TIMEOUT_MS, move |error| IncrementalAlterConfigsResponse {
            responses: resources
                .into_iter()
                .map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
                    error_code: error.code(),
                    resource_type,
                    resource_name,
                    ..AlterConfigsResourceResponse::default()
                })
                .collect(),
            ..IncrementalAlterConfigsResponse::default()
        })
    }
}
