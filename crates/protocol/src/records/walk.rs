//! Checks every record of a batch without building it: the produce path's hot loop.

use super::header::{BatchError, Compression};
use super::inflate::{InflateError, Inflater};
use super::source::{Fault, InflateSource, SliceSource, Source};
use super::varint::unzigzag;
use super::view::BatchView;
use crate::ids::Timestamp;

/// Bounds of [`walk`] and [`super::records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkLimits {
    /// Most bytes the records of one batch may inflate to.
    pub inflated_bytes_max: u64,
}

/// Why the records of a batch are not what its header and the format say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The header names no codec, or the bytes are no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The compressed data does not inflate.
    #[error("the {} data of the batch cannot be read: {reason}", compression.name())]
    Codec {
        /// The batch's codec.
        compression: Compression,
        /// What is wrong.
        reason: &'static str,
    },
    /// The records are larger than the caller allows.
    #[error(
        "the records of the batch inflate to more than {inflated_bytes_max} bytes: send smaller batches"
    )]
    InflatedTooLarge {
        /// The bound.
        inflated_bytes_max: u64,
    },
    /// A negative record count.
    #[error("the batch claims {0} records")]
    Count(i32),
    /// The records end before the claimed count is reached.
    #[error("the batch claims {claimed} records, but ends inside number {index} (from 0)")]
    Truncated {
        /// The record that is not all there.
        index: u32,
        /// The count in the header.
        claimed: i32,
    },
    /// Bytes are left after the claimed count of records.
    #[error("bytes are left in the batch after its {claimed} records")]
    Trailing {
        /// The count in the header.
        claimed: i32,
    },
    /// A record that is not in the format.
    #[error("record {index} (from 0) is malformed: {what}")]
    Malformed {
        /// Which record.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What [`walk_each`] tells of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts {
    /// Place in the batch, from 0.
    pub index: u32,
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Base timestamp plus the record's delta: what the producer gave, whatever the timestamp type.
    pub timestamp: Timestamp,
    /// Bytes of the key, `None` for null.
    pub key_len: Option<u32>,
    /// Bytes of the value, `None` for null (a tombstone in compacted topics).
    pub value_len: Option<u32>,
    /// Number of headers.
    pub headers: u32,
}

/// What [`walk`] found; the caller judges what it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkSummary {
    /// Records walked: the header's count.
    pub records: u32,
    /// Whether the offset deltas are 0, 1, 2, ...
    pub deltas_consecutive: bool,
    /// Whether every offset delta is larger than the one before.
    pub deltas_increasing: bool,
    /// Offset delta of the last record; `None` without records.
    pub last_delta: Option<i32>,
    /// Largest timestamp; -1 without records.
    pub max_timestamp: Timestamp,
    /// Offset delta of the first record that has it; `None` without records.
    pub max_timestamp_delta: Option<i32>,
    /// Smallest timestamp; -1 without records.
    pub min_timestamp: Timestamp,
    /// Index of the first record whose key is null.
    pub first_null_key: Option<u32>,
    /// Bytes of the records, decompressed.
    pub inflated_bytes: u64,
}

/// Checks every record of `batch`: lengths, varints, headers and count. Keys and values are passed
/// over; memory stays constant; nothing is built.
///
/// Does not check the CRC. Kafka accepts deltas with gaps in uncompressed batches, so deltas and
/// timestamps are reported, not judged.
///
/// # Errors
/// See [`RecordError`].
pub fn walk(batch: &BatchView<'_>, limits: &WalkLimits) -> Result<WalkSummary, RecordError> {
    walk_each(batch, limits, |_| {})
}

/// As [`walk`], and shows each record to `see`. An error may come after records were shown.
///
/// # Errors
/// See [`RecordError`].
pub fn walk_each(
    batch: &BatchView<'_>,
    limits: &WalkLimits,
    see: impl FnMut(&RecordFacts),
) -> Result<WalkSummary, RecordError> {
    let header = batch.header();
    let walk = Walk {
        claimed: header.records_count,
        base_timestamp: header.base_timestamp,
        compression: header.compression()?,
        limits: *limits,
    };
    let payload = batch.records_payload();
    if walk.compression == Compression::None {
        walk.check_size(payload.len())?;
        let mut source = SliceSource::new(payload);
        return walk.run(&mut source, see).map_err(|(fault, index)| walk.error(fault, index, None));
    }
    let inflater = Inflater::new(walk.compression, payload, limits.inflated_bytes_max);
    let mut source = InflateSource::new(inflater);
    let result = walk.run(&mut source, see);
    result.map_err(|(fault, index)| walk.error(fault, index, source.error.take()))
}

/// The fields of one record before its key, and where it must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordStart {
    pub(super) end: u64,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
}

