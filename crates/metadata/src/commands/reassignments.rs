//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455).

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::alter_partition_reassignments_response as alter_response;
use ottla_protocol::messages::list_partition_reassignments_response as list_response;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Env, Run, check_assignment, check_room};
use crate::command::ApiError;
use crate::election::{self, PartitionChange};
use crate::image::convert::raw_ids;
use crate::image::{PartitionImage, TopicImage};
use crate::record::VersionedRecord;

impl Run for AlterPartitionReassignmentsRequest {
    type Response = AlterPartitionReassignmentsResponse;

    fn run(
        &self,
        env: &mut Env<'_, '_>,
    ) -> (Vec<VersionedRecord>, AlterPartitionReassignmentsResponse) {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for wish in &self.topics {
            let topic = env.image.topic(&wish.name);
            let mut partitions = Vec::new();
            for partition in &wish.partitions {
                let target = partition.replicas.as_deref();
                let altered = alter(
                    env,
                    (topic, partition.partition_index),
                    target,
                    self.allow_replication_factor_change,
                );
                let mut answer = alter_response::ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_message: None,
                    ..Default::default()
                };
                match altered {
                    Ok(record) => records.extend(record),
                    Err(error) => {
                        answer.error_code = error.code.code();
                        answer.error_message = error.text();
                    }
                }
                partitions.push(answer);
            }
            let name = wish.name.clone();
            responses.push(alter_response::ReassignableTopicResponse {
                name,
                partitions,
                ..Default::default()
            });
        }
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            error_message: None,
            responses,
            ..Default::default()
        };
        (records, response)
    }
}

fn alter(
    env: &Env<'_, '_>,
    (topic, index): (Option<&TopicImage>, i32),
    target: Option<&[i32]>,
    factor_may_change: bool,
) -> Result<Option<VersionedRecord>, ApiError> {
    let index = PartitionIndex(index);
    let unknown =
        || ApiError::new(ErrorCode::UnknownTopicOrPartition, "there is no such topic or partition");
    let topic = topic.ok_or_else(unknown)?;
    let partition = topic.partition(index).ok_or_else(unknown)?;
    let min_isr = election::min_isr(env.image, &topic.name, env.config.min_insync_replicas);
    let mut change = PartitionChange::new(env.image, topic, (index, partition), min_isr);
    match target {
        None => cancel(partition, &mut change)?,
        Some(target) => {
            let at = usize::try_from(index.0).unwrap_or(0);
            let target = check_assignment(env.image, at, target, None)?;
            let original = original(partition);
            if !factor_may_change && target.len() != original.len() {
                let message = format!(
                    "the replication factor is {}, it may not become {}",
                    original.len(),
                    target.len()
                );
                return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
            }
            let missing = |from: &[BrokerId], of: &[BrokerId]| -> Vec<BrokerId> {
                of.iter().copied().filter(|id| !from.contains(id)).collect()
            };
            change.adding = missing(&original, &target);
            check_room(env.image, at, &missing(&partition.replicas, &target))?;
            change.removing = missing(&target, &partition.replicas);
            change.replicas = target.iter().chain(&change.removing).copied().collect();
        }
    }
    Ok(change.build())
}

/// The assignment before the reassignment that is under way.
fn original(partition: &PartitionImage) -> Vec<BrokerId> {
    partition.replicas.iter().copied().filter(|id| !partition.adding.contains(id)).collect()
}

fn cancel(partition: &PartitionImage, change: &mut PartitionChange<'_>) -> Result<(), ApiError> {
    if !partition.is_reassigning() {
        return Err(ApiError::code(ErrorCode::NoReassignmentInProgress));
    }
    change.replicas = original(partition);
    change.isr.retain(|id| !partition.adding.contains(id));
    if change.isr.is_empty() {
        let message = "none of the original replicas is in sync: the reassignment must go on";
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    change.adding.clear();
    change.removing.clear();
    Ok(())
}

impl Run for ListPartitionReassignmentsRequest {
    type Response = ListPartitionReassignmentsResponse;

    fn run(
        &self,
        env: &mut Env<'_, '_>,
    ) -> (Vec<VersionedRecord>, ListPartitionReassignmentsResponse) {
        let describe = |(index, partition): (PartitionIndex, &PartitionImage)| {
            list_response::OngoingPartitionReassignment {
                partition_index: index.0,
                replicas: raw_ids(&partition.replicas),
                adding_replicas: raw_ids(&partition.adding),
                removing_replicas: raw_ids(&partition.removing),
                ..Default::default()
            }
        };
        let ongoing = |topic: &TopicImage, wanted: Option<&[i32]>| {
            let asked =
                |index: PartitionIndex| wanted.is_none_or(|wanted| wanted.contains(&index.0));
            let found = topic.partitions().filter(|(index, p)| p.is_reassigning() && asked(*index));
            let partitions: Vec<_> = found.map(describe).collect();
            let name = crate::image::convert::text(&topic.name);
            (!partitions.is_empty()).then(|| list_response::OngoingTopicReassignment {
                name,
                partitions,
                ..Default::default()
            })
        };
        let topics = match &self.topics {
            None => env.image.topics().filter_map(|topic| ongoing(topic, None)).collect(),
            Some(wanted) => wanted
                .iter()
                .filter_map(|wish| {
                    ongoing(env.image.topic(&wish.name)?, Some(&wish.partition_indexes))
                })
                .collect(),
        };
        let response = ListPartitionReassignmentsResponse {
            error_message: None,
            topics,
            ..Default::default()
        };
        (Vec::new(), response)
    }
}
