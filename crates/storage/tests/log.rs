//! The log over a disk in memory, as the broker uses it.

mod common;

use common::*;
use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_testkit::MemDisk;

#[test]
fn appended_records_are_read_back_across_segments_and_reopening() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    let mut want = Vec::new();
    for i in 0..60_i64 {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        let appended = append(&mut log, &batch(i, &[&a, &b])).unwrap();
        assert_eq!(appended.base_offset, Offset(i * 2));
        want.extend([(i * 2, a), (i * 2 + 1, b)]);
    }
    assert!(log.segment_count() > 3, "{} segments", log.segment_count());
    assert_eq!(read_all(&log, Offset(0)), want);
    for from in 0..120 {
        assert_eq!(read_all(&log, Offset(from)), want[from as usize..], "from {from}");
    }
    log.close(at(1)).unwrap();
    let (log, report) = open(&disk, &small(), clean()).unwrap();
    assert_eq!(report, <_>::default());
    assert_eq!(log.log_end_offset(), Offset(120));
    assert_eq!(log.end_offset_for_epoch(EPOCH), (EPOCH, Offset(120)));
    assert_eq!(read_all(&log, Offset(0)), want);
    drop(log);
    let (log, report) = open(&disk, &small(), unclean(Offset(0))).unwrap();
    assert!(report.cut.is_none(), "{report:?}");
    assert_eq!(read_all(&log, Offset(7)), want[7..]);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
}

#[test]
fn timestamps_are_found_at_their_first_record() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    for i in 0..60_i64 {
        append(&mut log, &batch(i * 10, &["x", "y"])).unwrap();
    }
    for (target, want) in [
        (-5, Some(0)),
        (0, Some(0)),
        (1, Some(1)),
        (2, Some(2)),
        (305, Some(62)),
        (591, Some(119)),
        (592, None),
    ] {
        let found = log.offset_for_timestamp(Timestamp(T0 + target)).unwrap();
        assert_eq!(found.map(|f| f.offset), want.map(Offset), "target {target}");
    }
    assert_eq!(log.max_timestamp().unwrap().map(|f| f.offset), Some(Offset(119)));
}
