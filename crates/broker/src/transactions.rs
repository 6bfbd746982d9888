//! The transaction coordinator on this broker: a shard per partition of `__transaction_state` that it
//! leads, and the markers that its decisions lead to.
//!
//! A decision that is committed comes out of a shard as [`TxnAction::WriteMarkers`]. Each marker is
//! appended to its partition; one of `__consumer_offsets` is applied to the group shard, too. What
//! became of a marker goes back into the shard: at once, or, where the high watermark waits for an
//! fsync, when it has passed the marker ([`Job::FinishMarkers`]). The shard tries failed ones again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_config::{BrokerConfig, keys};
use ottla_coordinator::{
    MarkerOutcome, MarkerResults, Markers, MarkersId, TopicPartition, TransactionConfig,
    TransactionShard, TxnAction, TxnCommand,
};
use ottla_metadata::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::Offset;
use ottla_protocol::records::Compression;
use ottla_storage::{TxnEnd, TxnMarker};
use parking_lot::Mutex;

use crate::groups::OFFSETS_TOPIC;
use crate::jobs::Job;
use crate::partition::{AppendOutcome, Partition, PartitionError};
use crate::shard_log::LogSettings;
use crate::shards::{Coordinator, Shards, Submission, own_context};
use crate::wait::{Waiter, Wake};
use crate::{Broker, Env};

/// The topic that transaction state is stored in.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// The feature that says which protocol transactions follow (KIP-890).
const FEATURE: &str = "transaction.version";

/// From this `transaction.version` on markers have a later epoch than the records before them.
const BUMPED_FROM: i16 = 2;

/// All transaction shards of this broker.
pub type Transactions = Shards<TransactionShard>;

impl Coordinator for TransactionShard {
    const TOPIC: &'static str = TRANSACTIONS_TOPIC;

    fn shards(broker: &Broker) -> &Shards<Self> {
        &broker.transactions
    }

    fn config(config: &BrokerConfig, image: &Image) -> TransactionConfig {
        let millis = |key| i64::from(config.get(key));
        TransactionConfig {
            timeout_ms_max: config.get(keys::TRANSACTION_MAX_TIMEOUT_MS),
            expiration_ms: millis(keys::TRANSACTIONAL_ID_EXPIRATION_MS),
            abort_interval_ms: millis(
                keys::TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS,
            ),
            expiration_interval_ms: millis(
                keys::TRANSACTION_REMOVE_EXPIRED_TRANSACTION_CLEANUP_INTERVAL_MS,
            ),
            two_phase_commit: config.get(keys::TRANSACTION_TWO_PHASE_COMMIT_ENABLE),
            transaction_version: image.feature(FEATURE),
            ..TransactionConfig::default()
        }
    }

    fn log_settings(config: &BrokerConfig) -> LogSettings {
        LogSettings {
            compression: Compression::None,
            commit_timeout_ms: None,
            load_bytes: config.get(keys::TRANSACTION_STATE_LOG_LOAD_BUFFER_SIZE).unsigned_abs(),
        }
    }

    fn act(broker: &Broker, index: i32, action: TxnAction) {
        match action {
            TxnAction::WriteMarkers(markers) => broker.write_markers(index, &markers),
        }
    }
}

/// Markers that were appended and are not committed yet.
///
/// Bounded by the transactions that the shards of this broker have open, and their partitions.
#[derive(Default)]
pub(crate) struct UncommittedMarkers {
    waiting: Mutex<Vec<UncommittedMarker>>,
    /// The job that looks at them is submitted: one look is for all that were woken before it.
    submitted: Arc<AtomicBool>,
}

struct UncommittedMarker {
    partition: Arc<Partition>,
    /// Committed once the high watermark is here.
    end: Offset,
    waiter: Arc<Waiter>,
    report: Report,
}

/// Whom to tell about a marker.
#[derive(Clone)]
struct Report {
    shard: i32,
    id: MarkersId,
    transactional_id: bytestring::ByteString,
    of: TopicPartition,
}

/// Has the uncommitted markers looked at again.
struct FinishMarkers {
    env: Arc<dyn Env>,
    submitted: Arc<AtomicBool>,
}

impl Wake for FinishMarkers {
    fn wake(&self) {
        if !self.submitted.swap(true, Ordering::AcqRel) {
            self.env.submit(Job::FinishMarkers);
        }
    }
}

