//! IncrementalAlterConfigs (KIP-339, 412): sets, deletes, and changes lists of configuration values.
//! The levels of this process's loggers change here, everything else at the controller.

use std::collections::BTreeSet;

use bytestring::ByteString;
use ottla_config::{Operation as Change, keys};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_resource::{self, BROKER_LOGGER, Key, Refused};
use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;
use crate::loggers;

/// The IncrementalAlterConfigs API.
pub(super) struct IncrementalAlterConfigs;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::EachResource(Operation::AlterConfigs);

    fn handle(
        ctx: &Context<'_>,
        mut request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let validate_only = request.validate_only;
        let (slots, rest) = config_resource::decide_here(
            ctx,
            request.resources,
            |resource| (resource.resource_type, resource.resource_name.clone()),
            |resource| {
                (resource.resource_type == BROKER_LOGGER)
                    .then(|| alter_loggers(ctx, resource, validate_only))
            },
        );
        request.resources = rest;
        let merge = |forwarded, missing| IncrementalAlterConfigsResponse {
            responses: config_resource::merge(slots, forwarded, missing, answer),
            ..IncrementalAlterConfigsResponse::default()
        };
        if request.resources.is_empty() {
            return Reply::Now(merge(Vec::new(), ErrorCode::None));
        }
        forward::forward_then(ctx, request, forward::TIMEOUT_MS, |result| match result {
            Ok(IncrementalAlterConfigsResponse { responses, .. }) => {
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

fn alter_loggers(
    ctx: &Context<'_>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let refuse = |error, message: String| Err((error, Some(message)));
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for config in &resource.configs {
        let name = &*config.name;
        if !seen.insert(name) {
            let message = format!("the request names the logger {name:?} more than once");
            return refuse(ErrorCode::InvalidRequest, message);
        }
        let operation = Change::from_wire(config.config_operation);
        let level = match (operation, config.value.as_deref()) {
            (Some(Change::Delete), _) => None,
            (Some(Change::Set), Some(level)) => Some(level),
            (Some(Change::Set), None) => {
                let message = format!("logger {name:?} has no level in the request");
                return refuse(ErrorCode::InvalidRequest, message);
            }
            _ => {
                let message = "a logger's level can be set or deleted, it is no list".to_owned();
                return refuse(ErrorCode::InvalidRequest, message);
            }
        };
        let Some(logger) = loggers::find(name) else {
            let message = format!("there is no logger {name:?}; describe the loggers for a list");
            return refuse(ErrorCode::InvalidConfig, message);
        };
        let level = match level.map(|level| (level, loggers::level(level))) {
            Some((level, None)) => {
                let levels = loggers::LEVELS.join(", ");
                let message = format!("{level:?} is no level of a logger; levels are {levels}");
                return refuse(ErrorCode::InvalidConfig, message);
            }
            Some((_, level)) => level,
            None if logger == loggers::ROOT => {
                let message = "the level of the root logger can be set, not deleted".to_owned();
                return refuse(ErrorCode::InvalidRequest, message);
            }
            None => None,
        };
        changes.push((logger, level));
    }
    if !validate_only {
        let config = ctx.broker.config();
        let base = config.get(keys::OTTLA_LOG_LEVEL);
        ctx.broker.env().set_log_levels(&ctx.broker.loggers.change(&changes, base));
    }
    Ok(())
}