/// A record as [`quick`] reads it.
struct Quick {
    timestamp_delta: i64,
    offset_delta: i32,
    key_len: Option<u32>,
    value_len: Option<u32>,
}

/// Reads the usual record: all of it in `bytes`, no headers, no varint of more than 3 bytes. Returns
/// it with its length, `None` for any other record, good or bad. Twice as fast as part by part.
#[inline]
fn quick(bytes: &[u8]) -> Option<(Quick, usize)> {
    let (len, at) = quick_varint(bytes, 0)?;
    let end = at + usize::try_from(len).ok()?;
    let (timestamp_delta, at) = quick_varint(bytes, at + 1)?;
    let (offset_delta, at) = quick_varint(bytes, at)?;
    let (key_len, at) = quick_varint(bytes, at)?;
    let (key_len, below_null) = (u32::try_from(key_len).ok(), key_len < -1);
    let (value_len, at) = quick_varint(bytes, at + key_len.unwrap_or(0) as usize)?;
    let below_null = below_null || value_len < -1;
    let value_len = u32::try_from(value_len).ok();
    let at = at + value_len.unwrap_or(0) as usize;
    // The last byte is the header count.
    if below_null || at + 1 != end || *bytes.get(at)? != 0 {
        return None;
    }
    let timestamp_delta = i64::from(timestamp_delta);
    Some((Quick { timestamp_delta, offset_delta, key_len, value_len }, end))
}

/// The varint of up to 3 bytes at `at`, and where it ends. Wants a byte more than it takes.
#[inline]
fn quick_varint(bytes: &[u8], at: usize) -> Option<(i32, usize)> {
    let word = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    if word & 0x80 == 0 {
        Some((unzigzag(word & 0x7f), at + 1))
    } else if word & 0x8000 == 0 {
        Some((unzigzag(word & 0x7f | word >> 1 & 0x3f80), at + 2))
    } else if word & 0x0080_0000 == 0 {
        Some((unzigzag(word & 0x7f | word >> 1 & 0x3f80 | word >> 2 & 0x1f_c000), at + 3))
    } else {
        None
    }
}

/// Reads a record up to its key length.
#[inline]
pub(super) fn record_start<'a>(source: &mut impl Source<'a>) -> Result<RecordStart, Fault> {
    let length = u64::try_from(source.varint()?).map_err(|_| Fault::RecordLength)?;
    let end = source.position() + length;
    let _attributes = source.byte()?; // None are defined; Kafka ignores them.
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    Ok(RecordStart { end, timestamp_delta, offset_delta })
}

/// Reads the length of a key or value: -1 is null, and the bytes must fit before `end`.
#[inline]
pub(super) fn nullable_len<'a>(
    source: &mut impl Source<'a>,
    end: u64,
    fault: Fault,
) -> Result<Option<u32>, Fault> {
    let len = source.varint()?;
    let Ok(len) = u32::try_from(len) else {
        return if len == -1 { Ok(None) } else { Err(fault) };
    };
    if source.position() + u64::from(len) > end {
        return Err(Fault::Parts);
    }
    Ok(Some(len))
}

/// Reads the number of headers; each takes at least two bytes.
#[inline]
pub(super) fn header_count<'a>(source: &mut impl Source<'a>, end: u64) -> Result<u32, Fault> {
    let count = u32::try_from(source.varint()?).map_err(|_| Fault::HeaderCount)?;
    if u64::from(count) * 2 > end.saturating_sub(source.position()) {
        return Err(Fault::HeaderCount);
    }
    Ok(count)
}

/// Reads the length of a header key, which is never null.
#[inline]
pub(super) fn header_key_len<'a>(source: &mut impl Source<'a>, end: u64) -> Result<u32, Fault> {
    let len = u32::try_from(source.varint()?).map_err(|_| Fault::HeaderKeyLength)?;
    if source.position() + u64::from(len) > end {
        return Err(Fault::Parts);
    }
    Ok(len)
}

/// What a walk and a record iterator share: the header's claims and the way to tell errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) claimed: i32,
    pub(super) base_timestamp: Timestamp,
    pub(super) compression: Compression,
    pub(super) limits: WalkLimits,
}

