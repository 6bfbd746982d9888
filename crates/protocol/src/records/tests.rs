//! What readers, checks and builders promise together; single parts are tested beside their code.

use super::*;
use crate::ids::{LeaderEpoch, Offset, Timestamp};

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

fn two_records(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder.append(Timestamp(1000), Some(b"k"), Some(b"v")).unwrap();
    let header = RecordHeader { key: b"h".into(), value: None };
    let record = Record {
        offset: builder.next_offset(),
        timestamp: Timestamp(1010),
        key: None,
        value: None,
        headers: vec![header],
    };
    builder.append_record(&record).unwrap();
    builder.build().unwrap()
}

#[test]
fn a_batch_is_built_with_the_bytes_of_the_format() {
    let options = BatchOptions {
        base_offset: Offset(5),
        leader_epoch: LeaderEpoch(7),
        ..BatchOptions::default()
    };
    assert_eq!(two_records(options), hex(TWO_RECORDS));
}

#[test]
fn every_codec_gives_back_the_records() {
    for compression in Compression::ALL {
        let bytes = two_records(BatchOptions { compression, ..BatchOptions::default() });
        let view = BatchView::parse(&bytes).unwrap();
        view.verify_crc().unwrap();
        assert_eq!(view.header().compression(), Ok(compression));
        let read: Vec<_> = records(&view, &LIMITS).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2, "{compression:?}");
        assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]), "{compression:?}");
        assert_eq!(read[1].headers.len(), 1, "{compression:?}");
        let summary = walk(&view, &LIMITS).unwrap();
        assert_eq!((summary.records, summary.first_null_key), (2, Some(1)), "{compression:?}");
        assert_eq!(summary.max_timestamp, Timestamp(1010), "{compression:?}");
    }
}
