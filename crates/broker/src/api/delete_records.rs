//! DeleteRecords (KIP-107): moves the log start offset forward.

use ottla_metadata::names::is_internal_topic;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Offset;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use ottla_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;
use crate::jobs::Job;

/// The DeleteRecords API.
pub(super) struct DeleteRecords;

/// Stands for the high watermark in a request.
const TO_HIGH_WATERMARK: i64 = -1;

impl Handler for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::EachTopic(Operation::Delete);

    fn handle(ctx: &Context<'_>, request: DeleteRecordsRequest) -> Reply<DeleteRecordsResponse> {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let result = delete(ctx, &topic.name, wanted.partition_index, wanted.offset);
                DeleteRecordsPartitionResult {
                    partition_index: wanted.partition_index,
                    low_watermark: result.map_or(-1, |offset| offset.0),
                    error_code: result.err().unwrap_or(ErrorCode::None).code(),
                    ..DeleteRecordsPartitionResult::default()
                }
            });
            DeleteRecordsTopicResult {
                partitions: partitions.collect(),
                name: topic.name,
                ..DeleteRecordsTopicResult::default()
            }
        });
        Reply::Now(DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
    }
}

/// Returns the new log start: the low watermark of a single replica.
fn delete(ctx: &Context<'_>, topic: &str, index: i32, offset: i64) -> Result<Offset, ErrorCode> {
    if is_internal_topic(topic) && ctx.image.topic(topic).is_some() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = ctx.partition(topic, index)?;
    let (offsets, deletable) = partition
        .with_log(None, |log, offsets| (offsets, log.config().cleanup_delete))
        .map_err(|error| ErrorCode::from(&error))?;
    if !deletable {
        return Err(ErrorCode::PolicyViolation);
    }
    let to = if offset == TO_HIGH_WATERMARK { offsets.high_watermark } else { Offset(offset) };
    if to < Offset::ZERO || to > offsets.high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let start = partition
        .update_log(|log, _| {
            log.increase_log_start_offset(to);
            Ok(log.log_start_offset())
        })
        .map_err(|error| ErrorCode::from(&error))?;
    // Segments that are wholly below it go now rather than with the next round of retention.
    ctx.broker.env().submit(Job::Retention);
    Ok(start)
}