impl Walk {
    fn run<'a>(
        &self,
        source: &mut impl Source<'a>,
        mut see: impl FnMut(&RecordFacts),
    ) -> Result<WalkSummary, (Fault, u32)> {
        let count = u32::try_from(self.claimed).unwrap_or(0);
        let mut summary = WalkSummary {
            records: count,
            deltas_consecutive: true,
            deltas_increasing: true,
            last_delta: None,
            max_timestamp: Timestamp::NONE,
            max_timestamp_delta: None,
            min_timestamp: Timestamp::NONE,
            first_null_key: None,
            inflated_bytes: 0,
        };
        for index in 0..count {
            let facts = self.next(source, index).map_err(|fault| (fault, index))?;
            summary.add(&facts);
            see(&facts);
        }
        match source.is_at_end() {
            Ok(true) if self.claimed >= 0 => {
                summary.inflated_bytes = source.position();
                Ok(summary)
            }
            Ok(_) => Err((Fault::Parts, count)),
            Err(fault) => Err((fault, count)),
        }
    }

    /// The next record: [`quick`] reads the usual ones, the rest are read part by part.
    #[inline]
    fn next<'a>(&self, source: &mut impl Source<'a>, index: u32) -> Result<RecordFacts, Fault> {
        let Some((record, len)) = quick(source.contiguous()) else {
            return self.one(source, index);
        };
        source.skip(len)?;
        let timestamp = Timestamp(self.base_timestamp.0.wrapping_add(record.timestamp_delta));
        Ok(RecordFacts {
            index,
            offset_delta: record.offset_delta,
            timestamp,
            key_len: record.key_len,
            value_len: record.value_len,
            headers: 0,
        })
    }

    #[inline(never)]
    fn one<'a>(&self, source: &mut impl Source<'a>, index: u32) -> Result<RecordFacts, Fault> {
        let start = record_start(source)?;
        let key_len = nullable_len(source, start.end, Fault::KeyLength)?;
        source.skip(key_len.unwrap_or(0) as usize)?;
        let value_len = nullable_len(source, start.end, Fault::ValueLength)?;
        source.skip(value_len.unwrap_or(0) as usize)?;
        let headers = header_count(source, start.end)?;
        for _ in 0..headers {
            let len = header_key_len(source, start.end)?;
            source.skip(len as usize)?;
            let len = nullable_len(source, start.end, Fault::HeaderValueLength)?;
            source.skip(len.unwrap_or(0) as usize)?;
        }
        if source.position() != start.end {
            return Err(Fault::Parts);
        }
        let timestamp = Timestamp(self.base_timestamp.0.wrapping_add(start.timestamp_delta));
        let offset_delta = start.offset_delta;
        Ok(RecordFacts { index, offset_delta, timestamp, key_len, value_len, headers })
    }

    /// Bounds uncompressed records as compressed ones are.
    pub(super) fn check_size(&self, bytes: usize) -> Result<(), RecordError> {
        let inflated_bytes_max = self.limits.inflated_bytes_max;
        if bytes as u64 > inflated_bytes_max {
            return Err(RecordError::InflatedTooLarge { inflated_bytes_max });
        }
        Ok(())
    }

    /// Puts a fault into words. `index` is the count when all records were read.
    #[cold]
    pub(super) fn error(
        &self,
        fault: Fault,
        index: u32,
        inflate: Option<InflateError>,
    ) -> RecordError {
        let claimed = self.claimed;
        let what = match fault {
            _ if claimed < 0 => return RecordError::Count(claimed),
            Fault::End => return RecordError::Truncated { index, claimed },
            Fault::Inflate => return self.inflate_error(inflate),
            Fault::Parts if i64::from(index) == i64::from(claimed) => {
                return RecordError::Trailing { claimed };
            }
            Fault::Parts => "its parts do not add up to its length",
            Fault::Varint => "a varint is too long",
            Fault::RecordLength => "its length is negative",
            Fault::KeyLength => "its key length is below -1",
            Fault::ValueLength => "its value length is below -1",
            Fault::HeaderCount => "its header count is negative or more than its bytes can hold",
            Fault::HeaderKeyLength => "a header key is null or has a negative length",
            Fault::HeaderValueLength => "a header value length is below -1",
        };
        RecordError::Malformed { index, what }
    }

    fn inflate_error(&self, error: Option<InflateError>) -> RecordError {
        let compression = self.compression;
        match error {
            Some(InflateError::Invalid(reason)) => RecordError::Codec { compression, reason },
            Some(InflateError::TooLarge) => {
                let inflated_bytes_max = self.limits.inflated_bytes_max;
                RecordError::InflatedTooLarge { inflated_bytes_max }
            }
            None => RecordError::Codec { compression, reason: "unknown" },
        }
    }
}

impl WalkSummary {
    #[inline]
    fn add(&mut self, facts: &RecordFacts) {
        let delta = facts.offset_delta;
        self.deltas_consecutive &= i64::from(delta) == i64::from(facts.index);
        self.deltas_increasing &= self.last_delta.is_none_or(|last| last < delta);
        if self.last_delta.is_none() || facts.timestamp > self.max_timestamp {
            self.max_timestamp = facts.timestamp;
            self.max_timestamp_delta = Some(delta);
        }
        if self.last_delta.is_none() || facts.timestamp < self.min_timestamp {
            self.min_timestamp = facts.timestamp;
        }
        if facts.key_len.is_none() && self.first_null_key.is_none() {
            self.first_null_key = Some(facts.index);
        }
        self.last_delta = Some(delta);
    }
}
