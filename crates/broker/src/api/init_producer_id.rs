//! InitProducerId (KIP-98, 360): an id for an idempotent producer.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Monotonic;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::{Handler, Operation, Reply, Rule, Wait};
use crate::context::Context;

/// The InitProducerId API.
pub(super) struct InitProducerId;

/// How long the controller may take to give a block of ids, in milliseconds; the client tries again.
const WAIT_MS: i32 = 10_000;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
    const RULE: Rule = Rule::Cluster(Operation::IdempotentWrite);

    fn handle(ctx: &Context<'_>, request: InitProducerIdRequest) -> Reply<InitProducerIdResponse> {
        match request.transactional_id.as_deref() {
            None => {}
            Some("") => return Reply::Now(failed(ErrorCode::InvalidRequest)),
            // This release has no transaction coordinator.
            Some(_) => return Reply::Now(failed(ErrorCode::CoordinatorNotAvailable)),
        }
        let mut wait = NextId { deadline: ctx.deadline(WAIT_MS) };
        match wait.poll(ctx, false) {
            Some(response) => Reply::Now(response),
            None => Reply::wait(wait),
        }
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
