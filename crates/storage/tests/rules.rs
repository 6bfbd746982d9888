//! The rules of Produce, idempotence, transactions, retention: what a client or an operator notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;

use std::path::Path;

use common::*;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{BatchOptions, BatchView, Compression, TimestampType, crc32c};
use ottla_storage::{
    AbortedTxn, AppendError, Appended, Disk, Log, LogConfig, ProduceRules, StorageError, TxnEnd,
    TxnMarker, Unverified, VerificationGuard, validate,
};
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};

/// A batch of one record with some header bytes changed and the CRC made right again.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch(0, &["v"]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn bad_batches_get_the_errors_of_the_matrix() {
    let good = || batch(0, &["v"]);
    let wrong_crc = || {
        let mut bytes = good();
        bytes[17] ^= 1;
        bytes
    };
    let old = |magic: u8| {
        let mut bytes = good();
        bytes[16] = magic;
        bytes
    };
    let two_records = |count: i32, delta: i32| {
        let mut bytes = patched(23, &delta.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let rules = ProduceRules::default();
    let (v6, tiny) =
        (ProduceRules { version: 6, ..rules }, ProduceRules { max_message_bytes: 69, ..rules });
    let codec = |id: u8| patched(21, &[0, id]);
    for (row, bytes, rules, want, log_start, message) in [
        (11, wrong_crc(), rules, ErrorCode::CorruptMessage, false, false),
        (13, vec![], rules, ErrorCode::InvalidRecord, false, false),
        (14, [good(), good()].concat(), rules, ErrorCode::InvalidRecord, false, false),
        (16, old(1), rules, ErrorCode::InvalidRecord, false, false),
        (17, old(0), rules, ErrorCode::InvalidRecord, false, false),
        (18, old(3), rules, ErrorCode::CorruptMessage, false, true),
        (19, good()[..good().len() - 3].to_vec(), rules, ErrorCode::InvalidRecord, false, false),
        (21, two_records(2, 0), rules, ErrorCode::InvalidRecord, true, false),
        (22, two_records(2, 1), rules, ErrorCode::InvalidRecord, true, false),
        (23, two_records(0, -1), rules, ErrorCode::InvalidRecord, true, false),
        (24, two_records(0, 0), rules, ErrorCode::InvalidRecord, true, false),
        (26, patched(0, &77_i64.to_be_bytes()), rules, ErrorCode::InvalidRecord, true, false),
        (27, good(), tiny, ErrorCode::MessageTooLarge, false, false),
        (36, codec(0x20), rules, ErrorCode::InvalidRecord, true, false),
        (45, codec(4), v6, ErrorCode::UnsupportedCompressionType, false, false),
        (46, codec(4), rules, ErrorCode::InvalidRecord, true, false),
        (47, codec(1), rules, ErrorCode::InvalidRecord, true, false),
        (48, codec(2), rules, ErrorCode::InvalidRecord, true, false),
        (49, codec(3), rules, ErrorCode::InvalidRecord, true, false),
        (50, codec(5), rules, ErrorCode::InvalidRecord, true, false),
        (69, patched(43, &9_i64.to_be_bytes()), rules, ErrorCode::InvalidRecord, true, false),
    ] {
        let error = validate(&bytes, &rules, at(0)).expect_err(&format!("row {row}"));
        assert_eq!(error.code(), want, "row {row}: {error}");
        assert_eq!(error.reports_log_start(), log_start, "row {row}: {error}");
        assert_eq!(error.message().is_some(), message, "row {row}: {error}");
    }
}

#[test]
fn rejected_records_are_named() {
    let rules = ProduceRules::default();
    let strict =
        ProduceRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 1000, ..rules };
    let hour = 3_600_000;
    for (row, millis, rules, want) in [
        (29, -hour, strict, Some(ErrorCode::InvalidTimestamp)),
        (30, hour, strict, Some(ErrorCode::InvalidTimestamp)),
        (31, 2 * hour, rules, Some(ErrorCode::InvalidTimestamp)),
        (32, -1 - T0, strict, None),
        (1, 0, strict, None),
    ] {
        let bytes = batch(millis, &["v"]);
        let error = validate(&bytes, &rules, at(0)).err();
        assert_eq!(error.as_ref().map(|e| e.code()), want, "row {row}");
        if let Some(error) = error {
            assert!(error.message().is_some() && error.reports_log_start(), "row {row}");
            let indexes: Vec<u32> = error.record_errors().iter().map(|e| e.index).collect();
            assert_eq!(indexes, [0], "row {row}");
        }
    }
    let mut builder = ottla_protocol::records::BatchBuilder::new(BatchOptions::default());
    for key in [Some(&b"a"[..]), None, Some(b"b")] {
        builder.append(Timestamp(T0), key, Some(b"v")).unwrap();
    }
    let compact = ProduceRules { compact: true, ..rules };
    let error = validate(&builder.build().unwrap(), &compact, at(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord, "row 43");
    assert_eq!(error.record_errors()[0].index, 1, "row 43");
    assert_eq!(error.record_errors().len(), 1, "row 43");
}

#[test]
fn the_topic_decides_timestamps_and_codec() {
    let rules = ProduceRules::default();
    let whole =
        |v: &ottla_storage::ValidatedBatch<'_>| [&v.header_bytes()[..], v.payload()].concat();
    let append_time = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    let gzip = ProduceRules { compression: Some(Compression::Gzip), ..rules };
    let wrong_max = patched(35, &(T0 + 999).to_be_bytes());
    let appended = patched(21, &[0, 8]);
    for (row, bytes, rules, max, kind, compression) in [
        (33, &wrong_max, rules, 0, TimestampType::CreateTime, Compression::None),
        (34, &appended, rules, 0, TimestampType::CreateTime, Compression::None),
        (35, &batch(0, &["v"]), append_time, 77, TimestampType::LogAppendTime, Compression::None),
        (52, &batch(0, &["v"]), gzip, 0, TimestampType::CreateTime, Compression::Gzip),
        (
            20,
            &[&batch(0, &["v"])[..], &[1, 2, 3, 4, 5]].concat(),
            rules,
            0,
            TimestampType::CreateTime,
            Compression::None,
        ),
    ] {
        let valid = validate(bytes, &rules, at(77)).unwrap();
        let bytes = whole(&valid);
        let view = BatchView::parse(&bytes).unwrap();
        view.verify_crc().unwrap_or_else(|e| panic!("row {row}: {e}"));
        assert_eq!(view.size(), bytes.len(), "row {row}");
        let header = view.header();
        assert_eq!(header.max_timestamp, Timestamp(T0 + max), "row {row}");
        assert_eq!(header.timestamp_type(), kind, "row {row}");
        assert_eq!(header.compression(), Ok(compression), "row {row}");
    }
}

#[test]
fn sequences_are_judged_as_in_the_matrix() {
    use ErrorCode::{InvalidProducerEpoch, None as Fine, OutOfOrderSequenceNumber};
    let first = &[(0, 0)][..];
    let eight: Vec<(i16, i32)> = (0..8).map(|n| (0, n)).collect();
    let bumped = &[(0, 0), (1, 0)][..];
    for (row, before, epoch, sequence, count, want, base) in [
        (57, &[][..], 0, 0, 1, Fine, 0),
        (58, first, 0, 0, 1, Fine, 0),
        (59, first, 0, 5, 1, OutOfOrderSequenceNumber, -1),
        (60, &eight, 0, 0, 1, OutOfOrderSequenceNumber, -1),
        (61, &eight, 0, 4, 1, Fine, 4),
        (62, &eight, 0, 7, 2, OutOfOrderSequenceNumber, -1),
        (63, first, 1, 3, 1, OutOfOrderSequenceNumber, -1),
        (64, first, 1, 0, 1, Fine, 1),
        (65, bumped, 0, 8, 1, InvalidProducerEpoch, -1),
        (68, &[], 0, 10, 1, Fine, 0),
        (0, &[(0, i32::MAX)], 0, 0, 1, Fine, 1),
    ] {
        let disk = MemDisk::with_dirs(&["/data"]);
        let (mut log, _) = open(&disk, &small(), clean()).unwrap();
        for &(epoch, sequence) in before {
            append(&mut log, &build(idempotent(5, epoch, sequence), 0, &["v"])).unwrap();
        }
        let values = vec!["v"; count];
        let bytes = build(idempotent(5, epoch, sequence), 0, &values);
        let end = log.log_end_offset();
        match append(&mut log, &bytes) {
            Ok(appended) => {
                assert_eq!(want, Fine, "row {row}");
                assert_eq!(appended.base_offset, Offset(base), "row {row}");
                assert_eq!(appended.duplicate, base < end.0, "row {row}");
                assert_eq!(appended.log_append_time.is_some(), appended.duplicate, "row {row}");
            }
            Err(error) => {
                assert_eq!(error.code(), want, "row {row}: {error}");
                assert!(error.reports_log_start(), "row {row}");
                assert_eq!(log.log_end_offset(), end, "row {row}");
            }
        }
    }
}

fn transactional(pid: i64, sequence: i32) -> BatchOptions {
    BatchOptions { transactional: true, ..idempotent(pid, 0, sequence) }
}

fn marker(pid: i64, committed: bool) -> TxnMarker {
    TxnMarker {
        producer_id: ProducerId(pid),
        epoch: ProducerEpoch(0),
        end: if committed { TxnEnd::Commit } else { TxnEnd::Abort },
        coordinator_epoch: 2,
        timestamp: Timestamp(T0),
    }
}

/// The marker without the entry would make the aborted records visible to readers of committed ones.
#[test]
fn a_full_disk_takes_an_abort_with_its_index_entry_or_not_at_all() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let (mut log, _) = open(&disk, &config, clean()).unwrap();
    append(&mut log, &build(transactional(1, 0), 0, &["a"])).unwrap();
    flush(&mut log);
    let space = disk.space(Path::new(DIR)).unwrap();
    disk.set_capacity(Some(space.total - space.available));
    let error = log.append_marker(&marker(1, false), false, EPOCH, at(0)).unwrap_err();
    assert!(matches!(error, AppendError::Storage(StorageError::Full { .. })), "{error}");
    assert_eq!(log.log_end_offset(), Offset(1));
    assert_eq!(log.last_stable_offset(Offset(1)), Offset(0), "it is open still");
    disk.set_capacity(None);
    log.append_marker(&marker(1, false), false, EPOCH, at(0)).unwrap();
    let aborted = |log: &Log| log.aborted_transactions(Offset(0), Offset(2)).unwrap().len();
    assert_eq!(aborted(&log), 1);
    log.close(at(0)).unwrap();
    let (log, _) = open(&disk, &config, clean()).unwrap();
    assert_eq!(aborted(&log), 1, "after a clean start");
}

