//! The log over a disk in memory, as the broker uses it.

mod common;

use common::*;
use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_storage::{AppendError, StorageError};
use ottla_testkit::{Fault, MemDisk, OpKind};

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

#[test]
fn a_follower_takes_the_leaders_bytes_and_refuses_what_does_not_continue_them() {
    let disk = MemDisk::with_dirs(&["/data", "/data/f"]);
    let (mut leader, _) = open(&disk, &small(), clean()).unwrap();
    for i in 0..40 {
        append(&mut leader, &batch(i, &["some value", "another value"])).unwrap();
    }
    let other = MemDisk::with_dirs(&["/data"]);
    let (mut follower, _) = open(&other, &small(), clean()).unwrap();
    while follower.log_end_offset() < leader.log_end_offset() {
        let from = follower.log_end_offset();
        let slice = leader.read(from, 333, leader.log_end_offset(), true).unwrap();
        let bytes = slice.read().unwrap();
        assert!(slice.is_intact());
        let appended = follower.append_as_follower(&bytes, at(0)).unwrap().unwrap();
        assert_eq!(appended.base_offset, from);
        let again = follower.append_as_follower(&bytes, at(0));
        assert!(matches!(again, Err(AppendError::UnexpectedOffset { .. })), "{again:?}");
        let mut damaged = bytes.clone();
        damaged[70] ^= 1;
        assert!(matches!(
            follower.append_as_follower(&damaged, at(0)),
            Err(AppendError::Corrupt(_))
        ));
    }
    assert_eq!(read_all(&follower, Offset(0)), read_all(&leader, Offset(0)));
    assert_eq!(follower.epochs(), leader.epochs());
    let slice = leader.read(Offset(0), 1, Offset(80), true).unwrap();
    leader.truncate_to(Offset(10)).unwrap();
    assert!(!slice.is_intact(), "its bytes may be overwritten now");
}

#[test]
fn an_io_error_takes_the_log_offline_until_it_is_opened_again() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    append(&mut log, &batch(0, &["kept"])).unwrap();
    disk.fail(Fault::on(OpKind::Write).path("*.log"));
    let error = append(&mut log, &batch(0, &["lost"])).unwrap_err();
    assert!(matches!(error, AppendError::Storage(StorageError::Offline { .. })), "{error}");
    disk.clear_faults();
    let error = append(&mut log, &batch(0, &["refused"])).unwrap_err();
    assert!(matches!(error, AppendError::Storage(StorageError::AlreadyOffline { .. })), "{error}");
    let (mut log, _) = open(&disk, &small(), unclean(Offset(0))).unwrap();
    append(&mut log, &batch(0, &["taken"])).unwrap();
    let want = [(0, "kept".to_owned()), (1, "taken".to_owned())];
    assert_eq!(read_all(&log, Offset(0)), want);
}

#[test]
fn a_finished_compaction_is_swapped_in_and_an_unfinished_one_dropped() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    for i in 0..40 {
        append(&mut log, &batch(i, &["some value that fills segments"])).unwrap();
    }
    let bases: Vec<Offset> = log.segment_bases().collect();
    log.close(at(0)).unwrap();
    let name = |base: Offset, rest: &str| format!("{DIR}/{:020}.{rest}", base.0);
    let first = disk.get(name(bases[0], "log")).unwrap();
    let second = disk.get(name(bases[1], "log")).unwrap();
    disk.put(name(bases[0], "log.swap"), &[first, second].concat());
    disk.put(name(bases[2], "log.cleaned"), b"half");
    disk.put(name(bases[2], "timeindex.deleted"), b"old");
    let want = read_all(&log, Offset(0));
    let (log, report) = open(&disk, &small(), clean()).unwrap();
    assert_eq!(read_all(&log, Offset(0)), want);
    assert_eq!(log.segment_bases().collect::<Vec<_>>(), [&bases[..1], &bases[2..]].concat());
    assert!(report.cut.is_none());
    let tree = disk.tree().join(" ");
    assert!(!tree.contains(".swap") && !tree.contains(".cleaned") && !tree.contains(".deleted"));
}

