//! A broker's use of one log, drawn from a seed, on a disk that dies at some operation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::ids::{
    LeaderEpoch, Monotonic, Now, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp,
};
use ottla_protocol::records::{BatchBuilder, BatchOptions, BatchView, EndTxnMarker, patch_header};
use ottla_storage::checkpoint::{self, LOG_START, RECOVERY_POINT};
use ottla_storage::dirs::CleanShutdown;
use ottla_storage::{
    AppendError, DeleteWork, FlushWork, Flushed, Log, LogConfig, OpenLog, ProduceRules,
    SharedFlush, StorageError, TxnEnd, TxnMarker, validate,
};
use ottla_testkit::{MemDisk, Rng};

use crate::model::Model;

const ROOT: &str = "/data";
const TOPIC: &str = "t";
const STEPS: u64 = 60;
const T0: i64 = 1_700_000_000_000;

/// One log and what is known of it.
pub(crate) struct World {
    pub(crate) disk: MemDisk,
    pub(crate) model: Model,
    log: Option<Log>,
    config: LogConfig,
    rng: Rng,
    clock: i64,
    epoch: i32,
    producers: Vec<Client>,
    flush: Option<Flush>,
    deletions: Vec<DeleteWork>,
    /// The disk can sync a tree.
    shares: bool,
}

/// A flush that was begun.
enum Flush {
    Alone(FlushWork),
    Shared(SharedFlush),
}

impl Flush {
    fn run(self, disk: &MemDisk) -> Result<Flushed, Stop> {
        match self {
            Self::Alone(work) => {
                work.run()?;
                Ok(work.covers)
            }
            Self::Shared(flush) => {
                let covers = flush.covers;
                SharedFlush::run(disk, Path::new(ROOT), &[flush])?;
                Ok(covers)
            }
        }
    }
}

/// What a producer would send next.
#[derive(Debug, Clone, Copy)]
struct Client {
    id: i64,
    epoch: i16,
    sequence: i32,
    in_txn: bool,
}

/// Why a run stopped early.
#[derive(Debug)]
pub(crate) struct Stop(pub(crate) String);

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Settings drawn from the seed.
pub(crate) fn config(rng: &mut Rng) -> LogConfig {
    LogConfig {
        segment_bytes: *rng.pick(&[700, 1500, 4000]),
        index_interval_bytes: *rng.pick(&[100, 300]),
        segment_index_bytes: *rng.pick(&[120, 1024]),
        retention_bytes: *rng.pick(&[-1, -1, 2500]),
        retention_ms: -1,
        flush_messages: *rng.pick(&[1, i64::MAX]),
        file_delete_delay_ms: 0,
        snapshot_bytes: *rng.pick(&[0, 400, 1 << 20]),
        ..LogConfig::default()
    }
}

/// Opens the log as a broker does: with the checkpoints and the mark of a clean stop.
pub(crate) fn open(disk: &MemDisk, config: &LogConfig, now: Now) -> Result<Log, Stop> {
    let root = Path::new(ROOT);
    let offset = |name| -> Result<Offset, Stop> {
        let found = checkpoint::read(disk, root, name)?;
        let key = (TOPIC.to_owned(), PartitionIndex(0));
        Ok(found.offsets.get(&key).copied().unwrap_or(Offset::ZERO))
    };
    let clean = CleanShutdown::read(disk, root)?.is_some();
    CleanShutdown::delete(disk, root)?;
    let options = OpenLog {
        recovery_point: offset(RECOVERY_POINT)?,
        log_start_offset: offset(LOG_START)?,
        clean,
        now,
    };
    let dir = PathBuf::from(ROOT).join("t-0");
    let (mut log, report) = Log::open(Arc::new(disk.clone()), dir, config.clone(), options)?;
    if report.must_sync {
        sync_recovered(disk, &mut log, now)?;
    }
    Ok(log)
}

/// As a start does it: all logs together where the disk can, else one by one.
fn sync_recovered(disk: &MemDisk, log: &mut Log, now: Now) -> Result<(), Stop> {
    let flush = log.shared_flush()?;
    let covers = flush.covers;
    match SharedFlush::run(disk, Path::new(ROOT), &[flush])? {
        true => log.flushed(covers, now),
        false => log.sync(now)?,
    }
    Ok(())
}

