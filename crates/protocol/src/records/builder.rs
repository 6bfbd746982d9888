//! Builds batches: for the logs that this broker writes itself, for compaction, and for topics with
//! a codec of their own.

use super::crc::crc32c;
use super::deflate::{DeflateError, Deflater};
use super::header::{
    Attributes, BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchError, BatchHeader, CRC_START, Compression,
    TimestampType, with_compression,
};
use super::inflate::{InflateError, Inflater};
use super::record::Record;
use super::varint::{write_varint, write_varlong};
use super::view::BatchView;
use super::walk::{RecordError, WalkLimits};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// What a batch is besides its records. The default is an uncompressed batch at offset 0 without
/// producer and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Epoch of the leader that appends.
    pub leader_epoch: LeaderEpoch,
    /// Codec of the records.
    pub compression: Compression,
    /// The codec's level, `None` for its default; only gzip and zstd have levels here.
    pub level: Option<i32>,
    /// The time of the append, if that is the timestamp type.
    pub log_append_time: Option<Timestamp>,
    /// Part of a transaction.
    pub transactional: bool,
    /// The records are control records.
    pub control: bool,
    /// When compaction may remove the batch's tombstones and markers (KIP-534).
    pub delete_horizon: Option<Timestamp>,
    /// -1 for a batch that is not idempotent.
    pub producer_id: ProducerId,
    /// -1 for a batch that is not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// -1 for a batch that is not idempotent.
    pub base_sequence: i32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            compression: Compression::None,
            level: None,
            log_append_time: None,
            transactional: false,
            control: false,
            delete_horizon: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
        }
    }
}

/// Why a batch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The length field has 31 bits.
    #[error("a batch of {bytes} bytes is too large: at most 2147483647")]
    TooLarge {
        /// Bytes it would have.
        bytes: usize,
    },
    /// Offsets must increase and lie within 2^31 of the base offset.
    #[error(
        "offset {offset} does not fit into the batch at offset {base_offset}, after delta {last_delta}"
    )]
    Offset {
        /// The record's offset.
        offset: Offset,
        /// The batch's base offset.
        base_offset: Offset,
        /// Delta of the record before, -1 for none.
        last_delta: i32,
    },
    /// A codec failed.
    #[error("cannot compress the batch with {}: {reason}", compression.name())]
    Codec {
        /// The codec.
        compression: Compression,
        /// What its library said.
        reason: &'static str,
    },
    /// The batch to encode anew cannot be read.
    #[error(transparent)]
    Source(#[from] RecordError),
}

