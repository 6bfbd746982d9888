//! AssignReplicasToDirs: a broker tells in which directory replicas are (KIP-858).

use std::collections::BTreeMap;

use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::assign_replicas_to_dirs_response as response;
use ottla_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, PartitionChangeRecord,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Env, Run};
use crate::image::replay::NO_LEADER_CHANGE;
use crate::record::VersionedRecord;

/// The directories of a partition's replicas while the request is worked through.
type Pending = BTreeMap<(Uuid, PartitionIndex), Vec<Uuid>>;

impl Run for AssignReplicasToDirsRequest {
    type Response = AssignReplicasToDirsResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, AssignReplicasToDirsResponse) {
        if let Err(code) = env.broker(self.broker_id, self.broker_epoch) {
            return (
                Vec::new(),
                AssignReplicasToDirsResponse { error_code: code.code(), ..Default::default() },
            );
        }
        let broker = BrokerId(self.broker_id);
        let mut pending = Pending::new();
        let mut directories = Vec::new();
        for directory in &self.directories {
            let mut topics = Vec::new();
            for topic in &directory.topics {
                let one = |partition_index: i32| {
                    let at = (topic.topic_id, PartitionIndex(partition_index));
                    let code = assign(env, broker, directory.id, at, &mut pending).err();
                    let error_code = code.map_or(0, ErrorCode::code);
                    response::PartitionData { partition_index, error_code, ..Default::default() }
                };
                let partitions =
                    topic.partitions.iter().map(|p| p.partition_index).map(one).collect();
                topics.push(response::TopicData {
                    topic_id: topic.topic_id,
                    partitions,
                    ..Default::default()
                });
            }
            directories.push(response::DirectoryData {
                id: directory.id,
                topics,
                ..Default::default()
            });
        }
        let version = env.image.metadata_version().partition_record();
        let record = |((topic_id, index), directories): ((Uuid, PartitionIndex), Vec<Uuid>)| {
            let record = PartitionChangeRecord {
                partition_id: index.0,
                topic_id,
                leader: NO_LEADER_CHANGE,
                leader_recovery_state: -1,
                directories: Some(directories),
                ..Default::default()
            };
            VersionedRecord::new(record, version)
        };
        let records = pending.into_iter().map(record).collect();
        (records, AssignReplicasToDirsResponse { directories, ..Default::default() })
    }
}

fn assign(
    env: &Env<'_, '_>,
    broker: BrokerId,
    directory: Uuid,
    (topic, index): (Uuid, PartitionIndex),
    pending: &mut Pending,
) -> Result<(), ErrorCode> {
    let topic = env.image.topic_by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = partition
        .replicas
        .iter()
        .position(|id| *id == broker)
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    if partition.directories.get(at) == Some(&directory)
        && !pending.contains_key(&(topic.id, index))
    {
        return Ok(());
    }
    let directories =
        pending.entry((topic.id, index)).or_insert_with(|| partition.directories.clone());
    if let Some(known) = directories.get_mut(at) {
        *known = directory;
    }
    Ok(())
}
