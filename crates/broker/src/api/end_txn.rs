//! EndTxn (KIP-98, 890): commits or aborts a transaction.

use ottla_coordinator::{TxnCommand, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::{Handler, Operation, Reply, Rule, transaction};
use crate::context::Context;

/// The EndTxn API.
pub(super) struct EndTxn;

impl Handler for EndTxn {
    type Request = EndTxnRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5; // v5 bumps the epoch (KIP-890).
    const RULE: Rule = Rule::TransactionalId(Operation::Write);

    fn handle(ctx: &Context<'_>, request: EndTxnRequest) -> Reply<EndTxnResponse> {
        let id = request.transactional_id.clone();
        let command = move |spare| TxnCommand::EndTxn { request: request.clone(), spare };
        transaction::ask_with_producer_id(ctx, id, command, |response| match response {
            TxnResponse::EndTxn(response) => response,
            _ => EndTxnResponse {
                error_code: ErrorCode::UnknownServerError.code(),
                ..EndTxnResponse::default()
            },
        })
    }
}
