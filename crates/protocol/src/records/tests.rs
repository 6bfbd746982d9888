//! What readers, checks and builders promise together; single parts are tested beside their code.

use proptest::prelude::*;

use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const LIMITS: WalkLimits = WalkLimits { inflated_bytes_max: 1 << 20 };

/// `{offset 5, "k" -> "v"}` and `{offset 6, null -> null, header h=null}`, base timestamp 1000.
const TWO_RECORDS: &str = "0000000000000005 00000044 00000007 02 e0d88f6b 0000 00000001 \
    00000000000003e8 00000000000003f2 ffffffffffffffff ffff ffffffff 00000002 \
    10 00 00 00 02 6b 02 76 00 \
    12 00 14 02 01 01 02 02 68 01";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn record(offset: i64, timestamp: i64, key: Option<&[u8]>) -> Record<'static> {
    Record {
        offset: Offset(offset),
        timestamp: Timestamp(timestamp),
        key: key.map(|key| key.to_vec().into()),
        value: Some(b"value".to_vec().into()),
        headers: Vec::new(),
    }
}

fn build(options: BatchOptions, records: &[Record<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.append_record(record).unwrap();
    }
    builder.build().unwrap()
}

fn read(batch: &[u8]) -> Result<Vec<Record<'static>>, RecordError> {
    let view = BatchView::parse(batch)?;
    records(&view, &LIMITS)?.map(|record| record.map(Record::into_owned)).collect()
}

fn walked(batch: &[u8]) -> Result<WalkSummary, RecordError> {
    walk(&BatchView::parse(batch)?, &LIMITS)
}

fn options(compression: Compression) -> BatchOptions {
    BatchOptions { compression, ..BatchOptions::default() }
}

/// A batch around hand-made record bytes.
fn raw_batch(attributes: i16, records_count: i32, payload: &[u8]) -> Vec<u8> {
    let mut batch = build(BatchOptions::default(), &[]);
    batch.extend_from_slice(payload);
    let mut header = BatchHeader::parse(&batch).unwrap();
    header.attributes = attributes;
    header.records_count = records_count;
    header.length = i32::try_from(batch.len() - BATCH_OVERHEAD).unwrap();
    batch[..BATCH_HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&batch[CRC_START..]);
    batch[..BATCH_HEADER_LEN].copy_from_slice(&header.to_bytes());
    batch
}

#[test]
fn a_batch_is_built_with_the_bytes_of_the_format() {
    let mut second = record(6, 1010, None);
    second.value = None;
    second.headers.push(RecordHeader { key: b"h".into(), value: None });
    let mut first = record(5, 1000, Some(b"k"));
    first.value = Some(b"v".into());
    let options = BatchOptions {
        base_offset: Offset(5),
        leader_epoch: LeaderEpoch(7),
        ..BatchOptions::default()
    };
    assert_eq!(build(options, &[first.clone(), second.clone()]), hex(TWO_RECORDS));
    assert_eq!(read(&hex(TWO_RECORDS)), Ok(vec![first, second]));
}

