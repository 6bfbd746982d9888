//! A partition's directory of any content: it opens or is refused, and what opens is a log.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ids::{LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use ottla_protocol::records::{BatchBuilder, BatchOptions, batches, magic_of};
use ottla_storage::{Log, LogConfig, OpenLog, ProduceRules, validate};
use ottla_testkit::MemDisk;

use crate::batches::{Repair, samples};
use crate::input::{Input, chunk};

const DIR: &str = "/data/t-0";
const NOW: Now = Now { monotonic: Monotonic(1_000_000), wall: Timestamp(1_700_000_000_000) };
/// A log beyond this is so near to the end of the offsets that nothing can be appended.
const END_MAX: Offset = Offset(i64::MAX / 2);

/// `options, recovery point, log start`, the small files, the second segment, the first segment.
pub fn log(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let options = OpenLog {
        recovery_point: Offset(i64::from(input.u8())),
        log_start_offset: Offset(i64::from(input.u8() / 4)),
        clean: mode & 8 != 0,
        now: NOW,
    };
    let disk = MemDisk::with_dirs(&["/data"]);
    put_files(&disk, Repair::of(mode), &mut input);
    let bytes = disk.tree().iter().filter_map(|path| disk.get(path)).map(|f| f.len()).sum();
    let Some(mut log) = open(&disk, options) else { return };
    if options.clean || options.recovery_point > Offset(0) {
        // Nobody looked at all of it, so it may be anything; but it must not panic.
        let _ = check(&log, bytes);
        let _ = exercise(&mut log, mode);
        let _ = log.close(NOW);
        return;
    }
    check(&log, bytes).expect("what was recovered can be read");
    exercise(&mut log, mode).expect("what was recovered is a log");
    let end = log.log_end_offset();
    let start = log.log_start_offset();
    if log.close(NOW).is_err() {
        return;
    }
    for clean in [true, false] {
        let options =
            OpenLog { recovery_point: Offset(0), log_start_offset: start, clean, now: NOW };
        let log = open(&disk, options).expect("what was opened once opens again");
        check(&log, bytes + 4096).expect("what was recovered can be read");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end), "clean {clean}");
    }
}

fn put_files(disk: &MemDisk, repair: Repair, input: &mut Input<'_>) {
    let second = i64::from(input.u8());
    let snapshot = i64::from(input.u8());
    for name in ["txnindex", "index", "timeindex"] {
        let bytes = input.chunk();
        if !bytes.is_empty() {
            disk.put(format!("{DIR}/{:020}.{name}", 0), bytes);
        }
    }
    let bytes = input.chunk();
    if !bytes.is_empty() {
        disk.put(format!("{DIR}/{snapshot:020}.snapshot"), bytes);
    }
    let bytes = input.chunk();
    if !bytes.is_empty() {
        disk.put(format!("{DIR}/leader-epoch-checkpoint"), bytes);
    }
    let bytes = input.chunk();
    if !bytes.is_empty() && second > 0 {
        disk.put(format!("{DIR}/{second:020}.log"), &repair.run_from(bytes, second));
    }
    let rest = std::mem::replace(input, Input::new(&[])).rest();
    disk.put(format!("{DIR}/{:020}.log", 0), &repair.run(rest));
}

fn open(disk: &MemDisk, options: OpenLog) -> Option<Log> {
    let config = LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 64,
        segment_index_bytes: 1024,
        ..LogConfig::default()
    };
    let opened = Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), config, options);
    opened.ok().map(|(log, _)| log)
}

