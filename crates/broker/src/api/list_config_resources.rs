//! ListConfigResources (KIP-1142): the resources that have configuration.

use std::collections::BTreeSet;

use ottla_metadata::ConfigResource as Resource;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_config_resources_response::ConfigResource;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The ListConfigResources API.
pub(super) struct ListConfigResources;

/// Resource type of the loggers of a broker.
const BROKER_LOGGER: i8 = 8;

/// All resource types, by number.
const ALL: [i8; 5] =
    [Resource::TOPIC, Resource::BROKER, BROKER_LOGGER, Resource::CLIENT_METRICS, Resource::GROUP];

impl Handler for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::DescribeConfigs);

    fn handle(
        ctx: &Context<'_>,
        request: ListConfigResourcesRequest,
    ) -> Reply<ListConfigResourcesResponse> {
        let types = match (ctx.version(), request.resource_types) {
            (0, _) => vec![Resource::CLIENT_METRICS],
            (_, types) if types.is_empty() => ALL.to_vec(),
            (_, types) => types,
        };
        if types.iter().any(|kind| !ALL.contains(kind)) {
            let error_code = ErrorCode::UnsupportedVersion.code();
            return Reply::Now(ListConfigResourcesResponse { error_code, ..Default::default() });
        }
        let mut names = BTreeSet::new();
        for kind in types {
            names.extend(list(ctx, kind).into_iter().map(|name| (kind, name)));
        }
        let config_resources = names.into_iter().map(|(kind, name)| ConfigResource {
            resource_name: name.into(),
            resource_type: kind,
            ..ConfigResource::default()
        });
        Reply::Now(ListConfigResourcesResponse {
            config_resources: config_resources.collect(),
            ..ListConfigResourcesResponse::default()
        })
    }
}

fn list(ctx: &Context<'_>, kind: i8) -> Vec<String> {
    match kind {
        Resource::TOPIC => ctx.image.topics().map(|topic| topic.name.to_string()).collect(),
        Resource::BROKER | BROKER_LOGGER => {
            ctx.image.brokers().map(|broker| broker.id.to_string()).collect()
        }
        _ => {
            let configured = ctx.image.configs().filter(|(resource, _)| resource.kind == kind);
            configured.map(|(resource, _)| resource.name.to_string()).collect()
        }
    }
}
