//! CreateTopics.

use std::collections::BTreeMap;

use ottla_config::BrokerConfig;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use ottla_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{
    Env, NEW_PARTITIONS_MAX, Run, active, check_assignment, check_room, count, first_of_each,
};
use crate::command::ApiError;
use crate::image::{ConfigMap, ConfigResource, LeaderRecovery, PartitionImage};
use crate::names::{METADATA_TOPIC, validate_topic_name};
use crate::placement::{default_directory, place};
use crate::record::VersionedRecord;
use crate::rules::effective_broker;
use crate::snapshot::topic_record;

struct Created {
    records: Vec<VersionedRecord>,
    result: CreatableTopicResult,
}

impl Run for CreateTopicsRequest {
    type Response = CreateTopicsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, CreateTopicsResponse) {
        let counts = count(self.topics.iter().map(|topic| &*topic.name));
        let refused = self.refused(env);
        let broker = effective_broker(&env.config.broker, env.image, env.config.node_id);
        let mut records = Vec::new();
        let mut topics = Vec::new();
        // Names of this request collide with each other as with those that exist.
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for topic in first_of_each(&self.topics, |topic| &topic.name) {
            let twice = counts.get(&*topic.name).is_some_and(|count| *count > 1);
            let created = match &refused {
                Some(error) => Err(error.clone()),
                None if twice => Err(duplicate()),
                None => check_name(env, &topic.name, &mut keys)
                    .and_then(|()| create(env, topic, &broker)),
            };
            match created {
                Ok(mut created) => {
                    records.append(&mut created.records);
                    topics.push(created.result);
                }
                Err(error) => topics.push(failure(topic, &error)),
            }
        }
        if self.validate_only {
            records.clear();
        }
        let throttle_time_ms = env.throttle_time_ms();
        (records, CreateTopicsResponse { topics, throttle_time_ms, ..Default::default() })
    }
}

trait Refuse {
    fn refused(&self, env: &Env<'_, '_>) -> Option<ApiError>;
}

impl Refuse for CreateTopicsRequest {
    /// What refuses all topics of the request.
    fn refused(&self, env: &Env<'_, '_>) -> Option<ApiError> {
        if self.timeout_ms <= 0 {
            return Some(ApiError::code(ErrorCode::RequestTimedOut));
        }
        let total = self.topics.iter().fold(0usize, |total, topic| {
            let wanted = match (topic.assignments.len(), topic.num_partitions) {
                (0, -1) => env.config.default_partitions,
                (0, partitions) => partitions,
                (assigned, _) => i32::try_from(assigned).unwrap_or(i32::MAX),
            };
            total.saturating_add(usize::try_from(wanted).unwrap_or(0))
        });
        (total > NEW_PARTITIONS_MAX).then(|| {
            ApiError::new(
                ErrorCode::PolicyViolation,
                format!("the request asks for {total} partitions, {NEW_PARTITIONS_MAX} may be created at once"),
            )
        })
    }
}

fn duplicate() -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, "the request names the topic more than once")
}

fn check_name(
    env: &Env<'_, '_>,
    name: &str,
    keys: &mut BTreeMap<String, String>,
) -> Result<(), ApiError> {
    if name == METADATA_TOPIC {
        let message = format!("{METADATA_TOPIC} is the metadata log and cannot be created");
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidTopicException, message);
    validate_topic_name(name).map_err(|error| invalid(error.to_string()))?;
    if env.image.topic(name).is_some() {
        let message = format!("topic {name:?} exists already");
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
    }
    let Some(key) = crate::names::collision_key(name) else { return Ok(()) };
    let other = env.image.colliding_topic(name).or_else(|| keys.get(&key).map(String::as_str));
    if let Some(other) = other {
        return Err(invalid(format!(
            "topic {name:?} collides with the topic {other:?}: in metric names '.' and '_' are the same"
        )));
    }
    keys.insert(key, name.to_owned());
    Ok(())
}

