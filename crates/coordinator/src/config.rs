//! The configuration keys a group shard obeys, in its own units.

/// What a [`crate::GroupShard`] reads of the broker's configuration. `Default` is Kafka's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.max.size`: members of one group.
    pub group_size_max: usize,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members (KIP-134).
    pub initial_rebalance_delay_ms: i32,
    /// `offset.metadata.max.bytes`: compared with the length in UTF-16 code units, as Kafka does.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// Groups in one shard. At the bound, what would create a group is answered
    /// COORDINATOR_NOT_AVAILABLE.
    pub groups_max: usize,
    /// Parked JoinGroup and SyncGroup requests plus member ids handed out and not yet used, in one
    /// shard. At the bound, what would add one is answered COORDINATOR_NOT_AVAILABLE.
    pub waiting_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            group_size_max: i32::MAX as usize,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_check_interval_ms: 600_000,
            groups_max: 100_000,
            waiting_max: 100_000,
        }
    }
}
