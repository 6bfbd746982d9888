//! What a client's batch must be before it may be appended. Runs before the partition's lock.

use std::borrow::Cow;

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Now, Offset, Timestamp};
use ottla_protocol::records::{
    BATCH_HEADER_LEN, BatchBuilder, BatchError, BatchHeader, BatchOptions, BatchView, BuildError,
    Compression, RecordError, RecordFacts, TimestampType, WalkLimits, WalkSummary, entry_bounds,
    patch_log_append_time, patch_max_timestamp, recompress, records, walk, walk_each,
};

/// Rejected records that an answer names at most; each takes some hundred bytes there.
const RECORD_ERRORS_MAX: usize = 100;
/// First Produce version that may carry zstd (KIP-110).
const ZSTD_FROM_VERSION: i16 = 7;

/// What a topic accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRules {
    /// Version of the Produce request.
    pub version: i16,
    /// `max.message.bytes`.
    pub max_message_bytes: u32,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compact: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` is `producer`.
    pub compression: Option<Compression>,
    /// `compression.*.level`; `None` is the codec's default.
    pub compression_level: Option<i32>,
    /// Most bytes the records of one batch may inflate to.
    pub inflated_bytes_max: u64,
}

impl Default for ProduceRules {
    fn default() -> Self {
        Self {
            version: 13,
            max_message_bytes: 1_048_588,
            compact: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            compression_level: None,
            inflated_bytes_max: 1 << 30,
        }
    }
}

/// A record that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Why.
    pub message: String,
}

/// Why a client's records are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// Not one whole batch.
    #[error("the partition's records hold no whole batch")]
    NoBatch,
    /// More than one batch.
    #[error("the partition's records hold more than one batch; Produce takes exactly one")]
    SeveralBatches,
    /// Format 0 or 1.
    #[error("message format {0} is no longer accepted; send record batches (magic 2)")]
    OldMagic(i8),
    /// No record format at all.
    #[error("corrupt records: {0}")]
    Malformed(BatchError),
    /// The checksum is wrong.
    #[error("corrupt batch: {0}")]
    Crc(BatchError),
    /// zstd in a version that may not have it.
    #[error("zstd needs Produce version 7, this is {0}")]
    ZstdVersion(i16),
    /// The batch is too large.
    #[error("the batch has {size} bytes; max.message.bytes is {max}")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The limit.
        max: u32,
    },
    /// The base offset is the broker's to give.
    #[error("the base offset of the batch is {0}, it must be 0")]
    BaseOffset(Offset),
    /// Count and offsets do not agree.
    #[error("the batch claims {count} records and last offset delta {last_offset_delta}")]
    Count {
        /// The claimed count.
        count: i32,
        /// The claimed delta.
        last_offset_delta: i32,
    },
    /// Control records are the broker's to write.
    #[error("clients may not write control records")]
    Control,
    /// Producer id without sequence.
    #[error("the batch has a producer id and sequence {0}")]
    Sequence(i32),
    /// The records cannot be read.
    #[error("invalid records: {0}")]
    Records(RecordError),
    /// The records cannot be encoded as the topic wants them.
    #[error("cannot convert the records: {0}")]
    Convert(String),
    /// Timestamps out of range.
    #[error("records were rejected for their timestamps")]
    Timestamps(Vec<RejectedRecord>),
    /// Records without a key for a compacted topic.
    #[error("records without a key were rejected, because the topic is compacted")]
    Keys(Vec<RejectedRecord>),
}

impl ProduceError {
    /// The wire error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) | Self::Crc(_) => ErrorCode::CorruptMessage,
            Self::ZstdVersion(_) => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Timestamps(_) => ErrorCode::InvalidTimestamp,
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence(_)
            | Self::Records(_)
            | Self::Convert(_)
            | Self::Keys(_) => ErrorCode::InvalidRecord,
        }
    }

    /// Whether the answer carries the partition's log start offset; -1 otherwise (error matrix).
    #[must_use]
    pub const fn reports_log_start(&self) -> bool {
        match self {
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic(_)
            | Self::Malformed(_)
            | Self::Crc(_)
            | Self::ZstdVersion(_)
            | Self::TooLarge { .. } => false,
            Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence(_)
            | Self::Records(_)
            | Self::Convert(_)
            | Self::Timestamps(_)
            | Self::Keys(_) => true,
        }
    }

    /// The answer's error message, where Kafka sends one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        matches!(self, Self::Malformed(_) | Self::Timestamps(_) | Self::Keys(_))
            .then(|| self.to_string())
    }

    /// The answer's record errors.
    #[must_use]
    pub fn record_errors(&self) -> &[RejectedRecord] {
        match self {
            Self::Timestamps(rejected) | Self::Keys(rejected) => rejected,
            _ => &[],
        }
    }
}

/// A batch that may be appended: header as the topic wants it, records untouched or converted.
#[derive(Debug, Clone)]
pub struct ValidatedBatch<'a> {
    header: BatchHeader,
    header_bytes: [u8; BATCH_HEADER_LEN],
    payload: Cow<'a, [u8]>,
}

impl ValidatedBatch<'_> {
    /// The header; base offset and leader epoch are not set yet.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes.
    #[must_use]
    pub const fn header_bytes(&self) -> &[u8; BATCH_HEADER_LEN] {
        &self.header_bytes
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Bytes of the batch.
    #[must_use]
    pub fn size(&self) -> usize {
        BATCH_HEADER_LEN + self.payload.len()
    }
}

/// Checks the records that a Produce request has for one partition, as Kafka's request check and
/// its log validator do together. Bytes after the batch that are no whole batch are ignored.
///
/// # Errors
/// See [`ProduceError`].
pub fn validate<'a>(
    bytes: &'a [u8],
    rules: &ProduceRules,
    now: Now,
) -> Result<ValidatedBatch<'a>, ProduceError> {
    let batch = only_batch(bytes, rules)?;
    check_header(&batch, rules)?;
    let limits = WalkLimits { inflated_bytes_max: rules.inflated_bytes_max };
    let summary = walk(&batch, &limits).map_err(|error| records_error(error, &batch, rules))?;
    check_keys(&batch, rules, &summary, &limits)?;
    check_timestamps(&batch, rules, &summary, now)?;
    let converted = convert(&batch, rules, &summary, &limits)?;
    let (mut header_bytes, payload) = match converted {
        None => (*batch.header_bytes(), Cow::Borrowed(batch.records_payload())),
        Some(mut bytes) => {
            check_size(bytes.len(), rules)?;
            let header = *bytes.first_chunk().ok_or(ProduceError::NoBatch)?;
            bytes.drain(..BATCH_HEADER_LEN);
            (header, Cow::Owned(bytes))
        }
    };
    let header = batch.header();
    let max_timestamp = own_max_timestamp(header, &summary);
    match rules.timestamp_type {
        TimestampType::LogAppendTime => {
            header_bytes = patch_log_append_time(&header_bytes, now.wall);
        }
        TimestampType::CreateTime => {
            let as_sent = header.timestamp_type() == TimestampType::CreateTime;
            if !as_sent || header.max_timestamp != max_timestamp {
                header_bytes = patch_max_timestamp(&header_bytes, max_timestamp);
            }
        }
    }
    let header = BatchHeader::parse(&header_bytes).map_err(ProduceError::Malformed)?;
    Ok(ValidatedBatch { header, header_bytes, payload })
}

fn only_batch<'a>(bytes: &'a [u8], rules: &ProduceRules) -> Result<BatchView<'a>, ProduceError> {
    let bounds = entry_bounds(bytes).map_err(ProduceError::Malformed)?;
    let bounds = bounds.filter(|b| b.size <= bytes.len()).ok_or(ProduceError::NoBatch)?;
    if bounds.magic < 2 {
        return Err(ProduceError::OldMagic(bounds.magic));
    }
    let batch = BatchView::parse(bytes).map_err(ProduceError::Malformed)?;
    if rules.version < ZSTD_FROM_VERSION && batch.header().compression() == Ok(Compression::Zstd) {
        return Err(ProduceError::ZstdVersion(rules.version));
    }
    let rest = bytes.get(bounds.size..).unwrap_or_default();
    match entry_bounds(rest).map_err(ProduceError::Malformed)? {
        Some(second) if second.size <= rest.len() => Err(ProduceError::SeveralBatches),
        _ => Ok(batch),
    }
}

fn check_header(batch: &BatchView<'_>, rules: &ProduceRules) -> Result<(), ProduceError> {
    let header = batch.header();
    if header.base_offset != Offset::ZERO {
        return Err(ProduceError::BaseOffset(header.base_offset));
    }
    check_size(batch.size(), rules)?;
    batch.verify_crc().map_err(ProduceError::Crc)?;
    let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(ProduceError::Count { count, last_offset_delta });
    }
    if header.is_control() {
        return Err(ProduceError::Control);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(ProduceError::Sequence(header.base_sequence));
    }
    Ok(())
}

fn check_size(size: usize, rules: &ProduceRules) -> Result<(), ProduceError> {
    if size > rules.max_message_bytes as usize {
        return Err(ProduceError::TooLarge { size, max: rules.max_message_bytes });
    }
    Ok(())
}

fn check_keys(
    batch: &BatchView<'_>,
    rules: &ProduceRules,
    summary: &WalkSummary,
    limits: &WalkLimits,
) -> Result<(), ProduceError> {
    if !rules.compact || summary.first_null_key.is_none() {
        return Ok(());
    }
    let message = "a compacted topic takes no record without a key";
    let rejected =
        reject(batch, limits, |record| record.key_len.is_none().then(|| message.to_owned()));
    Err(ProduceError::Keys(rejected))
}

fn check_timestamps(
    batch: &BatchView<'_>,
    rules: &ProduceRules,
    summary: &WalkSummary,
    now: Now,
) -> Result<(), ProduceError> {
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    // The records of a batch with the append's time all have its maximum timestamp.
    let header = batch.header();
    let fixed =
        (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp);
    let (least, most) = match fixed {
        Some(time) => (time, time),
        None => (summary.min_timestamp, summary.max_timestamp),
    };
    if in_range(least, rules, now) && in_range(most, rules, now) && least != Timestamp::NONE {
        return Ok(());
    }
    let limits = WalkLimits { inflated_bytes_max: rules.inflated_bytes_max };
    let rejected = reject(batch, &limits, |record| {
        let timestamp = fixed.unwrap_or(record.timestamp);
        (!in_range(timestamp, rules, now)).then(|| {
            format!(
                "timestamp {timestamp} is out of range: at most {} ms before and {} ms after {}",
                rules.timestamp_before_max_ms, rules.timestamp_after_max_ms, now.wall
            )
        })
    });
    if rejected.is_empty() { Ok(()) } else { Err(ProduceError::Timestamps(rejected)) }
}

fn in_range(timestamp: Timestamp, rules: &ProduceRules, now: Now) -> bool {
    timestamp == Timestamp::NONE
        || (now.wall.0.saturating_sub(timestamp.0) <= rules.timestamp_before_max_ms
            && timestamp.0.saturating_sub(now.wall.0) <= rules.timestamp_after_max_ms)
}

fn reject(
    batch: &BatchView<'_>,
    limits: &WalkLimits,
    mut why: impl FnMut(&RecordFacts) -> Option<String>,
) -> Vec<RejectedRecord> {
    let mut rejected = Vec::new();
    // The walk succeeded before.
    let _ = walk_each(batch, limits, |record| {
        if rejected.len() < RECORD_ERRORS_MAX
            && let Some(message) = why(record)
        {
            rejected.push(RejectedRecord { index: record.index, message });
        }
    });
    rejected
}

/// The batch in another encoding, if the topic wants one. As Kafka does, offset deltas with gaps
/// are closed in compressed batches and left alone in others.
fn convert(
    batch: &BatchView<'_>,
    rules: &ProduceRules,
    summary: &WalkSummary,
    limits: &WalkLimits,
) -> Result<Option<Vec<u8>>, ProduceError> {
    let source = batch.header().compression().map_err(|e| ProduceError::Records(e.into()))?;
    let target = rules.compression.unwrap_or(source);
    let convert_error = |error: BuildError| ProduceError::Convert(error.to_string());
    if source != Compression::None && !summary.deltas_consecutive {
        return renumber(batch, target, rules, limits).map(Some).map_err(convert_error);
    }
    if source == target {
        return Ok(None);
    }
    recompress(batch, target, rules.compression_level, limits).map(Some).map_err(convert_error)
}

fn renumber(
    batch: &BatchView<'_>,
    compression: Compression,
    rules: &ProduceRules,
    limits: &WalkLimits,
) -> Result<Vec<u8>, BuildError> {
    let header = batch.header();
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        level: rules.compression_level,
        transactional: header.is_transactional(),
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        ..BatchOptions::default()
    });
    for record in records(batch, limits)? {
        let mut record = record?;
        record.offset = builder.next_offset();
        builder.append_record(&record)?;
    }
    builder.build()
}

fn own_max_timestamp(header: &BatchHeader, summary: &WalkSummary) -> Timestamp {
    match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => summary.max_timestamp,
    }
}

fn records_error(error: RecordError, batch: &BatchView<'_>, rules: &ProduceRules) -> ProduceError {
    match error {
        RecordError::InflatedTooLarge { .. } => {
            ProduceError::TooLarge { size: batch.size(), max: rules.max_message_bytes }
        }
        other => ProduceError::Records(other),
    }
}
