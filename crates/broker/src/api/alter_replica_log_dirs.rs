//! AlterReplicaLogDirs (KIP-113): moves replicas between the directories of this broker. Answered when
//! the move is begun; DescribeLogDirs tells how far it is.

use std::path::Path;

use bytestring::ByteString;
use ottla_protocol::ids::PartitionIndex;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use ottla_protocol::{ErrorCode, Uuid};
use ottla_storage::dirs;

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The AlterReplicaLogDirs API.
pub(super) struct AlterReplicaLogDirs;

impl Handler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(
        ctx: &Context<'_>,
        request: AlterReplicaLogDirsRequest,
    ) -> Reply<AlterReplicaLogDirsResponse> {
        let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
        for dir in request.dirs {
            for topic in dir.topics {
                let one = |index: i32| AlterReplicaLogDirPartitionResult {
                    partition_index: index,
                    error_code: place(ctx, &dir.path, (&topic.name, index)).code(),
                    ..AlterReplicaLogDirPartitionResult::default()
                };
                results.push(AlterReplicaLogDirTopicResult {
                    partitions: topic.partitions.iter().copied().map(one).collect(),
                    topic_name: topic.name.clone(),
                    ..AlterReplicaLogDirTopicResult::default()
                });
            }
        }
        Reply::Now(AlterReplicaLogDirsResponse {
            results,
            ..AlterReplicaLogDirsResponse::default()
        })
    }
}

/// Begins to move a replica. One that is in the directory already stays; a move away from it ends.
fn place(ctx: &Context<'_>, path: &str, (topic, index): (&ByteString, i32)) -> ErrorCode {
    let directories = ctx.broker.directories();
    let Some(directory) = directories.iter().find(|directory| directory.path == Path::new(path))
    else {
        return ErrorCode::LogDirNotFound;
    };
    if !fits_a_copy(topic, index) {
        return ErrorCode::InvalidTopicException;
    }
    if directory.offline().is_some() {
        return ErrorCode::KafkaStorageError;
    }
    if ctx.broker.is_cordoned(directory) {
        return ErrorCode::InvalidReplicaAssignment;
    }
    match ctx.partition(topic, index) {
        Ok(partition) if partition.directory().offline().is_some() => ErrorCode::KafkaStorageError,
        Ok(partition) => {
            ctx.broker.move_replica(&partition, directory);
            ErrorCode::None
        }
        Err(error) => error,
    }
}

/// Whether the name of the copy's directory has room for the topic's name.
fn fits_a_copy(topic: &str, index: i32) -> bool {
    let name = dirs::future_dir_name(topic, PartitionIndex(index), Uuid::ZERO);
    dirs::parse_dir_name(&name).is_none_or(|found| found.topic == topic)
}