/// Everything can be read, and offsets only increase.
fn check(log: &Log, bytes_max: usize) -> Result<(), Box<dyn Error>> {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    ensure(start <= end, "the log starts behind its end")?;
    let mut next = start;
    let mut read = 0;
    while next < end {
        let slice = log.read(next, 1, end, true)?;
        let bytes = slice.read()?;
        read += bytes.len();
        ensure(read <= bytes_max, "more was read than there is")?;
        if bytes.is_empty() || magic_of(&bytes) != Some(2) {
            break; // The rest was compacted away, or is of an older format.
        }
        let before = next;
        let mut at = slice.base_offset;
        for batch in batches(&bytes) {
            let batch = batch?;
            let header = batch.header();
            ensure(header.base_offset >= at, "a batch begins before the last one ended")?;
            at = header.next_offset();
            ensure(at <= end, "a batch is past the end")?;
        }
        next = next.max(at);
        ensure(next > before, "a read does not go on")?;
    }
    log.offset_for_timestamp(Timestamp(1_700_000_000_001))?;
    log.max_timestamp()?;
    log.aborted_transactions(start, end)?;
    let _ = log.last_stable_offset(end);
    for epoch in [-1, 0, 4, i32::MAX] {
        let _ = log.end_offset_for_epoch(LeaderEpoch(epoch));
    }
    Ok(())
}

fn exercise(log: &mut Log, mode: u8) -> Result<(), Box<dyn Error>> {
    if mode & 16 != 0 {
        let middle = Offset((log.log_start_offset().0 / 2) + (log.log_end_offset().0 / 2));
        log.truncate_to(middle)?;
        ensure(log.log_end_offset() <= middle, "a truncation leaves too much")?;
    }
    if mode & 32 != 0 {
        log.increase_log_start_offset(Offset(log.log_end_offset().0 / 2));
        log.enforce_retention(log.log_end_offset(), NOW)?;
    }
    if log.log_end_offset() > END_MAX {
        return Ok(());
    }
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(NOW.wall, Some(b"k"), Some(b"new"))?;
    let batch = batch.build()?;
    let valid = validate(&batch, &ProduceRules::default(), NOW)?;
    let end = log.log_end_offset();
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
    let appended = log.append_as_leader(&valid, None, epoch, NOW)?;
    ensure(appended.base_offset == end, "the append is not at the end")?;
    ensure(log.log_end_offset() == end.plus(1), "the end does not follow the append")?;
    let bytes = log.read(end, 1, end.plus(1), true)?.read()?;
    let found = batches(&bytes).next().ok_or("the appended batch is not there")??;
    ensure(found.header().base_offset == end, "another batch is found at the end")?;
    found.verify_crc()?;
    let work = log.flush_work()?;
    work.run()?;
    log.flushed(work.covers, NOW);
    Ok(())
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let all = samples().concat();
    let files = small_files(&all);
    let mut seeds = Vec::new();
    for mode in [0_u8, 1, 3, 7, 8, 11, 15, 16 + 7, 32 + 7, 32 + 15, 48] {
        for (recovery_point, start) in [(0, 0), (8, 0), (90, 40)] {
            let head = [mode, recovery_point, start];
            seeds.push([&head[..], &[0; 14], &all].concat());
            seeds.push([&head[..], &files, &all].concat());
        }
    }
    seeds
}

/// What a log writes beside its records, in the form of the input.
fn small_files(records: &[u8]) -> Vec<u8> {
    let disk = MemDisk::with_dirs(&["/data"]);
    disk.put(format!("{DIR}/{:020}.log", 0), records);
    let options =
        OpenLog { recovery_point: Offset(0), log_start_offset: Offset(0), clean: false, now: NOW };
    let mut log = open(&disk, options).expect("the samples are a log");
    let end = log.log_end_offset();
    log.close(NOW).expect("the disk works");
    let get = |name: &str| chunk(&disk.get(format!("{DIR}/{name}")).unwrap_or_default());
    let of_segment = |extension: &str| get(&format!("{:020}.{extension}", 0));
    let second = BatchBuilder::new(BatchOptions { base_offset: end, ..Default::default() });
    let mut second = second;
    second.append(NOW.wall, None, Some(b"second")).expect("a small batch");
    let (at, snapshot) = (end.0 as u8, get(&format!("{:020}.snapshot", end.0)));
    [
        vec![at, at],
        of_segment("txnindex"),
        of_segment("index"),
        of_segment("timeindex"),
        snapshot,
        get("leader-epoch-checkpoint"),
        chunk(&second.build().expect("a small batch")),
    ]
    .concat()
}