impl Broker {
    /// How many transactional ids this broker coordinates, by the name of their state.
    #[must_use]
    pub fn transactional_ids(&self) -> BTreeMap<&'static str, usize> {
        let mut all = BTreeMap::new();
        for shard in self.transactions.look(TransactionShard::ids_by_state) {
            for (state, count) in shard {
                *all.entry(state).or_default() += count;
            }
        }
        all
    }

    /// Appends the markers of a transaction. All leaders are here while the node is alone.
    fn write_markers(&self, shard: i32, markers: &Markers) {
        let marker = TxnMarker {
            producer_id: markers.producer_id,
            epoch: markers.producer_epoch,
            end: if markers.commit { TxnEnd::Commit } else { TxnEnd::Abort },
            coordinator_epoch: markers.coordinator_epoch().0,
            timestamp: self.env().now().wall,
        };
        let bumped = is_bumped(markers.transaction_version);
        let mut results = Vec::with_capacity(markers.partitions.len());
        let mut uncommitted = Vec::new();
        for of in &markers.partitions {
            let partition = match self.marker_target(of) {
                Ok(Some(partition)) => partition,
                Ok(None) => {
                    results.push((of.clone(), MarkerOutcome::Deleted));
                    continue;
                }
                Err(error) => {
                    results.push((of.clone(), MarkerOutcome::Failed(error)));
                    continue;
                }
            };
            match self.append_marker(&partition, &marker, bumped) {
                Ok(outcome) if outcome.committed => {
                    results.push((of.clone(), MarkerOutcome::Written));
                }
                Ok(outcome) => uncommitted.push(UncommittedMarker {
                    partition,
                    end: outcome.appended.last_offset.plus(1),
                    waiter: self.marker_waiter(),
                    report: Report {
                        shard,
                        id: markers.id,
                        transactional_id: markers.transactional_id.clone(),
                        of: of.clone(),
                    },
                }),
                Err(error) => {
                    tracing::warn!(
                        transactional_id = &*markers.transactional_id, partition = %partition.name,
                        "a marker was refused: {error}"
                    );
                    results.push((of.clone(), MarkerOutcome::Failed(ErrorCode::from(&error))));
                }
            }
        }
        if !results.is_empty() {
            let (id, transactional_id) = (markers.id, markers.transactional_id.clone());
            self.report(shard, MarkerResults { id, transactional_id, results });
        }
        if !uncommitted.is_empty() {
            self.markers.waiting.lock().extend(uncommitted);
            self.finish_markers();
        }
    }

    /// Where a marker goes; `None` if the partition does not exist any more.
    fn marker_target(&self, of: &TopicPartition) -> Result<Option<Arc<Partition>>, ErrorCode> {
        let image = self.image();
        let Some(topic) = image.topic(&of.topic) else { return Ok(None) };
        match self.partitions.find(topic, of.partition) {
            Ok(partition) => Ok(Some(partition)),
            Err(ErrorCode::UnknownTopicOrPartition) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends a marker to a partition of this broker, and applies it where it changes a group.
    ///
    /// # Errors
    /// As [`Partition::append_marker`].
    pub(crate) fn append_marker(
        &self,
        partition: &Arc<Partition>,
        marker: &TxnMarker,
        bumped: bool,
    ) -> Result<AppendOutcome, PartitionError> {
        let now = self.env().now();
        let outcome = if partition.name.topic == OFFSETS_TOPIC {
            self.groups.append_marker(partition.name.index.0, marker, bumped, now)?
        } else {
            partition.append_marker(marker, bumped, now)?
        };
        if outcome.flush {
            self.env().submit(Job::Flush(Arc::clone(partition)));
        }
        Ok(outcome)
    }

    /// Reports the markers that are committed by now, or that never will be here.
    pub(crate) fn finish_markers(&self) {
        self.markers.submitted.store(false, Ordering::Release);
        // A wake for a marker that is being looked at here finds it nowhere: look again.
        while self.look_at_markers() {}
    }

    /// Looks at every uncommitted marker once. Whether one of those that are left was woken meanwhile.
    fn look_at_markers(&self) -> bool {
        let waiting = std::mem::take(&mut *self.markers.waiting.lock());
        let mut left = Vec::new();
        for mut marker in waiting {
            if marker.waiter.has_fired() {
                marker.waiter = self.marker_waiter();
            }
            // Register, then look: it may be committed in between.
            marker.partition.on_commit(&marker.waiter);
            let outcome = match marker.partition.offsets(None) {
                Ok(offsets) if offsets.high_watermark >= marker.end => MarkerOutcome::Written,
                Ok(_) => {
                    left.push(marker);
                    continue;
                }
                // A partition of another leader, or of a deleted topic: the next try tells.
                Err(error) => MarkerOutcome::Failed(ErrorCode::from(&error)),
            };
            marker.waiter.spend();
            let Report { shard, id, transactional_id, of } = marker.report;
            let results = vec![(of, outcome)];
            self.report(shard, MarkerResults { id, transactional_id, results });
        }
        let mut waiting = self.markers.waiting.lock();
        waiting.extend(left);
        waiting.iter().any(|marker| marker.waiter.has_fired())
    }

    fn report(&self, shard: i32, results: MarkerResults) {
        let submission = Submission {
            command: TxnCommand::MarkerResults(results),
            context: own_context(self.env()),
            guard: None,
        };
        // Nobody waits for the answer. A shard that is gone has a successor that writes them again.
        drop(self.transactions.submit_as(self, shard, submission));
    }

    fn marker_waiter(&self) -> Arc<Waiter> {
        let submitted = Arc::clone(&self.markers.submitted);
        Waiter::new(Arc::new(FinishMarkers { env: Arc::clone(&self.env), submitted }))
    }
}

/// Whether markers of this `transaction.version` have a later epoch than the records before them.
pub(crate) const fn is_bumped(transaction_version: i16) -> bool {
    transaction_version >= BUMPED_FROM
}
