//! DescribeConfigs (KIP-133, 226, 569): values with where they come from.

use bytestring::ByteString;
use ottla_config::{Entry, Settings, Source, keys};
use ottla_metadata::ConfigResource;
use ottla_metadata::names::validate_topic_name;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::config_resource::{self, Refused};
use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The DescribeConfigs API.
pub(super) struct DescribeConfigs;

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=4;
    const RULE: Rule = Rule::EachResource(Operation::DescribeConfigs);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeConfigsRequest,
    ) -> Reply<DescribeConfigsResponse> {
        let (synonyms, docs) = (request.include_synonyms, request.include_documentation);
        let results = request.resources.into_iter().map(|resource| {
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                error_message: Some(ByteString::new()),
                ..DescribeConfigsResult::default()
            };
            match describe(ctx, &resource) {
                Ok(entries) => {
                    let wanted = entries.into_iter().filter(|entry| is_wanted(&resource, entry));
                    result.configs = wanted.map(|entry| value(entry, synonyms, docs)).collect();
                }
                Err((error, message)) => {
                    result.error_code = error.code();
                    result.error_message = message.map(ByteString::from);
                }
            }
            result
        });
        Reply::Now(DescribeConfigsResponse { results: results.collect(), ..Default::default() })
    }
}

fn describe(ctx: &Context<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Entry>, Refused> {
    let name = &*resource.resource_name;
    let config = ctx.broker.config();
    let own = |kind| -> Settings {
        ctx.image.config(&ConfigResource::new(kind, name)).cloned().unwrap_or_default()
    };
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, Some(message)));
    match resource.resource_type {
        ConfigResource::TOPIC => {
            if let Err(error) = validate_topic_name(name) {
                return Err((ErrorCode::InvalidTopicException, Some(error.to_string())));
            }
            if ctx.image.topic(name).is_none() {
                return Err((ErrorCode::UnknownTopicOrPartition, None));
            }
            Ok(ottla_config::describe_topic(&own(ConfigResource::TOPIC), &config))
        }
        ConfigResource::BROKER if name.is_empty() => {
            Ok(ottla_config::describe_broker_defaults(&config))
        }
        ConfigResource::BROKER => {
            config_resource::is_this_broker(ctx, name)?;
            Ok(ottla_config::describe_broker(&config))
        }
        config_resource::BROKER_LOGGER => {
            config_resource::is_this_broker(ctx, name)?;
            Ok(loggers(ctx))
        }
        ConfigResource::GROUP if name.is_empty() => {
            invalid("a group id cannot be empty".to_owned())
        }
        ConfigResource::GROUP => {
            Ok(ottla_config::describe_group(&own(ConfigResource::GROUP), &config))
        }
        ConfigResource::CLIENT_METRICS if name.is_empty() => {
            invalid("a client metrics subscription has a name".to_owned())
        }
        ConfigResource::CLIENT_METRICS => {
            Ok(ottla_config::describe_client_metrics(&own(ConfigResource::CLIENT_METRICS)))
        }
        other => invalid(format!(
            "resource type {other} has no configuration: 2 (topic), 4 (broker), 8 (broker logger), \
             16 (client metrics) and 32 (group) have"
        )),
    }
}

/// The loggers of this process.
fn loggers(ctx: &Context<'_>) -> Vec<Entry> {
    let config = ctx.broker.config();
    let levels = ctx.broker.loggers.describe(config.get(keys::OTTLA_LOG_LEVEL));
    let entry = |(name, level): (&str, &str)| Entry {
        name: name.to_owned(),
        value: Some(level.to_owned()),
        source: Source::DynamicBrokerLogger,
        read_only: false,
        sensitive: false,
        ty: 2,
        doc: "Level below which log lines are left out.",
        synonyms: Vec::new(),
    };
    levels.into_iter().map(entry).collect()
}

fn is_wanted(resource: &DescribeConfigsResource, entry: &Entry) -> bool {
    match &resource.configuration_keys {
        // An empty list means all, as in Kafka.
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| **key == *entry.name),
        _ => true,
    }
}

fn value(entry: Entry, synonyms: bool, docs: bool) -> DescribeConfigsResourceResult {
    let synonym = |synonym: ottla_config::Synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(ByteString::from),
        source: synonym.source as i8,
        ..DescribeConfigsSynonym::default()
    };
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(ByteString::from),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: if synonyms {
            entry.synonyms.into_iter().map(synonym).collect()
        } else {
            Vec::new()
        },
        config_type: entry.ty,
        documentation: docs.then(|| ByteString::from_static(entry.doc)),
        ..DescribeConfigsResourceResult::default()
    }
}