/// What was written for an abort that did not come about is not taken for the abort of a later one.
#[test]
fn an_abort_that_was_refused_leaves_nothing_in_the_index() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let (mut log, _) = open(&disk, &config, clean()).unwrap();
    append(&mut log, &build(transactional(1, 0), 0, &["a"])).unwrap();
    disk.fail(Fault::on(OpKind::Write).path("*.log").error(Errno::NoSpace).times(1));
    log.append_marker(&marker(1, false), false, EPOCH, at(0)).unwrap_err();
    log.close(at(0)).unwrap();
    let (mut log, _) = open(&disk, &config, clean()).unwrap();
    log.append_marker(&marker(1, true), false, EPOCH, at(0)).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), Offset(2)).unwrap(), []);
}

#[test]
fn transactions_hold_the_last_stable_offset_and_aborts_are_indexed() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    append(&mut log, &batch(0, &["plain"])).unwrap();
    append(&mut log, &build(transactional(1, 0), 0, &["a", "b"])).unwrap();
    append(&mut log, &build(transactional(2, 0), 0, &["c"])).unwrap();
    let error = append(&mut log, &build(idempotent(1, 0, 2), 0, &["d"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTxnState, "row 549");
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(1));
    log.append_marker(&marker(1, false), false, EPOCH, at(0)).unwrap();
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(1), "the marker is not replicated");
    assert_eq!(log.last_stable_offset(Offset(5)), Offset(3), "producer 2 is open");
    log.append_marker(&marker(2, true), false, EPOCH, at(0)).unwrap();
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(6));
    let aborted = |first, last, stable| AbortedTxn {
        producer_id: ProducerId(1),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    };
    let want = vec![aborted(1, 4, 3)];
    assert_eq!(log.aborted_transactions(Offset(0), Offset(6)).unwrap(), want);
    assert_eq!(log.aborted_transactions(Offset(5), Offset(6)).unwrap(), []);
    flush(&mut log);
    let (log, _) = open(&disk.crash_drop_all(), &small(), unclean(Offset(0))).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), Offset(6)).unwrap(), want, "rebuilt");
    let (log, _) = open(&disk.crash_drop_all(), &small(), unclean(Offset(6))).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), Offset(6)).unwrap(), want, "kept");
}

