//! A log with keys and transactions, and what must be true of it after compaction.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{
    BatchBuilder, BatchOptions, Compression, ControlType, WalkLimits, batches, records,
};
use ottla_storage::{
    CleanProgress, CleanRules, CleanWork, Cleaning, Installing, Log, LogConfig, NamesWork,
    ProduceRules, StorageError, TxnEnd, TxnMarker, validate,
};

use crate::common::*;

pub(crate) const HOUR: i64 = 3_600_000;

pub(crate) fn small_compacted() -> LogConfig {
    LogConfig { cleanup_delete: false, cleanup_compact: true, ..small() }
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

/// What was written.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) written: Vec<Seen>,
    /// Whose it is, by offset.
    owner: BTreeMap<i64, u8>,
    /// Transactions that are open: pid and first offset.
    pub(crate) open: BTreeMap<u8, i64>,
    aborted: BTreeSet<i64>,
    pub(crate) now: i64,
    pub(crate) progress: Option<CleanProgress>,
    /// High watermark of the last cleaning.
    pub(crate) committed: i64,
    count: u32,
}

impl Model {
    fn build(&mut self, log: &Log, options: BatchOptions, keys: &[(u8, bool)]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(options);
        for (i, &(key, tombstone)) in keys.iter().enumerate() {
            self.count += 1;
            let (key, value) = (format!("k{key}"), format!("v{}{}", self.count, "x".repeat(60)));
            let value = (!tombstone).then_some(value);
            // Timestamps go back and forth a little.
            let timestamp = T0 + self.now - i64::from(self.count * 7 % 5);
            builder
                .append(
                    Timestamp(timestamp),
                    Some(key.as_bytes()),
                    value.as_deref().map(str::as_bytes),
                )
                .unwrap();
            let offset = log.log_end_offset().0 + i as i64;
            self.written.push(Seen { offset, timestamp, key, value });
        }
        builder.build().unwrap()
    }

    pub(crate) fn append(&mut self, log: &mut Log, keys: (u8, u8), tombstone: bool, codec: u8) {
        let compression = Compression::ALL[usize::from(codec)];
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let keys: Vec<_> =
            (0..keys.1).map(|i| ((keys.0 + i) % 10, tombstone && i % 2 == 0)).collect();
        let bytes = self.build(log, options, &keys);
        append_at(log, &bytes, self.now);
    }

    /// Appends a record whose key no other one has, of 100 such keys.
    pub(crate) fn unique(&mut self, log: &mut Log) {
        let others = self.written.iter().filter(|record| record.key.len() == 4).count() as u8;
        let bytes = self.build(log, BatchOptions::default(), &[(100 + others, false)]);
        append_at(log, &bytes, self.now);
    }

    pub(crate) fn produce(
        &mut self,
        log: &mut Log,
        pid: u8,
        transactional: bool,
        keys: &[(u8, bool)],
    ) {
        let known = log.producers().find(|p| p.producer_id.0 == i64::from(pid));
        let sequence = known.map_or(0, |p| p.last_sequence() + 1);
        let options = BatchOptions { transactional, ..idempotent(pid.into(), 0, sequence) };
        let bytes = self.build(log, options, keys);
        append_at(log, &bytes, self.now);
    }

    pub(crate) fn idempotent(&mut self, log: &mut Log, key: u8) {
        self.produce(log, 77, false, &[(key, false)]);
    }

    pub(crate) fn transactional(&mut self, log: &mut Log, pid: u8, key: u8) {
        let first = log.log_end_offset().0;
        self.produce(log, pid, true, &[(key, false), (key + 1, key & 1 == 0)]);
        self.open.entry(pid).or_insert(first);
        for offset in first..first + 2 {
            self.owner.insert(offset, pid);
        }
    }

    pub(crate) fn end(&mut self, log: &mut Log, pid: u8, commit: bool) {
        let Some(first) = self.open.remove(&pid) else { return };
        if !commit {
            let its = self.owner.range(first..).filter(|(_, owner)| **owner == pid);
            self.aborted.extend(its.map(|(offset, _)| *offset));
        }
        append_marker(log, pid, commit, self.now);
    }

