//! Records of the metadata log in batches, for the log and for snapshots.

use bytes::Bytes;
use ottla_protocol::MetadataRecord;
use ottla_protocol::codec::EncodeError;
use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::log_record;
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, BuildError, RecordError, WalkLimits, records,
};

use crate::image::Provenance;
use crate::record::VersionedRecord;

/// Largest batch of the metadata log, as in Kafka. One record may be larger.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where batches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    /// The offset of the first record.
    pub base: Offset,
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The timestamp of all records.
    pub timestamp: Timestamp,
}

/// A batch that is ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    /// The offset of the first record.
    pub base: Offset,
    /// How many records.
    pub count: u32,
    /// The whole batch.
    pub bytes: Vec<u8>,
}

/// Records that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A field that the chosen version cannot carry.
    #[error(transparent)]
    Record(#[from] EncodeError),
    /// Too large.
    #[error(transparent)]
    Batch(#[from] BuildError),
}

/// A batch that cannot be applied: the log is damaged or newer than this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The batch's records cannot be walked.
    #[error("metadata batch at offset {base}: {source}")]
    Batch {
        /// The batch's first offset.
        base: Offset,
        /// What is wrong.
        source: RecordError,
    },
    /// A value that is no metadata record known here.
    #[error("metadata record at offset {offset}: {source}; was it written by a later release?")]
    Record {
        /// The record's offset.
        offset: Offset,
        /// What is wrong.
        source: log_record::RecordError,
    },
    /// Metadata records have values.
    #[error("the metadata record at offset {0} has no value")]
    NoValue(Offset),
}

/// Encodes records into as few batches as fit into `bytes_max` each. In the log a list that must be
/// applied as a whole and gives more than one batch goes between the records of a metadata
/// transaction ([`crate::bootstrap::transaction`]).
///
/// # Errors
/// A record that its version cannot carry.
pub fn encode_batches(
    records: &[VersionedRecord],
    place: BatchPlace,
    bytes_max: usize,
) -> Result<Vec<EncodedBatch>, BatchError> {
    let mut done = Vec::new();
    let mut open: Option<BatchBuilder> = None;
    let mut next = place.base;
    for record in records {
        let value = record.record.encode(record.version)?;
        let full = |b: &BatchBuilder| {
            b.count() > 0 && b.uncompressed_size() + value.len() + 32 > bytes_max
        };
        if let Some(builder) = open.take_if(|builder| full(builder)) {
            done.push(finish(builder)?);
        }
        let builder = open.get_or_insert_with(|| {
            let options = BatchOptions {
                base_offset: next,
                leader_epoch: place.epoch,
                ..BatchOptions::default()
            };
            BatchBuilder::new(options)
        });
        next = builder.append(place.timestamp, None, Some(&value))?.plus(1);
    }
    done.extend(open.map(finish).transpose()?);
    Ok(done)
}

fn finish(builder: BatchBuilder) -> Result<EncodedBatch, BatchError> {
    let count = u32::try_from(builder.count()).unwrap_or(u32::MAX);
    let base = builder.next_offset().plus(-i64::from(count));
    Ok(EncodedBatch { base, count, bytes: builder.build()? })
}

/// Reads a batch of the log: where it ends, and its records; none for a control batch. The CRC was
/// checked by whoever read the file.
///
/// # Errors
/// A batch or record that this release cannot read; stop there.
pub fn decode_batch(batch: &BatchView<'_>) -> Result<(Provenance, Vec<MetadataRecord>), ReadError> {
    let header = batch.header();
    let at = Provenance {
        offset: header.last_offset(),
        epoch: header.partition_leader_epoch,
        timestamp: header.max_timestamp,
    };
    if header.is_control() {
        return Ok((at, Vec::new()));
    }
    let base = header.base_offset;
    let fail = |source| ReadError::Batch { base, source };
    let limits = WalkLimits { inflated_bytes_max: 16 * BATCH_BYTES_MAX as u64 };
    let mut decoded = Vec::new();
    for record in records(batch, &limits).map_err(fail)? {
        let record = record.map_err(fail)?;
        let offset = record.offset;
        let value = record.value.ok_or(ReadError::NoValue(offset))?;
        let value = Bytes::copy_from_slice(&value);
        let (record, _) =
            MetadataRecord::decode(value).map_err(|source| ReadError::Record { offset, source })?;
        decoded.push(record);
    }
    Ok((at, decoded))
}
