//! What the tests of the log share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ids::{
    LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions, Compression, batches, records};
use ottla_storage::{
    Appended, Log, LogConfig, OpenLog, ProduceRules, RecoveryReport, StorageError, validate,
};
use ottla_testkit::MemDisk;

pub(crate) const DIR: &str = "/data/t-0";
pub(crate) const T0: i64 = 1_700_000_000_000;
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(3);

pub(crate) fn at(millis: i64) -> Now {
    let micros = u64::try_from(millis).unwrap() * 1000;
    Now { monotonic: Monotonic(micros), wall: Timestamp(T0 + millis) }
}

pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1200,
        index_interval_bytes: 150,
        segment_index_bytes: 1024,
        ..LogConfig::default()
    }
}

pub(crate) fn unclean(recovery_point: Offset) -> OpenLog {
    OpenLog { recovery_point, log_start_offset: Offset(0), clean: false, now: at(0) }
}

pub(crate) fn clean() -> OpenLog {
    OpenLog { recovery_point: Offset(0), log_start_offset: Offset(0), clean: true, now: at(0) }
}

pub(crate) fn open(
    disk: &MemDisk,
    config: &LogConfig,
    options: OpenLog,
) -> Result<(Log, RecoveryReport), StorageError> {
    let (mut log, report) =
        Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), config.clone(), options)?;
    if report.must_sync {
        log.sync(at(0))?;
    }
    Ok((log, report))
}

/// A client's batch of `values` with timestamps `T0 + millis`, `T0 + millis + 1`, ...
pub(crate) fn batch(millis: i64, values: &[&str]) -> Vec<u8> {
    build(BatchOptions::default(), millis, values)
}

pub(crate) fn build(options: BatchOptions, millis: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (i, value) in (0_i64..).zip(values) {
        builder.append(Timestamp(T0 + millis + i), Some(b"k"), Some(value.as_bytes())).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn idempotent(pid: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(pid),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        compression: Compression::None,
        ..BatchOptions::default()
    }
}

pub(crate) fn append(log: &mut Log, bytes: &[u8]) -> Result<Appended, ottla_storage::AppendError> {
    let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
    let valid = validate(bytes, &rules, at(0)).expect("a valid batch");
    log.append_as_leader(&valid, None, EPOCH, at(0))
}

/// Offset and value of every record from `from` to the log end.
pub(crate) fn read_all(log: &Log, from: Offset) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = from;
    while next < log.log_end_offset() {
        let slice = log.read(next, 1, log.log_end_offset(), true).unwrap();
        if slice.len == 0 {
            break;
        }
        let bytes = slice.read().unwrap();
        let before = next;
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            next = batch.header().next_offset();
            if batch.header().is_control() {
                continue;
            }
            let limits = ottla_protocol::records::WalkLimits { inflated_bytes_max: 1 << 20 };
            for record in records(&batch, &limits).unwrap() {
                let record = record.unwrap();
                if record.offset >= from {
                    let value = record.value.unwrap_or_default().into_owned();
                    found.push((record.offset.0, String::from_utf8(value).unwrap()));
                }
            }
        }
        assert!(next > before, "a read at {before} goes on");
    }
    found
}

pub(crate) fn flush(log: &mut Log) {
    let work = log.flush_work().unwrap();
    work.run().unwrap();
    log.flushed(work.covers, at(0));
}
