//! From a Prepare state to its Complete state: markers in every partition.

use std::collections::BTreeSet;

use bytestring::ByteString;
use ottla_protocol::ids::Now;

use super::command::{MarkerOutcome, MarkerResults, Markers, MarkersId, TopicPartition, TxnAction};
use super::shard::{Out, TransactionShard};
use super::sweep::Timer;
use super::transition::Transaction;
use crate::machine::detach;

/// Markers that failed are tried again after this, doubled with each failure in a row.
const RETRY_MS: i64 = 100;
/// ... and at the latest after this.
const RETRY_MS_MAX: i64 = 5_000;

/// How far the markers of a prepared transaction are.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) id: MarkersId,
    /// On their way.
    pub(crate) sent: BTreeSet<TopicPartition>,
    /// To be sent again.
    pub(crate) failed: BTreeSet<TopicPartition>,
    /// Rounds that failed, for the pause after the next.
    rounds: u32,
}

impl Progress {
    pub(crate) fn new(id: MarkersId, partitions: impl Iterator<Item = TopicPartition>) -> Self {
        Self { id, sent: partitions.collect(), failed: BTreeSet::new(), rounds: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.sent.is_empty() && self.failed.is_empty()
    }

    fn record(&mut self, partition: &TopicPartition, outcome: MarkerOutcome) {
        match outcome {
            MarkerOutcome::Written | MarkerOutcome::Deleted => {
                self.sent.remove(partition);
                self.failed.remove(partition);
            }
            MarkerOutcome::Failed(_) => {
                if let Some(partition) = self.sent.take(partition) {
                    self.failed.insert(partition);
                }
            }
        }
    }

    fn pause_ms(&mut self) -> i64 {
        let pause = RETRY_MS.saturating_mul(1 << self.rounds.min(10));
        self.rounds = self.rounds.saturating_add(1);
        pause.min(RETRY_MS_MAX)
    }
}

impl TransactionShard {
    /// Markers have been written, or not.
    pub(super) fn marker_results(&mut self, results: &MarkerResults, now: Now, out: &mut Out) {
        let Some(known) = self.ids.get_mut(&results.transactional_id) else { return };
        let Some(progress) = known.markers.as_mut().filter(|p| p.id == results.id) else { return };
        for (partition, outcome) in &results.results {
            progress.record(partition, *outcome);
        }
        let id = results.transactional_id.clone();
        if progress.is_done() {
            self.complete(&id, now, out);
        } else if !progress.failed.is_empty() {
            let timer = Timer::Markers(id);
            if !self.timers.is_set(&timer) {
                let pause = progress.pause_ms();
                self.timers.set(timer, now.monotonic.plus_millis(pause));
            }
        }
    }

    /// Time to try again: what failed, or the record of the Complete state.
    pub(super) fn retry_markers(&mut self, id: &ByteString, now: Now, out: &mut Out) {
        let Some(known) = self.ids.get_mut(id) else { return };
        let Some(progress) = &mut known.markers else { return };
        if progress.is_done() {
            return self.complete(id, now, out);
        }
        let again = std::mem::take(&mut progress.failed);
        let partitions: Vec<_> = again.iter().cloned().collect();
        progress.sent.extend(again);
        if !partitions.is_empty() {
            self.send_markers(id, partitions, out);
        }
    }

    /// The log did not take the Complete state.
    pub(super) fn complete_later(&mut self, id: &ByteString, now: Now) {
        if let Some(progress) = self.ids.get_mut(id).and_then(|known| known.markers.as_mut()) {
            let pause = progress.pause_ms();
            self.timers.set(Timer::Markers(id.clone()), now.monotonic.plus_millis(pause));
        }
    }

    /// Asks for all the markers of a transaction that has just become, or was found, prepared.
    pub(super) fn send_all_markers(&self, id: &ByteString, out: &mut Out) {
        if let Some(progress) = self.ids.get(id).and_then(|known| known.markers.as_ref()) {
            self.send_markers(id, progress.sent.iter().cloned().collect(), out);
        }
    }

    fn send_markers(&self, id: &ByteString, partitions: Vec<TopicPartition>, out: &mut Out) {
        let Some(known) = self.ids.get(id) else { return };
        let Some(progress) = &known.markers else { return };
        let markers = markers(progress.id, id, &known.txn, partitions);
        out.actions.push(TxnAction::WriteMarkers(markers));
    }

    fn complete(&mut self, id: &ByteString, now: Now, out: &mut Out) {
        let Some(known) = self.ids.get(id) else { return };
        let complete = known.txn.complete(now.wall);
        self.write(id, &complete, out);
    }
}

/// Markers of a prepared transaction for some of its partitions.
pub(super) fn markers(
    markers_id: MarkersId,
    id: &ByteString,
    txn: &Transaction,
    partitions: Vec<TopicPartition>,
) -> Markers {
    Markers {
        id: markers_id,
        transactional_id: detach(id),
        producer_id: txn.producer_id,
        producer_epoch: txn.epoch,
        commit: txn.state.prepared() == Some(true),
        transaction_version: txn.client_version,
        partitions,
    }
}
