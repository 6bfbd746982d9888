//! Before records of a transaction are appended to a partition where it is not open, its coordinator
//! is asked: whether the client has added the partition, or, with transaction.version 2, to add it now
//! (KIP-890). Otherwise a late batch could begin a transaction that nobody ends.

use std::sync::Arc;

use bytestring::ByteString;
use ottla_config::keys;
use ottla_coordinator::{AddPartitions, TopicPartition, TxnCommand, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Monotonic, ProducerEpoch, ProducerId};
use ottla_storage::{Unverified, VerificationGuard};

use super::transaction;
use crate::context::Context;
use crate::partition::Partition;
use crate::wait::Promise;

/// What a version of Produce or TxnOffsetCommit can do about transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// It knows INVALID_TXN_STATE only.
    Old,
    /// It knows TRANSACTION_ABORTABLE.
    Abortable,
    /// It leaves the adding of partitions to the broker.
    Implicit,
}

/// Who writes in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) transactional_id: ByteString,
    pub(super) producer_id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) support: Support,
}

/// A partition with the guard under which its append may go on.
#[derive(Clone)]
pub(super) struct Guarded {
    partition: Arc<Partition>,
    first_sequence: i32,
    pub(super) guard: VerificationGuard,
}

/// What the coordinator said of each.
pub(super) type Verdict = Vec<(Guarded, Result<(), ErrorCode>)>;

/// One question to the coordinator, asked again for a while if it says CONCURRENT_TRANSACTIONS.
pub(super) struct Verification {
    writer: Writer,
    wanted: Vec<Guarded>,
    step: Step,
    /// Until when it is asked again.
    retry_until: Monotonic,
    /// Until when an answer is waited for.
    give_up: Monotonic,
}

enum Step {
    Asked(Arc<Promise<TxnResponse>>),
    /// It is asked again then.
    Pause(Monotonic),
}

impl Writer {
    /// What `partition` needs before the batch that begins with `first_sequence` may be appended;
    /// `None` if nothing.
    ///
    /// # Errors
    /// The partition refuses.
    pub(super) fn guard(
        &self,
        ctx: &Context<'_>,
        partition: &Arc<Partition>,
        first_sequence: i32,
    ) -> Result<Option<Guarded>, ErrorCode> {
        let batch = Unverified {
            producer_id: self.producer_id,
            epoch: self.epoch,
            first_sequence,
            implicit: self.support == Support::Implicit,
        };
        let guard = partition.begin_verification(&batch, ctx.now);
        let guard = guard.map_err(|error| ErrorCode::from(&error))?;
        let partition = Arc::clone(partition);
        Ok(guard.map(|guard| Guarded { partition, first_sequence, guard }))
    }
}

impl Verification {
    /// Asks the coordinator. With `retries`, CONCURRENT_TRANSACTIONS is not final at once: markers of
    /// the transaction before are about to be written.
    pub(super) fn begin(
        ctx: &Context<'_>,
        writer: Writer,
        wanted: Vec<Guarded>,
        retries: bool,
    ) -> Self {
        let config = ctx.broker.config();
        let request_ms = config.get(keys::REQUEST_TIMEOUT_MS);
        let retry_ms = config.get(keys::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MAX_MS).min(request_ms);
        let step = Step::Asked(ask(ctx, &writer, &wanted));
        let retry_until = if retries { ctx.deadline(retry_ms) } else { ctx.now.monotonic };
        Self { writer, wanted, step, retry_until, give_up: ctx.deadline(request_ms) }
    }

