//! A coordinator's records in and out of the partitions of its topic.

use bytes::Bytes;
use ottla_coordinator::{LogRecord, Machine, Output};
use ottla_protocol::ids::{Now, Offset, ProducerId};
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, BuildError, Compression, EndTxnMarker, WalkLimits,
    batches, records,
};

use ottla_storage::VerificationGuard;

use crate::partition::{AppendOutcome, Isolation, Partition, PartitionError, Read};

/// Most bytes that a batch of a coordinator's records may inflate to.
const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 256 << 20 };

/// How a coordinator keeps its records. What it is made of cannot be changed while the broker runs.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// The codec of the batches it writes.
    pub compression: Compression,
    /// How long an answer may wait for the high watermark, in milliseconds; `None`: as long as it
    /// takes.
    pub commit_timeout_ms: Option<i64>,
    /// Bytes read at a time while loading. A larger batch is read all the same.
    pub load_bytes: u32,
}

/// Why a partition of a coordinator's topic could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The partition refuses.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The file cannot be read.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    /// A batch or record is damaged.
    #[error("at offset {offset}: {reason}")]
    Damaged {
        /// Where reading stopped.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
}

/// Appends the records of an output as one batch. Those of a client's transaction need the guard of
/// its verification.
///
/// # Errors
/// As [`Partition::append_own`]; a batch that cannot be built is refused like a corrupt one.
pub(crate) fn append<M: Machine>(
    partition: &Partition,
    output: &Output<M>,
    options: BatchOptions,
    guard: Option<VerificationGuard>,
    now: Now,
) -> Result<AppendOutcome, PartitionError> {
    let batch = build(output, options, now).map_err(|error| {
        PartitionError::Append(ottla_storage::AppendError::Corrupt(error.to_string()))
    })?;
    partition.append_own(&batch, guard, now)
}

fn build<M: Machine>(
    output: &Output<M>,
    mut options: BatchOptions,
    now: Now,
) -> Result<Vec<u8>, BuildError> {
    if let Some((id, epoch)) = output.producer {
        options.transactional = true;
        options.producer_id = id;
        options.producer_epoch = epoch;
        options.base_sequence = 0;
    }
    let mut batch = BatchBuilder::new(options);
    for record in &output.records {
        batch.append(now.wall, Some(&record.key), record.value.as_deref())?;
    }
    batch.build()
}

/// Feeds every record of a partition to a machine, `bytes_max` at a time. Returns how many there
/// were.
///
/// # Errors
/// See [`LoadError`].
pub(crate) fn replay<M: Machine>(
    partition: &Partition,
    bytes_max: u32,
    machine: &mut M,
) -> Result<u64, LoadError> {
    let offsets = partition.offsets(None)?;
    let (mut at, mut count) = (offsets.log_start, 0);
    while at < offsets.high_watermark {
        let read = Read {
            offset: at,
            leader_epoch: None,
            isolation: Isolation::Uncommitted,
            bytes_max,
            at_least_one_batch: true,
        };
        let Some(slice) = partition.read(&read)?.slice else { break };
        let bytes = slice.read()?;
        let before = at;
        for batch in batches(&bytes) {
            // The read may end inside a batch; the next one starts there.
            let Ok(batch) = batch else { break };
            if batch.header().last_offset() >= at {
                count += replay_batch(&batch, machine)?;
                at = batch.header().last_offset().plus(1);
            }
        }
        if at == before {
            let reason = "no whole batch can be read here".to_owned();
            return Err(LoadError::Damaged { offset: at, reason });
        }
    }
    Ok(count)
}

fn replay_batch<M: Machine>(batch: &BatchView<'_>, machine: &mut M) -> Result<u64, LoadError> {
    let header = batch.header();
    let damaged = |reason: String| LoadError::Damaged { offset: header.base_offset, reason };
    let mut count = 0;
    let producer = if header.is_transactional() { header.producer_id } else { ProducerId::NONE };
    for record in records(batch, &LIMITS).map_err(|e| damaged(e.to_string()))? {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        let Some(key) = record.key else { continue };
        if header.is_control() {
            let value = record.value.as_deref().unwrap_or_default();
            if let Some(marker) = EndTxnMarker::from_record(&key, value) {
                machine.replay_end_marker(header.producer_id, marker.committed);
            }
            continue;
        }
        let key = Bytes::copy_from_slice(&key);
        let value = record.value.map(|value| Bytes::copy_from_slice(&value));
        machine
            .replay(&LogRecord { key, value }, record.offset, producer)
            .map_err(|error| damaged(error.to_string()))?;
        count += 1;
    }
    Ok(count)
}
