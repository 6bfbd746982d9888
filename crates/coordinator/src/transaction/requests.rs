//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
};

use super::command::{
    AddPartitions, TopicPartition, TxnResponse, fenced_for_version, not_ended, not_initialised,
};
use super::shard::{Out, TransactionShard};
use super::transition::{Add, End, Ended, Init, Initialised, KIP_890, Refusal, Transaction};
use crate::machine::{CommandContext, Ticket};

/// The timeout of a transaction under two-phase commit (KIP-939): none.
const NO_TIMEOUT_MS: i32 = i32::MAX;
/// The first versions that say PRODUCER_FENCED (KIP-588).
const INIT_FENCED_FROM: i16 = 4;
const ADD_FENCED_FROM: i16 = 2;
const END_FENCED_FROM: i16 = 2;
/// From this version on EndTxn bumps the epoch (KIP-890).
const END_BUMPS_FROM: i16 = 5;

impl TransactionShard {
    pub(super) fn init_producer_id(
        &mut self,
        (ticket, ctx): (Ticket, &CommandContext),
        request: &InitProducerIdRequest,
        spare: Option<ProducerId>,
        out: &mut Out,
    ) {
        let response = match self.initialise(request, spare, ctx, out) {
            Ok(txn) => TxnResponse::InitProducerId(InitProducerIdResponse {
                producer_id: txn.producer_id.0,
                producer_epoch: txn.epoch.0,
                ..Default::default()
            }),
            Err(Refusal::NeedProducerId) => TxnResponse::NeedProducerId,
            Err(Refusal::Error(error)) => {
                let error = fenced_for_version(error, ctx, INIT_FENCED_FROM);
                TxnResponse::InitProducerId(not_initialised(error))
            }
        };
        out.complete(ticket, response);
    }

    fn initialise(
        &mut self,
        request: &InitProducerIdRequest,
        spare: Option<ProducerId>,
        ctx: &CommandContext,
        out: &mut Out,
    ) -> Result<Transaction, Refusal> {
        let expected = expected(request)?;
        let timeout_ms = self.admit(request)?;
        let now = ctx.now.wall;
        let id = request.transactional_id.as_ref().ok_or(ErrorCode::InvalidRequest)?;
        let Some(known) = self.ids.get(id) else {
            if self.ids.len() >= self.config.transactional_ids_max {
                return Err(ErrorCode::CoordinatorNotAvailable.into());
            }
            let txn = Transaction::new(spare.ok_or(Refusal::NeedProducerId)?, timeout_ms, now);
            self.write(id, &txn, out);
            return Ok(txn);
        };
        let bumps_epoch = self.config.bumps_epoch();
        match known.txn.init(&Init { expected, timeout_ms, spare, bumps_epoch, now })? {
            Initialised::Ready(txn) => {
                self.write(id, &txn, out);
                Ok(txn)
            }
            Initialised::Aborting(txn) => {
                self.prepare(id, &txn, ctx.now, out);
                Err(ErrorCode::ConcurrentTransactions.into())
            }
        }
    }

    /// Checks what needs no transactional id. Returns the timeout of its transactions.
    fn admit(&self, request: &InitProducerIdRequest) -> Result<i32, ErrorCode> {
        let timeout_ms = request.transaction_timeout_ms;
        if request.transactional_id.as_ref().is_none_or(|id| id.is_empty()) {
            Err(ErrorCode::InvalidRequest)
        } else if request.enable2_pc && !self.config.two_phase_commit {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        } else if request.keep_prepared_txn {
            Err(ErrorCode::UnsupportedVersion)
        } else if request.enable2_pc {
            Ok(NO_TIMEOUT_MS)
        } else if (1..=self.config.timeout_ms_max).contains(&timeout_ms) {
            Ok(timeout_ms)
        } else {
            Err(ErrorCode::InvalidTransactionTimeout)
        }
    }

