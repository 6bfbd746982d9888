//! A machine that goes down at every write: what was flushed is there, nothing else is invented.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use ottla_protocol::ids::{Offset, ProducerId};
use ottla_storage::{AppendError, Disk, Log, LogConfig, SharedFlush, StorageError, is_temporary};
use ottla_testkit::{Errno, Fault, MemDisk, OpKind, Rng};

/// What the log must hold: the value at every offset, and up to where it was flushed.
#[derive(Clone, Default)]
struct Model {
    values: Vec<String>,
    flushed: usize,
    /// `recovery-point-offset-checkpoint`, which lags behind `flushed`.
    checkpoint: i64,
    /// Next sequence number of the one producer.
    sequence: i32,
    written: u32,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 24_000,
        index_interval_bytes: 1000,
        segment_index_bytes: 4096,
        snapshot_bytes: 5000,
        ..LogConfig::default()
    }
}

/// Does one random thing to log and model. The model follows first what may be there, and after the
/// operation succeeded what must be there.
fn act(log: &mut Log, model: &mut Model, rng: &mut Rng) -> Result<(), AppendError> {
    match rng.below(20) {
        0..12 => {
            let count = 1 + rng.below(3) as usize;
            let size = [20, 300, 2000, 5000][rng.below(4) as usize];
            let values: Vec<String> =
                (0..count).map(|i| format!("{}.{i}{}", model.written, "x".repeat(size))).collect();
            model.written += 1;
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let bytes = build(idempotent(7, 0, model.sequence), model.written.into(), &values);
            model.values.extend(values.iter().map(|&v| v.to_owned()));
            append(log, &bytes)?;
            model.sequence += count as i32;
        }
        12..16 => {
            let work = log.flush_work()?;
            work.run().map_err(|e| StorageError::io("sync", DIR.as_ref(), e))?;
            log.flushed(work.covers, at(0));
            model.flushed = model.values.len();
            if rng.below(2) == 0 {
                model.checkpoint = log.flushed_offset().0;
            }
        }
        16 => log.roll(at(0))?,
        17 => {
            let back = rng.below(8) as usize;
            let end = model.values.len().saturating_sub(back);
            // The batch that contains it may be two records longer.
            model.flushed = model.flushed.min(end.saturating_sub(2));
            log.truncate_to(Offset(end as i64))?;
            // A batch that contains the new end went as a whole; the producer goes on from there.
            let left = log.log_end_offset().0;
            model.values.truncate(left as usize);
            model.flushed = model.flushed.min(left as usize);
            model.checkpoint = model.checkpoint.min(left);
            model.sequence =
                log.producers().next().map_or(model.sequence, |p| p.last_sequence() + 1);
        }
        _ => {}
    }
    Ok(())
}

/// Opens what a crash left and compares it with the model.
fn check(disk: &MemDisk, model: &Model, context: &str) {
    let opened = open(disk, &config(), unclean(Offset(model.checkpoint)));
    let (mut log, report) = opened.unwrap_or_else(|e| panic!("{context}: {e}"));
    let read = read_all(&log, Offset(0));
    let context = format!("{context}, flushed {}, {report:?}", model.flushed);
    assert!(read.len() >= model.flushed, "{context}: {} records", read.len());
    assert!(read.len() <= model.values.len(), "{context}: {} records", read.len());
    for ((offset, value), want) in read.iter().zip(&model.values) {
        assert_eq!(value, want, "{context}: offset {offset}");
    }
    assert!(report.cut.is_none_or(|cut| cut.end_offset.0 >= model.flushed as i64), "{context}");
    for (at, (_, value)) in read.iter().enumerate() {
        let found = read_all(&log, Offset(at as i64));
        assert_eq!(found.first().map(|f| &f.1), Some(value), "{context}: read at {at}");
    }
    check_goes_on(disk, &mut log, read.len(), &context);
}

/// The opened log goes on as if nothing had happened, and what it had is durable now.
fn check_goes_on(disk: &MemDisk, log: &mut Log, end: usize, context: &str) {
    let again = disk.crash_drop_all();
    let reopened = open(&again, &config(), unclean(log.flushed_offset())).unwrap();
    assert_eq!(reopened.0.log_end_offset(), Offset(end as i64), "{context}: durable once served");
    assert_eq!(log.log_end_offset(), Offset(end as i64), "{context}");
    let next = match log.producers().find(|p| p.producer_id == ProducerId(7)) {
        Some(producer) => {
            assert_eq!(producer.last_batch().map(|b| b.last_offset.0), Some(end as i64 - 1));
            producer.last_sequence() + 1
        }
        None => {
            assert_eq!(end, 0, "{context}: no producer");
            0
        }
    };
    let bytes = build(idempotent(7, 0, next), 0, &["after"]);
    append(log, &bytes).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!(append(log, &bytes).unwrap().duplicate, "{context}");
    assert_eq!(read_all(log, Offset(end as i64)), [(end as i64, "after".to_owned())]);
}

