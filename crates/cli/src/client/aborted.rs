//! Which records of a fetch belong to aborted transactions.

use std::collections::BTreeSet;

use ottla_protocol::messages::fetch_response::AbortedTransaction;
use ottla_protocol::records::{BatchView, ControlType, WalkLimits, records};

/// Aborted transactions of one fetched partition, as read_committed consumers follow them.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// (first offset, producer id), by descending offset.
    ahead: Vec<(i64, i64)>,
    /// Producers inside an aborted transaction.
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(super) fn new(list: Option<&[AbortedTransaction]>) -> Self {
        let list = list.unwrap_or_default().iter();
        let mut ahead: Vec<_> = list.map(|txn| (txn.first_offset, txn.producer_id)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Self { ahead, open: BTreeSet::new() }
    }

    /// Whether the batch is to be skipped. Batches come in the order of their offsets.
    pub(super) fn skips(&mut self, batch: &BatchView<'_>, limits: &WalkLimits) -> bool {
        let header = batch.header();
        let producer = header.producer_id.0;
        while let Some(&(first, id)) = self.ahead.last() {
            if first > header.last_offset().0 {
                break;
            }
            self.ahead.pop();
            self.open.insert(id);
        }
        if header.is_control() {
            if is_abort(batch, limits) {
                self.open.remove(&producer);
            }
            return true;
        }
        header.is_transactional() && self.open.contains(&producer)
    }
}

fn is_abort(batch: &BatchView<'_>, limits: &WalkLimits) -> bool {
    let Ok(mut iter) = records(batch, limits) else { return false };
    let Some(Ok(record)) = iter.next() else { return false };
    record.key.as_deref().and_then(ControlType::from_key) == Some(ControlType::Abort)
}
