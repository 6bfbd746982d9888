//! AddPartitionsToTxn (KIP-98, 890): clients of versions below 4 add partitions to their transaction;
//! brokers add or verify them, several transactions at once, from version 4 on.

use std::sync::Arc;

use ottla_coordinator::{AddPartitions, TopicPartition, TxnCommand, TxnResponse};
use ottla_metadata::names::is_internal_topic;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{PartitionIndex, ProducerEpoch, ProducerId};
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::{Handler, Operation, Reply, Rule, gather, transaction};
use crate::context::Context;
use crate::wait::Promise;

/// The AddPartitionsToTxn API.
pub(super) struct AddPartitionsToTxn;

/// From this version on brokers send it, for several transactions.
const BATCHED: i16 = 4;

impl Handler for AddPartitionsToTxn {
    type Request = AddPartitionsToTxnRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::TransactionalId(Operation::Write);

    fn handle(
        ctx: &Context<'_>,
        request: AddPartitionsToTxnRequest,
    ) -> Reply<AddPartitionsToTxnResponse> {
        let batched = ctx.version() >= BATCHED;
        let transactions = if batched {
            request.transactions
        } else {
            vec![AddPartitionsToTxnTransaction {
                transactional_id: request.v3_and_below_transactional_id,
                producer_id: request.v3_and_below_producer_id,
                producer_epoch: request.v3_and_below_producer_epoch,
                topics: request.v3_and_below_topics,
                ..AddPartitionsToTxnTransaction::default()
            }]
        };
        let promises = transactions.iter().map(|txn| submit(ctx, txn)).collect();
        gather::gather(ctx, promises, move |responses| {
            let results = transactions.iter().zip(&responses).map(|(txn, response)| {
                AddPartitionsToTxnResult {
                    transactional_id: txn.transactional_id.clone(),
                    topic_results: results(&txn.topics, response),
                    ..AddPartitionsToTxnResult::default()
                }
            });
            let mut response = AddPartitionsToTxnResponse::default();
            if batched {
                response.results_by_transaction = results.collect();
            } else {
                let topics = results.flat_map(|result| result.topic_results);
                response.results_by_topic_v3_and_below = topics.collect();
            }
            response
        })
    }
}

fn submit(
    ctx: &Context<'_>,
    transaction: &AddPartitionsToTxnTransaction,
) -> Arc<Promise<TxnResponse>> {
    let partitions = partitions(&transaction.topics);
    if let Some(refused) = refuse_unknown(ctx, &partitions) {
        return Promise::kept(TxnResponse::VerifyPartitions(refused));
    }
    let id = transaction.transactional_id.clone();
    let add = AddPartitions {
        transactional_id: id.clone(),
        producer_id: ProducerId(transaction.producer_id),
        producer_epoch: ProducerEpoch(transaction.producer_epoch),
        partitions,
    };
    let command = if transaction.verify_only {
        TxnCommand::VerifyPartitions(add)
    } else {
        TxnCommand::AddPartitions { add, batched: ctx.version() >= BATCHED }
    };
    transaction::submit(ctx, &id, command)
}

fn partitions(topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let each = topics.iter().flat_map(|topic| {
        let of = |&partition| TopicPartition { topic: topic.name.clone(), partition };
        topic.partitions.iter().map(of)
    });
    each.collect()
}

/// If a partition does not exist, or is a client's to leave alone, none of them is added.
fn refuse_unknown(
    ctx: &Context<'_>,
    partitions: &[TopicPartition],
) -> Option<Vec<(TopicPartition, ErrorCode)>> {
    let error = |of: &TopicPartition| {
        let topic = ctx.image.topic(&of.topic);
        if ctx.version() < BATCHED && is_internal_topic(&of.topic) {
            ErrorCode::TopicAuthorizationFailed
        } else if topic.and_then(|t| t.partition(PartitionIndex(of.partition))).is_none() {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::OperationNotAttempted
        }
    };
    let errors: Vec<_> = partitions.iter().map(|of| (of.clone(), error(of))).collect();
    let fine = errors.iter().all(|(_, error)| *error == ErrorCode::OperationNotAttempted);
    (!fine).then_some(errors)
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    response: &TxnResponse,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let (all, each) = match response {
        TxnResponse::AddPartitions(error) => (*error, &[][..]),
        // In the order of the partitions.
        TxnResponse::VerifyPartitions(results) => (ErrorCode::UnknownServerError, &**results),
        _ => (ErrorCode::UnknownServerError, &[][..]),
    };
    let mut each = each.iter();
    let topics = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: each.next().map_or(all, |(_, error)| *error).code(),
            ..AddPartitionsToTxnPartitionResult::default()
        });
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: partitions.collect(),
            ..AddPartitionsToTxnTopicResult::default()
        }
    });
    topics.collect()
}
