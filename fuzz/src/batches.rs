//! Record batches: walking, reading and recompressing agree, and none of them panics.

use ottla_protocol::ids::{
    LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{
    self, BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchBuilder, BatchOptions, BatchView, CRC_START,
    Compression, EndTxnMarker, LegacyMessage, Record, RecordHeader, TimestampType, WalkLimits,
    crc32c, entry_bounds, patch_log_append_time, patch_max_timestamp, recompress, walk, walk_each,
};
use ottla_storage::{ProduceRules, validate};

const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 20 };
const NOW: Now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };

/// `repair, bytes`: see [`Repair`].
pub fn batches(data: &[u8]) {
    let Some((&mode, bytes)) = data.split_first() else { return };
    let bytes = Repair::of(mode).run(bytes);
    if let Ok(Some(bounds)) = entry_bounds(&bytes) {
        assert!(bounds.size >= BATCH_OVERHEAD);
    }
    if let Ok(message) = LegacyMessage::parse(&bytes) {
        let _ = message.verify_crc();
    }
    for batch in records::batches(&bytes) {
        let Ok(batch) = batch else { break };
        check(&batch);
    }
    let rules = ProduceRules {
        compact: mode & 8 != 0,
        compression: (mode & 16 != 0).then_some(Compression::Lz4),
        timestamp_type: if mode & 32 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        inflated_bytes_max: LIMITS.inflated_bytes_max,
        ..ProduceRules::default()
    };
    if let Ok(valid) = validate(&bytes, &rules, NOW) {
        let sealed = [&valid.header_bytes()[..], valid.payload()].concat();
        let batch = BatchView::parse(&sealed).expect("a validated batch is a batch");
        assert_eq!(batch.verify_crc(), Ok(()));
        let summary = walk(&batch, &LIMITS).expect("a validated batch can be walked");
        assert_eq!(summary.records, batch.header().records_count as u32);
    }
}

fn check(batch: &BatchView<'_>) {
    let _ = (batch.header().last_sequence(), batch.header().delete_horizon());
    let intact = batch.verify_crc().is_ok();
    assert_eq!(intact, patched_is_intact(batch), "a patched header keeps a bad CRC bad");
    let mut facts = Vec::new();
    let summary = walk_each(batch, &LIMITS, |record| facts.push(*record));
    let read: Result<Vec<_>, _> =
        records::records(batch, &LIMITS).and_then(|records| records.collect());
    assert_eq!(summary.is_ok(), read.is_ok(), "{summary:?} {:?}", read.as_ref().err());
    let (Ok(summary), Ok(read)) = (summary, read) else { return };
    assert_eq!(read.len(), facts.len());
    for (record, facts) in read.iter().zip(&facts) {
        assert_eq!(record.value.as_ref().map(|v| v.len() as u32), facts.value_len);
        if batch.header().is_control() {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let _ = EndTxnMarker::from_record(key.unwrap_or_default(), value.unwrap_or_default());
        }
    }
    for codec in [0, 1, 2, 3, 4].map(Compression::from_id) {
        let codec = codec.expect("the codecs are 0 to 4");
        let other = recompress(batch, codec, None, &LIMITS).expect("what walks, recompresses");
        let other = BatchView::parse(&other).expect("a batch");
        assert_eq!(other.verify_crc(), Ok(()));
        assert_eq!(walk(&other, &LIMITS), Ok(summary));
    }
}

fn patched_is_intact(batch: &BatchView<'_>) -> bool {
    let header = batch.header();
    let new = match header.timestamp_type() {
        TimestampType::CreateTime => patch_log_append_time(batch.header_bytes(), NOW.wall),
        TimestampType::LogAppendTime => patch_max_timestamp(batch.header_bytes(), NOW.wall),
    };
    let bytes = [&new[..], batch.records_payload()].concat();
    BatchView::parse(&bytes).is_ok_and(|batch| batch.verify_crc().is_ok())
}

/// Makes damaged bytes plausible, so that what lies behind a check is reached, too.
#[derive(Clone, Copy)]
pub(crate) struct Repair {
    /// Lengths that fit, and magic 2.
    pub(crate) bounds: bool,
    /// Each batch begins where the one before ended.
    pub(crate) offsets: bool,
    /// CRCs that match.
    pub(crate) crc: bool,
}

impl Repair {
    pub(crate) const fn of(mode: u8) -> Self {
        Self { bounds: mode & 1 != 0, crc: mode & 2 != 0, offsets: mode & 4 != 0 }
    }

    pub(crate) fn run(self, bytes: &[u8]) -> Vec<u8> {
        self.run_from(bytes, 0)
    }

    /// As [`Repair::run`]; the first batch begins at `next`.
    pub(crate) fn run_from(self, bytes: &[u8], mut next: i64) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let mut rest = &mut out[..];
        while rest.len() >= BATCH_HEADER_LEN {
            if self.bounds {
                rest[16] = 2;
                let claimed = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
                let most = rest.len() - BATCH_OVERHEAD;
                let length = usize::try_from(claimed).unwrap_or(most);
                let length = if length < BATCH_HEADER_LEN - BATCH_OVERHEAD { most } else { length };
                rest[8..12].copy_from_slice(&(length.min(most) as u32).to_be_bytes());
            }
            let Ok(size) = BatchView::parse(rest).map(|batch| batch.size()) else { break };
            let (batch, after) = rest.split_at_mut(size);
            if self.offsets {
                batch[..8].copy_from_slice(&next.to_be_bytes());
                // Of a plausible size: the high half of the delta is cleared.
                batch[23..25].fill(0);
                let delta = u16::from_be_bytes([batch[25], batch[26]]);
                next += i64::from(delta) + 1;
            }
            if self.crc {
                let crc = crc32c(&batch[CRC_START..]);
                batch[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            rest = after;
        }
        out
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for mode in [0, 1, 3, 7, 11, 19, 35] {
        for sample in samples() {
            seeds.push([&[mode][..], &sample].concat());
        }
        let all = samples().concat();
        seeds.push([&[mode][..], &all].concat());
    }
    seeds
}

/// A batch of each kind.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    let mut base = 0;
    for (id, records) in [(0, 1), (0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (4, 90)] {
        let compression = Compression::from_id(id).expect("the codecs are 0 to 4");
        let transactional = id > 1;
        let options = BatchOptions {
            base_offset: Offset(base),
            leader_epoch: LeaderEpoch(i32::from(id)),
            compression,
            transactional,
            producer_id: if transactional { ProducerId(7) } else { ProducerId::NONE },
            producer_epoch: if transactional { ProducerEpoch(0) } else { ProducerEpoch::NONE },
            base_sequence: if transactional { (id as i32 - 2) * 3 } else { -1 },
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for i in 0..records {
            let header = RecordHeader { key: b"h"[..].into(), value: Some(b"v"[..].into()) };
            let record = Record {
                offset: Offset(base + i),
                timestamp: Timestamp(NOW.wall.0 + i),
                key: (i % 2 == 0).then(|| b"key"[..].into()),
                value: (i != 1).then(|| b"some value"[..].into()),
                headers: if i == 0 { vec![header] } else { Vec::new() },
            };
            builder.append_record(&record).expect("a small batch");
        }
        base += records;
        samples.push(builder.build().expect("a small batch"));
    }
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 3 };
    let options = BatchOptions {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(4),
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        ..BatchOptions::default()
    };
    samples.push(marker.build(options, NOW.wall).expect("a marker"));
    samples
}
