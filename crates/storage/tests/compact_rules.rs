//! Compaction rule by rule: what is worth cleaning, tombstones, markers, empty batches, and what
//! happens to a log meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;
mod compaction;

use std::path::Path;

use common::*;
use compaction::*;
use ottla_protocol::ids::{Offset, Timestamp};
use ottla_protocol::records::{BatchHeader, BatchOptions, ControlType, batches};
use ottla_storage::{CleanProgress, CleanRules, Cleaning, Disk, Installing, Log, LogConfig};
use ottla_testkit::MemDisk;

const ALWAYS: CleanRules = CleanRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: HOUR,
    buffer_bytes: 1 << 20,
    load_factor: 0.9,
};

fn new_log() -> (MemDisk, Log) {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (log, _) = open(&disk, &small_compacted(), unclean(Offset(0))).unwrap();
    (disk, log)
}

fn put(log: &mut Log, key: &str, value: Option<&str>, now: i64) {
    let mut builder = ottla_protocol::records::BatchBuilder::new(BatchOptions::default());
    let value = value.map(str::as_bytes);
    builder.append(Timestamp(T0 + now), Some(key.as_bytes()), value).unwrap();
    append_at(log, &builder.build().unwrap(), now);
}

/// Seals what there is, so that all of it can be cleaned.
fn seal(log: &mut Log, now: i64) {
    log.roll(at(now)).unwrap();
    flush(log);
}

fn clean(log: &mut Log, now: i64) {
    let work = start(log, &ALWAYS, None, now).unwrap();
    finish(log, work, now);
}

fn headers(log: &Log) -> Vec<BatchHeader> {
    let raw = raw_from(log, Offset(0));
    raw.iter().map(|bytes| *batches(bytes).next().unwrap().unwrap().header()).collect()
}

#[test]
fn a_tombstone_gets_its_horizon_first_and_goes_after_it() {
    let (_disk, mut log) = new_log();
    put(&mut log, "a", Some("1"), 0);
    put(&mut log, "a", None, 5);
    put(&mut log, "b", Some("2"), 6);
    seal(&mut log, 7);
    clean(&mut log, 1000);
    let got = headers(&log);
    assert_eq!(got[0].base_offset, Offset(1), "the value is gone");
    assert_eq!(got[0].delete_horizon(), Some(Timestamp(T0 + 1000 + HOUR)));
    assert_eq!(committed(&log).0[0].timestamp, T0 + 5, "the record keeps its time");
    assert_eq!(got[0].max_timestamp, Timestamp(T0 + 5));
    clean(&mut log, 1000 + HOUR - 1);
    assert_eq!(headers(&log), got, "too early, and the horizon stays");
    clean(&mut log, 1000 + HOUR);
    let keys: Vec<String> = committed(&log).0.into_iter().map(|record| record.key).collect();
    assert_eq!(keys, ["b"]);
    assert_eq!(headers(&log).len(), 1);
}