#[test]
fn a_crash_at_any_write_loses_nothing_that_was_flushed() {
    for seed in 0..60_u64 {
        let mut rng = Rng::new(seed);
        let disk = MemDisk::with_dirs(&["/data"]);
        let (mut log, _) = open(&disk, &config(), unclean(Offset(0))).unwrap();
        let mut model = Model::default();
        flush(&mut log);
        disk.crash_after_ops(rng.below(160));
        let mut stopped = None;
        for step in 0..400 {
            if let Err(error) = act(&mut log, &mut model, &mut rng) {
                assert!(disk.is_dead(), "seed {seed} step {step}: {error}");
                stopped = Some(step);
                break;
            }
        }
        disk.kill();
        let context = format!("seed {seed} step {stopped:?}");
        check(&disk.crash_keep_all(), &model, &format!("{context} keep"));
        check(&disk.crash_drop_all(), &model, &format!("{context} drop"));
        for crash in 0..8 {
            check(&disk.crash(seed * 1000 + crash), &model, &format!("{context} crash {crash}"));
        }
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_at_the_last_whole_batch() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), unclean(Offset(0))).unwrap();
    append(&mut log, &batch(0, &["first"])).unwrap();
    let whole = log.size_bytes() as usize;
    append(&mut log, &batch(0, &["second", "third"])).unwrap();
    let path = format!("{DIR}/00000000000000000000.log");
    let bytes = disk.get(&path).unwrap();
    for cut in whole..bytes.len() {
        // The batch ends with a zero, so zeroes could make it whole again.
        for garbage in [&[][..], &[255_u8; 40], &[2; 90]] {
            let torn = disk.crash_keep_all();
            torn.put(&path, &[&bytes[..cut], garbage].concat());
            let (log, report) = open(&torn, &small(), unclean(Offset(0))).unwrap();
            assert_eq!(read_all(&log, Offset(0)), [(0, "first".to_owned())], "cut at {cut}");
            assert_eq!(torn.get(&path).unwrap().len(), whole, "cut at {cut}");
            let lost = cut + garbage.len() > whole;
            assert_eq!(report.cut.is_some(), lost, "cut at {cut}");
            assert!(report.cut.is_none_or(|cut| cut.kept.is_empty()), "cut at {cut}");
        }
    }
}

#[test]
fn valid_batches_behind_damage_are_kept_under_another_name() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), unclean(Offset(0))).unwrap();
    for i in 0..30 {
        append(&mut log, &batch(i, &["some value that fills the segment"])).unwrap();
    }
    let bases: Vec<Offset> = log.segment_bases().collect();
    assert!(bases.len() > 2);
    let path = format!("{DIR}/00000000000000000000.log");
    let mut bytes = disk.get(&path).unwrap();
    bytes[150] ^= 1;
    let damaged = disk.crash_keep_all();
    damaged.put(&path, &bytes);
    let (log, report) = open(&damaged, &small(), unclean(Offset(0))).unwrap();
    let cut = report.cut.expect("a cut");
    assert_eq!(cut.end_offset, log.log_end_offset());
    assert_eq!(read_all(&log, Offset(0)).len() as i64, log.log_end_offset().0);
    assert_eq!(cut.kept.len(), bases.len(), "{cut:?}");
    for kept in &cut.kept {
        assert!(damaged.get(kept).is_some_and(|bytes| !bytes.is_empty()), "{kept:?}");
    }
    let (_, report) = open(&damaged, &small(), unclean(Offset(0))).unwrap();
    assert_eq!(report.cut, None, "a second start finds nothing wrong");
}

