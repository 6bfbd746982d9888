//! Which batches belong to aborted transactions, and which markers still have any batch, while a
//! log is walked from its start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_protocol::ids::{Offset, ProducerId};
use ottla_protocol::records::{BatchHeader, BatchView};

use crate::marker::marker_of;
use crate::producers::TxnEnd;
use crate::txn_index::AbortedTxn;

/// Transactions along a walk. Everything walked over lies below the last stable offset, so every
/// transaction in it has ended.
#[derive(Default)]
pub(crate) struct Transactions {
    /// By first offset; those that began are taken out.
    coming: VecDeque<AbortedTxn>,
    /// Began, and their marker was not met; whether a batch of theirs was.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// A batch of a committed transaction was met, and its marker was not.
    committed: BTreeSet<ProducerId>,
}

/// What [`Transactions::on_control`] says about a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// It has a meaning still. An abort marker with batches keeps its entry in the index.
    Needed(Option<AbortedTxn>),
    /// Nothing of its transaction is left, or it has no record any more.
    Needless,
}

impl Transactions {
    /// For a walk that begins at `from`.
    pub(crate) fn new(aborted: &[AbortedTxn], from: Offset) -> Self {
        let mut coming: Vec<AbortedTxn> =
            aborted.iter().filter(|txn| txn.last_offset >= from).copied().collect();
        coming.sort_by_key(|txn| (txn.first_offset, txn.last_offset));
        Self { coming: coming.into(), ..Self::default() }
    }

    /// Takes in a data batch. Returns whether its transaction was aborted.
    pub(crate) fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((txn, met)) if txn.last_offset > header.last_offset() => {
                *met = true;
                true
            }
            _ => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes in a control batch.
    pub(crate) fn on_control(&mut self, batch: &BatchView<'_>) -> Control {
        let header = batch.header();
        self.begin_up_to(header.last_offset());
        if header.records_count == 0 {
            return Control::Needless;
        }
        match marker_of(batch).map(|marker| marker.end) {
            None => Control::Needed(None),
            Some(TxnEnd::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => Control::Needed(Some(txn)),
                _ => Control::Needless,
            },
            Some(TxnEnd::Commit) if self.committed.remove(&header.producer_id) => {
                Control::Needed(None)
            }
            Some(TxnEnd::Commit) => Control::Needless,
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(txn) = self.coming.pop_front_if(|txn| txn.first_offset <= offset) {
            // One whose marker was passed unseen is over.
            match self.aborted.get(&txn.producer_id) {
                Some((open, _)) if open.last_offset >= txn.first_offset => {}
                _ => drop(self.aborted.insert(txn.producer_id, (txn, false))),
            }
        }
    }
}
