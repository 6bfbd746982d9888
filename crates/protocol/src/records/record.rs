//! Records decoded one at a time, for those who need keys and values.

use std::borrow::Cow;

use super::header::{Compression, TimestampType};
use super::inflate::Inflater;
use super::source::{Fault, InflateSource, SliceSource, Source};
use super::view::BatchView;
use super::walk::{
    RecordError, Walk, WalkLimits, header_count, header_key_len, nullable_len, record_start,
};
use crate::ids::{Offset, Timestamp};

/// A header of a record. Keys may repeat, and need not be UTF-8 here although the format says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The name.
    pub key: Cow<'a, [u8]>,
    /// The value, `None` for null.
    pub value: Option<Cow<'a, [u8]>>,
}

/// One record. Borrows from an uncompressed batch; owns what was inflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset in the partition.
    pub offset: Offset,
    /// The producer's time, or the append's if the batch says so.
    pub timestamp: Timestamp,
    /// The key, `None` for null.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value, `None` for null.
    pub value: Option<Cow<'a, [u8]>>,
    /// In the order of the bytes.
    pub headers: Vec<RecordHeader<'a>>,
}

impl Record<'_> {
    /// The record on its own.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        let owned = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        let own_header = |header: RecordHeader<'_>| RecordHeader {
            key: owned(header.key),
            value: header.value.map(owned),
        };
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(owned),
            value: self.value.map(owned),
            headers: self.headers.into_iter().map(own_header).collect(),
        }
    }
}

/// The records of one batch: see [`records`].
#[derive(Debug)]
pub struct RecordIter<'a> {
    walk: Walk,
    base_offset: Offset,
    /// What every record's timestamp is, in a batch with the time of its append.
    append_time: Option<Timestamp>,
    source: Either<'a>,
    index: u32,
    done: bool,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived, one per batch; a box would cost an allocation"
)]
enum Either<'a> {
    Slice(SliceSource<'a>),
    Inflate(InflateSource<'a>),
}

/// Iterates over the records of `batch`, inflating as it goes. Does not check the CRC. Ends after
/// the first error; bytes after the last record are an error, too.
///
/// # Errors
/// An undefined codec, or uncompressed records beyond the bound.
pub fn records<'a>(
    batch: &BatchView<'a>,
    limits: &WalkLimits,
) -> Result<RecordIter<'a>, RecordError> {
    let header = batch.header();
    let walk = Walk {
        claimed: header.records_count,
        base_timestamp: header.base_timestamp,
        compression: header.compression()?,
        limits: *limits,
    };
    let payload = batch.records_payload();
    let source = if walk.compression == Compression::None {
        walk.check_size(payload.len())?;
        Either::Slice(SliceSource::new(payload))
    } else {
        let inflater = Inflater::new(walk.compression, payload, limits.inflated_bytes_max);
        Either::Inflate(InflateSource::new(inflater))
    };
    let append_time = match header.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    };
    let base_offset = header.base_offset;
    Ok(RecordIter { walk, base_offset, append_time, source, index: 0, done: false })
}

impl<'a> RecordIter<'a> {
    /// The next record, `None` at the proper end.
    fn read(&mut self) -> Result<Option<Record<'a>>, Fault> {
        if i64::from(self.index) < i64::from(self.walk.claimed) {
            let record = match &mut self.source {
                Either::Slice(source) => read_record(source, self.walk.base_timestamp)?,
                Either::Inflate(source) => read_record(source, self.walk.base_timestamp)?,
            };
            self.index += 1;
            return Ok(Some(record));
        }
        let at_end = match &mut self.source {
            Either::Slice(source) => source.is_at_end()?,
            Either::Inflate(source) => source.is_at_end()?,
        };
        if at_end && self.walk.claimed >= 0 { Ok(None) } else { Err(Fault::Parts) }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.read() {
            Ok(Some(mut record)) => {
                record.offset = self.base_offset.plus(record.offset.0);
                record.timestamp = self.append_time.unwrap_or(record.timestamp);
                Some(Ok(record))
            }
            Ok(None) => {
                self.done = true;
                None
            }
            Err(fault) => {
                self.done = true;
                let inflate = match &mut self.source {
                    Either::Slice(_) => None,
                    Either::Inflate(source) => source.error.take(),
                };
                Some(Err(self.walk.error(fault, self.index, inflate)))
            }
        }
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// Reads one record; its offset is still the delta.
fn read_record<'a>(
    source: &mut impl Source<'a>,
    base_timestamp: Timestamp,
) -> Result<Record<'a>, Fault> {
    let start = record_start(source)?;
    let key_len = nullable_len(source, start.end, Fault::KeyLength)?;
    let key = take_nullable(source, key_len)?;
    let value_len = nullable_len(source, start.end, Fault::ValueLength)?;
    let value = take_nullable(source, value_len)?;
    let count = header_count(source, start.end)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let len = header_key_len(source, start.end)?;
        let key = source.take(len as usize)?;
        let len = nullable_len(source, start.end, Fault::HeaderValueLength)?;
        headers.push(RecordHeader { key, value: take_nullable(source, len)? });
    }
    if source.position() != start.end {
        return Err(Fault::Parts);
    }
    let offset = Offset(i64::from(start.offset_delta));
    let timestamp = Timestamp(base_timestamp.0.wrapping_add(start.timestamp_delta));
    Ok(Record { offset, timestamp, key, value, headers })
}

fn take_nullable<'a>(
    source: &mut impl Source<'a>,
    len: Option<u32>,
) -> Result<Option<Cow<'a, [u8]>>, Fault> {
    len.map(|len| source.take(len as usize)).transpose()
}
