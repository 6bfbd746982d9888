//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeSet;

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{ProducerId, Timestamp};
use ottla_protocol::messages::ListTransactionsRequest;
use ottla_protocol::messages::describe_transactions_response::{
    TopicData, TransactionState as Described,
};
use ottla_protocol::messages::list_transactions_response::TransactionState as Listed;
use regex::{Regex, RegexBuilder};

use super::shard::{Known, TransactionShard};
use super::state::TransactionState;

/// Most memory that the pattern of a request may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Which transactions a ListTransactions asks for. `Default` lets all through.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    states: Option<BTreeSet<TransactionState>>,
    producer_ids: BTreeSet<ProducerId>,
    /// Only those that began longer ago.
    duration_ms: Option<i64>,
    pattern: Option<Regex>,
}

impl TransactionFilter {
    /// The filter of a request, and the names of states in it that do not exist.
    ///
    /// # Errors
    /// INVALID_REGULAR_EXPRESSION: the pattern is malformed, or takes too much memory.
    pub fn new(request: &ListTransactionsRequest) -> Result<(Self, Vec<ByteString>), ErrorCode> {
        let mut unknown = Vec::new();
        let mut states = BTreeSet::new();
        for name in &request.state_filters {
            match TransactionState::from_name(name) {
                Some(state) => drop(states.insert(state)),
                None => unknown.push(name.clone()),
            }
        }
        let pattern = request.transactional_id_pattern.as_deref().filter(|text| !text.is_empty());
        let filter = Self {
            states: (!request.state_filters.is_empty()).then_some(states),
            producer_ids: request.producer_id_filters.iter().copied().map(ProducerId).collect(),
            duration_ms: Some(request.duration_filter).filter(|millis| *millis >= 0),
            pattern: pattern.map(whole_match).transpose()?,
        };
        Ok((filter, unknown))
    }

    fn lets_through(&self, id: &str, known: &Known, now: Timestamp) -> bool {
        let txn = &known.txn;
        let age = now.0.saturating_sub(txn.started.0);
        self.states.as_ref().is_none_or(|states| states.contains(&txn.state))
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&txn.producer_id))
            && self.duration_ms.is_none_or(|millis| age > millis)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    }
}

fn whole_match(text: &str) -> Result<Regex, ErrorCode> {
    let invalid = |_| ErrorCode::InvalidRegularExpression;
    // By itself first: "a)(b" is whole only between the parentheses.
    RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(invalid)?;
    let whole = format!(r"\A(?:{text})\z");
    RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().map_err(invalid)
}

impl TransactionShard {
    pub(super) fn list(&self, filter: &TransactionFilter, now: Timestamp) -> Vec<Listed> {
        self.ids
            .iter()
            .filter(|(id, known)| filter.lets_through(id, known, now))
            .map(|(id, known)| Listed {
                transactional_id: id.clone(),
                producer_id: known.txn.producer_id.0,
                transaction_state: ByteString::from_static(known.txn.state.name()),
                ..Default::default()
            })
            .collect()
    }

    pub(super) fn describe(&self, id: &ByteString) -> Described {
        if id.is_empty() {
            return undescribed(id, ErrorCode::InvalidRequest);
        }
        let Some(known) = self.ids.get(id) else {
            return undescribed(id, ErrorCode::TransactionalIdNotFound);
        };
        let topics = known.open_partitions().into_iter().map(|(topic, indexes)| TopicData {
            topic,
            partitions: indexes.into_iter().collect(),
            ..Default::default()
        });
        Described {
            transactional_id: id.clone(),
            transaction_state: ByteString::from_static(known.txn.state.name()),
            transaction_timeout_ms: known.txn.timeout_ms,
            transaction_start_time_ms: known.txn.started.0,
            producer_id: known.txn.producer_id.0,
            producer_epoch: known.txn.epoch.0,
            topics: topics.collect(),
            ..Default::default()
        }
    }
}

/// An answer that says nothing but `error`.
pub(crate) fn undescribed(id: &ByteString, error: ErrorCode) -> Described {
    Described { transactional_id: id.clone(), error_code: error.code(), ..Default::default() }
}