impl World {
    pub(crate) fn new(seed: u64, prepare: &dyn Fn(&MemDisk)) -> Self {
        let disk = MemDisk::with_dirs(&[ROOT]);
        prepare(&disk);
        let mut rng = Rng::new(seed);
        let config = config(&mut rng);
        let shares = rng.chance(1, 2);
        if !shares {
            disk.refuse_tree_syncs();
        }
        let producers = (0..3).map(|id| Client { id, epoch: 0, sequence: 0, in_txn: false });
        Self {
            disk,
            model: Model::default(),
            log: None,
            config,
            rng,
            clock: 0,
            epoch: 1,
            producers: producers.collect(),
            flush: None,
            deletions: Vec::new(),
            shares,
        }
    }

    pub(crate) fn config(&self) -> &LogConfig {
        &self.config
    }

    pub(crate) fn now(&self) -> Now {
        let micros = u64::try_from(self.clock).unwrap() * 1000;
        Now { monotonic: Monotonic(micros), wall: Timestamp(T0 + self.clock) }
    }

    /// Runs to the end, or until an operation fails.
    pub(crate) fn run(&mut self) -> Result<(), Stop> {
        self.reopen()?;
        for _ in 0..STEPS {
            self.clock += 10;
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Stop> {
        match self.rng.below(100) {
            0..48 => self.append(),
            48..56 => self.end_txn(),
            56..62 => self.follow(),
            62..74 => self.begin_flush(),
            74..80 => self.end_flush(),
            80..84 => self.checkpoint(),
            84..87 => self.truncate(),
            87..88 => self.start_over(),
            88..92 => self.delete_records(),
            92..94 => {
                let now = self.now();
                Ok(self.log()?.roll(now)?)
            }
            94..96 => {
                self.epoch += 1;
                let epoch = LeaderEpoch(self.epoch);
                self.log()?.assign_epoch_start(epoch);
                Ok(())
            }
            _ => self.stop_and_start(),
        }
    }

    fn log(&mut self) -> Result<&mut Log, Stop> {
        self.log.as_mut().ok_or_else(|| Stop("no log".into()))
    }

    fn reopen(&mut self) -> Result<(), Stop> {
        self.log = Some(open(&self.disk, &self.config, self.now())?);
        Ok(())
    }

    /// A batch that no other equals.
    fn records(&mut self, options: BatchOptions) -> (Vec<u8>, i32) {
        let mut builder = BatchBuilder::new(options);
        let count = self.rng.between(1, 3);
        for _ in 0..count {
            let len = self.rng.between(8, 200) as usize;
            let value = self.rng.bytes(len);
            let late = self.rng.below(25) as i64;
            builder.append(Timestamp(T0 + self.clock - late), Some(b"k"), Some(&value)).unwrap();
        }
        (builder.build().unwrap(), count as i32)
    }

    fn append(&mut self) -> Result<(), Stop> {
        if self.rng.chance(1, 3) {
            let (bytes, _) = self.records(BatchOptions::default());
            return self.append_as_leader(&bytes).map(|_| ());
        }
        let at = self.rng.below(self.producers.len() as u64) as usize;
        let client = self.producers[at];
        let transactional = client.in_txn || (client.id > 0 && self.rng.chance(1, 2));
        let (bytes, count) = self.records(BatchOptions {
            transactional,
            producer_id: ProducerId(client.id),
            producer_epoch: ProducerEpoch(client.epoch),
            base_sequence: client.sequence,
            ..BatchOptions::default()
        });
        if self.append_as_leader(&bytes)? {
            let client = &mut self.producers[at];
            client.sequence += count;
            client.in_txn = transactional;
        }
        Ok(())
    }

    fn append_as_leader(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
        let (now, epoch) = (self.now(), LeaderEpoch(self.epoch));
        let batch = validate(bytes, &rules, now).map_err(|e| Stop(format!("{e:?}")))?;
        let expected = placed(bytes, Offset(self.model.end), epoch);
        self.written(&expected);
        match self.log()?.append_as_leader(&batch, None, epoch, now) {
            Ok(appended)
                if appended.base_offset.0 + 1 + i64::from(batch.header().last_offset_delta)
                    == self.model.end =>
            {
                Ok(true)
            }
            Ok(appended) => {
                Err(Stop(format!("appended {appended:?}, want the end {}", self.model.end)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes may be on the disk even if the append fails in the crash.
    fn written(&mut self, bytes: &[u8]) {
        self.model.append(bytes);
    }

    fn end_txn(&mut self) -> Result<(), Stop> {
        let Some(at) = self.producers.iter().position(|client| client.in_txn) else {
            return Ok(());
        };
        let client = self.producers[at];
        // With transaction.version 2 the marker's epoch is the data's plus one, sometimes not.
        let committed = self.rng.chance(1, 3);
        let bump = i16::from(self.rng.chance(1, 2));
        let now = self.now();
        let marker = TxnMarker {
            producer_id: ProducerId(client.id),
            epoch: ProducerEpoch(client.epoch + bump),
            end: if committed { TxnEnd::Commit } else { TxnEnd::Abort },
            coordinator_epoch: 1,
            timestamp: now.wall,
        };
        let options = BatchOptions {
            producer_id: marker.producer_id,
            producer_epoch: marker.epoch,
            ..BatchOptions::default()
        };
        let bytes =
            EndTxnMarker { committed, coordinator_epoch: 1 }.build(options, now.wall).unwrap();
        let epoch = LeaderEpoch(self.epoch);
        let expected = placed(&bytes, Offset(self.model.end), epoch);
        self.written(&expected);
        self.log()?.append_marker(&marker, bump == 1, epoch, now)?;
        let client = &mut self.producers[at];
        client.in_txn = false;
        if bump == 1 {
            (client.epoch, client.sequence) = (client.epoch + 1, 0);
        }
        Ok(())
    }

    /// Batches of another leader, with its offsets and epochs.
    fn follow(&mut self) -> Result<(), Stop> {
        let (mut all, mut next) = (Vec::new(), Offset(self.model.end));
        if self.rng.chance(1, 3) {
            self.epoch += 1;
        }
        for _ in 0..self.rng.between(1, 2) {
            let (bytes, _) = self.records(BatchOptions::default());
            let bytes = placed(&bytes, next, LeaderEpoch(self.epoch));
            next = BatchView::parse(&bytes).unwrap().header().next_offset();
            all.extend_from_slice(&bytes);
        }
        if all.len() > self.config.segment_bytes as usize {
            return Ok(());
        }
        self.written(&all);
        let now = self.now();
        self.log()?.append_as_follower(&all, now)?;
        Ok(())
    }

    fn begin_flush(&mut self) -> Result<(), Stop> {
        self.flush = Some(match self.rng.below(4) {
            0 => Flush::Alone(self.log()?.background_flush_work()?),
            1 if self.shares => Flush::Shared(self.log()?.shared_flush()?),
            _ => Flush::Alone(self.log()?.flush_work()?),
        });
        if self.rng.chance(2, 3) { self.end_flush() } else { Ok(()) }
    }

    fn end_flush(&mut self) -> Result<(), Stop> {
        let Some(work) = self.flush.take() else { return Ok(()) };
        let covers = work.run(&self.disk)?;
        let now = self.now();
        let log = self.log()?;
        log.flushed(covers, now);
        let durable = log.flushed_offset().0;
        self.model.durable = self.model.durable.max(durable.min(self.model.end));
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Stop> {
        let log = self.log()?;
        let (recovery, start) = (log.flushed_offset(), log.log_start_offset());
        for (name, offset) in [(RECOVERY_POINT, recovery), (LOG_START, start)] {
            let entry = [(TOPIC, PartitionIndex(0), offset)];
            checkpoint::write(&self.disk, Path::new(ROOT), name, entry)?;
        }
        self.log()?.checkpointed(recovery);
        Ok(())
    }

    /// A truncation is followed by a checkpoint before anything is appended: otherwise new records
    /// could lie below the recovery point of old ones.
    fn truncate(&mut self) -> Result<(), Stop> {
        let start = self.model.log_start;
        let bases: Vec<i64> =
            self.model.batches.iter().map(|b| b.base).filter(|&base| base >= start).collect();
        if bases.is_empty() {
            return Ok(());
        }
        let recent = bases.len() - bases.len().min(*self.rng.pick(&[3, 12]));
        let end = *self.rng.pick(&bases[recent..]);
        self.flush = self.flush.take().filter(|_| self.rng.chance(1, 2));
        self.model.begin_truncation(end);
        self.log()?.truncate_to(Offset(end))?;
        self.model.truncate(end);
        self.forget_clients();
        self.checkpoint()
    }

    fn start_over(&mut self) -> Result<(), Stop> {
        let start = self.model.end + self.rng.below(5) as i64;
        self.model.begin_truncation(0);
        self.model.may_be_empty = true;
        let now = self.now();
        let log = self.log()?;
        log.truncate_fully_and_start_at(Offset(start), now.wall)?;
        self.flush = None;
        self.checkpoint()?;
        self.model = Model { log_start: start, end: start, durable: start, ..Model::default() };
        self.forget_clients();
        Ok(())
    }

    /// After a truncation producers go on under new ids, as nothing is known of their state here.
    fn forget_clients(&mut self) {
        for client in &mut self.producers {
            *client = Client { id: client.id + 10, epoch: 0, sequence: 0, in_txn: false };
        }
    }

    fn delete_records(&mut self) -> Result<(), Stop> {
        let start = self.model.log_start;
        let bases: Vec<i64> =
            self.model.batches.iter().map(|b| b.base).filter(|&base| base > start).collect();
        if !bases.is_empty() && self.rng.chance(1, 2) {
            let to = *self.rng.pick(&bases[..bases.len().div_ceil(2)]);
            self.model.log_start = to;
            self.log()?.increase_log_start_offset(Offset(to));
        }
        let (now, end) = (self.now(), Offset(self.model.end));
        // Retention may delete everything: all of it is replicated here.
        let before = std::mem::replace(&mut self.model.log_start, self.model.end);
        let durable = self.model.durable;
        let retired = self.log()?.enforce_retention(end, now)?;
        if let Some(retired) = retired {
            // If nobody changes the names, the log itself does before it changes others.
            if self.rng.chance(3, 4) {
                retired.names.run()?;
                self.deletions.push(retired.files);
            }
        }
        self.model.log_start = self.log()?.log_start_offset().0.max(before);
        self.model.durable = durable.max(self.model.log_start.min(durable));
        if self.rng.chance(1, 2) {
            for work in std::mem::take(&mut self.deletions) {
                work.run()?;
            }
        }
        Ok(())
    }

    fn stop_and_start(&mut self) -> Result<(), Stop> {
        (self.flush, self.deletions) = (None, Vec::new());
        let now = self.now();
        self.log()?.close(now)?;
        self.checkpoint()?;
        CleanShutdown { broker_epoch: Some(1) }.write(&self.disk, Path::new(ROOT))?;
        self.model.durable = self.model.end;
        self.log = None;
        self.reopen()?;
        let log = self.log.as_ref().ok_or_else(|| Stop("no log".into()))?;
        self.model.check(log).map_err(|what| Stop(format!("after a clean stop: {what}")))
    }
}

/// `bytes` with the place the leader gives them.
fn placed(bytes: &[u8], base: Offset, epoch: LeaderEpoch) -> Vec<u8> {
    let view = BatchView::parse(bytes).unwrap();
    let mut placed = patch_header(view.header_bytes(), base, epoch).to_vec();
    placed.extend_from_slice(view.records_payload());
    placed
}

/// What a broker does after a restart: it appends, flushes, and tells the client.
pub(crate) fn append_durably(log: &mut Log, model: &mut Model, now: Now) -> Result<(), Stop> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(now.wall, None, Some(b"after the crash")).unwrap();
    let bytes = builder.build().unwrap();
    let epoch = LeaderEpoch(1000);
    let end = log.log_end_offset();
    model.truncate(end.0);
    let empty = log.log_start_offset() == end && log.producers().next().is_none();
    if std::mem::take(&mut model.may_be_empty) && empty {
        *model = Model { log_start: end.0, ..Model::default() };
    }
    model.end = end.0;
    model.append(&placed(&bytes, end, epoch));
    let batch =
        validate(&bytes, &ProduceRules::default(), now).map_err(|e| Stop(format!("{e:?}")))?;
    match log.append_as_leader(&batch, None, epoch, now) {
        Err(AppendError::Storage(StorageError::Full { .. })) => return Err(Stop("full".into())),
        other => other?,
    };
    let work = log.flush_work()?;
    work.run()?;
    log.flushed(work.covers, now);
    model.durable = log.flushed_offset().0;
    Ok(())
}
