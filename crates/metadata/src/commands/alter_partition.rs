//! AlterPartition: a leader changes the ISR (KIP-497, KIP-903).

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::MetadataRecord;
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::alter_partition_request::{self as request, BrokerState};
use ottla_protocol::messages::alter_partition_response as response;
use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};

use super::{Env, Run};
use crate::election::{self, PartitionChange};
use crate::image::convert::raw_ids;
use crate::image::{LeaderRecovery, PartitionImage, TopicImage};
use crate::record::VersionedRecord;

impl Run for AlterPartitionRequest {
    type Response = AlterPartitionResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, AlterPartitionResponse) {
        if let Err(code) = env.broker(self.broker_id, self.broker_epoch) {
            return (
                Vec::new(),
                AlterPartitionResponse { error_code: code.code(), ..Default::default() },
            );
        }
        let mut records = Vec::new();
        let mut topics = Vec::new();
        for wish in &self.topics {
            let topic = env.image.topic_by_id(wish.topic_id);
            let one = |partition: &request::PartitionData| {
                let altered = alter(env, BrokerId(self.broker_id), topic, partition);
                partition_answer(partition.partition_index, altered, &mut records)
            };
            let partitions = wish.partitions.iter().map(one).collect();
            topics.push(response::TopicData {
                topic_id: wish.topic_id,
                partitions,
                ..Default::default()
            });
        }
        (records, AlterPartitionResponse { topics, ..Default::default() })
    }
}

/// The record, if anything changes, and the state afterwards.
type Altered = (Option<VersionedRecord>, PartitionImage);

fn partition_answer(
    partition_index: i32,
    altered: Result<Altered, ErrorCode>,
    records: &mut Vec<VersionedRecord>,
) -> response::PartitionData {
    match altered {
        Ok((record, after)) => {
            records.extend(record);
            response::PartitionData {
                partition_index,
                leader_id: after.leader.0,
                leader_epoch: after.leader_epoch.0,
                isr: raw_ids(&after.isr),
                leader_recovery_state: after.leader_recovery.code(),
                partition_epoch: after.partition_epoch,
                ..Default::default()
            }
        }
        Err(code) => response::PartitionData {
            partition_index,
            error_code: code.code(),
            ..Default::default()
        },
    }
}

fn alter(
    env: &Env<'_, '_>,
    leader: BrokerId,
    topic: Option<&TopicImage>,
    wish: &request::PartitionData,
) -> Result<Altered, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicId)?;
    let index = PartitionIndex(wish.partition_index);
    let old = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let isr = wished_isr(wish);
    check(leader, old, wish)?;
    check_members(env, old, &isr)?;
    let min_isr = election::min_isr(env.image, &topic.name, env.config.min_insync_replicas);
    let mut change = PartitionChange::new(env.image, topic, (index, old), min_isr);
    change.isr = isr.iter().map(|(id, _)| *id).collect();
    change.recovery = LeaderRecovery::from_code(wish.leader_recovery_state);
    let Some(record) = change.build() else { return Ok((None, old.clone())) };
    let after = match &record.record {
        MetadataRecord::PartitionChange(body) => {
            old.changed_by(body).map_err(|_| ErrorCode::UnknownServerError)?
        }
        _ => old.clone(),
    };
    Ok((Some(record), after))
}

/// With the epochs of version 3, or -1 where none is given.
fn wished_isr(wish: &request::PartitionData) -> Vec<(BrokerId, i64)> {
    if wish.new_isr_with_epochs.is_empty() {
        return wish.new_isr.iter().map(|id| (BrokerId(*id), -1)).collect();
    }
    let member = |state: &BrokerState| (BrokerId(state.broker_id), state.broker_epoch);
    wish.new_isr_with_epochs.iter().map(member).collect()
}

fn check(
    leader: BrokerId,
    old: &PartitionImage,
    wish: &request::PartitionData,
) -> Result<(), ErrorCode> {
    if wish.leader_epoch > old.leader_epoch.0 || wish.partition_epoch > old.partition_epoch {
        // The sender knows more: this controller has been replaced.
        return Err(ErrorCode::NotController);
    }
    if wish.leader_epoch < old.leader_epoch.0 {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if old.leader != leader {
        return Err(ErrorCode::InvalidRequest);
    }
    if wish.partition_epoch < old.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let isr = wished_isr(wish);
    let distinct: BTreeSet<BrokerId> = isr.iter().map(|(id, _)| *id).collect();
    let replicas_only = distinct.iter().all(|id| old.replicas.contains(id));
    let recovery =
        LeaderRecovery::from_code(wish.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
    let recovers = recovery == LeaderRecovery::Recovering;
    let steps_back = recovers && old.leader_recovery == LeaderRecovery::Recovered;
    if distinct.len() != isr.len() || !replicas_only || !distinct.contains(&leader) || steps_back {
        return Err(ErrorCode::InvalidRequest);
    }
    if recovers && isr.len() > 1 { Err(ErrorCode::InvalidRequest) } else { Ok(()) }
}

/// Members must be active; those whose epoch is given must live that life (KIP-903).
fn check_members(
    env: &Env<'_, '_>,
    old: &PartitionImage,
    isr: &[(BrokerId, i64)],
) -> Result<(), ErrorCode> {
    let eligible = |(id, epoch): &(BrokerId, i64)| {
        let stays = old.leader == *id;
        let known = env.image.broker(*id);
        known.is_some_and(|b| (b.is_active() || stays) && (*epoch == -1 || *epoch == b.epoch))
    };
    if isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
}