    /// Forgets what is beyond the log's end; the test's producers lose what they had open there.
    pub(crate) fn truncate(&mut self, log: &Log) {
        let end = log.log_end_offset().0;
        self.written.retain(|record| record.offset < end);
        self.owner.retain(|offset, _| *offset < end);
        let open = log
            .producers()
            .filter_map(|p| Some((u8::try_from(p.producer_id.0).ok()?, p.txn_first_offset?.0)));
        self.open = open.collect();
        for (pid, first) in &self.open {
            // Its marker may be gone.
            let its = self.owner.range(first..).filter(|(_, owner)| *owner == pid);
            for (offset, _) in its {
                self.aborted.remove(offset);
            }
        }
        self.aborted.retain(|offset| *offset < end);
    }

    /// Cleans as often as there is something to clean.
    pub(crate) fn clean(&mut self, log: &mut Log, rules: &CleanRules) -> usize {
        let mut times = 0;
        while let Some(work) = start(log, rules, self.progress, self.now) {
            let unstable = log.last_stable_offset(log.log_end_offset());
            let before = raw_from(log, unstable);
            self.progress = Some(finish(log, work, self.now));
            self.committed = log.log_end_offset().0;
            assert_eq!(raw_from(log, unstable), before, "nothing undecided is touched");
            times += 1;
            assert!(times < 200, "a cleaning gets further");
        }
        times
    }

    /// Begins to clean and stops after `steps` half steps of putting the first new segment in place:
    /// one changes the log, the next one changes names.
    pub(crate) fn clean_partly(&mut self, log: &mut Log, rules: &CleanRules, steps: u8) {
        let Some(mut work) = start(log, rules, self.progress, self.now) else { return };
        loop {
            match work.step(1 << 20).unwrap() {
                Cleaning::Working => {}
                Cleaning::Ready => break,
                Cleaning::Finished => return,
            }
        }
        self.committed = log.log_end_offset().0;
        let mut pending: Option<NamesWork> = None;
        for _ in 0..steps {
            if let Some(names) = pending.take() {
                names.run().unwrap();
                continue;
            }
            match log.install_step(&mut work, at(self.now)).unwrap() {
                Installing::Names(names) => pending = Some(names),
                Installing::Done(replaced) => return replaced.run().unwrap(),
                Installing::Abandoned => return,
            }
        }
        work.abandon();
    }

    /// Whether the log says still what was written.
    pub(crate) fn check(&self, log: &Log, context: &impl Debug) {
        let (visible, _) = committed(log);
        let stable = log.last_stable_offset(log.log_end_offset()).0;
        let expected: Vec<&Seen> = self
            .written
            .iter()
            .filter(|r| r.offset < stable && !self.aborted.contains(&r.offset))
            .collect();
        let mut left = expected.iter();
        for record in &visible {
            assert!(
                left.any(|e| *e == record),
                "{context:?}: {record:?} was not written or is out of order"
            );
        }
        let mut newest: BTreeMap<&str, &Seen> = BTreeMap::new();
        for record in &expected {
            newest.insert(&record.key, record);
        }
        for (key, want) in newest {
            let got = visible.iter().rfind(|record| record.key == key);
            let expired = want.timestamp + 24 * HOUR <= T0 + self.now;
            match got {
                Some(got) => assert_eq!(got, want, "{context:?}"),
                None => assert!(want.value.is_none() && expired, "{context:?}: {want:?} is lost"),
            }
        }
        for record in visible.iter().step_by(3) {
            let found = log.offset_for_timestamp(Timestamp(record.timestamp)).unwrap().unwrap();
            assert!(found.offset.0 <= record.offset && found.timestamp.0 >= record.timestamp);
            let slice = log.read(Offset(record.offset), 1, log.log_end_offset(), true).unwrap();
            let bytes = slice.read().unwrap();
            let header = *batches(&bytes).next().unwrap().unwrap().header();
            assert!(
                header.base_offset.0 <= record.offset && record.offset <= header.last_offset().0
            );
        }
    }
}

