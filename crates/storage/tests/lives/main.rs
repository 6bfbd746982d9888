//! Crashes at every operation of a log's life, with every mixture of what reached the disk: nothing
//! that was told to be durable is lost, and what is found is a prefix of what was written. The same
//! runs prove that each fsync is needed: without it one of them fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod model;
mod world;

use ottla_testkit::{MemDisk, OpKind, Rng};

use crate::world::{Stop, World, append_durably, open};

/// Switches syncs of a disk off.
type Switch<'a> = &'a dyn Fn(&MemDisk);

/// Lives of a log that are crashed.
const LIVES: u64 = 60;
/// Crashes of each life.
const CRASHES: u64 = 40;

/// One life, one crash, one recovery. `Err` says what was lost.
fn crash_once(seed: u64, die_at: u64, prepare: Switch<'_>) -> Result<(), String> {
    let mut world = World::new(seed, prepare);
    world.disk.crash_after_ops(die_at);
    match world.run() {
        Err(Stop(what)) if !world.disk.is_dead() => {
            return Err(format!("before the crash: {what}"));
        }
        _ => world.disk.kill(),
    }
    let mut rng = Rng::new(seed ^ (die_at << 32));
    let mut disk = world.disk.crash(rng.next_u64());
    prepare(&disk);
    if rng.chance(1, 2) {
        // It crashes again while it recovers.
        disk.crash_after_ops(rng.below(20));
        let _ = open(&disk, world.config(), world.now());
        disk = disk.crash(rng.next_u64());
        prepare(&disk);
    }
    let (config, now) = (world.config().clone(), world.now());
    let mut model = world.model.clone();
    let log = open(&disk, &config, now).map_err(|Stop(what)| format!("recovery: {what}"))?;
    model.check(&log).map_err(|what| format!("after recovery: {what}"))?;

    // What was recovered may have been served: it must stay.
    model.durable = log.log_end_offset().0;
    drop(log);
    let disk = disk.crash(rng.next_u64());
    prepare(&disk);
    let mut log =
        open(&disk, &config, now).map_err(|Stop(what)| format!("second start: {what}"))?;
    model.check(&log).map_err(|what| format!("after the second start: {what}"))?;
    append_durably(&mut log, &mut model, now).map_err(|Stop(what)| format!("append: {what}"))?;
    drop(log);
    let disk = disk.crash(rng.next_u64());
    let log = open(&disk, &config, now).map_err(|Stop(what)| format!("third start: {what}"))?;
    model.check(&log).map_err(|what| format!("after the third start: {what}"))
}

/// Mutations of a whole life, or what went wrong in it without a crash.
fn life(seed: u64, prepare: Switch<'_>) -> Result<u64, String> {
    let mut world = World::new(seed, prepare);
    let before = world.disk.mutations();
    world.run().map_err(|Stop(what)| format!("seed {seed}, no crash: {what}"))?;
    Ok(world.disk.mutations() - before)
}

/// Many lives and crashes; the first failure.
fn crash_often(lives: std::ops::Range<u64>, prepare: Switch<'_>) -> Result<(), String> {
    for seed in lives {
        let mutations = life(seed, prepare)?;
        let mut rng = Rng::new(!seed);
        for _ in 0..CRASHES {
            let die_at = rng.below(mutations + 1);
            crash_once(seed, die_at, prepare).map_err(|what| {
                format!("seed {seed}, operation {die_at} of {mutations}: {what}")
            })?;
        }
    }
    Ok(())
}

/// `OTTLA_SEED` and `OTTLA_LIVES` choose other lives; with `OTTLA_OP` only that crash happens, and the
/// operations before it are shown.
#[test]
fn a_crash_loses_nothing_that_was_durable() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let from = number("OTTLA_SEED").unwrap_or(0);
    let done = match number("OTTLA_OP") {
        None => crash_often(from..from + number("OTTLA_LIVES").unwrap_or(LIVES), &|_| {}),
        Some(die_at) => {
            let mut world = World::new(from, &|disk| disk.record_ops());
            world.disk.crash_after_ops(die_at);
            let _ = world.run();
            world.disk.take_ops().iter().for_each(|op| println!("{op}"));
            crash_once(from, die_at, &|_| {})
        }
    };
    if let Err(what) = done {
        panic!("{what}");
    }
}

/// Without the syncs that `prepare` switches off, one of many crashes must lose something.
fn assert_needed(rows: &[(&str, Switch<'_>)]) {
    let mut unneeded = Vec::new();
    for (name, prepare) in rows {
        if crash_often(0..2 * LIVES, prepare).is_ok() {
            unneeded.push(name);
        }
    }
    assert!(unneeded.is_empty(), "no crash tells that these are not synced: {unneeded:?}");
}

#[test]
fn the_sync_of_each_file_is_needed() {
    assert_needed(&[
        ("records", &|disk| disk.ignore_file_syncs("*.log")),
        ("offset index", &|disk| disk.ignore_file_syncs("*.index")),
        ("time index", &|disk| disk.ignore_file_syncs("*.timeindex")),
        ("aborted transactions", &|disk| disk.ignore_file_syncs("*.txnindex")),
        ("producer snapshots", &|disk| disk.ignore_file_syncs("*.snapshot")),
        ("leader epochs", &|disk| disk.ignore_file_syncs("*leader-epoch-checkpoint*")),
        ("names in the log's directory", &|disk| disk.ignore_dir_syncs("/data/t-0")),
        ("the log's directory and the checkpoints", &|disk| disk.ignore_dir_syncs("/data")),
    ]);
}

#[test]
fn each_part_of_a_sync_of_many_logs_is_needed() {
    assert_needed(&[
        ("records", &|disk| disk.ignore_tree_syncs("*.log")),
        // Not the offset index: a lost entry costs a read time, and nothing else.
        ("time index", &|disk| disk.ignore_tree_syncs("*.timeindex")),
        ("names in the log's directory", &|disk| disk.ignore_tree_syncs("/data/t-0")),
        ("the log's directory", &|disk| disk.ignore_tree_syncs("/data")),
        ("leader epochs before they are named", &|disk| {
            disk.ignore_tree_syncs("*leader-epoch-checkpoint.tmp");
        }),
        ("small files that were named", &|disk| {
            use OpKind::{Rename, SetLen, SyncTree};
            disk.ignore_syncs_after((Rename, "*leader-epoch-checkpoint*"), (SyncTree, "*"));
            disk.ignore_syncs_after((SetLen, "*.snapshot"), (SyncTree, "*"));
        }),
    ]);
}

#[test]
fn the_sync_at_each_place_is_needed() {
    use OpKind::{RemoveFile, Rename, SetLen, Sync, SyncDir};
    let names = (SyncDir, "/data/t-0");
    assert_needed(&[
        ("truncation: removed segments", &|disk| {
            disk.ignore_syncs_after((RemoveFile, "*.log"), names);
        }),
        ("truncation: the cut records", &|disk| {
            disk.ignore_syncs_after((SetLen, "*.log"), (Sync, "*.log"));
        }),
        ("retention: renamed segments", &|disk| {
            disk.ignore_syncs_after((Rename, "*.snapshot"), names);
            disk.ignore_syncs_after((Rename, "*index"), names);
        }),
        ("roll: the segment before", &|disk| {
            disk.ignore_syncs_after((SetLen, "*.timeindex"), names);
        }),
        ("flush: names", &|disk| disk.ignore_syncs_after((Sync, "*"), names)),
        ("flush: leader epochs", &|disk| {
            disk.ignore_syncs_after((Rename, "*leader-epoch-checkpoint*"), names);
        }),
    ]);
}
