//! ListTransactions (KIP-664, 994, 1152): the transactional ids that this broker coordinates.

use ottla_coordinator::{TransactionFilter, TxnCommand, TxnResponse};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};

use super::{Handler, Operation, Reply, Rule, gather};
use crate::context::Context;

/// The ListTransactions API.
pub(super) struct ListTransactions;

impl Handler for ListTransactions {
    type Request = ListTransactionsRequest;
    // v1 filters by duration (KIP-994), v2 by a pattern (KIP-1152).
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const RULE: Rule = Rule::FilterEach(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: ListTransactionsRequest,
    ) -> Reply<ListTransactionsResponse> {
        let (filter, unknown) = match TransactionFilter::new(&request) {
            Ok(filter) => filter,
            Err(error) => return Reply::Now(failed(error)),
        };
        let promises = ctx.broker.transactions.indexes().into_iter().map(|index| {
            let command = TxnCommand::ListTransactions(filter.clone());
            ctx.broker.transactions.submit(ctx, index, command)
        });
        gather::gather(ctx, promises.collect(), |responses| {
            let mut answer =
                ListTransactionsResponse { unknown_state_filters: unknown, ..Default::default() };
            for response in responses {
                match response {
                    TxnResponse::ListTransactions(Ok(states)) => {
                        answer.transaction_states.extend(states);
                    }
                    // What is there is not all there is.
                    TxnResponse::ListTransactions(Err(error)) => return failed(error),
                    _ => return failed(ErrorCode::UnknownServerError),
                }
            }
            answer
        })
    }
}

fn failed(error: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse { error_code: error.code(), ..Default::default() }
}