#[test]
fn a_full_disk_refuses_appends_and_resumes_by_itself() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &config(), unclean(Offset(0))).unwrap();
    append(&mut log, &batch(0, &["first"])).unwrap();
    disk.set_capacity(Some(3 * 4096));
    let big = "x".repeat(6000);
    let mut accepted = 1;
    let error = loop {
        match append(&mut log, &batch(0, &[&big])) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Storage(StorageError::Full { .. })), "{error}");
    assert!(!log.is_offline());
    assert_eq!(log.log_end_offset(), Offset(accepted));
    assert_eq!(read_all(&log, Offset(0)).len() as i64, accepted);
    disk.set_capacity(None);
    append(&mut log, &batch(0, &["last"])).unwrap();
    log.close(at(0)).unwrap();
    let (log, report) = open(&disk, &config(), clean()).unwrap();
    assert_eq!(report, <_>::default());
    assert_eq!(read_all(&log, Offset(accepted)), [(accepted, "last".to_owned())]);
}

#[test]
fn leaving_out_any_sync_of_log_or_names_loses_something() {
    type Ignore = fn(&MemDisk);
    let ignored: [(&str, Ignore); 2] = [
        ("log files", |disk| disk.ignore_file_syncs("*.log")),
        ("the directory", |disk| disk.ignore_dir_syncs(DIR)),
    ];
    for (what, ignore) in ignored {
        let lost = (0..60_u64).any(|seed| {
            let mut rng = Rng::new(seed);
            let disk = MemDisk::with_dirs(&["/data"]);
            ignore(&disk);
            let (mut log, _) = open(&disk, &config(), unclean(Offset(0))).unwrap();
            let mut model = Model::default();
            for _ in 0..20 {
                act(&mut log, &mut model, &mut rng).unwrap();
            }
            let end = open(&disk.crash_drop_all(), &config(), unclean(Offset(model.checkpoint)))
                .map_or(0, |(log, _)| log.log_end_offset().0);
            end < model.flushed as i64
        });
        assert!(lost, "no test notices that syncs of {what} are missing");
    }
}

#[test]
fn a_log_whose_directory_was_renamed_is_found_there_once_it_is_flushed() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let moving = PathBuf::from("/data/moving");
    let shared = Arc::new(disk.clone());
    let (mut log, _) =
        Log::open(Arc::clone(&shared), moving.clone(), config(), unclean(Offset(0))).unwrap();
    append(&mut log, &batch(0, &["a", "b"])).unwrap();
    flush(&mut log);
    assert_eq!(log.flushed_offset(), Offset(2));
    shared.rename(&moving, Path::new(DIR)).unwrap();
    log.moved_to(Path::new(DIR), Offset(1));
    assert_eq!(log.flushed_offset(), Offset(1), "only what its predecessor had synced");
    flush(&mut log);
    assert_eq!(log.flushed_offset(), Offset(2));
    let (log, _) = open(&disk.crash_drop_all(), &config(), unclean(Offset(0))).unwrap();
    assert_eq!(read_all(&log, Offset(0)), [(0, "a".to_owned()), (1, "b".to_owned())]);
}

#[test]
fn a_crash_while_retention_deletes_keeps_the_end_of_the_log() {
    for (records, retention_bytes) in [(40, 0), (40, 2500), (5, 0)] {
        let died = |ops: &u64| delete_until_dead(records, retention_bytes, *ops);
        let died = (0..60).take_while(died).count();
        assert!((4..60).contains(&died), "{died} operations");
    }
}

/// Lets the disk die in the `ops`th change of a retention; whether it died.
fn delete_until_dead(records: i32, retention_bytes: i64, ops: u64) -> bool {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { retention_ms: -1, ..small() };
    let (mut log, _) = open(&disk, &config, unclean(Offset(0))).unwrap();
    for i in 0..records {
        append(&mut log, &build(idempotent(7, 0, i), 0, &["x".repeat(100).as_str()])).unwrap();
    }
    flush(&mut log);
    let end = log.log_end_offset();
    log.update_config(LogConfig { retention_bytes, ..config.clone() });
    disk.crash_after_ops(ops);
    let done = log.enforce_retention(end, at(0));
    let done = done.map(|retired| retired.expect("something to delete").names.run());
    let died = disk.is_dead();
    assert!(died || done.is_ok_and(|names| names.is_ok()));
    disk.kill();
    for crash in 0..12 {
        let left = disk.crash(ops * 100 + crash);
        let (log, report) = open(&left, &config, unclean(Offset(0))).unwrap();
        let context = format!("{records} records, operation {ops}, crash {crash}: {report:?}");
        assert_eq!(log.log_end_offset(), end, "{context}");
        let offsets: Vec<i64> =
            read_all(&log, log.log_start_offset()).iter().map(|r| r.0).collect();
        let want: Vec<i64> = (log.log_start_offset().0..end.0).collect();
        assert_eq!(offsets, want, "{context}");
    }
    died
}

