//! AddOffsetsToTxn (KIP-98): adds a group's offsets to a transaction, which is their partition of
//! `__consumer_offsets`.

use ottla_coordinator::{AddPartitions, TopicPartition, TxnCommand, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{ProducerEpoch, ProducerId};
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{Handler, Operation, Reply, Rule, group, transaction};
use crate::context::Context;
use crate::groups::OFFSETS_TOPIC;

/// The AddOffsetsToTxn API.
pub(super) struct AddOffsetsToTxn;

impl Handler for AddOffsetsToTxn {
    type Request = AddOffsetsToTxnRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;
    const RULE: Rule = Rule::TransactionalId(Operation::Write); // And Read on the group.

    fn handle(
        ctx: &Context<'_>,
        request: AddOffsetsToTxnRequest,
    ) -> Reply<AddOffsetsToTxnResponse> {
        let partition = match group::shard_of(ctx, &request.group_id) {
            Ok(partition) => partition,
            Err(error) => return Reply::Now(answer(error)),
        };
        let add = AddPartitions {
            transactional_id: request.transactional_id.clone(),
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            partitions: vec![TopicPartition { topic: OFFSETS_TOPIC.into(), partition }],
        };
        let command = TxnCommand::AddPartitions { add, batched: false };
        transaction::ask(ctx, &request.transactional_id, command, |response| match response {
            TxnResponse::AddPartitions(error) => Some(answer(error)),
            _ => None,
        })
    }
}

fn answer(error: ErrorCode) -> AddOffsetsToTxnResponse {
    AddOffsetsToTxnResponse { error_code: error.code(), ..Default::default() }
}
