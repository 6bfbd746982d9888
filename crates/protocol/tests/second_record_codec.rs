//! Record batches against the crate `kafka-protocol`, a codec that shares no line with ours: each
//! reads what the other wrote. Uncompressed only; Kafka's own bytes are the test of the codecs.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as OtherRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use ottla_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, BatchView, Record, RecordHeader, WalkLimits, records, walk,
};
use proptest::prelude::*;

const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 20 };

/// Nullable key and value, timestamp, headers without a repeated name.
type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, i64, Vec<Option<Vec<u8>>>);

fn ours(index: usize, parts: &Parts) -> Record<'_> {
    let (key, value, timestamp, headers) = parts;
    let header = |(i, value): (usize, &Option<Vec<u8>>)| RecordHeader {
        key: format!("h{i}").into_bytes().into(),
        value: value.clone().map(Into::into),
    };
    Record {
        offset: Offset(500 + i64::try_from(index).unwrap()),
        timestamp: Timestamp(*timestamp),
        key: key.as_deref().map(Into::into),
        value: value.as_deref().map(Into::into),
        headers: headers.iter().enumerate().map(header).collect(),
    }
}

fn other(index: usize, parts: &Parts) -> OtherRecord {
    let (key, value, timestamp, headers) = parts.clone();
    let header = |(i, value): (usize, Option<Vec<u8>>)| {
        (StrBytes::from_string(format!("h{i}")), value.map(Bytes::from))
    };
    OtherRecord {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: 7,
        producer_epoch: 2,
        timestamp_type: TimestampType::Creation,
        offset: 500 + i64::try_from(index).unwrap(),
        sequence: 90 + i32::try_from(index).unwrap(),
        timestamp,
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers.into_iter().enumerate().map(header).collect::<IndexMap<_, _>>(),
    }
}

fn build(all: &[Parts]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(500),
        leader_epoch: LeaderEpoch(4),
        transactional: true,
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 90,
        ..BatchOptions::default()
    });
    for (index, parts) in all.iter().enumerate() {
        builder.append_record(&ours(index, parts)).unwrap();
    }
    builder.build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_codecs_read_each_others_batches(all in prop::collection::vec((
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        0..1_i64 << 40,
        prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..3),
    ), 1..20)) {
        let others: Vec<_> = all.iter().enumerate().map(|(i, parts)| other(i, parts)).collect();

        let read = RecordBatchDecoder::decode(&mut Bytes::from(build(&all))).unwrap();
        prop_assert_eq!(&read.records, &others);

        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &others, &options).unwrap();
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(view.verify_crc(), Ok(()));
        prop_assert_eq!(walk(&view, &LIMITS).map(|found| found.records as usize), Ok(all.len()));
        let read: Result<Vec<_>, _> = records(&view, &LIMITS).unwrap().collect();
        let want: Vec<_> = all.iter().enumerate().map(|(i, parts)| ours(i, parts)).collect();
        prop_assert_eq!(read, Ok(want));
    }
}