fn create(
    env: &mut Env<'_, '_>,
    topic: &CreatableTopic,
    broker: &BrokerConfig,
) -> Result<Created, ApiError> {
    let configs = configs(topic, broker)?;
    let assignments =
        if topic.assignments.is_empty() { chosen(env, topic)? } else { given(env, topic)? };
    let factor = assignments.first().map_or(0, Vec::len);
    let id = new_topic_id(env);
    let mut records = vec![topic_record(&topic.name, id)];
    let resource = ConfigResource::topic(&topic.name);
    records.extend(configs.iter().map(|(key, value)| resource.to_record(key, Some(value))));
    let count = assignments.len();
    let version = env.image.metadata_version().partition_record();
    for (index, replicas) in assignments.into_iter().enumerate() {
        let partition = new_partition(env, index, replicas)?;
        let index = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
        records.push(VersionedRecord::new(partition.to_record(id, index, version), version));
    }
    env.mutate(count)?;
    let described = ottla_config::created_topic(&configs, broker).into_iter();
    let value = |value: ottla_config::Entry| CreatableTopicConfigs {
        name: value.name.into(),
        value: value.value.map(Into::into),
        read_only: value.read_only,
        config_source: value.source as i8,
        is_sensitive: value.sensitive,
        ..Default::default()
    };
    let result = CreatableTopicResult {
        name: topic.name.clone(),
        error_message: None,
        topic_id: id,
        num_partitions: i32::try_from(count).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
        configs: Some(described.map(value).collect()),
        ..Default::default()
    };
    Ok(Created { records, result })
}

fn failure(topic: &CreatableTopic, error: &ApiError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code: error.code.code(),
        error_message: error.text(),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn configs(topic: &CreatableTopic, broker: &BrokerConfig) -> Result<ConfigMap, ApiError> {
    let given: Vec<_> = topic.configs.iter().map(|c| (&*c.name, c.value.as_deref())).collect();
    Ok(ottla_config::for_new_topic(&given, broker)?)
}

/// Replicas by the controller's choice.
fn chosen(env: &mut Env<'_, '_>, topic: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, ApiError> {
    let factor = match topic.replication_factor {
        -1 => env.config.default_replication_factor,
        factor => factor,
    };
    let factor = usize::try_from(factor).ok().filter(|factor| *factor > 0).ok_or_else(|| {
        let message =
            format!("replication factor {factor}: must be at least 1, or -1 for the default");
        ApiError::new(ErrorCode::InvalidReplicationFactor, message)
    })?;
    let partitions = match topic.num_partitions {
        -1 => env.config.default_partitions,
        partitions => partitions,
    };
    let partitions =
        usize::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
            let message =
                format!("{partitions} partitions: must be at least 1, or -1 for the default");
            ApiError::new(ErrorCode::InvalidPartitions, message)
        })?;
    place(env.image, env.ctx.random, partitions, factor)
        .map_err(|error| ApiError::new(ErrorCode::InvalidReplicationFactor, error.to_string()))
}

/// Replicas by the client's choice.
fn given(env: &Env<'_, '_>, topic: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, ApiError> {
    if topic.replication_factor != -1 || topic.num_partitions != -1 {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "with a manual assignment the number of partitions and the replication factor must be -1",
        ));
    }
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut by_index: BTreeMap<i32, &CreatableReplicaAssignment> = BTreeMap::new();
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if by_index.insert(index, assignment).is_some() {
            return Err(invalid(format!("partition {index} is assigned more than once")));
        }
    }
    let factor = by_index.values().next().map(|assignment| assignment.broker_ids.len());
    let mut replicas = Vec::with_capacity(by_index.len());
    for (position, (index, assignment)) in by_index.into_iter().enumerate() {
        if usize::try_from(index) != Ok(position) {
            return Err(invalid(format!(
                "the assignment has partition {index} where {position} is expected"
            )));
        }
        let found = check_assignment(env.image, position, &assignment.broker_ids, factor)?;
        check_room(env.image, position, &found)?;
        replicas.push(found);
    }
    Ok(replicas)
}

/// The first state of a partition: in sync are the replicas that are active, the first of them leads.
pub(super) fn new_partition(
    env: &Env<'_, '_>,
    index: usize,
    replicas: Vec<BrokerId>,
) -> Result<PartitionImage, ApiError> {
    let isr = active(env.image, &replicas);
    let Some(leader) = isr.first().copied() else {
        let message = format!("all replicas of partition {index} are fenced or shutting down");
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    };
    let directories = replicas.iter().map(|id| default_directory(env.image.broker(*id))).collect();
    Ok(PartitionImage {
        replicas,
        directories,
        isr,
        removing: Vec::new(),
        adding: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader,
        leader_recovery: LeaderRecovery::Recovered,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
    })
}

/// Ids are random: one that is taken or reserved is as good as impossible, and is not used.
fn new_topic_id(env: &mut Env<'_, '_>) -> Uuid {
    loop {
        let id = env.ctx.random.uuid();
        let reserved = u128::from_be_bytes(id.0) < crate::placement::RESERVED_DIRECTORIES;
        if !reserved && env.image.topic_by_id(id).is_none() {
            return id;
        }
    }
}
