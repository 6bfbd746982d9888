//! ElectLeaders: preferred and unclean elections.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Env, Run, active};
use crate::command::ApiError;
use crate::election::{self, Election, PartitionChange};
use crate::image::{PartitionImage, TopicImage};
use crate::record::VersionedRecord;

impl Run for ElectLeadersRequest {
    type Response = ElectLeadersResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, ElectLeadersResponse) {
        let kind = match self.election_type {
            0 => Ok(Election::Preferred),
            1 => Ok(Election::Unclean),
            _ => Err(ErrorCode::InvalidRequest),
        };
        let mut records = Vec::new();
        let mut results = Vec::new();
        match (&self.topic_partitions, kind) {
            (None, Ok(kind)) => all(env, kind, &mut records, &mut results),
            (None, Err(_)) => {}
            (Some(topics), kind) => {
                for wish in topics {
                    let topic = env.image.topic(&wish.topic);
                    let one = |index: &i32| {
                        let elected = kind
                            .map_err(ApiError::code)
                            .and_then(|kind| elect(env, topic, *index, kind));
                        partition_result(*index, elected, &mut records)
                    };
                    let partition_result = wish.partitions.iter().map(one).collect();
                    let topic = wish.topic.clone();
                    results.push(ReplicaElectionResult {
                        topic,
                        partition_result,
                        ..Default::default()
                    });
                }
            }
        }
        let error_code = kind.err().map_or(0, ErrorCode::code);
        (
            records,
            ElectLeadersResponse {
                error_code,
                replica_election_results: results,
                ..Default::default()
            },
        )
    }
}

/// All partitions; those where nothing was to be done are left out of the answer.
fn all(
    env: &Env<'_, '_>,
    kind: Election,
    records: &mut Vec<VersionedRecord>,
    results: &mut Vec<ReplicaElectionResult>,
) {
    for topic in env.image.topics() {
        let one = |(index, _): (PartitionIndex, &PartitionImage)| {
            let elected = elect(env, Some(topic), index.0, kind);
            let needed =
                !matches!(&elected, Err(error) if error.code == ErrorCode::ElectionNotNeeded);
            needed.then(|| partition_result(index.0, elected, records))
        };
        let partition_result: Vec<_> = topic.partitions().filter_map(one).collect();
        if !partition_result.is_empty() {
            let topic = crate::image::convert::text(&topic.name);
            results.push(ReplicaElectionResult { topic, partition_result, ..Default::default() });
        }
    }
}

fn partition_result(
    partition_id: i32,
    elected: Result<VersionedRecord, ApiError>,
    records: &mut Vec<VersionedRecord>,
) -> PartitionResult {
    let mut result = PartitionResult { partition_id, error_message: None, ..Default::default() };
    match elected {
        Ok(record) => records.push(record),
        Err(error) => {
            result.error_code = error.code.code();
            result.error_message = error.text();
        }
    }
    result
}

fn elect(
    env: &Env<'_, '_>,
    topic: Option<&TopicImage>,
    index: i32,
    kind: Election,
) -> Result<VersionedRecord, ApiError> {
    let at = PartitionIndex(index);
    let unknown =
        || ApiError::new(ErrorCode::UnknownTopicOrPartition, "there is no such topic or partition");
    let topic = topic.ok_or_else(unknown)?;
    let partition = topic.partition(at).ok_or_else(unknown)?;
    let not_needed = match kind {
        Election::Preferred => partition.leader == partition.preferred_leader(),
        _ => partition.leader != BrokerId::NONE,
    };
    if not_needed {
        return Err(ApiError::new(
            ErrorCode::ElectionNotNeeded,
            "the partition is led as asked for",
        ));
    }
    if kind == Election::Preferred {
        let preferred = partition.preferred_leader();
        if active(env.image, &[preferred]).is_empty() || !partition.isr.contains(&preferred) {
            let message = format!("the preferred leader {preferred} is not in sync or not alive");
            return Err(ApiError::new(ErrorCode::PreferredLeaderNotAvailable, message));
        }
    }
    let min_isr = election::min_isr(env.image, &topic.name, env.config.min_insync_replicas);
    let mut change = PartitionChange::new(env.image, topic, (at, partition), min_isr);
    change.election = kind;
    let none = || {
        let message = "none of the partition's replicas is alive";
        ApiError::new(ErrorCode::EligibleLeadersNotAvailable, message)
    };
    if active(env.image, &partition.replicas).is_empty() {
        return Err(none());
    }
    change.build().ok_or_else(none)
}
