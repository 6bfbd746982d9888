//! Compaction against a model: what may go goes, nothing else does, whatever happens meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;
mod compaction;

use common::*;
use compaction::*;
use ottla_protocol::ids::Offset;
use ottla_storage::{CleanRules, Log};
use ottla_testkit::MemDisk;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    Append {
        key: u8,
        count: u8,
        tombstone: bool,
        codec: u8,
    },
    Transaction {
        pid: u8,
        key: u8,
    },
    End {
        pid: u8,
        commit: bool,
    },
    Idempotent {
        key: u8,
    },
    Roll,
    Clean {
        buffer: u8,
        hours: u8,
    },
    /// A cleaning that somebody else gets in the way of.
    CleanPartly {
        steps: u8,
    },
    Reopen {
        clean: bool,
    },
    Truncate {
        back: u8,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        10 => (0_u8..6, 1_u8..5, any::<bool>(), 0_u8..5).prop_map(|(key, count, tombstone, codec)| {
            Act::Append { key, count, tombstone, codec }
        }),
        5 => (0_u8..3, 0_u8..6).prop_map(|(pid, key)| Act::Transaction { pid, key }),
        4 => (0_u8..3, any::<bool>()).prop_map(|(pid, commit)| Act::End { pid, commit }),
        2 => (0_u8..6).prop_map(|key| Act::Idempotent { key }),
        3 => Just(Act::Roll),
        4 => (0_u8..9, 0_u8..40).prop_map(|(buffer, hours)| Act::Clean { buffer, hours }),
        4 => (0_u8..8).prop_map(|steps| Act::CleanPartly { steps }),
        2 => any::<bool>().prop_map(|clean| Act::Reopen { clean }),
        1 => (0_u8..20).prop_map(|back| Act::Truncate { back }),
    ];
    proptest::collection::vec(act, 1..80)
}

fn run(acts: &[Act]) {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small_compacted(), unclean(Offset(0))).unwrap();
    let mut model = Model::default();
    for act in acts {
        match *act {
            Act::Append { key, count, tombstone, codec } => {
                model.append(&mut log, (key, count), tombstone, codec);
            }
            Act::Transaction { pid, key } => model.transactional(&mut log, pid, key),
            Act::End { pid, commit } => model.end(&mut log, pid, commit),
            Act::Idempotent { key } => model.idempotent(&mut log, key),
            Act::Roll => log.roll(at(model.now)).unwrap(),
            Act::Clean { buffer, hours } => {
                model.now += i64::from(hours) * 3_600_000;
                flush(&mut log);
                let rules = CleanRules {
                    min_dirty_ratio: 0.0,
                    buffer_bytes: u64::from(buffer) * 100 + 24,
                    ..CleanRules::default()
                };
                model.clean(&mut log, &rules);
            }
            Act::CleanPartly { steps } => {
                flush(&mut log);
                let rules = CleanRules { min_dirty_ratio: 0.0, ..CleanRules::default() };
                model.clean_partly(&mut log, &rules, steps);
            }
            Act::Reopen { clean: stop } => {
                if stop {
                    log.close(at(model.now)).unwrap();
                } else {
                    flush(&mut log);
                }
                let point = log.flushed_offset();
                drop(log);
                let options = ottla_storage::OpenLog {
                    recovery_point: if stop { point } else { Offset(0) },
                    clean: stop,
                    ..unclean(point)
                };
                log = open(&disk, &small_compacted(), options).unwrap().0;
                model.progress = model
                    .progress
                    .map(|p| ottla_storage::CleanProgress::from_checkpoint(p.first_dirty));
            }
            Act::Truncate { back } => {
                // What was committed when it was compacted is never truncated.
                let end = (log.log_end_offset().0 - i64::from(back)).max(model.committed);
                log.truncate_to(Offset(end)).unwrap();
                model.truncate(&log);
            }
        }
        model.check(&log, act);
    }
    settle(&mut log, &mut model);
}

/// With every transaction ended and time gone by, each key is there once and tombstones are not.
fn settle(log: &mut Log, model: &mut Model) {
    for pid in 0..3 {
        model.end(log, pid, true);
    }
    let rules = CleanRules { min_dirty_ratio: 0.0, ..CleanRules::default() };
    for _ in 0..4 {
        model.append(log, (9, 1), false, 0);
        log.roll(at(model.now)).unwrap();
        flush(log);
        model.progress = None;
        model.clean(log, &rules);
        model.check(log, &"settle");
        model.now += 30 * 3_600_000;
    }
    model.append(log, (9, 1), false, 0);
    let (visible, _) = committed(log);
    let mut keys: Vec<&str> = visible.iter().map(|record| record.key.as_str()).collect();
    keys.pop(); // It was not cleaned yet.
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    assert!(visible.iter().all(|record| record.value.is_some()), "{visible:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_says_what_it_said_before(acts in acts()) {
        run(&acts);
    }
}