pub(crate) fn start(
    log: &mut Log,
    rules: &CleanRules,
    progress: Option<CleanProgress>,
    now: i64,
) -> Option<CleanWork> {
    try_start(log, rules, progress, now).unwrap()
}

pub(crate) fn try_start(
    log: &mut Log,
    rules: &CleanRules,
    progress: Option<CleanProgress>,
    now: i64,
) -> Result<Option<CleanWork>, StorageError> {
    let cleanable = log.cleanable(rules, progress, log.log_end_offset(), at(now))?;
    cleanable.map(|cleanable| log.start_cleaning(rules, &cleanable, at(now))).transpose()
}

/// Runs a cleaning to its end, in small steps.
pub(crate) fn finish(log: &mut Log, mut work: CleanWork, now: i64) -> CleanProgress {
    loop {
        match work.step(500).unwrap() {
            Cleaning::Working => {}
            Cleaning::Ready => {
                let deleted = log.install_cleaned(&mut work, at(now)).unwrap().unwrap();
                deleted.run().unwrap();
            }
            Cleaning::Finished => return work.progress(),
        }
    }
}

pub(crate) fn append_at(log: &mut Log, bytes: &[u8], now: i64) {
    let rules =
        ProduceRules { compact: true, timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
    let valid = validate(bytes, &rules, at(now)).expect("a valid batch");
    log.append_as_leader(&valid, None, EPOCH, at(now)).unwrap();
    log.on_high_watermark(log.log_end_offset());
}

pub(crate) fn append_marker(log: &mut Log, pid: u8, committed: bool, now: i64) {
    let marker = TxnMarker {
        producer_id: ProducerId(pid.into()),
        epoch: ProducerEpoch(0),
        end: if committed { TxnEnd::Commit } else { TxnEnd::Abort },
        coordinator_epoch: 1,
        timestamp: Timestamp(T0 + now),
    };
    log.append_marker(&marker, false, EPOCH, at(now)).unwrap();
    log.on_high_watermark(log.log_end_offset());
}

/// The bytes of all batches from `from` on.
pub(crate) fn raw_from(log: &Log, from: Offset) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut next = from.max(log.log_start_offset());
    while next < log.log_end_offset() {
        let slice = log.read(next, 1, log.log_end_offset(), true).unwrap();
        let bytes = slice.read().unwrap();
        if bytes.is_empty() {
            break;
        }
        let batch = batches(&bytes).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        next = batch.header().next_offset();
        found.push(bytes);
    }
    found
}

/// What a read-committed consumer sees: as the Java client, it begins to skip a producer at the first
/// offset of an aborted transaction and stops at the abort marker. Also the control batches it met.
pub(crate) fn committed(log: &Log) -> (Vec<Seen>, Vec<(i64, ControlType)>) {
    let bound = log.last_stable_offset(log.log_end_offset());
    let mut aborted = log.aborted_transactions(log.log_start_offset(), bound).unwrap();
    aborted.sort_by_key(|txn| txn.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut skipped = BTreeSet::new();
    let (mut seen, mut controls) = (Vec::new(), Vec::new());
    for bytes in raw_from(log, Offset(0)) {
        let batch = batches(&bytes).next().unwrap().unwrap();
        let header = batch.header();
        if header.base_offset >= bound {
            break;
        }
        while let Some(txn) = aborted.next_if(|txn| txn.first_offset <= header.last_offset()) {
            skipped.insert(txn.producer_id);
        }
        let limits = WalkLimits { inflated_bytes_max: 1 << 20 };
        for record in records(&batch, &limits).unwrap() {
            let record = record.unwrap();
            let key = record.key.unwrap();
            if header.is_control() {
                let control = ControlType::from_key(&key).unwrap();
                if control == ControlType::Abort {
                    skipped.remove(&header.producer_id);
                }
                controls.push((record.offset.0, control));
            } else if !(header.is_transactional() && skipped.contains(&header.producer_id)) {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                seen.push(Seen {
                    offset: record.offset.0,
                    timestamp: record.timestamp.0,
                    key: text(&key),
                    value: record.value.as_deref().map(text),
                });
            }
        }
    }
    (seen, controls)
}
