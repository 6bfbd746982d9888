//! The log against a vector: any order of operations gives the same records.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod common;

use common::*;
use ottla_protocol::ids::Offset;
use ottla_storage::{Log, LogConfig};
use ottla_testkit::MemDisk;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append { records: usize, size: usize },
    Roll,
    Truncate { back: i64 },
    TruncateFully { ahead: i64 },
    DeleteRecords { ahead: i64 },
    Retain { bytes: i64 },
    Flush,
    Reopen { clean: bool },
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (1_usize..5, 0_usize..400).prop_map(|(records, size)| Step::Append { records, size }),
        1 => Just(Step::Roll),
        1 => (0_i64..30).prop_map(|back| Step::Truncate { back }),
        1 => (0_i64..9).prop_map(|ahead| Step::TruncateFully { ahead }),
        1 => (0_i64..20).prop_map(|ahead| Step::DeleteRecords { ahead }),
        1 => (0_i64..9000).prop_map(|bytes| Step::Retain { bytes }),
        2 => Just(Step::Flush),
        2 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
        1 => Just(Step::Release),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The records from `start` on, in batches.
#[derive(Debug, Default)]
struct Model {
    start: i64,
    end: i64,
    records: Vec<(i64, String)>,
    batch_starts: Vec<i64>,
    written: usize,
}

impl Model {
    fn append(&mut self, records: usize, size: usize) -> Vec<String> {
        self.written += 1;
        let values: Vec<String> =
            (0..records).map(|i| format!("{}.{i}{}", self.written, "x".repeat(size))).collect();
        self.batch_starts.push(self.end);
        self.records.extend((self.end..).zip(values.iter().cloned()));
        self.end += values.len() as i64;
        values
    }

    fn truncate(&mut self, end: i64) {
        if end >= self.end {
            return;
        }
        let batch = self.batch_starts.iter().copied().filter(|&start| start <= end).max();
        self.end = batch.unwrap_or(end);
        self.records.retain(|(offset, _)| *offset < self.end);
        self.batch_starts.retain(|start| *start < self.end);
    }

    fn restart_at(&mut self, start: i64) {
        *self = Self { start, end: start, written: self.written, ..Self::default() };
    }
}

fn run(steps: &[Step]) {
    let disk = MemDisk::with_dirs(&["/data"]);
    let mut config = LogConfig { retention_ms: -1, ..small() };
    let (mut log, _) = open(&disk, &config, clean()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { records, size } => {
                let values = model.append(*records, *size);
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                if values.iter().map(|v| v.len() + 20).sum::<usize>() > 1100 {
                    config.segment_bytes = 4000;
                    log.update_config(config.clone());
                }
                append(&mut log, &batch(model.end, &values)).unwrap();
            }
            Step::Roll => log.roll(at(0)).unwrap(),
            Step::Truncate { back } => {
                let end = (model.end - back).max(model.start);
                model.truncate(end);
                log.truncate_to(Offset(end)).unwrap();
                model.start = model.start.min(model.end);
            }
            Step::TruncateFully { ahead } => {
                model.restart_at(model.end + ahead);
                log.truncate_fully_and_start_at(Offset(model.end), at(0).wall).unwrap();
            }
            Step::DeleteRecords { ahead } => {
                let start = (model.start + ahead).min(model.end);
                log.increase_log_start_offset(Offset(start));
                model.start = start;
            }
            Step::Retain { bytes } => {
                log.update_config(LogConfig { retention_bytes: *bytes, ..config.clone() });
                if let Some(retired) = log.enforce_retention(log.log_end_offset(), at(0)).unwrap() {
                    // The log itself does it if nobody else does.
                    if bytes % 2 == 0 {
                        retired.names.run().unwrap();
                        retired.files.run().unwrap();
                    }
                }
                log.update_config(config.clone());
                assert!(log.log_start_offset().0 >= model.start);
                model.start = log.log_start_offset().0;
            }
            Step::Flush => flush(&mut log),
            Step::Reopen { clean } => log = reopen(&disk, log, &config, *clean),
            Step::Release => log.release_files(),
        }
        compare(&log, &model, step);
    }
}

fn reopen(disk: &MemDisk, mut log: Log, config: &LogConfig, clean: bool) -> Log {
    let mut options = unclean(log.flushed_offset());
    options.clean = clean;
    options.log_start_offset = log.log_start_offset();
    if clean {
        log.close(at(0)).unwrap();
    }
    drop(log);
    let (log, report) = open(disk, config, options).unwrap();
    assert_eq!(report.cut, None);
    assert!(report.rebuilt_indexes.is_empty());
    log
}

fn compare(log: &Log, model: &Model, step: &Step) {
    assert_eq!(log.log_end_offset(), Offset(model.end), "{step:?}");
    assert_eq!(log.log_start_offset(), Offset(model.start), "{step:?}");
    let want: Vec<_> =
        model.records.iter().filter(|(offset, _)| *offset >= model.start).cloned().collect();
    assert_eq!(read_all(log, Offset(model.start)), want, "{step:?}");
    let middle = (model.start + model.end) / 2;
    let from = want.iter().position(|(offset, _)| *offset >= middle).unwrap_or(want.len());
    assert_eq!(read_all(log, Offset(middle)), want[from..], "{step:?} from {middle}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vector_of_records(steps in steps()) {
        run(&steps);
    }
}