#[test]
fn an_old_coordinator_or_producer_epoch_cannot_end_a_transaction() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    append(&mut log, &build(transactional(1, 0), 0, &["a"])).unwrap();
    log.append_marker(&marker(1, true), false, EPOCH, at(0)).unwrap();
    let old = TxnMarker { coordinator_epoch: 1, ..marker(1, true) };
    let error = log.append_marker(&old, false, EPOCH, at(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::TransactionCoordinatorFenced);
}

/// Producer 7 at epoch 0, first sequence number 0.
const FIRST: Unverified = Unverified {
    producer_id: ProducerId(7),
    epoch: ProducerEpoch(0),
    first_sequence: 0,
    implicit: false,
};

fn verifying() -> (MemDisk, Log) {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { verify_transactions: true, ..small() };
    let (log, _) = open(&disk, &config, clean()).unwrap();
    (disk, log)
}

/// Appends a batch of one record in a transaction of producer 7.
fn append_guarded(
    log: &mut Log,
    (epoch, sequence): (i16, i32),
    guard: Option<VerificationGuard>,
) -> Result<Appended, ErrorCode> {
    let bytes =
        build(BatchOptions { transactional: true, ..idempotent(7, epoch, sequence) }, 0, &["v"]);
    let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
    let valid = validate(&bytes, &rules, at(0)).unwrap();
    log.append_as_leader(&valid, guard, EPOCH, at(0)).map_err(|error| error.code())
}

