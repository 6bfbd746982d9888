//! The 61-byte header of a record batch, magic 2 (KIP-98), and changes to it in place.

use super::crc::{crc32c, crc32c_combine};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of a batch header; the records (one compressed block when a codec is set) follow.
pub const BATCH_HEADER_LEN: usize = 61;
/// Bytes up to and including the length field, which counts what follows it.
pub const BATCH_OVERHEAD: usize = 12;
/// Bytes from the start of any entry (batch or old message) up to and including its magic byte.
pub const MAGIC_END: usize = 17;
/// First byte that the CRC of a batch covers; it covers everything to the end.
pub const CRC_START: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// How the records of a batch are compressed (attribute bits 0 to 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the block framing of Java's `SnappyOutputStream`.
    Snappy,
    /// An LZ4 frame of independent blocks.
    Lz4,
    /// Zstandard (KIP-110): only in Produce v7 and Fetch v10 and later.
    Zstd,
}

impl Compression {
    /// Every codec, in the order of its id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The id in the attributes.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with this id, if it is defined.
    #[must_use]
    pub const fn from_id(id: i16) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What the timestamps of a batch mean (attribute bit 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// Each record carries the time its producer gave it.
    #[default]
    CreateTime,
    /// Every record has the time of the append, which is the batch's maximum timestamp.
    LogAppendTime,
}

/// Why bytes are not a record batch of magic 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or than the length field says.
    #[error("the batch is cut short: {need} bytes needed, {have} here")]
    Truncated {
        /// Bytes the batch needs.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The length field is smaller than any entry of that magic can be.
    #[error("batch at offset {base_offset} claims length {length}, the least is {least}")]
    Length {
        /// The claimed base offset.
        base_offset: Offset,
        /// The claimed length.
        length: i32,
        /// The smallest valid length.
        least: i32,
    },
    /// A message of format 0 or 1: only served from old logs, no longer accepted (KIP-724).
    #[error("message format {0} is no longer accepted: use record batches (magic 2)")]
    OldMagic(i8),
    /// A magic that does not exist.
    #[error("magic byte {0} is not a known record format (0 to 2)")]
    Magic(i8),
    /// The bytes changed since their checksum was made.
    #[error(
        "batch at offset {base_offset} is corrupt: CRC {stored:#010x} stored, {computed:#010x} computed"
    )]
    Crc {
        /// Base offset of the batch.
        base_offset: Offset,
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// Attribute bits 0 to 2 name no codec.
    #[error("compression type {0} in the batch attributes is not defined (0 to 4)")]
    Compression(i16),
}

/// The header of a record batch, as its fields say; nothing but the magic was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; records carry deltas to it.
    pub base_offset: Offset,
    /// Bytes after this field.
    pub length: i32,
    /// Epoch of the leader that appended the batch (outside the CRC).
    pub partition_leader_epoch: LeaderEpoch,
    /// 2.
    pub magic: i8,
    /// CRC-32C of byte 21 to the end.
    pub crc: u32,
    /// Codec and flags, see the accessors.
    pub attributes: i16,
    /// Offset of the last record less the base offset; survives compaction of that record.
    pub last_offset_delta: i32,
    /// What timestamp deltas add to, or the delete horizon (KIP-534).
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the batch, or the append time.
    pub max_timestamp: Timestamp,
    /// Producer that sent the batch, -1 if it is not idempotent.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, -1 if not idempotent.
    pub base_sequence: i32,
    /// Claimed number of records.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] below 61 bytes; [`BatchError::OldMagic`], [`BatchError::Magic`] and
    /// [`BatchError::Length`] as soon as the bytes that say so are there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut short = Fields(bytes);
        if let (Some(base_offset), Some(length), Some(_epoch), Some(magic)) =
            (short.i64(), short.i32(), short.i32(), short.i8())
        {
            check_magic(magic)?;
            check_length(Offset(base_offset), length)?;
        }
        Self::read(bytes).ok_or(BatchError::Truncated { need: BATCH_HEADER_LEN, have: bytes.len() })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut f = Fields(bytes);
        Some(Self {
            base_offset: Offset(f.i64()?),
            length: f.i32()?,
            partition_leader_epoch: LeaderEpoch(f.i32()?),
            magic: f.i8()?,
            crc: f.i32()?.cast_unsigned(),
            attributes: f.i16()?,
            last_offset_delta: f.i32()?,
            base_timestamp: Timestamp(f.i64()?),
            max_timestamp: Timestamp(f.i64()?),
            producer_id: ProducerId(f.i64()?),
            producer_epoch: ProducerEpoch(f.i16()?),
            base_sequence: f.i32()?,
            records_count: f.i32()?,
        })
    }

    /// The header's 61 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BATCH_HEADER_LEN] {
        let mut out = [0; BATCH_HEADER_LEN];
        put(&mut out, 0, self.base_offset.0.to_be_bytes());
        put(&mut out, 8, self.length.to_be_bytes());
        put(&mut out, 12, self.partition_leader_epoch.0.to_be_bytes());
        put(&mut out, 16, self.magic.to_be_bytes());
        put(&mut out, 17, self.crc.to_be_bytes());
        put(&mut out, 21, self.attributes.to_be_bytes());
        put(&mut out, 23, self.last_offset_delta.to_be_bytes());
        put(&mut out, 27, self.base_timestamp.0.to_be_bytes());
        put(&mut out, 35, self.max_timestamp.0.to_be_bytes());
        put(&mut out, 43, self.producer_id.0.to_be_bytes());
        put(&mut out, 51, self.producer_epoch.0.to_be_bytes());
        put(&mut out, 53, self.base_sequence.to_be_bytes());
        put(&mut out, 57, self.records_count.to_be_bytes());
        out
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// Codec ids 5 to 7 are not defined.
    pub const fn compression(&self) -> Result<Compression, BatchError> {
        let id = self.attributes & COMPRESSION_MASK;
        match Compression::from_id(id) {
            Some(compression) => Ok(compression),
            None => Err(BatchError::Compression(id)),
        }
    }

    /// Whether timestamps are the producer's or the append's.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction (or is its marker).
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the records are control records, which consumers never see.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// When tombstones and markers of this batch may go, if compaction has set it.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether the batch carries a producer id.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// Offset of the last record, also when compaction removed it.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset after the batch.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Sequence number of the last record: after 2^31-1 comes 0. -1 without a sequence.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }

    /// Bytes of the whole batch, header included, as the length field says.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0) + BATCH_OVERHEAD
    }
}

