//! The configuration keys a transaction shard obeys, in its own units.

/// From this `transaction.version` on an abort by the coordinator is one of KIP-890.
const EPOCH_PER_TRANSACTION_FROM: i16 = 2;
/// From this `transaction.version` on the log can tell what KIP-890 needs.
const FLEXIBLE_RECORDS_FROM: i16 = 1;

/// What a [`crate::TransactionShard`] reads of the broker's configuration and of the cluster's
/// features. `Default` is Kafka's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_interval_ms: i64,
    /// `transaction.two.phase.commit.enable` (KIP-939).
    pub two_phase_commit: bool,
    /// The finalized level of the feature `transaction.version`.
    pub transaction_version: i16,
    /// Transactional ids in one shard. At the bound, an InitProducerId that would add one is
    /// answered COORDINATOR_NOT_AVAILABLE.
    pub transactional_ids_max: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            timeout_ms_max: 900_000,
            expiration_ms: 7 * 24 * 60 * 60 * 1000,
            abort_interval_ms: 10_000,
            expiration_interval_ms: 3_600_000,
            two_phase_commit: false,
            transaction_version: 2,
            transactional_ids_max: 100_000,
        }
    }
}

impl TransactionConfig {
    /// Whether an abort by the coordinator keeps the epoch it fences as the last one, and may rotate
    /// the producer id.
    pub(crate) const fn bumps_epoch(&self) -> bool {
        self.transaction_version >= EPOCH_PER_TRANSACTION_FROM
    }

    /// Whether the log can tell what KIP-890 needs.
    pub(crate) const fn has_flexible_records(&self) -> bool {
        self.transaction_version >= FLEXIBLE_RECORDS_FROM
    }
}