/// Collects records, then makes the batch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    last_delta: i32,
    base_timestamp: Option<Timestamp>,
    max_timestamp: Option<Timestamp>,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        let base_timestamp = options.delete_horizon;
        Self {
            options,
            records: Vec::new(),
            count: 0,
            last_delta: -1,
            base_timestamp,
            max_timestamp: None,
        }
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub fn uncompressed_size(&self) -> usize {
        BATCH_HEADER_LEN + self.records.len()
    }

    /// The offset that [`Self::append`] gives next.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.options.base_offset.plus(self.last_delta as i64 + 1)
    }

    /// Adds a record without headers at the next offset, which is returned.
    ///
    /// # Errors
    /// [`BuildError::Offset`], [`BuildError::TooLarge`].
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Offset, BuildError> {
        let offset = self.next_offset();
        let (key, value) = (key.map(Into::into), value.map(Into::into));
        self.append_record(&Record { offset, timestamp, key, value, headers: Vec::new() })?;
        Ok(offset)
    }

    /// Adds a record at its own offset.
    ///
    /// # Errors
    /// [`BuildError::Offset`] unless it is beyond the last record's, [`BuildError::TooLarge`].
    pub fn append_record(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        let offset_delta = self.delta(record.offset)?;
        let base_timestamp = *self.base_timestamp.get_or_insert(record.timestamp);
        let start = self.records.len();
        let parts_len = body_len(record, offset_delta, base_timestamp);
        let Ok(len) = i32::try_from(parts_len) else {
            return Err(BuildError::TooLarge { bytes: parts_len });
        };
        check_length(start + parts_len + 5)?;
        write_varint(&mut self.records, len);
        self.records.push(0);
        write_varlong(&mut self.records, record.timestamp.0.wrapping_sub(base_timestamp.0));
        write_varint(&mut self.records, offset_delta);
        self.bytes(record.key.as_deref());
        self.bytes(record.value.as_deref());
        // Fits, as the record's length does.
        write_varint(&mut self.records, record.headers.len() as i32);
        for header in &record.headers {
            self.bytes(Some(&header.key));
            self.bytes(header.value.as_deref());
        }
        self.count += 1;
        self.last_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(Some(record.timestamp));
        Ok(())
    }

    /// Keeps the batch's end where it was when compaction removed its last records.
    ///
    /// # Errors
    /// [`BuildError::Offset`] if it lies before the last record.
    pub fn set_last_offset(&mut self, offset: Offset) -> Result<(), BuildError> {
        let at_last = self.options.base_offset.plus(i64::from(self.last_delta)) == offset;
        if !at_last {
            self.last_delta = self.delta(offset)?;
        }
        Ok(())
    }

    /// Sets the maximum timestamp: of a batch that compaction left without records, or to keep it.
    pub fn set_max_timestamp(&mut self, timestamp: Timestamp) {
        self.max_timestamp = Some(timestamp);
    }

    /// Makes the batch.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`], [`BuildError::Codec`].
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        let o = &self.options;
        let max_timestamp = o.log_append_time.or(self.max_timestamp).unwrap_or(Timestamp::NONE);
        let timestamp_type = match o.log_append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        let attributes = Attributes {
            compression: o.compression,
            timestamp_type,
            transactional: o.transactional,
            control: o.control,
            delete_horizon: o.delete_horizon.is_some(),
        };
        let header = BatchHeader {
            base_offset: o.base_offset,
            length: 0,
            partition_leader_epoch: o.leader_epoch,
            magic: 2,
            crc: 0,
            attributes: attributes.bits(),
            last_offset_delta: self.last_delta.max(0),
            base_timestamp: self.base_timestamp.unwrap_or(max_timestamp),
            max_timestamp,
            producer_id: o.producer_id,
            producer_epoch: o.producer_epoch,
            base_sequence: o.base_sequence,
            records_count: self.count,
        };
        let mut out = Vec::with_capacity(match o.compression {
            Compression::None => BATCH_HEADER_LEN + self.records.len(),
            _ => BATCH_HEADER_LEN + self.records.len() / 2,
        });
        out.resize(BATCH_HEADER_LEN, 0);
        if !self.records.is_empty() {
            let codec_error = codec_error(o.compression);
            let size = Some(self.records.len() as u64);
            let mut deflater =
                Deflater::new(o.compression, o.level, size, out).map_err(codec_error)?;
            deflater.push(&self.records).map_err(codec_error)?;
            out = deflater.finish().map_err(codec_error)?;
        }
        seal(header, out)
    }

    fn delta(&self, offset: Offset) -> Result<i32, BuildError> {
        let (base_offset, last_delta) = (self.options.base_offset, self.last_delta);
        let delta = offset.0.checked_sub(base_offset.0).and_then(|d| i32::try_from(d).ok());
        delta.filter(|delta| *delta > last_delta).ok_or(BuildError::Offset {
            offset,
            base_offset,
            last_delta,
        })
    }

    /// Appends a length (-1 for null) and the bytes.
    fn bytes(&mut self, bytes: Option<&[u8]>) {
        // Lengths fit, as the record's length does.
        write_varint(&mut self.records, bytes.map_or(-1, |bytes| bytes.len() as i32));
        self.records.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// Compresses the records of `batch` anew with another codec. Everything else stays as it is: place,
/// timestamps, producer and flags. The records are not looked at; [`super::walk`] does that.
///
/// # Errors
/// [`BuildError::Source`] for compressed data that cannot be read or inflates beyond the bound,
/// [`BuildError::Codec`], [`BuildError::TooLarge`].
pub fn recompress(
    batch: &BatchView<'_>,
    compression: Compression,
    level: Option<i32>,
    limits: &WalkLimits,
) -> Result<Vec<u8>, BuildError> {
    let mut header = *batch.header();
    let from = header.compression().map_err(RecordError::from)?;
    header.attributes = with_compression(header.attributes, compression);
    let payload = batch.records_payload();
    let mut out = Vec::with_capacity(BATCH_HEADER_LEN + payload.len());
    out.resize(BATCH_HEADER_LEN, 0);
    if payload.is_empty() {
        return seal(header, out);
    }
    let codec_error = codec_error(compression);
    let size = (from == Compression::None).then_some(payload.len() as u64);
    let mut deflater = Deflater::new(compression, level, size, out).map_err(codec_error)?;
    let mut inflater = Inflater::new(from, payload, limits.inflated_bytes_max);
    loop {
        inflater.advance().map_err(|error| match error {
            InflateError::Invalid(reason) => RecordError::Codec { compression: from, reason },
            InflateError::TooLarge => {
                RecordError::InflatedTooLarge { inflated_bytes_max: limits.inflated_bytes_max }
            }
        })?;
        if inflater.chunk().is_empty() {
            break;
        }
        deflater.push(inflater.chunk()).map_err(codec_error)?;
    }
    seal(header, deflater.finish().map_err(codec_error)?)
}

/// Writes `header` over the first 61 bytes of `batch`, with the right length and CRC.
fn seal(mut header: BatchHeader, mut batch: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    header.length = check_length(batch.len())?;
    write_header(&header, &mut batch);
    header.crc = crc32c(batch.get(CRC_START..).unwrap_or_default());
    write_header(&header, &mut batch);
    Ok(batch)
}

fn write_header(header: &BatchHeader, batch: &mut [u8]) {
    if let Some(place) = batch.first_chunk_mut() {
        *place = header.to_bytes();
    }
}

/// The length field of a batch of `bytes`.
fn check_length(bytes: usize) -> Result<i32, BuildError> {
    i32::try_from(bytes)
        .map(|bytes| bytes - BATCH_OVERHEAD as i32)
        .map_err(|_| BuildError::TooLarge { bytes })
}

fn codec_error(compression: Compression) -> impl Fn(DeflateError) -> BuildError + Copy {
    move |DeflateError(reason)| BuildError::Codec { compression, reason }
}

/// Bytes of a record after its length field.
fn body_len(record: &Record<'_>, offset_delta: i32, base_timestamp: Timestamp) -> usize {
    let field = |bytes: Option<&[u8]>| {
        bytes.map_or(1, |bytes| varlong_len(bytes.len() as i64) + bytes.len())
    };
    let headers = record
        .headers
        .iter()
        .map(|header| field(Some(&header.key)) + field(header.value.as_deref()));
    1 + varlong_len(record.timestamp.0.wrapping_sub(base_timestamp.0))
        + varlong_len(i64::from(offset_delta))
        + field(record.key.as_deref())
        + field(record.value.as_deref())
        + varlong_len(record.headers.len() as i64)
        + headers.sum::<usize>()
}

/// Bytes of a zig-zag varint.
const fn varlong_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    // 7 bits a byte, at least one byte.
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

impl From<BatchError> for BuildError {
    fn from(error: BatchError) -> Self {
        Self::Source(error.into())
    }
}
