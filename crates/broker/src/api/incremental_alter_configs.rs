//! IncrementalAlterConfigs (KIP-339, 412): sets, deletes, and changes lists of configuration values.
//! The levels of this process's loggers change here, everything else at the controller.

use std::collections::BTreeSet;

use bytestring::ByteString;
use ottla_config::{Operation as Change, keys};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_resource::{self, BROKER_LOGGER, Refused};
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
        let resources = std::mem::take(&mut request.resources);
        let counts = config_resource::count(
            resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)),
        );
        let mut slots = Vec::with_capacity(resources.len());
        for resource in resources {
            let key = (resource.resource_type, resource.resource_name.clone());
            let here = match config_resource::may_alter(ctx, &counts, &key) {
                Err(refused) => Some(Err(refused)),
                Ok(()) if key.0 == BROKER_LOGGER => {
                    Some(alter_loggers(ctx, &resource, request.validate_only))
                }
                Ok(()) => None,
            };
            if here.is_none() {
                request.resources.push(resource);
            }
            slots.push((key, here));
        }
        if request.resources.is_empty() {
            return Reply::Now(merge(slots, Vec::new().into_iter(), ErrorCode::None));
        }
        forward::forward_then(ctx, request, forward::TIMEOUT_MS, |result| match result {
            Ok(IncrementalAlterConfigsResponse { responses, .. }) => {
                merge(slots, responses.into_iter(), ErrorCode::UnknownServerError)
            }
            Err(error) => merge(slots, Vec::new().into_iter(), error),
        })
    }
}

/// What was decided here about a resource; `None`: the controller decides.
type Slot = ((i8, ByteString), Option<Result<(), Refused>>);

/// The answers in the order of the request; `missing` for those that the controller does not give.
fn merge(
    slots: Vec<Slot>,
    mut forwarded: std::vec::IntoIter<AlterConfigsResourceResponse>,
    missing: ErrorCode,
) -> IncrementalAlterConfigsResponse {
    let response = |((resource_type, resource_name), here): Slot| {
        let (error, message) = match here {
            Some(Ok(())) => (ErrorCode::None, None),
            Some(Err(refused)) => refused,
            None => match forwarded.next() {
                Some(response) => return response,
                None => (missing, None),
            },
        };
        AlterConfigsResourceResponse {
            error_code: error.code(),
            error_message: message.map(ByteString::from),
            resource_type,
            resource_name,
            ..AlterConfigsResourceResponse::default()
        }
    };
    IncrementalAlterConfigsResponse {
        responses: slots.into_iter().map(response).collect(),
        ..IncrementalAlterConfigsResponse::default()
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
