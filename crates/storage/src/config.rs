//! What a log is told: plain values, already resolved from topic and broker configuration.

use ottla_protocol::ids::{Now, Offset};

/// Settings of one log. `Default` is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it grows beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: age at which the active segment is rolled.
    pub segment_ms: i64,
    /// Subtracted from `segment_ms`; the caller draws it from 0 to `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: an index entry is added when more than this was appended.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: allocated size of an active segment's index files.
    pub segment_index_bytes: u32,
    /// `retention.ms`; -1 keeps forever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is unlimited.
    pub retention_bytes: i64,
    /// `max.message.bytes`: largest batch a client may append.
    pub max_message_bytes: u32,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    /// `flush.messages`: unflushed records that ask for a flush.
    pub flush_messages: i64,
    /// `flush.ms`: age of unflushed records that asks for a flush.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: wait between the rename to `.deleted` and the removal.
    pub file_delete_delay_ms: i64,
    /// `preallocate`: new segments are created at full size.
    pub preallocate: bool,
    /// Bytes between two producer snapshots inside a segment, where flushes follow each other. They
    /// bound what a start after a crash reads to know the producers and the indexes again.
    pub snapshot_bytes: u32,
    /// Producers remembered at most. At the bound expired ones go first, then an eighth of those
    /// without an open transaction, longest idle first; a producer forgotten this way may continue
    /// at any sequence number, as after `producer.id.expiration.ms`.
    pub producers_max: u32,
    /// `producer.id.expiration.ms`: idle time after which a producer is forgotten.
    pub producer_expiry_ms: i64,
    /// `transaction.partition.verification.enable`: the first batch of a transaction is refused
    /// unless it was verified with the transaction's coordinator (KIP-890). Off allows hanging
    /// transactions; off here, because a log alone has no coordinator to ask.
    pub verify_transactions: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            cleanup_delete: true,
            cleanup_compact: false,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            snapshot_bytes: 4 << 20,
            producers_max: 50_000,
            producer_expiry_ms: 86_400_000,
            verify_transactions: false,
        }
    }
}

/// How a log is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenLog {
    /// Everything below it is known to be on the disk (`recovery-point-offset-checkpoint`).
    pub recovery_point: Offset,
    /// Nothing below it is served (`log-start-offset-checkpoint`).
    pub log_start_offset: Offset,
    /// `.kafka_cleanshutdown` was there: nothing is scanned beyond the tail.
    pub clean: bool,
    /// When it is opened.
    pub now: Now,
}