#[test]
fn the_first_batch_of_a_transaction_is_taken_only_with_a_guard() {
    let (_disk, mut log) = verifying();
    let refused = Err(ErrorCode::InvalidTxnState);
    assert_eq!(append_guarded(&mut log, (0, 0), None), refused);
    let guard = log.begin_verification(&FIRST, Timestamp(T0));
    assert!(guard.is_some());
    append_guarded(&mut log, (0, 0), guard).unwrap();
    assert_eq!(log.begin_verification(&FIRST, Timestamp(T0)), None, "it is open");
    append_guarded(&mut log, (0, 1), None).unwrap();
    log.append_marker(&marker(7, true), false, EPOCH, at(0)).unwrap();
    assert_eq!(append_guarded(&mut log, (0, 2), None), refused, "it has ended");
    assert_eq!(append_guarded(&mut log, (0, 2), guard), refused, "a guard is good once");
    assert!(append_guarded(&mut log, (0, 1), None).unwrap().duplicate, "a retry needs no guard");
}

#[test]
fn a_marker_between_verification_and_append_keeps_the_late_batch_out() {
    let (_disk, mut log) = verifying();
    let guard = log.begin_verification(&FIRST, Timestamp(T0));
    log.append_marker(&marker(7, false), false, EPOCH, at(0)).unwrap();
    assert_eq!(append_guarded(&mut log, (0, 0), guard), Err(ErrorCode::InvalidTxnState));
    assert_eq!(log.last_stable_offset(Offset(1)), Offset(1), "nothing hangs");
    let again = log.begin_verification(&FIRST, Timestamp(T0));
    assert_ne!(again, guard);
    append_guarded(&mut log, (0, 0), again).unwrap();
}

