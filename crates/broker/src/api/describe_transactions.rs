//! DescribeTransactions (KIP-664): where transactional ids stand.

use ottla_coordinator::{TxnCommand, TxnResponse};
use ottla_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use super::{Handler, Operation, Reply, Rule, gather, transaction};
use crate::context::Context;

/// The DescribeTransactions API.
pub(super) struct DescribeTransactions;

impl Handler for DescribeTransactions {
    type Request = DescribeTransactionsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::TransactionalId(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeTransactionsRequest,
    ) -> Reply<DescribeTransactionsResponse> {
        let ids = request.transactional_ids;
        let promises = transaction::submit_each(ctx, ids, TxnCommand::DescribeTransactions);
        gather::gather(ctx, promises, |responses| {
            let states = responses.into_iter().flat_map(|response| match response {
                TxnResponse::DescribeTransactions(states) => states,
                _ => Vec::new(),
            });
            DescribeTransactionsResponse {
                transaction_states: states.collect(),
                ..DescribeTransactionsResponse::default()
            }
        })
    }
}
