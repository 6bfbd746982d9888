//! The partitions that transactions write to, as far as their ends are concerned.

use std::collections::BTreeMap;

use ottla_coordinator::{MarkerOutcome, Markers, TopicPartition};
use ottla_protocol::ErrorCode;

/// The number of a client's attempt at a transaction.
pub(super) type Attempt = usize;

/// All partitions, and what became of every attempt in each.
#[derive(Debug, Default)]
pub(super) struct Data {
    producers: BTreeMap<(TopicPartition, i64), Producer>,
    /// What markers said: true for commit.
    pub(super) results: BTreeMap<(Attempt, TopicPartition), bool>,
}

/// A producer in a partition.
#[derive(Debug)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    /// The attempt whose records are open here.
    open: Option<Attempt>,
    /// A first record whose transaction is being verified.
    guard: Option<Attempt>,
}

impl Default for Producer {
    fn default() -> Self {
        Self { epoch: -1, coordinator_epoch: -1, open: None, guard: None }
    }
}

impl Data {
    fn producer(&mut self, place: &TopicPartition, id: i64) -> &mut Producer {
        self.producers.entry((place.clone(), id)).or_default()
    }

    /// A record comes in; the coordinator will be asked about it.
    pub(super) fn guard(&mut self, place: &TopicPartition, id: i64, attempt: Attempt) {
        self.producer(place, id).guard = Some(attempt);
    }

    /// The coordinator says that it may be appended. A marker may have come in between.
    pub(super) fn append(
        &mut self,
        place: &TopicPartition,
        (id, epoch): (i64, i16),
        attempt: Attempt,
    ) -> bool {
        let producer = self.producer(place, id);
        let expected = producer.open.is_none_or(|open| open == attempt);
        if producer.guard.take() != Some(attempt) || epoch < producer.epoch || !expected {
            return false;
        }
        producer.epoch = epoch;
        producer.open = Some(attempt);
        true
    }

    /// A marker arrives at one of its partitions.
    pub(super) fn mark(&mut self, markers: &Markers, place: &TopicPartition) -> MarkerOutcome {
        let producer = self.producer(place, markers.producer_id.0);
        let (epoch, old) = (markers.producer_epoch.0, producer.epoch);
        if markers.coordinator_epoch().0 < producer.coordinator_epoch {
            return MarkerOutcome::Failed(ErrorCode::TransactionCoordinatorFenced);
        }
        // Under KIP-890 an epoch that is not new tells a marker of a transaction before this one.
        let repetition =
            markers.transaction_version >= 2 && epoch == old && producer.open.is_none();
        let late = markers.transaction_version >= 2 && epoch <= old && !repetition;
        if epoch < old || late {
            return MarkerOutcome::Failed(ErrorCode::InvalidProducerEpoch);
        }
        producer.epoch = epoch;
        producer.coordinator_epoch = markers.coordinator_epoch().0;
        producer.guard = None;
        if let Some(attempt) = producer.open.take() {
            let before = self.results.insert((attempt, place.clone()), markers.commit);
            assert_eq!(before, None, "attempt {attempt} is ended twice in {place:?}");
        }
        MarkerOutcome::Written
    }

    /// The attempts that are open somewhere.
    pub(super) fn open(&self) -> Vec<Attempt> {
        self.producers.values().filter_map(|producer| producer.open).collect()
    }
}
