//! TxnOffsetCommit (KIP-98, 447, 890): stores a group's positions as part of a transaction.

use std::sync::Arc;

use bytestring::ByteString;
use ottla_coordinator::{Command, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, PartitionIndex, ProducerEpoch, ProducerId};
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_storage::VerificationGuard;

use super::verify::{Support, Verification, Writer};
use super::{Handler, Operation, Reply, Rule, Wait, group};
use crate::context::Context;
use crate::wait::Promise;

/// The TxnOffsetCommit API.
pub(super) struct TxnOffsetCommit;

/// The first version whose clients know that a coordinator may be loading.
const LOADING_FROM: i16 = 2;
/// The first version with TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;
/// The first version without AddOffsetsToTxn before it.
const IMPLICIT_FROM: i16 = 5;
/// The first version by topic id.
const BY_ID: i16 = 6;

impl Handler for TxnOffsetCommit {
    type Request = TxnOffsetCommitRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=6;
    // And Read on the group and on each topic.
    const RULE: Rule = Rule::TransactionalId(Operation::Write);

    fn handle(
        ctx: &Context<'_>,
        mut request: TxnOffsetCommitRequest,
    ) -> Reply<TxnOffsetCommitResponse> {
        let refused: Vec<_> = request
            .topics
            .iter_mut()
            .map(|topic| take_unknown(ctx, topic))
            .filter(|topic| !topic.partitions.is_empty())
            .collect();
        request.topics.retain(|topic| !topic.partitions.is_empty());
        if request.topics.is_empty() && !refused.is_empty() {
            return Reply::Now(TxnOffsetCommitResponse { topics: refused, ..Default::default() });
        }
        let step = begin(ctx, &request);
        let mut wait = Commit { request, refused, step };
        match wait.poll(ctx, false) {
            Some(response) => Reply::Now(response),
            None => Reply::wait(wait),
        }
    }
}

struct Commit {
    request: TxnOffsetCommitRequest,
    refused: Vec<TxnOffsetCommitResponseTopic>,
    step: Step,
}

enum Step {
    Verifying(Box<Verification>),
    Committing(Arc<Promise<Response>>),
}

/// Begins with the verification of the transaction, if it is not open in the group's partition.
fn begin(ctx: &Context<'_>, request: &TxnOffsetCommitRequest) -> Step {
    let refuse = |error| {
        Step::Committing(Promise::kept(Command::TxnOffsetCommit(request.clone()).refuse(error)))
    };
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let writer = Writer {
        transactional_id: request.transactional_id.clone(),
        producer_id: ProducerId(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
        support: match ctx.version() {
            IMPLICIT_FROM.. => Support::Implicit,
            ABORTABLE_FROM => Support::Abortable,
            _ => Support::Old,
        },
    };
    let guarded = group::shard_of(ctx, &request.group_id)
        .and_then(|index| ctx.partition(crate::groups::OFFSETS_TOPIC, index))
        .and_then(|partition| writer.guard(ctx, &partition, -1));
    match guarded {
        Ok(None) => commit(ctx, request, None),
        Ok(Some(guarded)) => {
            Step::Verifying(Box::new(Verification::begin(ctx, writer, vec![guarded], false)))
        }
        Err(error) => refuse(error),
    }
}

fn commit(
    ctx: &Context<'_>,
    request: &TxnOffsetCommitRequest,
    guard: Option<VerificationGuard>,
) -> Step {
    let command = Command::TxnOffsetCommit(request.clone());
    Step::Committing(group::submit_guarded(ctx, &request.group_id, command, guard))
}

impl Wait<TxnOffsetCommitResponse> for Commit {
    fn poll(&mut self, ctx: &Context<'_>, _expired: bool) -> Option<TxnOffsetCommitResponse> {
        if let Step::Verifying(verification) = &mut self.step {
            let verdict = verification.poll(ctx)?;
            let error = verdict.iter().find_map(|(_, result)| result.err());
            let guard = verdict.first().map(|(guarded, _)| guarded.guard);
            self.step = match error {
                None => commit(ctx, &self.request, guard),
                Some(error) => {
                    let command = Command::TxnOffsetCommit(self.request.clone());
                    Step::Committing(Promise::kept(command.refuse(unverified(error))))
                }
            };
        }
        let Step::Committing(promise) = &self.step else { return None };
        let mut response = match promise.take(ctx.waiter)?.for_version(ctx.version()) {
            Response::TxnOffsetCommit(response) => response,
            _ => TxnOffsetCommitResponse::default(),
        };
        if ctx.version() < LOADING_FROM {
            hide_loading(&mut response);
        }
        for topic in std::mem::take(&mut self.refused) {
            merge(&mut response.topics, topic);
        }
        Some(response)
    }

    fn deadline(&self) -> Monotonic {
        match &self.step {
            Step::Verifying(verification) => verification.deadline(),
            Step::Committing(_) => Monotonic::NEVER,
        }
    }
}

/// The client is to try again without looking for another coordinator.
const fn unverified(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        error => error,
    }
}

/// Old clients give up when a coordinator is loading.
fn hide_loading(response: &mut TxnOffsetCommitResponse) {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if partition.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
            partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
        }
    }
}

/// Takes the partitions that do not exist out of the request and answers them. A topic id is
/// resolved: the coordinator stores offsets under the topic's name.
fn take_unknown(
    ctx: &Context<'_>,
    topic: &mut TxnOffsetCommitRequestTopic,
) -> TxnOffsetCommitResponseTopic {
    let (found, error) = if ctx.version() >= BY_ID {
        (ctx.image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId)
    } else {
        (ctx.image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition)
    };
    let mut refused = TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        ..TxnOffsetCommitResponseTopic::default()
    };
    let mut refuse = |partition_index, error: ErrorCode| {
        refused.partitions.push(TxnOffsetCommitResponsePartition {
            partition_index,
            error_code: error.code(),
            ..TxnOffsetCommitResponsePartition::default()
        });
    };
    match found {
        None => topic.partitions.drain(..).for_each(|p| refuse(p.partition_index, error)),
        Some(found) => {
            topic.name = ByteString::from(&*found.name);
            topic.topic_id = found.id;
            topic.partitions.retain(|p| {
                let known = found.partition(PartitionIndex(p.partition_index)).is_some();
                if !known {
                    refuse(p.partition_index, ErrorCode::UnknownTopicOrPartition);
                }
                known
            });
        }
    }
    refused
}

fn merge(topics: &mut Vec<TxnOffsetCommitResponseTopic>, topic: TxnOffsetCommitResponseTopic) {
    let same = |other: &&mut TxnOffsetCommitResponseTopic| {
        other.topic_id == topic.topic_id && (other.name == topic.name || !topic.topic_id.is_zero())
    };
    match topics.iter_mut().find(same) {
        Some(other) => other.partitions.extend(topic.partitions),
        None => topics.push(topic),
    }
}
