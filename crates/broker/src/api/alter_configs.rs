//! AlterConfigs (KIP-133): replaces all values of a resource.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_resource::{self, Refused};
use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterConfigs API.
pub(super) struct AlterConfigs;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::EachResource(Operation::AlterConfigs);

    fn handle(ctx: &Context<'_>, mut request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let resources = std::mem::take(&mut request.resources);
        let counts = config_resource::count(
            resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)),
        );
        let mut slots = Vec::with_capacity(resources.len());
        for resource in resources {
            let key = (resource.resource_type, resource.resource_name.clone());
            let refused = config_resource::may_alter(ctx, &counts, &key).err();
            if refused.is_none() {
                request.resources.push(resource);
            }
            slots.push((key, refused));
        }
        if request.resources.is_empty() {
            return Reply::Now(merge(slots, Vec::new().into_iter(), ErrorCode::None));
        }
        forward::forward_then(ctx, request, forward::TIMEOUT_MS, |result| match result {
            Ok(AlterConfigsResponse { responses, .. }) => {
                merge(slots, responses.into_iter(), ErrorCode::UnknownServerError)
            }
            Err(error) => merge(slots, Vec::new().into_iter(), error),
        })
    }
}

/// Why a resource was refused here; `None`: the controller decides.
type Slot = ((i8, ByteString), Option<Refused>);

/// The answers in the order of the request; `missing` for those that the controller does not give.
fn merge(
    slots: Vec<Slot>,
    mut forwarded: std::vec::IntoIter<AlterConfigsResourceResponse>,
    missing: ErrorCode,
) -> AlterConfigsResponse {
    let response = |((resource_type, resource_name), refused): Slot| {
        let (error, message) = match refused {
            Some(refused) => refused,
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
    AlterConfigsResponse {
        responses: slots.into_iter().map(response).collect(),
        ..AlterConfigsResponse::default()
    }
}
