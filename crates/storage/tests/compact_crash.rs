//! A machine that goes down at every write and rename of a compaction: every key keeps its value.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;
mod compaction;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::*;
use compaction::*;
use ottla_protocol::ids::Offset;
use ottla_protocol::records::batches;
use ottla_storage::{CleanRules, Cleaning, Installing, Log, OpenLog};
use ottla_testkit::{MemDisk, Rng};

const RULES: CleanRules = CleanRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: 24 * HOUR,
    buffer_bytes: 1 << 20,
    load_factor: 0.9,
};

/// A log whose first part was compacted, with tombstones and markers whose time has come.
fn prepared(seed: u64, disk: &MemDisk) -> (Log, Model) {
    let (mut log, _) = open(disk, &small_compacted(), unclean(Offset(0))).unwrap();
    let mut model = Model::default();
    let mut rng = Rng::new(seed);
    for round in 0..2 {
        for i in 0..25 {
            if i % 3 == 0 {
                model.unique(&mut log);
            }
            let (pid, key) = (rng.below(3) as u8, rng.below(6) as u8);
            match rng.below(8) {
                0..4 => model.append(&mut log, (key, 2), rng.below(2) == 0, 0),
                4 | 5 => model.transactional(&mut log, pid, key),
                6 => model.idempotent(&mut log, key),
                _ => model.end(&mut log, pid, rng.below(3) == 0),
            }
        }
        for pid in 0..3 {
            model.end(&mut log, pid, pid == 1);
        }
        log.roll(at(model.now)).unwrap();
        model.append(&mut log, (9, 1), false, 0);
        flush(&mut log);
        if round == 0 {
            model.clean(&mut log, &RULES);
        }
        model.now += 30 * HOUR;
    }
    (log, model)
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Cleans until the disk dies or everything is done.
fn clean(log: &mut Log, model: &Model) -> Done {
    let started = try_start(log, &RULES, model.progress, model.now)?;
    let Some(mut work) = started else { return Ok(()) };
    loop {
        match work.step(700)? {
            Cleaning::Working => {}
            Cleaning::Ready => {
                log.install_cleaned(&mut work, at(model.now))?.unwrap().run()?;
            }
            Cleaning::Finished => return Ok(()),
        }
    }
}

/// As [`clean`], after a cleaning that nobody went on with when the log had switched to its segment,
/// before that was synced.
fn clean_twice(log: &mut Log, model: &Model) -> Done {
    let started = try_start(log, &RULES, model.progress, model.now)?;
    let Some(mut work) = started else { return Ok(()) };
    while work.step(1 << 20)? == Cleaning::Working {}
    if let Installing::Names(named) = log.install_step(&mut work, at(model.now))? {
        named.run()?;
    }
    log.install_step(&mut work, at(model.now))?;
    clean(log, model)
}

/// As [`clean`], after a cleaning that nobody went on with when its segment had its `.swap` names.
fn clean_after_one_undone(log: &mut Log, model: &Model) -> Done {
    let started = try_start(log, &RULES, model.progress, model.now)?;
    let Some(mut work) = started else { return Ok(()) };
    while work.step(1 << 20)? == Cleaning::Working {}
    if let Installing::Names(named) = log.install_step(&mut work, at(model.now))? {
        named.run()?;
    }
    clean(log, model)
}

fn check(disk: &MemDisk, model: &Model, recovery_point: Offset, end: Offset, context: &str) {
    let options = OpenLog { recovery_point, ..unclean(Offset(0)) };
    let (mut log, report) =
        open(disk, &small_compacted(), options).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(report.cut, None, "{context}");
    assert_eq!(log.log_end_offset(), end, "{context}");
    let leftovers: Vec<String> = disk
        .tree()
        .into_iter()
        .filter(|name| [".swap", ".cleaned", ".deleted"].iter().any(|end| name.ends_with(end)))
        .collect();
    assert_eq!(leftovers, Vec::<String>::new(), "{context}");
    check_order(disk, context);
    model.check(&log, &context);
    clean(&mut log, model).unwrap_or_else(|e| panic!("{context}: {e}"));
    model.check(&log, &context);
}

/// Every record is in one segment: whoever begins to read in an older copy would see what is gone.
fn check_order(disk: &MemDisk, context: &str) {
    let mut end = 0;
    for name in disk.tree().iter().filter(|name| name.ends_with(".log")) {
        for batch in batches(&disk.get(name).unwrap()) {
            let header = *batch.unwrap().header();
            let base = header.base_offset.0;
            assert!(base >= end, "{context}: {name} has offset {base} again");
            end = header.last_offset().0 + 1;
        }
    }
}

/// Lets the disk die in the `ops`th change of a compaction; whether it died.
fn crash_at(
    (seed, ops): (u64, u64),
    clean: fn(&mut Log, &Model) -> Done,
    prepare: impl Fn(&MemDisk),
) -> bool {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, model) = prepared(seed, &disk);
    let (point, end) = (log.flushed_offset(), log.log_end_offset());
    prepare(&disk);
    disk.crash_after_ops(ops);
    let done = clean(&mut log, &model);
    let died = disk.is_dead();
    assert!(died || done.is_ok(), "{done:?}");
    disk.kill();
    let context = format!("seed {seed}, operation {ops}");
    for recovery_point in [Offset(0), point] {
        check(&disk.crash_keep_all(), &model, recovery_point, end, &format!("{context} keep"));
        check(&disk.crash_drop_all(), &model, recovery_point, end, &format!("{context} drop"));
    }
    for crash in 0..4 {
        let left = disk.crash(seed * 1000 + ops * 10 + crash);
        let recovery_point = if crash % 2 == 0 { point } else { Offset(0) };
        check(&left, &model, recovery_point, end, &format!("{context} crash {crash}"));
    }
    died
}