#[test]
fn the_largest_timestamp_survives_every_kind_of_stop() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    append(&mut log, &batch(0, &["a"])).unwrap();
    append(&mut log, &batch(50, &["b"])).unwrap();
    append(&mut log, &batch(7, &["c"])).unwrap();
    let largest = |log: &ottla_storage::Log| log.max_timestamp().unwrap().map(|f| f.offset);
    assert_eq!(largest(&log), Some(Offset(1)));
    for clean_stop in [false, true, false, false, true, true] {
        if clean_stop {
            log.close(at(0)).unwrap();
            let name = format!("{DIR}/00000000000000000000.timeindex");
            let last = [&(T0 + 50).to_be_bytes()[..], &1_u32.to_be_bytes()].concat();
            assert!(disk.get(name).unwrap().ends_with(&last));
        }
        let options = if clean_stop { clean() } else { unclean(Offset(0)) };
        (log, _) = open(&disk, &small(), options).unwrap();
        assert_eq!(largest(&log), Some(Offset(1)), "clean stop {clean_stop}");
    }
}

#[test]
fn a_clean_stop_is_not_trusted_where_the_end_contradicts_it() {
    type Damage = fn(&mut Vec<u8>, usize);
    let cases: [(&str, &str, Damage, i64); 4] = [
        ("the last offset is too far away", "log", |log, last| log[last + 2] = 1, 4),
        ("the last offset comes again", "log", |log, last| log[last + 7] = 1, 4),
        (
            "the index points past the end",
            "index",
            |index, _| index.extend([0, 0, 0, 9, 0, 9, 0, 0]),
            5,
        ),
        (
            "the index has another offset",
            "index",
            |index, _| index.extend([0, 0, 0, 9, 0, 0, 0, 0]),
            5,
        ),
    ];
    for (what, file, damage, end) in cases {
        let disk = MemDisk::with_dirs(&["/data"]);
        let (mut log, _) = open(&disk, &small(), clean()).unwrap();
        for i in 0..5 {
            append(&mut log, &batch(i, &["v"])).unwrap();
        }
        let want = read_all(&log, Offset(0));
        let last = log.size_bytes() as usize / 5 * 4;
        log.close(at(0)).unwrap();
        let name = format!("{DIR}/00000000000000000000.{file}");
        let mut bytes = disk.get(&name).unwrap();
        damage(&mut bytes, last);
        disk.put(&name, &bytes);
        let (mut log, _) = open(&disk, &small(), clean()).unwrap();
        assert_eq!(log.log_end_offset(), Offset(end), "{what}");
        assert_eq!(read_all(&log, Offset(0)), want[..end as usize], "{what}");
        append(&mut log, &batch(9, &["new"])).unwrap();
        assert_eq!(read_all(&log, Offset(end)), [(end, "new".to_owned())], "{what}");
        log.close(at(0)).unwrap();
    }
}

#[test]
fn a_truncation_that_meets_a_wrong_offset_takes_the_log_offline() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    for i in 0..5 {
        append(&mut log, &batch(i, &["v"])).unwrap();
    }
    let name = format!("{DIR}/00000000000000000000.log");
    let mut bytes = disk.get(&name).unwrap();
    bytes[2] = 1; // The first offset is beyond 2^32 now, and no CRC tells.
    disk.put(&name, &bytes);
    let error = log.truncate_to(Offset(4)).unwrap_err();
    assert!(
        matches!(error, StorageError::Offline { .. } | StorageError::Corrupt { .. }),
        "{error}"
    );
    let error = append(&mut log, &batch(9, &["refused"])).unwrap_err();
    assert!(matches!(error, AppendError::Storage(StorageError::AlreadyOffline { .. })), "{error}");
}
