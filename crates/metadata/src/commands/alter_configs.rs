//! IncrementalAlterConfigs and AlterConfigs.

use std::collections::BTreeMap;

use ottla_config::{BrokerLayer, Change, Kind, Operation};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::BrokerId;
use ottla_protocol::messages::{
    self as m, AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response as replace_response,
    incremental_alter_configs_response as alter_response,
};

use super::{Env, Run};
use crate::command::ApiError;
use crate::image::ConfigResource;
use crate::image::convert::text;
use crate::record::VersionedRecord;
use crate::rules::{effective_broker, values};

const MIN_ISR: &str = "min.insync.replicas";

/// New value or removal, by key.
type Delta = Vec<(String, Option<String>)>;

impl Run for IncrementalAlterConfigsRequest {
    type Response = IncrementalAlterConfigsResponse;

    fn run(
        &self,
        env: &mut Env<'_, '_>,
    ) -> (Vec<VersionedRecord>, IncrementalAlterConfigsResponse) {
        let keys: Vec<_> =
            self.resources.iter().map(|r| (r.resource_type, &*r.resource_name)).collect();
        let counts = count(&keys);
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for (wish, key) in self.resources.iter().zip(&keys) {
            let changes = || -> Result<Vec<Change<'_>>, ApiError> {
                wish.configs
                    .iter()
                    .map(|c| change(&c.name, c.config_operation, c.value.as_deref()))
                    .collect()
            };
            let altered = once(&counts, key).and_then(|()| alter(env, *key, &changes()?));
            let mut response = alter_response::AlterConfigsResourceResponse {
                error_message: None,
                resource_type: wish.resource_type,
                resource_name: wish.resource_name.clone(),
                ..Default::default()
            };
            match altered {
                Ok(mut altered) => records.append(&mut altered),
                Err(error) => {
                    response.error_code = error.code.code();
                    response.error_message = error.text();
                }
            }
            responses.push(response);
        }
        if self.validate_only {
            records.clear();
        }
        (records, IncrementalAlterConfigsResponse { responses, ..Default::default() })
    }
}

impl Run for AlterConfigsRequest {
    type Response = AlterConfigsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, AlterConfigsResponse) {
        let keys: Vec<_> =
            self.resources.iter().map(|r| (r.resource_type, &*r.resource_name)).collect();
        let counts = count(&keys);
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for (wish, key) in self.resources.iter().zip(&keys) {
            let settings: Vec<_> =
                wish.configs.iter().map(|c| (&*c.name, c.value.as_deref())).collect();
            let replaced = once(&counts, key).and_then(|()| replace(env, *key, &settings));
            let mut response = replace_response::AlterConfigsResourceResponse {
                error_message: None,
                resource_type: wish.resource_type,
                resource_name: wish.resource_name.clone(),
                ..Default::default()
            };
            match replaced {
                Ok(mut replaced) => records.append(&mut replaced),
                Err(error) => {
                    response.error_code = error.code.code();
                    response.error_message = error.text();
                }
            }
            responses.push(response);
        }
        if self.validate_only {
            records.clear();
        }
        (records, AlterConfigsResponse { responses, ..Default::default() })
    }
}

fn count<'a>(keys: &[(i8, &'a str)]) -> BTreeMap<(i8, &'a str), usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(*key).or_insert(0) += 1;
    }
    counts
}

fn once(counts: &BTreeMap<(i8, &str), usize>, key: &(i8, &str)) -> Result<(), ApiError> {
    if counts.get(key).is_some_and(|count| *count > 1) {
        return Err(invalid("the request names the resource more than once"));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

fn change<'a>(
    name: &'a str,
    operation: i8,
    value: Option<&'a str>,
) -> Result<Change<'a>, ApiError> {
    let operation = Operation::from_wire(operation)
        .ok_or_else(|| invalid(format!("operation {operation} is not defined")))?;
    Ok(Change { name, operation, value })
}

/// What a request's resource is, if it exists and may be altered here.
enum Target {
    Values(Kind, ConfigResource),
    Broker(BrokerLayer, ConfigResource, BrokerId),
}