/// The sequence number `delta` records after `sequence`: after 2^31-1 comes 0.
#[must_use]
pub const fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    // Two's complement: the wrapped sum without its sign bit is the sum modulo 2^31.
    sequence.wrapping_add(delta) & i32::MAX
}

/// The flags of a batch beside its codec, as the builder takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Attributes {
    pub(super) compression: Compression,
    pub(super) timestamp_type: TimestampType,
    pub(super) transactional: bool,
    pub(super) control: bool,
    pub(super) delete_horizon: bool,
}

impl Attributes {
    pub(super) const fn bits(self) -> i16 {
        let mut bits = self.compression.id();
        if matches!(self.timestamp_type, TimestampType::LogAppendTime) {
            bits |= TIMESTAMP_TYPE_BIT;
        }
        if self.transactional {
            bits |= TRANSACTIONAL_BIT;
        }
        if self.control {
            bits |= CONTROL_BIT;
        }
        if self.delete_horizon {
            bits |= DELETE_HORIZON_BIT;
        }
        bits
    }
}

/// `attributes` with another codec.
pub(super) const fn with_compression(attributes: i16, compression: Compression) -> i16 {
    (attributes & !COMPRESSION_MASK) | compression.id()
}

/// The header with the place the leader gave the batch. Neither field is covered by the CRC.
#[must_use]
pub fn patch_header(
    header: &[u8; BATCH_HEADER_LEN],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> [u8; BATCH_HEADER_LEN] {
    let mut out = *header;
    put(&mut out, 0, base_offset.0.to_be_bytes());
    put(&mut out, 12, leader_epoch.0.to_be_bytes());
    out
}

/// The header with another maximum timestamp and the timestamp type `CreateTime`; the CRC is brought
/// up to date without the records.
#[must_use]
pub fn patch_max_timestamp(
    header: &[u8; BATCH_HEADER_LEN],
    max_timestamp: Timestamp,
) -> [u8; BATCH_HEADER_LEN] {
    patch_timestamps(header, TimestampType::CreateTime, max_timestamp)
}

/// The header of a batch whose records all get the time of their append; the CRC is brought up to
/// date without the records.
#[must_use]
pub fn patch_log_append_time(
    header: &[u8; BATCH_HEADER_LEN],
    appended_at: Timestamp,
) -> [u8; BATCH_HEADER_LEN] {
    patch_timestamps(header, TimestampType::LogAppendTime, appended_at)
}

/// The header with timestamp type and maximum timestamp set.
///
/// A CRC is linear: changing the first 40 covered bytes changes it by the difference of their CRCs,
/// shifted over the bytes that follow. So no byte of the records is read, and a batch that was
/// corrupt before stays detectably corrupt.
fn patch_timestamps(
    header: &[u8; BATCH_HEADER_LEN],
    timestamp_type: TimestampType,
    max_timestamp: Timestamp,
) -> [u8; BATCH_HEADER_LEN] {
    let Some(old) = BatchHeader::read(header) else { return *header };
    let mut new = old;
    new.max_timestamp = max_timestamp;
    new.attributes = match timestamp_type {
        TimestampType::CreateTime => old.attributes & !TIMESTAMP_TYPE_BIT,
        TimestampType::LogAppendTime => old.attributes | TIMESTAMP_TYPE_BIT,
    };
    let records_len = old.size_in_bytes().saturating_sub(BATCH_HEADER_LEN);
    let difference = covered_crc(&old.to_bytes()) ^ covered_crc(&new.to_bytes());
    new.crc = old.crc ^ crc32c_combine(difference, 0, records_len);
    new.to_bytes()
}

/// CRC of the covered part of the header alone.
pub(super) fn covered_crc(header: &[u8; BATCH_HEADER_LEN]) -> u32 {
    let (_, covered) = header.split_at(CRC_START);
    crc32c(covered)
}

/// Accepts magic 2 only.
fn check_magic(magic: i8) -> Result<(), BatchError> {
    match magic {
        2 => Ok(()),
        0 | 1 => Err(BatchError::OldMagic(magic)),
        _ => Err(BatchError::Magic(magic)),
    }
}

fn check_length(base_offset: Offset, length: i32) -> Result<(), BatchError> {
    const LEAST: i32 = (BATCH_HEADER_LEN - BATCH_OVERHEAD) as i32;
    if length < LEAST {
        return Err(BatchError::Length { base_offset, length, least: LEAST });
    }
    Ok(())
}

/// Writes `bytes` at `at`; both are constants of the layout.
fn put<const N: usize>(out: &mut [u8; BATCH_HEADER_LEN], at: usize, bytes: [u8; N]) {
    if let Some(field) = out.get_mut(at..at + N) {
        field.copy_from_slice(&bytes);
    }
}

/// Reads big-endian integers off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn i8(&mut self) -> Option<i8> {
        self.take().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}