/// Retention may take out segments that were never synced. A start that found them would cut the log
/// there, so that what is flushed above them counts only once they have other names.
#[test]
fn what_is_flushed_above_retired_segments_is_not_lost_with_them() {
    for shared in [false, true] {
        let disk = MemDisk::with_dirs(&["/data"]);
        let config = LogConfig { retention_bytes: 2500, retention_ms: -1, ..small() };
        let (mut log, _) = open(&disk, &config, unclean(Offset(0))).unwrap();
        for i in 0..40 {
            append(&mut log, &build(idempotent(7, 0, i), 0, &["x".repeat(100).as_str()])).unwrap();
        }
        let end = log.log_end_offset();
        let retired = log.enforce_retention(end, at(0)).unwrap();
        assert!(retired.is_some(), "nobody changes the names");
        if shared {
            let flush = log.shared_flush().unwrap();
            assert!(SharedFlush::run(&disk, Path::new("/data"), &[flush]).unwrap());
        } else {
            flush(&mut log);
        }
        for crash in 0..12 {
            let (log, report) = open(&disk.crash(crash), &config, unclean(Offset(0))).unwrap();
            assert_eq!(log.log_end_offset(), end, "shared: {shared}, crash {crash}: {report:?}");
        }
    }
}

#[test]
fn retention_on_a_full_disk_is_tried_again() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { retention_bytes: 2500, retention_ms: -1, ..small() };
    let (mut log, _) = open(&disk, &config, unclean(Offset(0))).unwrap();
    for i in 0..40 {
        append(&mut log, &build(idempotent(7, 0, i), 0, &["x".repeat(100).as_str()])).unwrap();
    }
    flush(&mut log);
    let retired = log.enforce_retention(log.log_end_offset(), at(0)).unwrap().unwrap();
    disk.fail(Fault::on(OpKind::Rename).error(Errno::NoSpace));
    let error = retired.names.run().unwrap_err();
    assert!(!error.is_fatal(), "{error}");
    append(&mut log, &build(idempotent(7, 0, 40), 0, &["y"])).unwrap();
    let error = log.flush_work().unwrap().run().unwrap_err();
    assert!(is_temporary(&error), "{error}");
    assert!(log.is_retiring() && !log.is_offline());
    assert!(is_temporary(&retired.files.run().unwrap_err()), "nor is anything removed");
    disk.clear_faults();
    flush(&mut log);
    assert!(!log.is_retiring());
    assert!(disk.tree().iter().any(|name| name.ends_with(".log.deleted")), "{:?}", disk.tree());
    retired.files.run().unwrap();
    assert!(!disk.tree().iter().any(|name| name.ends_with(".deleted")), "{:?}", disk.tree());
}

#[test]
fn a_crash_while_a_damaged_log_is_cut_keeps_the_records_behind_the_damage() {
    let died = (0..60).take_while(|ops| cut_until_dead(*ops)).count();
    assert!((3..60).contains(&died), "{died} operations");
}

/// Lets the disk die in the `ops`th change of a recovery that cuts the log; whether it died.
fn cut_until_dead(ops: u64) -> bool {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &config(), unclean(Offset(0))).unwrap();
    for i in 0..4 {
        append(&mut log, &build(idempotent(7, 0, i), 0, &["x".repeat(3000).as_str()])).unwrap();
    }
    let last = build(idempotent(7, 0, 4), 0, &["behind the damage"]);
    append(&mut log, &last).unwrap();
    flush(&mut log);
    drop(log);
    let path = format!("{DIR}/00000000000000000000.log");
    let mut bytes = disk.get(&path).unwrap();
    bytes[2000] ^= 1;
    disk.put(&path, &bytes);
    disk.crash_after_ops(ops);
    let opened = open(&disk, &config(), unclean(Offset(0))).map(|_| ());
    let died = disk.is_dead();
    assert!(died || opened.is_ok());
    disk.kill();
    for crash in 0..12 {
        let left = disk.crash(ops * 100 + crash);
        open(&left, &config(), unclean(Offset(0))).unwrap();
        let kept = left.tree().into_iter().filter(|name| name.ends_with(".corrupt"));
        let kept: Vec<Vec<u8>> = kept.filter_map(|name| left.get(&name)).collect();
        // The record's value: its offset is the broker's.
        let whole = |kept: &Vec<u8>| kept.windows(17).any(|part| part == b"behind the damage");
        assert!(kept.iter().any(whole), "operation {ops}, crash {crash}: {:?}", left.tree());
    }
    died
}