#[test]
fn a_crash_at_any_write_of_a_compaction_loses_nothing() {
    for seed in 0..2 {
        let died = (0..500).take_while(|ops| crash_at((seed, *ops), clean, |_| {})).count();
        assert!((20..500).contains(&died), "seed {seed}: {died} operations");
    }
}

#[test]
fn a_crash_while_a_swap_is_ended_by_the_next_one_loses_nothing() {
    for seed in 0..2 {
        let died = (0..500).take_while(|ops| crash_at((seed, *ops), clean_twice, |_| {})).count();
        assert!((20..500).contains(&died), "seed {seed}: {died} operations");
    }
}

#[test]
fn a_crash_while_a_swap_is_undone_loses_nothing() {
    for seed in 0..6 {
        let crash = |ops: &u64| crash_at((seed, *ops), clean_after_one_undone, |_| {});
        let died = (0..60).take_while(crash).count();
        assert!((20..=60).contains(&died), "seed {seed}: {died} operations");
    }
}

/// A disk on which a compacted segment came some steps far, and what is in the log, up to where.
fn in_the_middle_of_a_swap(seed: u64, steps: usize) -> (MemDisk, Model, Offset) {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, model) = prepared(seed, &disk);
    let end = log.log_end_offset();
    let mut work = start(&mut log, &RULES, model.progress, model.now).unwrap();
    while work.step(1 << 20).unwrap() == Cleaning::Working {}
    for _ in 0..steps {
        if let Installing::Names(names) = log.install_step(&mut work, at(model.now)).unwrap() {
            names.run().unwrap();
        }
    }
    disk.kill();
    (disk, model, end)
}

#[test]
fn a_crash_while_a_start_finishes_a_swap_loses_nothing() {
    for (seed, steps) in (0..4).flat_map(|seed| (1..=3).map(move |steps| (seed, steps))) {
        let (disk, model, end) = in_the_middle_of_a_swap(seed, steps);
        for ops in 0..30 {
            let started = disk.crash(seed);
            started.crash_after_ops(ops);
            let _ = open(&started, &small_compacted(), unclean(Offset(0)));
            started.kill();
            for crash in 0..6 {
                let context = format!("seed {seed}, {steps} steps, operation {ops}, crash {crash}");
                check(&started.crash(crash), &model, Offset(0), end, &context);
            }
        }
    }
}

#[test]
fn a_crash_in_the_compaction_after_a_start_that_finished_a_swap_loses_nothing() {
    for (seed, ops) in (0..3).flat_map(|seed| (0..25).map(move |ops| (seed, ops))) {
        let (disk, model, end) = in_the_middle_of_a_swap(seed, 2);
        let started = disk.crash_keep_all();
        // Nothing else is synced by this start.
        let options = OpenLog { recovery_point: end, clean: true, ..unclean(Offset(0)) };
        let (mut log, _) = open(&started, &small_compacted(), options).unwrap();
        started.crash_after_ops(ops);
        let _ = clean(&mut log, &model);
        started.kill();
        for crash in 0..8 {
            let context = format!("seed {seed}, operation {ops}, crash {crash}");
            check(&started.crash(crash), &model, Offset(0), end, &context);
        }
    }
}

#[test]
fn leaving_out_any_sync_of_a_compaction_loses_something() {
    type Ignore = fn(&MemDisk);
    let ignored: [(&str, Ignore); 2] = [
        ("new segments", |disk| disk.ignore_file_syncs("*.log.cleaned")),
        ("the directory", |disk| disk.ignore_dir_syncs(DIR)),
    ];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let lost = ignored.map(|(what, ignore)| {
        let lost = (0..6).any(|seed| {
            (0..80).any(|ops| {
                let crash = AssertUnwindSafe(|| crash_at((seed, ops), clean, ignore));
                catch_unwind(crash).is_err()
            })
        });
        (what, lost)
    });
    std::panic::set_hook(hook);
    for (what, lost) in lost {
        assert!(lost, "no test notices that syncs of {what} are missing");
    }
}

#[test]
fn a_full_disk_stops_a_compaction_and_the_log_goes_on() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, model) = prepared(3, &disk);
    let pages: u64 = disk
        .tree()
        .iter()
        .filter_map(|path| disk.get(path))
        .map(|b| b.len().div_ceil(4096) as u64)
        .sum();
    disk.set_capacity(Some(pages * 4096));
    let mut work = start(&mut log, &RULES, model.progress, model.now).unwrap();
    let error = loop {
        match work.step(1 << 20) {
            Ok(Cleaning::Ready) => drop(log.install_cleaned(&mut work, at(0)).unwrap()),
            Ok(Cleaning::Working) => {}
            Ok(Cleaning::Finished) => panic!("the disk is full"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("disk full"), "{error}");
    work.abandon();
    assert!(!log.is_offline());
    assert!(disk.tree().iter().all(|name| !name.ends_with(".cleaned")), "{:?}", disk.tree());
    model.check(&log, &"full");
    disk.set_capacity(None);
    clean(&mut log, &model).unwrap();
    model.check(&log, &"after");
}