#[test]
fn markers_outlive_their_records_and_aborted_records_go_at_once() {
    let (disk, mut log) = new_log();
    let mut model = Model::default();
    model.transactional(&mut log, 1, 0); // 0, 1
    model.end(&mut log, 1, false); // 2
    model.transactional(&mut log, 2, 0); // 3, 4
    model.end(&mut log, 2, true); // 5
    put(&mut log, "k0", Some("new"), 0); // 6
    put(&mut log, "k1", Some("new"), 0); // 7
    // Both producers go on in plain batches, so nothing of theirs must stay for their sake.
    model.produce(&mut log, 1, false, &[(8, false)]); // 8
    model.produce(&mut log, 2, false, &[(9, false)]); // 9
    seal(&mut log, 0);
    clean(&mut log, 0);
    use ControlType::{Abort, Commit};
    let (seen, controls) = committed(&log);
    assert_eq!(seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(controls, [(2, Abort), (5, Commit)], "their batches were there until now");
    assert!(headers(&log).iter().all(|header| !header.has_delete_horizon()));
    assert_eq!(log.aborted_transactions(Offset(0), Offset(10)).unwrap().len(), 1);
    clean(&mut log, 10);
    let horizons: Vec<_> = headers(&log).iter().map(BatchHeader::delete_horizon).collect();
    let horizon = Some(Timestamp(T0 + 10 + HOUR));
    assert_eq!(horizons, [horizon, horizon, None, None, None, None]);
    assert_eq!(committed(&log).1, [(2, Abort), (5, Commit)]);
    assert_eq!(log.aborted_transactions(Offset(0), Offset(10)).unwrap(), []);
    assert!(disk.tree().iter().all(|name| !name.ends_with(".txnindex")), "{:?}", disk.tree());
    clean(&mut log, 10 + HOUR);
    assert_eq!(committed(&log).1, []);
    assert_eq!(committed(&log).0, seen);
}

#[test]
fn the_last_batch_of_a_producer_and_of_a_segment_stays_without_records() {
    let (disk, mut log) = new_log();
    let mut model = Model::default();
    model.idempotent(&mut log, 1); // 0
    model.idempotent(&mut log, 1); // 1
    put(&mut log, "k1", Some("x"), 0); // 2
    put(&mut log, "z", Some("x"), 0); // 3
    seal(&mut log, 0);
    put(&mut log, "z", Some("y"), 0); // 4
    seal(&mut log, 0);
    let before = headers(&log);
    let mut work = start(&mut log, &ALWAYS, None, 0).unwrap();
    while work.step(1).unwrap() != Cleaning::Ready {}
    drop(log.install_cleaned(&mut work, at(0)).unwrap().unwrap());
    let got = headers(&log);
    let kept: Vec<_> = got.iter().map(|h| (h.base_offset.0, h.records_count)).collect();
    assert_eq!(kept, [(1, 0), (2, 1), (4, 1)]);
    let field = |h: &BatchHeader| (h.producer_id.0, h.base_sequence, h.max_timestamp);
    assert_eq!(field(&got[0]), field(&before[1]));
    assert_eq!(got[0].partition_leader_epoch, before[1].partition_leader_epoch);
    drop(log);
    let (log, _) = open(&disk, &small_compacted(), unclean(Offset(0))).unwrap();
    assert_eq!(log.producers().next().unwrap().last_sequence(), 1);
    assert_eq!(log.log_end_offset(), Offset(5));
}

#[test]
fn a_range_whose_records_all_go_keeps_its_end() {
    let (_disk, mut log) = new_log();
    for i in 0..4 {
        put(&mut log, "k", Some(&i.to_string()), 0);
    }
    seal(&mut log, 0);
    put(&mut log, "k", Some("last"), 0);
    seal(&mut log, 0);
    let config = LogConfig { segment_bytes: 100, ..small_compacted() };
    log.update_config(config);
    clean(&mut log, 0);
    let got: Vec<_> = headers(&log).iter().map(|h| (h.base_offset.0, h.records_count)).collect();
    assert_eq!(got, [(3, 0), (4, 1)]);
    assert_eq!(committed(&log).0.len(), 1);
    assert_eq!(log.offset_for_timestamp(Timestamp(T0)).unwrap().unwrap().offset, Offset(4));
}

#[test]
fn what_is_worth_cleaning() {
    let (_disk, mut log) = new_log();
    for i in 0..3 {
        put(&mut log, "k", Some("x"), i * HOUR);
        seal(&mut log, i * HOUR);
    }
    let end = log.log_end_offset();
    let now = 3 * HOUR;
    let progress = |at| Some(CleanProgress::from_checkpoint(Offset(at)));
    let rules = |ratio| CleanRules { min_dirty_ratio: ratio, ..ALWAYS };
    let lag = |min_lag_ms| CleanRules { min_lag_ms, ..ALWAYS };
    let late = |max_lag_ms| CleanRules { max_lag_ms, ..rules(1.0) };
    for (name, rules, progress, high_watermark, want) in [
        ("all of it", ALWAYS, None, end, Some((0, 3))),
        ("a third", ALWAYS, progress(2), end, Some((2, 3))),
        ("a third is more than 0.3", rules(0.3), progress(2), end, Some((2, 3))),
        ("a third is not more than 0.34", rules(0.34), progress(2), end, None),
        ("nothing is dirty", ALWAYS, progress(3), end, None),
        ("a checkpoint beyond the end is not believed", ALWAYS, progress(9), end, Some((0, 3))),
        ("not beyond the high watermark", ALWAYS, None, Offset(2), Some((0, 2))),
        ("nothing is committed", ALWAYS, None, Offset(0), None),
        ("the last two are too young", lag(2 * HOUR + 1), None, end, Some((0, 1))),
        ("all are too young", lag(4 * HOUR), None, end, None),
        ("not overdue", late(4 * HOUR), None, end, None),
        ("overdue", late(2 * HOUR), None, end, Some((0, 3))),
    ] {
        let got = log.cleanable(&rules, progress, high_watermark, at(now)).unwrap();
        let got = got.map(|c| (c.first_dirty.0, c.upper_bound.0));
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn what_is_not_flushed_or_undecided_is_left_alone() {
    let (_disk, mut log) = new_log();
    let mut model = Model::default();
    put(&mut log, "k", Some("x"), 0);
    log.roll(at(0)).unwrap();
    put(&mut log, "k", Some("x"), 0);
    assert!(start(&mut log, &ALWAYS, None, 0).is_none(), "not on the disk yet");
    seal(&mut log, 0);
    model.transactional(&mut log, 1, 3);
    seal(&mut log, 0);
    put(&mut log, "k", Some("x"), 0);
    seal(&mut log, 0);
    let upper = |log: &Log| {
        log.cleanable(&ALWAYS, None, log.log_end_offset(), at(0)).unwrap().unwrap().upper_bound
    };
    assert_eq!(upper(&log), Offset(2), "the transaction is open");
    model.end(&mut log, 1, true);
    seal(&mut log, 0);
    assert_eq!(upper(&log), Offset(6));
}

#[test]
fn a_log_that_changes_meanwhile_is_left_as_it_is() {
    type Change = fn(&mut Log);
    let changes: [(&str, Change); 3] = [
        ("truncation", |log| log.truncate_to(Offset(2)).unwrap()),
        ("truncation and more appends", |log| {
            log.truncate_to(Offset(2)).unwrap();
            for _ in 0..4 {
                put(log, "k", Some("again"), 0);
                seal(log, 0);
            }
        }),
        ("deletion", |log| {
            log.increase_log_start_offset(Offset(2));
            let retired = log.enforce_retention(Offset(4), at(0)).unwrap().unwrap();
            retired.names.run().unwrap();
            retired.files.run().unwrap();
        }),
    ];
    for steps in 0..20 {
        for (name, change) in &changes {
            let (disk, mut log) = new_log();
            for i in 0..4 {
                put(&mut log, "k", Some(&i.to_string()), 0);
                seal(&mut log, 0);
            }
            let mut work = start(&mut log, &ALWAYS, None, 0).unwrap();
            for _ in 0..steps {
                drop(work.step(1));
            }
            change(&mut log);
            let before = raw_from(&log, Offset(0));
            loop {
                match work.step(1) {
                    Ok(Cleaning::Working) => {}
                    Ok(Cleaning::Ready) => {
                        assert!(log.install_cleaned(&mut work, at(0)).unwrap().is_none(), "{name}");
                        break;
                    }
                    Ok(Cleaning::Finished) => panic!("{name}: nothing was ready"),
                    Err(_) => break,
                }
            }
            work.abandon();
            assert_eq!(raw_from(&log, Offset(0)), before, "{name} after {steps} steps");
            assert!(disk.tree().iter().all(|file| !file.ends_with(".cleaned")), "{name}");
        }
    }
}

#[test]
fn a_topic_that_is_deleted_while_a_compacted_segment_takes_its_place_is_no_error() {
    for steps in 0..3 {
        let (disk, mut log) = new_log();
        for i in 0..4 {
            put(&mut log, "k", Some(&i.to_string()), 0);
            seal(&mut log, 0);
        }
        let mut work = start(&mut log, &ALWAYS, None, 0).unwrap();
        while work.step(1).unwrap() != Cleaning::Ready {}
        let mut sync = None;
        for step in 0..=steps {
            let Installing::Names(names) = log.install_step(&mut work, at(0)).unwrap() else {
                panic!("step {step} changes names");
            };
            sync = Some(names);
            if step < steps {
                sync.take().unwrap().run().unwrap();
            }
        }
        log.leave_directory();
        disk.rename(Path::new("/data/t-0"), Path::new("/data/t-0.0-delete")).unwrap();
        sync.unwrap().run().unwrap();
    }
}

#[test]
fn a_slice_of_a_replaced_segment_stays_readable() {
    let (_disk, mut log) = new_log();
    for i in 0..4 {
        put(&mut log, "k", Some(&i.to_string()), 0);
    }
    seal(&mut log, 0);
    let slice = log.read(Offset(0), 10_000, Offset(4), true).unwrap();
    let bytes = slice.read().unwrap();
    clean(&mut log, 0);
    assert!(slice.is_intact());
    assert_eq!(slice.read().unwrap(), bytes);
    assert_eq!(headers(&log).len(), 1);
}

#[test]
fn small_segments_become_one() {
    let (disk, mut log) = new_log();
    for i in 0..40 {
        put(&mut log, &format!("k{}", i % 5), Some("some value"), i);
        if i % 4 == 3 {
            seal(&mut log, i);
        }
    }
    assert_eq!(log.segment_count(), 11);
    clean(&mut log, 40);
    assert!(log.segment_count() <= 5, "{}", log.segment_count());
    clean(&mut log, 40);
    assert_eq!(log.segment_count(), 2, "the log of five keys and the active segment");
    let offsets: Vec<i64> = committed(&log).0.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [35, 36, 37, 38, 39]);
    let snapshots = disk.tree().iter().filter(|name| name.ends_with(".snapshot")).count();
    assert!(snapshots <= 2, "{:?}", disk.tree());
}

#[test]
fn a_damaged_batch_stops_the_cleaning_and_nothing_is_lost() {
    let (disk, mut log) = new_log();
    put(&mut log, "a", Some("1"), 0);
    put(&mut log, "a", Some("2"), 0);
    seal(&mut log, 0);
    let path = format!("{DIR}/00000000000000000000.log");
    let mut bytes = disk.get(&path).unwrap();
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    disk.put(&path, &bytes);
    log.release_files();
    let mut work = start(&mut log, &ALWAYS, None, 0).unwrap();
    let error = work.step(1 << 20).unwrap_err().to_string();
    assert!(error.contains("CRC") && error.contains("cannot be compacted"), "{error}");
    work.abandon();
    assert_eq!(disk.get(&path).unwrap(), bytes);
}
