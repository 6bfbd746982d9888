//! What the APIs of transactions share: asking shards, and fetching a producer id if one is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use ottla_coordinator::{TxnCommand, TxnResponse, partition_for};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, ProducerId};

use super::gather::gather;
use super::{Reply, Wait};
use crate::context::Context;
use crate::transactions::TRANSACTIONS_TOPIC;
use crate::wait::Promise;

/// How long the controller may take to give a block of producer ids, in milliseconds; the client
/// tries again.
pub(super) const PRODUCER_ID_WAIT_MS: i32 = 10_000;

/// The partition of `__transaction_state` that a transactional id belongs to.
///
/// # Errors
/// COORDINATOR_NOT_AVAILABLE while the topic does not exist.
pub(super) fn shard_of(ctx: &Context<'_>, transactional_id: &str) -> Result<i32, ErrorCode> {
    let topic = ctx.image.topic(TRANSACTIONS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
    Ok(partition_for(transactional_id, partitions))
}

/// Hands a command to the shard of its transactional id. Without the topic no broker is its
/// coordinator.
pub(super) fn submit(
    ctx: &Context<'_>,
    transactional_id: &str,
    command: TxnCommand,
) -> Arc<Promise<TxnResponse>> {
    match shard_of(ctx, transactional_id) {
        Ok(index) => ctx.broker.transactions.submit(ctx, index, command),
        Err(_) => Promise::kept(command.refuse(ErrorCode::NotCoordinator)),
    }
}

/// Hands a command to the shard of its transactional id and waits for the answer, which `answer` turns
/// into the response (`None` only if the coordinator mixed up its answers).
pub(super) fn ask<R: Default + Send + 'static>(
    ctx: &Context<'_>,
    transactional_id: &str,
    command: TxnCommand,
    answer: impl FnOnce(TxnResponse) -> Option<R> + Send + 'static,
) -> Reply<R> {
    let promise = submit(ctx, transactional_id, command);
    gather(ctx, vec![promise], move |responses| {
        responses.into_iter().next().and_then(answer).unwrap_or_default()
    })
}

/// Hands each shard the ids that belong to it. Without the topic each id is refused.
pub(super) fn submit_each(
    ctx: &Context<'_>,
    ids: Vec<ByteString>,
    command: fn(Vec<ByteString>) -> TxnCommand,
) -> Vec<Arc<Promise<TxnResponse>>> {
    let mut by_shard: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for id in ids {
        by_shard.entry(shard_of(ctx, &id).ok()).or_default().push(id);
    }
    let submit = |(shard, ids)| match shard {
        Some(index) => ctx.broker.transactions.submit(ctx, index, command(ids)),
        None => Promise::kept(command(ids).refuse(ErrorCode::NotCoordinator)),
    };
    by_shard.into_iter().map(submit).collect()
}

/// Asks with a command that may need a fresh producer id: if the shard says so, one is fetched, and
/// it is asked again. `command` makes the command with the id that it brings.
pub(super) fn ask_with_producer_id<R: Send + 'static>(
    ctx: &Context<'_>,
    transactional_id: ByteString,
    command: impl Fn(Option<ProducerId>) -> TxnCommand + Send + 'static,
    answer: fn(TxnResponse) -> R,
) -> Reply<R> {
    let step = Step::Asked(submit(ctx, &transactional_id, command(None)));
    let command = Box::new(command);
    let mut ask = AskWithProducerId { transactional_id, command, answer, step };
    match ask.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(ask),
    }
}

struct AskWithProducerId<R> {
    transactional_id: ByteString,
    command: Box<dyn Fn(Option<ProducerId>) -> TxnCommand + Send>,
    answer: fn(TxnResponse) -> R,
    step: Step,
}

enum Step {
    /// The shard was asked.
    Asked(Arc<Promise<TxnResponse>>),
    /// A producer id is being fetched, until then.
    Fetching(Monotonic),
}

impl<R: Send> Wait<R> for AskWithProducerId<R> {
    fn poll(&mut self, ctx: &Context<'_>, _expired: bool) -> Option<R> {
        loop {
            match &self.step {
                Step::Asked(promise) => match promise.take(ctx.waiter)? {
                    TxnResponse::NeedProducerId => {
                        self.step = Step::Fetching(ctx.deadline(PRODUCER_ID_WAIT_MS));
                    }
                    response => return Some((self.answer)(response)),
                },
                Step::Fetching(deadline) => {
                    let refused = match ctx.broker.next_producer_id(ctx) {
                        Ok(Some(id)) => {
                            let command = (self.command)(Some(id));
                            self.step = Step::Asked(submit(ctx, &self.transactional_id, command));
                            continue;
                        }
                        Ok(None) => ctx.now.monotonic >= *deadline,
                        Err(_) => true,
                    };
                    return refused.then(|| {
                        let command = (self.command)(None);
                        (self.answer)(command.refuse(ErrorCode::CoordinatorLoadInProgress))
                    });
                }
            }
        }
    }

    fn deadline(&self) -> Monotonic {
        match self.step {
            Step::Asked(_) => Monotonic::NEVER,
            Step::Fetching(deadline) => deadline,
        }
    }
}
