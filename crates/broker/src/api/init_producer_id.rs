//! InitProducerId (KIP-98, 360): an id for an idempotent producer, or the next epoch of a transactional
//! one, which fences what used its transactional id before.

use ottla_coordinator::{TxnCommand, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Monotonic;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::transaction::{self, PRODUCER_ID_WAIT_MS};
use super::{Handler, Reply, Rule, Wait};
use crate::context::Context;

/// The InitProducerId API.
pub(super) struct InitProducerId;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::Producer;

    fn handle(ctx: &Context<'_>, request: InitProducerIdRequest) -> Reply<InitProducerIdResponse> {
        if (request.producer_id == -1) != (request.producer_epoch == -1) {
            return Reply::Now(failed(ErrorCode::InvalidRequest));
        }
        match request.transactional_id.clone() {
            None => idempotent(ctx),
            Some(id) if id.is_empty() => Reply::Now(failed(ErrorCode::InvalidRequest)),
            Some(id) => {
                let command =
                    move |spare| TxnCommand::InitProducerId { request: request.clone(), spare };
                transaction::ask_with_producer_id(ctx, id, command, |response| match response {
                    TxnResponse::InitProducerId(response) => response,
                    _ => failed(ErrorCode::UnknownServerError),
                })
            }
        }
    }
}

fn idempotent(ctx: &Context<'_>) -> Reply<InitProducerIdResponse> {
    let mut wait = NextId { deadline: ctx.deadline(PRODUCER_ID_WAIT_MS) };
    match wait.poll(ctx, false) {
        Some(response) => Reply::Now(response),
        None => Reply::wait(wait),
    }
}

fn failed(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: error.code(), producer_epoch: -1, ..Default::default() }
}

struct NextId {
    deadline: Monotonic,
}

impl Wait<InitProducerIdResponse> for NextId {
    fn poll(&mut self, ctx: &Context<'_>, expired: bool) -> Option<InitProducerIdResponse> {
        match ctx.broker.next_producer_id(ctx) {
            Ok(Some(id)) => Some(InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            }),
            Ok(None) if expired => Some(failed(ErrorCode::CoordinatorLoadInProgress)),
            Ok(None) => None,
            Err(_) => Some(failed(ErrorCode::CoordinatorLoadInProgress)),
        }
    }

    fn deadline(&self) -> Monotonic {
        self.deadline
    }
}