#[test]
fn batches_that_kafka_wrote_are_read_and_uncompressed_ones_written_alike() {
    let header = |value: Option<&[u8]>| RecordHeader {
        key: b"h".into(),
        value: value.map(|value| value.to_vec().into()),
    };
    let mut all = [
        record(1000, 1_700_000_000_000, Some(b"key-0")),
        record(1001, 1_700_000_000_003, None),
        record(1002, 1_700_000_000_006, Some(b"key-2")),
    ];
    all[0].value = Some(b"value-0-".into());
    all[0].headers = vec![header(None), header(Some(&[1, 2]))];
    all[1].value = Some(b"value-919-x".into());
    all[2].value = None;
    let golden = include_str!("../../testdata/record-batches.txt");
    let mut codecs = Vec::new();
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let (codec, bytes) = line.split_once(' ').unwrap();
        let bytes = hex(bytes);
        let view = BatchView::parse(&bytes).unwrap();
        assert_eq!(view.verify_crc(), Ok(()), "{codec}");
        assert_eq!(view.header().last_sequence(), 7, "{codec}");
        assert_eq!(read(&bytes).as_deref(), Ok(&all[..]), "{codec}");
        assert_eq!(walked(&bytes).unwrap().max_timestamp, all[2].timestamp, "{codec}");
        let compression = view.header().compression().unwrap();
        assert_eq!(compression.name(), codec);
        codecs.push(compression);
        let options = BatchOptions {
            base_offset: Offset(1000),
            leader_epoch: LeaderEpoch(9),
            producer_id: ProducerId(77),
            producer_epoch: ProducerEpoch(3),
            base_sequence: 5,
            ..options(compression)
        };
        // Compressors may differ in their choices; framing and everything else may not.
        if matches!(compression, Compression::None | Compression::Lz4) {
            assert_eq!(build(options, &all), bytes, "{codec}");
        }
    }
    assert_eq!(codecs, Compression::ALL);
}

#[test]
fn the_header_says_what_its_fields_hold() {
    let options = BatchOptions {
        base_offset: Offset(100),
        leader_epoch: LeaderEpoch(3),
        compression: Compression::Lz4,
        log_append_time: Some(Timestamp(77)),
        transactional: true,
        control: true,
        delete_horizon: Some(Timestamp(55)),
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(2),
        base_sequence: i32::MAX - 1,
        level: None,
    };
    let batch = build(options, &[record(100, 5, None), record(104, 6, None)]);
    let view = BatchView::parse(&batch).unwrap();
    let header = view.header();
    assert_eq!(header.attributes, 0x7b);
    assert_eq!(header.compression(), Ok(Compression::Lz4));
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert!(header.is_transactional() && header.is_control() && header.has_producer_id());
    assert_eq!(header.delete_horizon(), Some(Timestamp(55)));
    assert_eq!((header.last_offset(), header.next_offset()), (Offset(104), Offset(105)));
    assert_eq!(header.last_sequence(), 2, "2^31-2 plus 4 wraps after 2^31-1 to 0");
    assert_eq!((header.size_in_bytes(), view.size()), (batch.len(), batch.len()));
    assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(*header));
    let times: Vec<_> = read(&batch).unwrap().iter().map(|record| record.timestamp.0).collect();
    assert_eq!(times, [77, 77], "the append time is every record's");
    assert_eq!(walk(&view, &LIMITS).unwrap().max_timestamp, Timestamp(6), "the walk tells deltas");
}

#[test]
fn batches_end_cleanly_at_an_incomplete_one_and_after_the_first_error() {
    let one = hex(TWO_RECORDS);
    let both = [one.clone(), one.clone()].concat();
    for cut in 0..both.len() {
        let mut all = batches(&both[..cut]);
        let whole = all.by_ref().map(Result::unwrap).count();
        assert_eq!(whole, cut / one.len(), "cut at {cut}");
        assert_eq!(all.remaining().len(), cut % one.len(), "cut at {cut}");
    }
    for (at, byte, want) in [
        (16, 0, BatchError::OldMagic(0)),
        (16, 1, BatchError::OldMagic(1)),
        (16, 3, BatchError::Magic(3)),
        (16, 0xff, BatchError::Magic(-1)),
        (11, 48, BatchError::Length { base_offset: Offset(5), length: 48, least: 49 }),
    ] {
        let mut bad = both.clone();
        bad[one.len() + at] = byte;
        let found: Vec<_> = batches(&bad).map(|batch| batch.map(|_| ())).collect();
        assert_eq!(found, [Ok(()), Err(want)]);
    }
    let mut negative = one.clone();
    negative[8] = 0x80;
    assert!(matches!(batches(&negative).next(), Some(Err(BatchError::Length { .. }))));
    let followed = [one.as_slice(), b"stray"].concat();
    let mut all = batches(&followed);
    assert_eq!((all.by_ref().count(), all.remaining()), (1, &b"stray"[..]));
}

