//! CreatePartitions.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::create_topics::new_partition;
use super::{Env, NEW_PARTITIONS_MAX, Run, check_assignment, check_room, count, first_of_each};
use crate::command::ApiError;
use crate::image::TopicImage;
use crate::placement::place;
use crate::record::VersionedRecord;

impl Run for CreatePartitionsRequest {
    type Response = CreatePartitionsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, CreatePartitionsResponse) {
        let counts = count(self.topics.iter().map(|topic| &*topic.name));
        let mut records = Vec::new();
        let mut results = Vec::new();
        for topic in first_of_each(&self.topics, |topic| &topic.name) {
            let twice = counts.get(&*topic.name).is_some_and(|count| *count > 1);
            let added = if self.timeout_ms <= 0 {
                Err(ApiError::code(ErrorCode::RequestTimedOut))
            } else if twice {
                let message = "the request names the topic more than once";
                Err(ApiError::new(ErrorCode::InvalidRequest, message))
            } else {
                let left = NEW_PARTITIONS_MAX.saturating_sub(records.len());
                add(env, topic, left)
            };
            let mut result = CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_message: None,
                ..Default::default()
            };
            match added {
                Ok(mut added) => records.append(&mut added),
                Err(error) => {
                    result.error_code = error.code.code();
                    result.error_message = error.text();
                }
            }
            results.push(result);
        }
        if self.validate_only {
            records.clear();
        }
        let throttle_time_ms = env.throttle_time_ms();
        (records, CreatePartitionsResponse { results, throttle_time_ms, ..Default::default() })
    }
}

fn add(
    env: &mut Env<'_, '_>,
    wish: &CreatePartitionsTopic,
    left: usize,
) -> Result<Vec<VersionedRecord>, ApiError> {
    let image = env.image;
    let topic = image
        .topic(&wish.name)
        .ok_or_else(|| ApiError::code(ErrorCode::UnknownTopicOrPartition))?;
    let has = topic.partition_count();
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidPartitions, message);
    let wanted = usize::try_from(wish.count).unwrap_or(0);
    if wanted <= has {
        return Err(invalid(format!(
            "topic {:?} has {has} partitions; {} would not be more",
            &*wish.name, wish.count
        )));
    }
    let new = wanted - has;
    if new > left {
        let message = format!("{new} partitions to add; {NEW_PARTITIONS_MAX} may be added at once");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    let assignments = assignments(env, topic, wish, new)?;
    let version = image.metadata_version().partition_record();
    let mut records = Vec::with_capacity(new);
    for (index, replicas) in (has..).zip(assignments) {
        let partition = new_partition(env, index, replicas)?;
        let index = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
        records.push(VersionedRecord::new(partition.to_record(topic.id, index, version), version));
    }
    env.mutate(new)?;
    Ok(records)
}

fn assignments(
    env: &mut Env<'_, '_>,
    topic: &TopicImage,
    wish: &CreatePartitionsTopic,
    new: usize,
) -> Result<Vec<Vec<BrokerId>>, ApiError> {
    let factor = topic.partitions().next().map_or(1, |(_, first)| first.replicas.len());
    let Some(given) = &wish.assignments else {
        return place(env.image, env.ctx.random, new, factor).map_err(|error| {
            ApiError::new(ErrorCode::InvalidReplicationFactor, error.to_string())
        });
    };
    if given.len() != new {
        let message = format!("{new} partitions to add and {} assignments", given.len());
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let has = topic.partition_count();
    let check = |(index, given): (usize, &Vec<i32>)| {
        let found = check_assignment(env.image, index, given, Some(factor))?;
        check_room(env.image, index, &found)?;
        Ok(found)
    };
    (has..).zip(given.iter().map(|assignment| &assignment.broker_ids)).map(check).collect()
}