    /// The verdict, once there is one.
    pub(super) fn poll(&mut self, ctx: &Context<'_>) -> Option<Verdict> {
        let now = ctx.now.monotonic;
        loop {
            match &self.step {
                Step::Pause(until) if now < *until => return None,
                Step::Pause(_) => {
                    self.renew_guards(ctx);
                    self.step = Step::Asked(ask(ctx, &self.writer, &self.wanted));
                }
                Step::Asked(promise) => {
                    let response = match promise.take(ctx.waiter) {
                        Some(response) => response,
                        None if now < self.give_up => return None,
                        None => TxnResponse::AddPartitions(ErrorCode::NetworkException),
                    };
                    let errors = errors(response, &self.wanted);
                    let again = errors.contains(&ErrorCode::ConcurrentTransactions);
                    if again && now < self.retry_until {
                        let config = ctx.broker.config();
                        let pause = config.get(keys::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MS);
                        self.step = Step::Pause(ctx.deadline(pause));
                        continue;
                    }
                    if now < self.give_up && self.renew_guards(ctx) {
                        self.step = Step::Asked(ask(ctx, &self.writer, &self.wanted));
                        continue;
                    }
                    let failed = errors.iter().filter(|error| **error != ErrorCode::None).count();
                    ctx.broker.metrics.failed_verification.add(failed as u64);
                    let verdicts = errors.into_iter().map(|error| self.judge(error));
                    return Some(self.wanted.iter().cloned().zip(verdicts).collect());
                }
            }
        }
    }

    /// Takes other guards for those that the marker of the transaction before has made void. Whether
    /// there were such: what the coordinator said before does not count for the new ones.
    fn renew_guards(&mut self, ctx: &Context<'_>) -> bool {
        let mut renewed = false;
        for wanted in &mut self.wanted {
            // Where the transaction is open by now no guard is needed, and what is wrong with the
            // partition is said by the append.
            let guarded = self.writer.guard(ctx, &wanted.partition, wanted.first_sequence);
            if let Ok(Some(Guarded { guard, .. })) = guarded {
                renewed |= guard != wanted.guard;
                wanted.guard = guard;
            }
        }
        renewed
    }

    /// When to poll again if nothing wakes.
    pub(super) fn deadline(&self) -> Monotonic {
        match self.step {
            Step::Asked(_) => self.give_up,
            Step::Pause(until) => until,
        }
    }

    /// The coordinator's error in the words of whoever writes.
    fn judge(&self, error: ErrorCode) -> Result<(), ErrorCode> {
        match error {
            ErrorCode::None => Ok(()),
            ErrorCode::ProducerFenced => Err(ErrorCode::InvalidProducerEpoch),
            ErrorCode::TransactionAbortable if self.writer.support == Support::Old => {
                Err(ErrorCode::InvalidTxnState)
            }
            error => Err(error),
        }
    }
}

fn ask(ctx: &Context<'_>, writer: &Writer, wanted: &[Guarded]) -> Arc<Promise<TxnResponse>> {
    let id = &writer.transactional_id;
    let add = AddPartitions {
        transactional_id: id.clone(),
        producer_id: writer.producer_id,
        producer_epoch: writer.epoch,
        partitions: wanted.iter().map(|wanted| of(&wanted.partition)).collect(),
    };
    let command = match writer.support {
        Support::Old | Support::Abortable => TxnCommand::VerifyPartitions(add),
        Support::Implicit => TxnCommand::AddPartitions { add, batched: true },
    };
    match transaction::shard_of(ctx, id) {
        Ok(index) => ctx.broker.transactions.submit(ctx, index, command),
        Err(error) => Promise::kept(command.refuse(error)),
    }
}

fn of(partition: &Partition) -> TopicPartition {
    let name = &partition.name;
    TopicPartition { topic: name.topic.clone(), partition: name.index.0 }
}

/// The errors of the partitions, in their order.
fn errors(response: TxnResponse, wanted: &[Guarded]) -> Vec<ErrorCode> {
    match response {
        TxnResponse::AddPartitions(error) => vec![error; wanted.len()],
        // In the order of the question.
        TxnResponse::VerifyPartitions(results) if results.len() == wanted.len() => {
            results.into_iter().map(|(_, error)| error).collect()
        }
        _ => vec![ErrorCode::UnknownServerError; wanted.len()],
    }
}