fn target(env: &Env<'_, '_>, (kind, name): (i8, &str)) -> Result<Target, ApiError> {
    let resource = ConfigResource::new(kind, name);
    match kind {
        ConfigResource::TOPIC if env.image.topic(name).is_none() => {
            let message = format!("there is no topic {name:?}");
            Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message))
        }
        ConfigResource::TOPIC => Ok(Target::Values(Kind::Topic, resource)),
        ConfigResource::GROUP | ConfigResource::CLIENT_METRICS if name.is_empty() => {
            Err(invalid("the name of the resource is empty"))
        }
        ConfigResource::GROUP => Ok(Target::Values(Kind::Group, resource)),
        ConfigResource::CLIENT_METRICS => Ok(Target::Values(Kind::ClientMetrics, resource)),
        ConfigResource::BROKER if name.is_empty() => {
            Ok(Target::Broker(BrokerLayer::AllBrokers, resource, env.config.node_id))
        }
        ConfigResource::BROKER => {
            let id = name
                .parse()
                .map(BrokerId)
                .map_err(|_| invalid(format!("{name:?} is not a broker id")))?;
            if id != env.config.node_id && env.image.broker(id).is_none() {
                return Err(invalid(format!("broker {id} is not registered")));
            }
            Ok(Target::Broker(BrokerLayer::OneBroker, ConfigResource::broker(id), id))
        }
        _ => Err(invalid(format!("resources of type {kind} cannot be configured here"))),
    }
}

fn alter(
    env: &Env<'_, '_>,
    key: (i8, &str),
    changes: &[Change<'_>],
) -> Result<Vec<VersionedRecord>, ApiError> {
    match target(env, key)? {
        Target::Values(kind, resource) => {
            let broker = effective_broker(&env.config.broker, env.image, env.config.node_id);
            let existing = values(env.image, &resource);
            let delta = ottla_config::apply(kind, &existing, changes, &broker)?;
            records(env, &resource, &delta)
        }
        Target::Broker(layer, resource, id) => {
            let broker = effective_broker(&env.config.broker, env.image, id);
            let delta = ottla_config::apply_broker(layer, changes, &broker)?;
            records(env, &resource, &delta)
        }
    }
}

fn replace(
    env: &Env<'_, '_>,
    key: (i8, &str),
    settings: &[(&str, Option<&str>)],
) -> Result<Vec<VersionedRecord>, ApiError> {
    match target(env, key)? {
        Target::Values(kind, resource) => {
            let broker = effective_broker(&env.config.broker, env.image, env.config.node_id);
            let existing = values(env.image, &resource);
            let delta = ottla_config::replace(kind, &existing, settings, &broker)?;
            records(env, &resource, &delta)
        }
        Target::Broker(_, resource, _) => {
            let existing = values(env.image, &resource);
            let gone =
                existing.keys().filter(|name| !settings.iter().any(|(given, _)| given == name));
            // With ELR the cluster's value must exist, so leaving it out does not remove it.
            let gone = gone.filter(|name| !(env.image.elr_enabled() && *name == MIN_ISR));
            let gone: Vec<String> = gone.cloned().collect();
            let mut changes: Vec<Change<'_>> = Vec::new();
            for name in &gone {
                changes.push(Change { name, operation: Operation::Delete, value: None });
            }
            for (name, value) in settings {
                changes.push(Change { name, operation: Operation::Set, value: *value });
            }
            alter(env, key, &changes)
        }
    }
}

/// With ELR, min.insync.replicas belongs to topics and to the cluster: it decides who is eligible,
/// so a change of it makes the eligible replicas start anew (KIP-966).
fn records(
    env: &Env<'_, '_>,
    resource: &ConfigResource,
    delta: &Delta,
) -> Result<Vec<VersionedRecord>, ApiError> {
    let mut records: Vec<_> =
        delta.iter().map(|(key, value)| resource.to_record(key, value.as_deref())).collect();
    let Some((_, value)) =
        delta.iter().find(|(key, _)| key == MIN_ISR).filter(|_| env.image.elr_enabled())
    else {
        return Ok(records);
    };
    let of_broker = resource.kind == ConfigResource::BROKER;
    if of_broker && !resource.name.is_empty() {
        let message =
            format!("{MIN_ISR} cannot be set for one broker while eligible leader replicas are on");
        return Err(ApiError::new(ErrorCode::InvalidConfig, message));
    }
    if of_broker && value.is_none() {
        let message = format!(
            "{MIN_ISR} of the cluster cannot be removed while eligible leader replicas are on"
        );
        return Err(ApiError::new(ErrorCode::InvalidConfig, message));
    }
    if of_broker || resource.kind == ConfigResource::TOPIC {
        let topic_name = if of_broker { text("") } else { text(&resource.name) };
        records.push(VersionedRecord::v0(m::ClearElrRecord { topic_name, ..Default::default() }));
    }
    Ok(records)
}
