//! Records that say what they are: a value is made from its number alone, so that any changed byte
//! is seen, and the number tells who sent it where.

use bytes::Bytes;
use ottla_protocol::ids::{ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, Compression, EndTxnMarker, WalkLimits, records,
};
use ottla_testkit::Rng;

/// A record's number, unique in the run.
pub(crate) type RecordId = u64;

/// What is at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A client's record.
    Record(RecordId),
    /// The end of a transaction.
    Marker { producer_id: i64, epoch: i16, committed: bool },
}

impl Entry {
    /// The record's number, if it is one.
    pub(crate) const fn record(self) -> Option<RecordId> {
        match self {
            Self::Record(id) => Some(id),
            Self::Marker { .. } => None,
        }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(id) => write!(f, "record {id}"),
            Self::Marker { producer_id, epoch, committed } => {
                let end = if *committed { "commit" } else { "abort" };
                write!(f, "the {end} marker of producer {producer_id} epoch {epoch}")
            }
        }
    }
}

/// Bytes of values from which on a batch takes no more records.
const BATCH_BYTES: usize = 3_000;

/// Smallest segments used: any batch fits.
pub(crate) const SEGMENT_MIN: &str = "8000";

/// The producer's part of a batch header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    /// The batch is part of a transaction.
    pub(crate) transactional: bool,
}

/// The value of a record: number, timestamp, and bytes that follow from the number.
fn value(id: RecordId, timestamp: i64) -> Vec<u8> {
    let mut rng = Rng::new(id.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let len = match rng.below(20) {
        0 => rng.between(1_000, 4_000),
        1..5 => rng.between(200, 1_000),
        _ => rng.below(100),
    };
    let mut value = Vec::new();
    value.extend_from_slice(&id.to_le_bytes());
    value.extend_from_slice(&timestamp.to_le_bytes());
    value.extend(rng.bytes(len as usize));
    value
}

/// Whether another record of any size still fits into the smallest segments used.
pub(crate) fn has_room(ids: &[RecordId]) -> bool {
    ids.iter().map(|&id| value(id, 0).len()).sum::<usize>() < BATCH_BYTES
}

/// A batch of these records.
pub(crate) fn batch(
    ids: &[RecordId],
    timestamp: i64,
    producer: Option<Identity>,
    compression: Compression,
) -> Bytes {
    let mut options = BatchOptions { compression, ..BatchOptions::default() };
    if let Some(producer) = producer {
        options.producer_id = ProducerId(producer.id);
        options.producer_epoch = ProducerEpoch(producer.epoch);
        options.base_sequence = producer.sequence;
        options.transactional = producer.transactional;
    }
    let mut builder = BatchBuilder::new(options);
    for &id in ids {
        let value = value(id, timestamp);
        builder.append(Timestamp(timestamp), None, Some(&value)).expect("a small record");
    }
    builder.build().expect("a small batch").into()
}

/// What is in a batch that a broker served, with offsets.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn open(batch: &BatchView<'_>) -> Result<Vec<(i64, Entry)>, String> {
    let base = batch.header().base_offset;
    batch.verify_crc().map_err(|error| format!("batch at offset {base}: {error}"))?;
    let limits = WalkLimits { inflated_bytes_max: 1 << 24 };
    let mut found = Vec::new();
    let records = records(batch, &limits);
    let records = records.map_err(|error| format!("batch at offset {base}: {error}"))?;
    for record in records {
        let record = record.map_err(|error| format!("batch at offset {base}: {error}"))?;
        let offset = record.offset.0;
        let got = record.value.as_deref().unwrap_or_default();
        if batch.header().is_control() {
            found.push((offset, marker(batch, record.key.as_deref().unwrap_or_default(), got)?));
            continue;
        }
        let Some((id, rest)) = got.split_first_chunk() else {
            return Err(format!("the record at offset {offset} was never sent"));
        };
        let Some((timestamp, _)) = rest.split_first_chunk() else {
            return Err(format!("the record at offset {offset} was never sent"));
        };
        let (id, timestamp) = (u64::from_le_bytes(*id), i64::from_le_bytes(*timestamp));
        if value(id, timestamp) != got {
            return Err(format!("the record at offset {offset} has other bytes than record {id}"));
        }
        if record.timestamp.0 != timestamp {
            let got = record.timestamp;
            return Err(format!("record {id} has timestamp {got}, sent was {timestamp}"));
        }
        found.push((offset, Entry::Record(id)));
    }
    Ok(found)
}

fn marker(batch: &BatchView<'_>, key: &[u8], value: &[u8]) -> Result<Entry, String> {
    let header = batch.header();
    let marker = EndTxnMarker::from_record(key, value);
    let marker = marker.ok_or_else(|| format!("a control record at {}", header.base_offset))?;
    let (producer_id, epoch) = (header.producer_id.0, header.producer_epoch.0);
    Ok(Entry::Marker { producer_id, epoch, committed: marker.committed })
}