    pub(super) fn add_partitions(
        &mut self,
        add: &AddPartitions,
        batched: bool,
        ctx: &CommandContext,
        out: &mut Out,
    ) -> ErrorCode {
        let client_version =
            if batched && self.config.has_flexible_records() { KIP_890 } else { 0 };
        let added = self.find(&add.transactional_id).and_then(|txn| {
            txn.add(&Add {
                producer_id: add.producer_id,
                epoch: add.producer_epoch,
                partitions: &add.partitions,
                client_version,
                now: ctx.now.wall,
            })
        });
        match added {
            Ok(Some(txn)) => {
                self.write(&add.transactional_id, &txn, out);
                ErrorCode::None
            }
            Ok(None) => ErrorCode::None,
            Err(error) => fenced_for_version(error, ctx, ADD_FENCED_FROM),
        }
    }

    pub(super) fn verify_partitions(
        &self,
        verify: AddPartitions,
    ) -> Vec<(TopicPartition, ErrorCode)> {
        let (id, epoch) = (verify.producer_id, verify.producer_epoch);
        let found =
            self.find(&verify.transactional_id).and_then(|txn| txn.check(id, epoch).map(|()| txn));
        let result = |partition: &TopicPartition| match found {
            Ok(txn) if txn.contains(partition) => ErrorCode::None,
            Ok(_) => ErrorCode::TransactionAbortable,
            Err(error) => error,
        };
        verify
            .partitions
            .into_iter()
            .map(|partition| {
                let error = result(&partition);
                (partition, error)
            })
            .collect()
    }

    pub(super) fn end_txn(
        &mut self,
        (ticket, ctx): (Ticket, &CommandContext),
        request: &EndTxnRequest,
        spare: Option<ProducerId>,
        out: &mut Out,
    ) {
        let response = match self.end(request, spare, ctx, out) {
            Ok((producer_id, epoch)) => TxnResponse::EndTxn(EndTxnResponse {
                producer_id: producer_id.0,
                producer_epoch: epoch.0,
                ..Default::default()
            }),
            Err(Refusal::NeedProducerId) => TxnResponse::NeedProducerId,
            Err(Refusal::Error(error)) => {
                TxnResponse::EndTxn(not_ended(fenced_for_version(error, ctx, END_FENCED_FROM)))
            }
        };
        out.complete(ticket, response);
    }

    /// Ends a transaction; gives the producer id and epoch of the next one.
    fn end(
        &mut self,
        request: &EndTxnRequest,
        spare: Option<ProducerId>,
        ctx: &CommandContext,
        out: &mut Out,
    ) -> Result<(ProducerId, ProducerEpoch), Refusal> {
        let txn = self.find(&request.transactional_id)?;
        let end = End {
            producer_id: ProducerId(request.producer_id),
            epoch: ProducerEpoch(request.producer_epoch),
            commit: request.committed,
            spare,
            now: ctx.now.wall,
        };
        let bumps = ctx.api_version >= END_BUMPS_FROM && self.config.has_flexible_records();
        let ended = if bumps { txn.end_bumped(&end)? } else { txn.end(&end)? };
        match ended {
            Ended::Already => Ok((txn.producer_id, txn.epoch)),
            Ended::Prepared(prepared) => {
                self.prepare(&request.transactional_id, &prepared, ctx.now, out);
                let complete = prepared.complete(Timestamp::NONE);
                Ok((complete.producer_id, complete.epoch))
            }
        }
    }

    fn find(&self, id: &ByteString) -> Result<&Transaction, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.ids.get(id).map(|known| &known.txn).ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

/// What a producer says of itself: both or neither of id and epoch (KIP-360).
fn expected(
    request: &InitProducerIdRequest,
) -> Result<Option<(ProducerId, ProducerEpoch)>, ErrorCode> {
    match (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)) {
        (ProducerId::NONE, ProducerEpoch::NONE) => Ok(None),
        (ProducerId::NONE, _) | (_, ProducerEpoch::NONE) => Err(ErrorCode::InvalidRequest),
        both => Ok(Some(both)),
    }
}
