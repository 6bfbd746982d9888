//! DescribeLogDirs (KIP-113, 827): the log directories with the size of each partition.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;
use crate::partition::{Directory, Partition};

/// The DescribeLogDirs API.
pub(super) struct DescribeLogDirs;

type Topics = BTreeMap<ByteString, Vec<DescribeLogDirsPartition>>;

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=5;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeLogDirsRequest,
    ) -> Reply<DescribeLogDirsResponse> {
        let mut by_directory: BTreeMap<Uuid, Topics> = BTreeMap::new();
        for partition in ctx.broker.partitions.all() {
            if is_wanted(&request, &partition) {
                let topics = by_directory.entry(partition.directory().id).or_default();
                let topic = topics.entry(partition.name.topic.clone()).or_default();
                topic.push(describe(&partition));
            }
        }
        for copy in ctx.broker.moves.shown() {
            if is_wanted(&request, &copy.partition) {
                let topics = by_directory.entry(copy.directory).or_default();
                let topic = topics.entry(copy.partition.name.topic.clone()).or_default();
                topic.push(DescribeLogDirsPartition {
                    partition_index: copy.partition.name.index.0,
                    partition_size: i64::try_from(copy.bytes).unwrap_or(i64::MAX),
                    offset_lag: copy.lag,
                    is_future_key: true,
                    ..DescribeLogDirsPartition::default()
                });
            }
        }
        let results = ctx.broker.directories().iter().map(|directory| {
            let topics = by_directory.remove(&directory.id).unwrap_or_default();
            result(ctx, directory, topics)
        });
        Reply::Now(DescribeLogDirsResponse { results: results.collect(), ..Default::default() })
    }
}

fn is_wanted(request: &DescribeLogDirsRequest, partition: &Partition) -> bool {
    let Some(topics) = &request.topics else { return true };
    topics.iter().any(|topic| {
        topic.topic == partition.name.topic && topic.partitions.contains(&partition.name.index.0)
    })
}

fn describe(partition: &Partition) -> DescribeLogDirsPartition {
    let size = partition.with_log(None, |log, _| log.size_bytes()).unwrap_or(0);
    DescribeLogDirsPartition {
        partition_index: partition.name.index.0,
        partition_size: i64::try_from(size).unwrap_or(i64::MAX),
        ..DescribeLogDirsPartition::default()
    }
}

fn result(ctx: &Context<'_>, directory: &Directory, topics: Topics) -> DescribeLogDirsResult {
    let mut result = DescribeLogDirsResult {
        log_dir: directory.path.to_string_lossy().into_owned().into(),
        is_cordoned: ctx.broker.is_cordoned(directory),
        ..DescribeLogDirsResult::default()
    };
    if directory.offline().is_some() {
        result.error_code = ErrorCode::KafkaStorageError.code();
        return result;
    }
    result.topics = topics
        .into_iter()
        .map(|(name, partitions)| DescribeLogDirsTopic {
            name,
            partitions,
            ..DescribeLogDirsTopic::default()
        })
        .collect();
    if let Ok(space) = ctx.broker.disk().space(&directory.path) {
        result.total_bytes = i64::try_from(space.total).unwrap_or(i64::MAX);
        result.usable_bytes = i64::try_from(space.available).unwrap_or(i64::MAX);
    }
    result
}
