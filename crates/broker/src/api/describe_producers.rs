//! DescribeProducers (KIP-664): the idempotent and transactional producers a partition knows.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use ottla_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The DescribeProducers API.
pub(super) struct DescribeProducers;

impl Handler for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::EachTopic(Operation::Read);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeProducersRequest,
    ) -> Reply<DescribeProducersResponse> {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|&index| {
                let mut answer =
                    PartitionResponse { partition_index: index, ..PartitionResponse::default() };
                match producers(ctx, &topic.name, index) {
                    Ok(producers) => answer.active_producers = producers,
                    Err(error) => answer.error_code = error.code(),
                }
                answer
            });
            TopicResponse {
                partitions: partitions.collect(),
                name: topic.name,
                ..TopicResponse::default()
            }
        });
        Reply::Now(DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn producers(ctx: &Context<'_>, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = ctx.partition(topic, index)?;
    let list = partition.with_log(None, |log, _| {
        let producers = log.producers().map(|state| ProducerState {
            producer_id: state.producer_id.0,
            producer_epoch: i32::from(state.epoch.0),
            last_sequence: state.last_sequence(),
            last_timestamp: state.last_timestamp.0,
            coordinator_epoch: state.coordinator_epoch,
            current_txn_start_offset: state.txn_first_offset.map_or(-1, |offset| offset.0),
            ..ProducerState::default()
        });
        producers.collect()
    });
    list.map_err(|error| ErrorCode::from(&error))
}