#[test]
fn a_coordinators_records_in_a_transaction_need_a_guard_too() {
    let (_disk, mut log) = verifying();
    let options = BatchOptions { transactional: true, ..idempotent(7, 0, 0) };
    let bytes = build(options, 0, &["an offset"]);
    let error = log.append_own(&bytes, None, EPOCH, at(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTxnState);
    let guard = log.begin_verification(&FIRST, Timestamp(T0));
    log.append_own(&bytes, guard, EPOCH, at(0)).unwrap();
    log.append_own(&bytes, None, EPOCH, at(0)).unwrap(); // Its sequence numbers mean nothing.
    let plain = build(BatchOptions::default(), 0, &["an offset"]);
    log.append_own(&plain, None, EPOCH, at(0)).unwrap();
    log.append_marker(
        &TxnMarker { epoch: ProducerEpoch(1), ..marker(7, true) },
        true,
        EPOCH,
        at(0),
    )
    .unwrap();
    let guard = log.begin_verification(&FIRST, Timestamp(T0));
    let error = log.append_own(&bytes, guard, EPOCH, at(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidProducerEpoch, "row 579");
}

#[test]
fn batches_in_flight_do_not_overtake_each_other_while_they_are_verified() {
    let (_disk, mut log) = verifying();
    let second = Unverified { first_sequence: 1, ..FIRST };
    let guard = log.begin_verification(&second, Timestamp(T0));
    assert_eq!(log.begin_verification(&FIRST, Timestamp(T0)), guard);
    let gap = Err(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(append_guarded(&mut log, (0, 1), guard), gap, "the batch before it is not there");
    append_guarded(&mut log, (0, 0), guard).unwrap();
    append_guarded(&mut log, (0, 1), guard).unwrap();
    // A producer whose state was lost may go on anywhere, but not with transaction.version 2.
    for (implicit, want) in [(false, None), (true, Some(ErrorCode::OutOfOrderSequenceNumber))] {
        let (_disk, mut log) = verifying();
        let late = Unverified { first_sequence: 5, implicit, ..FIRST };
        let guard = log.begin_verification(&late, Timestamp(T0));
        assert_eq!(append_guarded(&mut log, (0, 5), guard).err(), want, "implicit: {implicit}");
    }
}

#[test]
fn a_late_batch_of_an_earlier_epoch_does_not_hold_up_the_open_transaction() {
    let (_disk, mut log) = verifying();
    let current = Unverified { epoch: ProducerEpoch(1), ..FIRST };
    let guard = log.begin_verification(&current, Timestamp(T0));
    append_guarded(&mut log, (1, 0), guard).unwrap();
    let late = log.begin_verification(&FIRST, Timestamp(T0));
    assert_eq!(append_guarded(&mut log, (0, 0), late), Err(ErrorCode::InvalidProducerEpoch));
    append_guarded(&mut log, (1, 1), None).unwrap();
    // Nor does it let the next transaction begin in the middle.
    let (_disk, mut log) = verifying();
    log.begin_verification(&FIRST, Timestamp(T0));
    let gap = Unverified { first_sequence: 5, implicit: true, ..current };
    let guard = log.begin_verification(&gap, Timestamp(T0));
    let refused = Err(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(append_guarded(&mut log, (1, 5), guard), refused);
}

#[test]
fn a_verification_that_nobody_came_back_with_is_forgotten() {
    let (_disk, mut log) = verifying();
    let guard = log.begin_verification(&FIRST, Timestamp(T0));
    log.expire_producers(Timestamp(T0 + 86_400_000));
    assert_eq!(append_guarded(&mut log, (0, 0), guard), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn markers_of_transaction_version_2_have_a_later_epoch() {
    use ErrorCode::{InvalidProducerEpoch, None as Fine, TransactionCoordinatorFenced};
    // Epoch and coordinator epoch of markers after a transaction that was written with epoch 0, as
    // Kafka 4.4.0 answers WriteTxnMarkers.
    for (bumped, rows) in [
        (true, [(0, 0, InvalidProducerEpoch), (1, 0, Fine), (1, 0, Fine)]),
        (false, [(0, 0, Fine), (1, 0, Fine), (1, 0, Fine)]),
        (true, [(1, 5, Fine), (1, 4, TransactionCoordinatorFenced), (0, 6, InvalidProducerEpoch)]),
        (false, [(1, 5, Fine), (2, 4, TransactionCoordinatorFenced), (0, 6, InvalidProducerEpoch)]),
    ] {
        let disk = MemDisk::with_dirs(&["/data"]);
        let (mut log, _) = open(&disk, &small(), clean()).unwrap();
        append(&mut log, &build(transactional(7, 0), 0, &["a"])).unwrap();
        for (epoch, coordinator_epoch, want) in rows {
            let epoch = ProducerEpoch(epoch);
            let marker = TxnMarker { epoch, coordinator_epoch, ..marker(7, true) };
            let end = log.log_end_offset();
            let result = log.append_marker(&marker, bumped, EPOCH, at(0));
            let code = result.map_or_else(|error| error.code(), |_| Fine);
            assert_eq!(code, want, "bumped {bumped}: {marker:?}");
            assert_eq!(log.log_end_offset() > end, want == Fine, "{marker:?}");
        }
    }
}

#[test]
fn a_fetch_is_told_of_the_aborted_transactions_it_needs_and_few_others() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let config = LogConfig { index_interval_bytes: 100, segment_bytes: 1 << 20, ..small() };
    let (mut log, _) = open(&disk, &config, clean()).unwrap();
    let long = "x".repeat(100);
    for sequence in 0..400 {
        append(&mut log, &build(transactional(1, sequence), 0, &[&long])).unwrap();
        log.append_marker(&marker(1, false), false, EPOCH, at(0)).unwrap();
    }
    let end = log.log_end_offset();
    for from in [0, 1, 300, 401, 798] {
        let slice = log.read(Offset(from), 2000, end, true).unwrap();
        let bytes = slice.read().unwrap();
        let last = ottla_protocol::records::batches(&bytes).flatten().last().unwrap();
        let last = last.header().last_offset();
        let told = log.aborted_in(&slice, end).unwrap();
        let firsts: Vec<_> = told.iter().map(|txn| txn.first_offset.0).collect();
        let needed = (0..400).map(|n| n * 2).filter(|n| (from - 1..=last.0).contains(n));
        let needed: Vec<_> = needed.collect();
        assert!(firsts.starts_with(&needed), "from {from}: {firsts:?}");
        assert!(firsts.len() <= needed.len() + 4, "from {from}: {} told", firsts.len());
    }
}

#[test]
fn retention_keeps_what_age_size_and_high_watermark_protect() {
    let fill = |config: &LogConfig| {
        let disk = MemDisk::with_dirs(&["/data"]);
        let (mut log, _) = open(&disk, config, clean()).unwrap();
        for i in 0..40 {
            append(&mut log, &batch(i * 10, &["a value of some length to fill segments"])).unwrap();
        }
        (disk, log)
    };
    let end = Offset(40);
    let by_age = LogConfig { retention_ms: 100, ..small() };
    let (disk, mut log) = fill(&by_age);
    let bases: Vec<i64> = log.segment_bases().map(|base| base.0).collect();
    let work = log.enforce_retention(Offset(bases[1]), at(10_000)).unwrap();
    assert_eq!(log.log_start_offset(), Offset(bases[1]), "not above the high watermark");
    assert_eq!(log.segment_bases().next(), Some(Offset(bases[1])));
    let retired = work.unwrap();
    assert!(!disk.tree().iter().any(|path| path.ends_with(".deleted")), "not under the lock");
    retired.names.run().unwrap();
    assert!(disk.tree().iter().any(|path| path.ends_with("0.log.deleted")));
    retired.files.run().unwrap();
    assert!(!disk.tree().iter().any(|path| path.ends_with(".deleted")));
    log.enforce_retention(end, at(10_000)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (end, end), "all too old");
    assert_eq!(log.segment_count(), 1);

    let by_size = LogConfig { retention_bytes: 2500, retention_ms: -1, ..small() };
    let (_, mut log) = fill(&by_size);
    log.enforce_retention(end, at(0)).unwrap();
    assert!((2500..2500 + 1200).contains(&log.size_bytes()), "{}", log.size_bytes());

    let compact = LogConfig { cleanup_delete: false, cleanup_compact: true, ..by_age };
    let (_, mut log) = fill(&compact);
    assert!(log.enforce_retention(end, at(10_000)).unwrap().is_none());
    assert!(log.increase_log_start_offset(Offset(bases[2] + 1)));
    log.enforce_retention(end, at(10_000)).unwrap();
    assert_eq!(log.segment_bases().next(), Some(Offset(bases[2])), "DeleteRecords frees segments");
    assert!(log.read(Offset(bases[2]), 100, end, true).is_err(), "below the log start");
}

#[test]
fn a_reader_sees_nothing_at_or_above_its_bound() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &small(), clean()).unwrap();
    for i in 0..40 {
        append(&mut log, &batch(i, &["a", "b"])).unwrap();
    }
    for bound in (0..=80).step_by(2) {
        for from in 0..bound {
            let slice = log.read(Offset(from), 1 << 20, Offset(bound), true).unwrap();
            let bytes = slice.read().unwrap();
            let last = ottla_protocol::records::batches(&bytes).last().unwrap().unwrap();
            assert!(last.header().last_offset() < Offset(bound), "from {from} bound {bound}");
            assert!(slice.base_offset <= Offset(from) && !bytes.is_empty());
        }
        assert_eq!(log.read(Offset(bound), 100, Offset(bound), true).unwrap().len, 0);
    }
    let cut = log.read(Offset(0), 100, Offset(80), false).unwrap();
    assert_eq!(cut.len, 100, "a range may end inside a batch");
    assert!(log.read(Offset(81), 100, Offset(80), true).is_err());
}

#[test]
fn segment_files_are_those_of_kafka() {
    let disk = MemDisk::with_dirs(&["/data"]);
    let (mut log, _) = open(&disk, &LogConfig::default(), clean()).unwrap();
    let file = |name: &str| disk.get(format!("{DIR}/{name}"));
    assert_eq!(file("00000000000000000000.index").unwrap().len(), 10_485_760);
    assert_eq!(file("00000000000000000000.timeindex").unwrap().len(), 10_485_756);
    let big = "x".repeat(5000);
    for _ in 0..3 {
        append(&mut log, &batch(5, &[&big])).unwrap();
    }
    let size = file("00000000000000000000.log").unwrap().len() as u32 / 3;
    log.close(at(9)).unwrap();
    let entry =
        |offset: u32, position: u32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    let want = [entry(1, size), entry(2, 2 * size)].concat();
    assert_eq!(file("00000000000000000000.index").unwrap(), want);
    let time = [&(T0 + 5).to_be_bytes()[..], &0_u32.to_be_bytes()].concat();
    assert_eq!(file("00000000000000000000.timeindex").unwrap(), time);
    assert_eq!(file("leader-epoch-checkpoint").unwrap(), b"0\n1\n3 0\n");
    let snapshot = file("00000000000000000003.snapshot").unwrap();
    assert_eq!(snapshot.len(), 10, "an empty producer snapshot");
    assert_eq!(snapshot[..2], [0, 1]);
    assert_eq!(snapshot[6..], [0; 4]);
}