#[test]
fn a_flipped_bit_after_the_crc_field_is_found() {
    let batch = hex(TWO_RECORDS);
    for at in CRC_START..batch.len() {
        let mut bad = batch.clone();
        bad[at] ^= 0x10;
        let view = BatchView::parse(&bad).unwrap();
        assert!(matches!(view.verify_crc(), Err(BatchError::Crc { .. })), "byte {at}");
    }
    assert_eq!(BatchView::parse(&batch).unwrap().verify_crc(), Ok(()));
}

#[test]
fn a_patched_header_keeps_the_crc_right() {
    for compression in Compression::ALL {
        let batch = build(options(compression), &[record(0, 5, None), record(1, 9, None)]);
        let view = BatchView::parse(&batch).unwrap();
        let (_, rest) = batch.split_at(BATCH_HEADER_LEN);
        let placed = patch_header(view.header_bytes(), Offset(77), LeaderEpoch(4));
        let later = patch_max_timestamp(&placed, Timestamp(123_456));
        let appended = patch_log_append_time(&placed, Timestamp(i64::MAX));
        for patched in [placed, later, appended] {
            let bytes = [&patched[..], rest].concat();
            let view = BatchView::parse(&bytes).unwrap();
            assert_eq!(view.verify_crc(), Ok(()), "{compression:?}");
            assert_eq!(view.header().base_offset, Offset(77));
            assert_eq!(view.header().partition_leader_epoch, LeaderEpoch(4));
        }
        let later = BatchHeader::parse(&later).unwrap();
        assert_eq!(later.max_timestamp, Timestamp(123_456));
        let appended = BatchHeader::parse(&appended).unwrap();
        assert_eq!(appended.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(appended.compression(), Ok(compression), "other attributes stay");
    }
}

#[test]
fn a_patch_does_not_hide_corruption() {
    let mut batch = build(BatchOptions::default(), &[record(0, 5, None)]);
    *batch.last_mut().unwrap() ^= 1;
    let view = BatchView::parse(&batch).unwrap();
    let patched = patch_max_timestamp(view.header_bytes(), Timestamp(1));
    let bytes = [&patched[..], view.records_payload()].concat();
    assert!(BatchView::parse(&bytes).unwrap().verify_crc().is_err());
}

#[test]
fn the_walk_tells_what_the_broker_judges() {
    for compression in Compression::ALL {
        let mut records = [
            record(0, 50, Some(b"k")),
            record(5, 90, None),
            record(6, 20, Some(b"")),
            record(7, 90, None),
        ];
        records[2].headers = vec![RecordHeader { key: b"h".into(), value: Some(b"v".into()) }];
        let batch = build(options(compression), &records);
        let mut seen = Vec::new();
        let view = BatchView::parse(&batch).unwrap();
        let summary = walk_each(&view, &LIMITS, |facts| seen.push(*facts)).unwrap();
        assert_eq!(summary.records, 4, "{compression:?}");
        assert!(!summary.deltas_consecutive && summary.deltas_increasing);
        assert_eq!(summary.last_delta, Some(7));
        assert_eq!(summary.max_timestamp, Timestamp(90));
        assert_eq!(summary.max_timestamp_delta, Some(5), "the first record that has it");
        assert_eq!(summary.min_timestamp, Timestamp(20));
        assert_eq!(summary.first_null_key, Some(1));
        let keys: Vec<_> = seen.iter().map(|facts| facts.key_len).collect();
        assert_eq!(keys, [Some(1), None, Some(0), None]);
        assert!(seen.iter().all(|facts| facts.value_len == Some(5)));
        assert_eq!(seen.iter().map(|facts| facts.headers).collect::<Vec<_>>(), [0, 0, 1, 0]);
        assert_eq!(seen.iter().map(|facts| facts.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}

/// (name, count in the header, payload with G for a good record, what the error says)
const MALFORMED: &[(&str, i32, &str, &str)] = &[
    ("count 2, one record", 2, "G", "claims 2 records, but ends inside number 1 "),
    ("count 0, one record", 0, "G", "bytes are left in the batch after its 0 records"),
    ("count 1, two records", 1, "GG", "bytes are left in the batch after its 1 records"),
    ("count 1, a stray byte", 1, "G 00", "bytes are left in the batch after its 1 records"),
    ("count -1", -1, "G", "the batch claims -1 records"),
    ("count 2^31-1", i32::MAX, "GG", "claims 2147483647 records, but ends inside number 2 "),
    ("negative length", 1, "01 00", "record 0 (from 0) is malformed: its length is negative"),
    (
        "length one more",
        2,
        "12 00000002 6b 02 76 00 G",
        "record 0 (from 0) is malformed: its parts",
    ),
    (
        "length one less",
        2,
        "G 0e 00000002 6b 02 76 00",
        "record 1 (from 0) is malformed: its parts",
    ),
    ("length 2^31-1", 2, "feffffff0f 00000002 6b 02 76 00 G", "its parts do not add up"),
    ("varint of 6 bytes", 1, "ffffffffff01", "a varint is too long"),
    ("varlong of 11 bytes", 1, "20 00 ffffffffffffffffffff01 0000000000", "a varint is too long"),
    ("key length -2", 1, "0c 000000 03 01 00", "its key length is below -1"),
    ("value length -2", 1, "0c 000000 01 03 00", "its value length is below -1"),
    ("value length -2, more follows", 2, "0c 000000 01 03 00 G", "its value length is below -1"),
    ("key beyond the record", 2, "10 000000 10 6b 02 76 00 G", "its parts do not add up"),
    ("value beyond the record", 2, "10 000000 02 6b 10 76 00 G", "its parts do not add up"),
    ("header count -1", 1, "0c 000000 01 01 01", "its header count is negative"),
    ("64 headers, no bytes", 1, "0e 000000 01 01 8001", "its header count is negative or more"),
    ("3 headers in 2 bytes", 1, "10 000000 01 01 06 00 01", "its header count is negative or more"),
    ("header key null", 1, "10 000000 01 01 02 01 01", "a header key is null or has a negative"),
    ("header value -2", 1, "12 000000 01 01 02 02 68 03", "a header value length is below -1"),
    ("header key beyond", 2, "10 000000 01 01 02 20 01 G", "its parts do not add up"),
];

#[test]
fn malformed_records_are_refused_by_walk_and_iterator_alike() {
    for (name, count, payload, want) in MALFORMED {
        let payload = hex(&payload.replace('G', "10 00 00 00 02 6b 02 76 00"));
        let batch = raw_batch(0, *count, &payload);
        for compression in Compression::ALL {
            let view = BatchView::parse(&batch).unwrap();
            let packed = recompress(&view, compression, None, &LIMITS).unwrap();
            let error = walked(&packed).expect_err(name);
            assert!(error.to_string().contains(want), "{name}, {compression:?}: {error}");
            assert_eq!(read(&packed), Err(error), "{name}, {compression:?}");
        }
    }
}

#[test]
fn compressed_data_of_another_kind_is_a_codec_error() {
    for compression in Compression::ALL.into_iter().skip(1) {
        for payload in [&b"not compressed by any codec at all"[..], &[0; 40], &[0xff; 40], &[0x82]]
        {
            let error = walked(&raw_batch(compression.id(), 1, payload)).unwrap_err();
            // A Snappy block of zeros is a valid empty one.
            let expected =
                matches!(error, RecordError::Codec { .. } | RecordError::Truncated { .. });
            assert!(expected, "{compression:?} {payload:?}: {error}");
        }
        let empty = walked(&raw_batch(compression.id(), 1, &[]));
        assert_eq!(empty, Err(RecordError::Truncated { index: 0, claimed: 1 }), "{compression:?}");
        assert!(walked(&raw_batch(compression.id(), 0, &[])).is_ok(), "an empty batch has no data");
    }
    for undefined in 5..8 {
        let batch = raw_batch(undefined, 1, b"x");
        assert_eq!(walked(&batch), Err(BatchError::Compression(undefined).into()));
    }
}

#[test]
fn every_strict_prefix_of_compressed_data_is_an_error() {
    let records: Vec<_> = (0..40).map(|i| record(i, i * 7, Some(b"key"))).collect();
    for compression in Compression::ALL {
        let batch = build(options(compression), &records);
        let payload = BatchView::parse(&batch).unwrap().records_payload();
        for cut in 0..payload.len() {
            let cut_batch = raw_batch(compression.id(), 40, &payload[..cut]);
            assert!(walked(&cut_batch).is_err(), "{compression:?} cut at {cut}");
        }
    }
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let mut big = record(0, 0, None);
    big.value = Some(vec![0; 3 << 20].into());
    for compression in Compression::ALL {
        let batch = build(options(compression), std::slice::from_ref(&big));
        let want = RecordError::InflatedTooLarge { inflated_bytes_max: 1 << 20 };
        assert_eq!(walked(&batch), Err(want.clone()), "{compression:?}");
        assert_eq!(read(&batch), Err(want.clone()), "{compression:?}");
        let view = BatchView::parse(&batch).unwrap();
        if compression != Compression::None {
            let packed = recompress(&view, Compression::None, None, &LIMITS);
            assert_eq!(packed, Err(want.into()), "{compression:?}");
        }
        let enough = WalkLimits { inflated_bytes_max: 4 << 20 };
        assert_eq!(walk(&view, &enough).unwrap().records, 1, "{compression:?}");
    }
    // A Snappy block that claims 4 GiB in six bytes.
    let claim = raw_batch(Compression::Snappy.id(), 1, &hex("ffffffff0f 00"));
    assert!(matches!(walked(&claim), Err(RecordError::Codec { .. })));
}

#[test]
fn other_writers_framings_are_read() {
    let plain = build(BatchOptions::default(), &[record(0, 5, Some(b"k")), record(1, 6, None)]);
    let payload = BatchView::parse(&plain).unwrap().records_payload();
    let raw_snappy = snap::raw::Encoder::new().compress_vec(payload).unwrap();
    let (head, tail) = payload.split_at(5);
    let gzip = |bytes: &[u8]| {
        let mut out = hex("1f8b 08 1f 00000000 00 03 0200 abcd");
        out.extend_from_slice(b"name\0comment\0\0\0");
        let mut deflate = flate2::Compress::new(flate2::Compression::fast(), false);
        let mut data = Vec::with_capacity(1000);
        deflate.compress_vec(bytes, &mut data, flate2::FlushCompress::Finish).unwrap();
        out.extend(data);
        out.extend(super::crc::crc32(bytes).to_le_bytes());
        out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        out
    };
    let members = [gzip(head), gzip(tail)].concat();
    let garbage = [gzip(payload), b"padding".to_vec()].concat();
    // Content size, block checksum and content checksum; block size 4 MiB; stored block.
    let mut lz4 = hex("04224d18");
    let mut descriptor = hex("7c 70");
    descriptor.extend(u64::try_from(payload.len()).unwrap().to_le_bytes());
    lz4.extend(&descriptor);
    lz4.push(super::inflate::lz4_header_checksum(&descriptor));
    lz4.extend((u32::try_from(payload.len()).unwrap() | 1 << 31).to_le_bytes());
    lz4.extend(payload);
    lz4.extend(twox_hash::XxHash32::oneshot(0, payload).to_le_bytes());
    lz4.extend([0; 8]);
    let with_size = zstd::bulk::compress(payload, 1).unwrap();
    let frames = [zstd::encode_all(head, 1).unwrap(), zstd::encode_all(tail, 1).unwrap()].concat();
    for (name, codec, payload) in [
        ("raw snappy", Compression::Snappy, raw_snappy),
        ("gzip members with every optional field", Compression::Gzip, members),
        ("gzip with padding", Compression::Gzip, garbage),
        ("lz4 with every checksum", Compression::Lz4, lz4),
        ("zstd with content size", Compression::Zstd, with_size),
        ("two zstd frames without content size", Compression::Zstd, frames),
    ] {
        let batch = raw_batch(codec.id(), 2, &payload);
        let summary = walked(&batch).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(summary.records, 2, "{name}");
    }
}

#[test]
fn control_records_carry_type_and_coordinator_epoch() {
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 3 };
    let producer = BatchOptions {
        producer_id: ProducerId(12),
        producer_epoch: ProducerEpoch(1),
        ..BatchOptions::default()
    };
    let batch = marker.build(producer, Timestamp(5)).unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.attributes, header.base_sequence), (0x30, -1));
    let found = read(&batch).unwrap();
    let (key, value) = (found[0].key.as_deref().unwrap(), found[0].value.as_deref().unwrap());
    assert_eq!((key, value), (&hex("0000 0001")[..], &hex("0000 00000003")[..]));
    assert_eq!(EndTxnMarker::from_record(key, value), Some(marker));
    assert_eq!(EndTxnMarker::from_record(&ControlType::LeaderChange.key(), value), None);
    for id in 0..7 {
        let control = ControlType::from_id(id).unwrap();
        assert_eq!((control.id(), ControlType::from_key(&control.key())), (id, Some(control)));
    }
    assert_eq!(ControlType::from_key(&[0, 0, 0, 7]), None);
    assert_eq!(ControlType::from_key(&[0, 0, 0]), None);
}

#[test]
fn compaction_can_keep_the_place_of_records_it_removed() {
    let options = BatchOptions {
        base_offset: Offset(10),
        delete_horizon: Some(Timestamp(9000)),
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder.append_record(&record(12, 400, Some(b"k"))).unwrap();
    builder.set_last_offset(Offset(19)).unwrap();
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.last_offset(), header.records_count), (Offset(19), 1));
    assert_eq!(read(&batch).unwrap()[0].timestamp, Timestamp(400), "deltas may be negative");

    let mut empty = BatchBuilder::new(options);
    empty.set_last_offset(Offset(19)).unwrap();
    empty.set_max_timestamp(Timestamp(400));
    let batch = empty.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((batch.len(), header.next_offset()), (BATCH_HEADER_LEN, Offset(20)));
    assert_eq!(header.max_timestamp, Timestamp(400));
    assert_eq!(read(&batch), Ok(Vec::new()));

    let mut builder = BatchBuilder::new(options);
    builder.append_record(&record(12, 0, None)).unwrap();
    for offset in [12, 11, 9, i64::MIN, i64::MAX] {
        let refused = builder.append_record(&record(offset, 0, None));
        assert!(matches!(refused, Err(BuildError::Offset { .. })), "{offset}");
    }
}

