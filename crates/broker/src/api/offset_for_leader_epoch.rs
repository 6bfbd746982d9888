//! OffsetForLeaderEpoch (KIP-101, 320): where a leader epoch ends in our log.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::LeaderEpoch;
use ottla_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use ottla_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The OffsetForLeaderEpoch API.
pub(super) struct OffsetForLeaderEpoch;

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 2..=4;
    const RULE: Rule = Rule::EachTopic(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: OffsetForLeaderEpochRequest,
    ) -> Reply<OffsetForLeaderEpochResponse> {
        let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
            partitions: topic.partitions.iter().map(|p| answer(ctx, &topic.topic, p)).collect(),
            topic: topic.topic,
            ..Default::default()
        });
        Reply::Now(OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn answer(ctx: &Context<'_>, topic: &str, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let believed =
        (wanted.current_leader_epoch >= 0).then_some(LeaderEpoch(wanted.current_leader_epoch));
    let found = ctx.partition(topic, wanted.partition).and_then(|partition| {
        partition
            .with_log(believed, |log, _| log.end_offset_for_epoch(LeaderEpoch(wanted.leader_epoch)))
            .map_err(|error| ErrorCode::from(&error))
    });
    let mut answer = EpochEndOffset { partition: wanted.partition, ..EpochEndOffset::default() };
    match found {
        Ok((epoch, end)) => {
            answer.leader_epoch = epoch.0;
            answer.end_offset = end.0;
        }
        Err(error) => answer.error_code = error.code(),
    }
    answer
}