#[test]
fn old_messages_are_recognised_and_checked() {
    let mut message =
        hex("0000000000000009 00000018 00000000 01 00 00000000000003e8 ffffffff 00000002 6869");
    let crc = super::crc::crc32(&message[16..]);
    message[12..16].copy_from_slice(&crc.to_be_bytes());
    let bounds = EntryBounds { offset: Offset(9), size: 36, magic: 1 };
    assert_eq!(entry_bounds(&message), Ok(Some(bounds)));
    let parsed = LegacyMessage::parse(&message).unwrap();
    assert_eq!((parsed.timestamp, parsed.verify_crc()), (Some(Timestamp(1000)), Ok(())));
    *message.last_mut().unwrap() ^= 1;
    assert!(LegacyMessage::parse(&message).unwrap().verify_crc().is_err());
    for cut in 0..message.len() {
        assert!(LegacyMessage::parse(&message[..cut]).is_err(), "cut at {cut}");
        assert_eq!(entry_bounds(&message[..cut]).unwrap().is_some(), cut >= MAGIC_END);
    }
    assert!(matches!(BatchView::parse(&message), Err(BatchError::OldMagic(1))));
    assert_eq!(magic_of(&message), Some(1));
    assert_eq!(magic_of(&message[..16]), None);
    assert!(LegacyMessage::parse(&hex(TWO_RECORDS)).is_err());
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..40),
        // Beyond a chunk, a Snappy block and an LZ4 block.
        1 => (any::<u8>(), 60_000..150_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn any_records() -> impl Strategy<Value = Vec<Record<'static>>> {
    let header = (any_bytes(), prop::option::of(any_bytes()));
    let parts = (
        (0..300_i64, any::<i64>()),
        prop::option::of(any_bytes()),
        prop::option::of(any_bytes()),
        prop::collection::vec(header, 0..3),
    );
    prop::collection::vec(parts, 0..6).prop_map(|all| {
        let mut offset = 40;
        let mut records = Vec::new();
        for ((gap, timestamp), key, value, headers) in all {
            let header = |(key, value): (Vec<u8>, Option<Vec<u8>>)| RecordHeader {
                key: key.into(),
                value: value.map(Into::into),
            };
            let headers = headers.into_iter().map(header).collect();
            let (key, value) = (key.map(Into::into), value.map(Into::into));
            let (offset_now, timestamp) = (Offset(offset), Timestamp(timestamp));
            records.push(Record { offset: offset_now, timestamp, key, value, headers });
            offset += gap + 1;
        }
        records
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_in_are_records_out_through_any_two_codecs(
        all in any_records(), from in 0..5_i16, to in 0..5_i16,
    ) {
        let limits = WalkLimits { inflated_bytes_max: 16 << 20 };
        let (from, to) = (Compression::from_id(from).unwrap(), Compression::from_id(to).unwrap());
        let batch = build(BatchOptions { base_offset: Offset(40), ..options(from) }, &all);
        let view = BatchView::parse(&batch).unwrap();
        let other = recompress(&view, to, None, &limits).unwrap();
        for batch in [&batch, &other] {
            let view = BatchView::parse(batch).unwrap();
            prop_assert_eq!(view.verify_crc(), Ok(()));
            let read: Result<Vec<_>, _> = records(&view, &limits).unwrap().collect();
            prop_assert_eq!(read.as_ref(), Ok(&all));
            let summary = walk(&view, &limits).unwrap();
            prop_assert_eq!(summary.records as usize, all.len());
            prop_assert_eq!(
                summary.last_delta.map(i64::from),
                all.last().map(|last| last.offset.0 - 40)
            );
        }
    }

    #[test]
    fn walk_and_iterator_agree_on_changed_bytes_and_never_panic(
        all in any_records(), codec in 0..5_i16,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let compression = Compression::from_id(codec).unwrap();
        let mut batch = build(BatchOptions { base_offset: Offset(40), ..options(compression) }, &all);
        for (at, byte) in changes {
            let at = at.index(batch.len());
            batch[at] = byte;
        }
        let Ok(view) = BatchView::parse(&batch) else { return Ok(()) };
        let decoded = records(&view, &LIMITS).and_then(|all| {
            all.map(|record| record.map(|_| ())).collect::<Result<Vec<_>, _>>()
        });
        let walked = walk(&view, &LIMITS);
        prop_assert_eq!(decoded.map(|all| all.len()), walked.map(|walked| walked.records as usize));
        let _ = entry_bounds(&batch);
        let _ = LegacyMessage::parse(&batch).map(|message| message.verify_crc());
        let _ = recompress(&view, Compression::None, None, &LIMITS);
    }
}
