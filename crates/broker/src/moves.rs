//! Moves replicas between the log directories of this broker (KIP-113, KIP-858).
//!
//! A replica is copied on the background lane, step by step and not faster than
//! `replica.alter.log.dirs.io.max.bytes.per.second`, to a directory called
//! `<topic>-<partition>.<id>-future`. When the copy has caught up:
//!
//! 1. The controller is told, so that the metadata names the new directory.
//! 2. No flush of the partition begins any more; the copy is synced and so holds all that is synced
//!    of the replica; the log start of the copy is written to the checkpoint of its directory.
//! 3. Under the partition's lock the rest is copied, the copy's directory gets the replica's name, and
//!    the copy takes the log's place.
//! 4. The name is synced, then the old directory is renamed to `-delete`.
//!
//! So there is a directory with the replica's name at every moment. A crash may leave two of them:
//! then the one that the metadata names counts ([`Broker::directory_for`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::ids::{Monotonic, Offset, PartitionIndex};
use ottla_storage::dirs::{self, LogKind, PartitionMetadata};
use ottla_storage::{AppendError, Log, LogDisk, OpenLog, StorageError, checkpoint};
use parking_lot::Mutex;

use crate::Broker;
use crate::jobs::Job;
use crate::partition::{Directory, Partition, PartitionError};

/// Most bytes copied in one step.
const STEP_BYTES_MAX: f64 = 1_048_576.0;
/// Bytes of a step however low the rate is.
const STEP_BYTES_MIN: f64 = 16_384.0;
/// Steps a second that the rate is spread over.
const STEPS_PER_SECOND: f64 = 10.0;
/// The copy is synced after so many bytes, so that the last sync is short.
const SYNC_BYTES: u64 = 64 << 20;
/// Most bytes that are copied while the partition is locked.
const REST_BYTES_MAX: u32 = 256 << 10;
/// How soon a step looks again whether the controller knows the directory, or a flush has ended.
const SOON_MS: i64 = 10;
/// How soon the controller is told again, or a full disk tried again.
const RETRY_MS: i64 = 1000;
/// The dynamic setting that bounds the rate; Kafka declares it for brokers only.
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// Topic id and index.
type Id = (Uuid, PartitionIndex);

/// The replicas that are being moved: at most one entry per partition of this broker.
#[derive(Default)]
pub(crate) struct Moves {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A job is submitted, or waits for its time.
    running: bool,
    stopped: bool,
    /// The one that had its turn last.
    last: Option<Id>,
    moves: BTreeMap<Id, Move>,
}

struct Move {
    partition: Arc<Partition>,
    wanted: Arc<Directory>,
    /// Taken out while a step works on it.
    copy: Option<Copy>,
    /// What the copy holds: its directory, bytes and end.
    shown: Option<(Uuid, u64, Offset)>,
    /// The directory that the controller is to know, before the replica is there.
    assigned: Option<Uuid>,
}

/// A move whose turn it is.
struct Turn {
    id: Id,
    partition: Arc<Partition>,
    wanted: Arc<Directory>,
    copy: Option<Copy>,
}

/// The copy of a replica.
struct Copy {
    target: Arc<Directory>,
    dir_name: String,
    /// `None`: found at start, to be opened.
    log: Option<Log>,
    /// What was found at start may not reach farther: what lies above may differ.
    end_max: Option<Offset>,
    unsynced: u64,
    told_at: Option<Monotonic>,
}

/// A copy as DescribeLogDirs shows it.
pub(crate) struct Shown {
    pub(crate) partition: Arc<Partition>,
    pub(crate) directory: Uuid,
    pub(crate) bytes: u64,
    pub(crate) lag: i64,
}

/// What a step of a move came to.
enum Step {
    /// Go on after so many milliseconds.
    After(i64),
    /// The replica is where it is wanted, or the move is given up.
    Over,
}

/// Why a move does not go on.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("the replica cannot be read: {0}")]
    Source(#[from] PartitionError),
    #[error("the copy cannot be written: {0}")]
    Copy(#[from] AppendError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Dirs(#[from] dirs::DirsError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Moves {
    /// The directory that the controller is to know for a replica that is being moved.
    pub(crate) fn assigned(&self, id: Id) -> Option<Uuid> {
        self.state.lock().moves.get(&id)?.assigned
    }

    /// Whether the replica is being moved.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.state.lock().moves.contains_key(&id)
    }

    /// All copies that are under way.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let show = |entry: &Move| {
            let (directory, bytes, end) = entry.shown?;
            let lag = entry.partition.log_end_offset().0.saturating_sub(end.0).max(0);
            let partition = Arc::clone(&entry.partition);
            Some(Shown { partition, directory, bytes, lag })
        };
        state.moves.values().filter_map(show).collect()
    }

    /// Begins no further step, and closes the copies: a later start goes on with them.
    pub(crate) fn stop(&self, broker: &Broker) {
        let now = broker.env().now();
        let mut state = self.state.lock();
        state.stopped = true;
        for entry in state.moves.values_mut() {
            let Some(log) = entry.copy.as_mut().and_then(|copy| copy.log.as_mut()) else {
                continue;
            };
            if let Err(error) = log.close(now) {
                tracing::warn!(partition = %entry.partition.name, "the copy was not closed: {error}");
            }
        }
    }

    /// The next move in turn, with its copy taken out.
    fn take(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        let after = state.last.and_then(|last| {
            state.moves.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).next()
        });
        let id = after.or_else(|| state.moves.iter().next()).map(|(id, _)| *id);
        let Some(id) = id.filter(|_| !state.stopped) else {
            state.running = false;
            return None;
        };
        state.last = Some(id);
        let entry = state.moves.get_mut(&id)?;
        Some(Turn {
            id,
            partition: Arc::clone(&entry.partition),
            wanted: Arc::clone(&entry.wanted),
            copy: entry.copy.take(),
        })
    }

    /// Puts a copy back, or ends the move if it is over and nothing else is wanted by now.
    fn put(&self, id: Id, copy: Option<Copy>, over: Option<&Directory>) {
        let mut state = self.state.lock();
        let Some(entry) = state.moves.get_mut(&id) else { return };
        if over.is_some_and(|done| entry.wanted.id == done.id) {
            state.moves.remove(&id);
            return;
        }
        entry.shown = copy.as_ref().and_then(|copy| {
            let log = copy.log.as_ref()?;
            Some((copy.target.id, log.size_bytes(), log.log_end_offset()))
        });
        entry.copy = copy;
    }

    fn assign(&self, id: Id, directory: Option<Uuid>) {
        if let Some(entry) = self.state.lock().moves.get_mut(&id) {
            entry.assigned = directory;
        }
    }
}

fn id(partition: &Partition) -> Id {
    (partition.name.topic_id, partition.name.index)
}

impl Broker {
    /// Wants a replica in another directory, or back in the one it is in.
    pub(crate) fn move_replica(&self, partition: &Arc<Partition>, wanted: &Arc<Directory>) {
        self.begin_move(partition, wanted, None);
    }

    fn begin_move(&self, partition: &Arc<Partition>, wanted: &Arc<Directory>, copy: Option<Copy>) {
        let mut state = self.moves.state.lock();
        let stays = partition.directory().id == wanted.id;
        match state.moves.get_mut(&id(partition)) {
            Some(entry) => entry.wanted = Arc::clone(wanted),
            None if stays => return,
            None => {
                let entry = Move {
                    partition: Arc::clone(partition),
                    wanted: Arc::clone(wanted),
                    copy,
                    shown: None,
                    assigned: None,
                };
                state.moves.insert(id(partition), entry);
            }
        }
        if !std::mem::replace(&mut state.running, true) {
            self.env().submit(Job::Move);
        }
    }

    /// Goes on with the copies that the last run left. Their partitions are open and take nothing yet.
    pub(crate) fn resume_moves(&self) {
        let image = self.image();
        for directory in self.directories.iter().filter(|d| d.offline().is_none()) {
            let listing = match dirs::list_logs(self.disk(), &directory.path) {
                Ok(listing) => listing,
                Err(error) => {
                    directory.take_offline(&error.to_string());
                    continue;
                }
            };
            for found in listing.logs.iter().filter(|log| log.kind == LogKind::Future) {
                let topic = image.topic(&found.topic);
                let partition =
                    topic.and_then(|topic| self.partitions.get(topic.id, found.partition.0));
                let path = directory.path.join(&found.dir_name);
                let is_copy = partition.as_ref().is_some_and(|partition| {
                    let known = PartitionMetadata::read(self.disk(), &path).ok().flatten();
                    known.is_some_and(|known| known.topic_id == partition.name.topic_id)
                        && partition.directory().id != directory.id
                        && !self.moves.has(id(partition))
                });
                match partition.filter(|_| is_copy) {
                    Some(partition) => self.resume_move(&partition, directory, &found.dir_name),
                    None => {
                        let named = (found.topic.as_str(), found.partition);
                        if let Err(error) = self.mark_deleted(directory, &found.dir_name, named) {
                            directory.take_offline(&error.to_string());
                        }
                    }
                }
            }
        }
    }

    fn resume_move(&self, partition: &Arc<Partition>, target: &Arc<Directory>, dir_name: &str) {
        tracing::info!(partition = %partition.name, to = %target.path.display(), "the move goes on");
        let copy = Copy {
            target: Arc::clone(target),
            dir_name: dir_name.to_owned(),
            log: None,
            end_max: Some(partition.log_end_offset()),
            unsynced: 0,
            told_at: None,
        };
        self.begin_move(partition, target, Some(copy));
    }

    /// One step of one move, and when the next one is due.
    pub(crate) fn run_moves(&self) {
        let Some(Turn { id, partition, wanted, mut copy }) = self.moves.take() else { return };
        let wait_ms = match self.step_move(&partition, &wanted, &mut copy) {
            Ok(Step::After(wait_ms)) => {
                self.moves.put(id, copy, None);
                wait_ms
            }
            Ok(Step::Over) => {
                self.moves.put(id, copy, Some(&wanted));
                0
            }
            Err(stop) => {
                self.give_up_move(&partition, &wanted, (copy, &stop));
                0
            }
        };
        if wait_ms <= 0 {
            self.env().submit(Job::Move);
        } else {
            self.run_at(self.env().now().monotonic.plus_millis(wait_ms), Job::Move);
        }
    }

    fn step_move(
        &self,
        partition: &Arc<Partition>,
        wanted: &Arc<Directory>,
        copy: &mut Option<Copy>,
    ) -> Result<Step, Stop> {
        let here = partition.directory();
        let useless = |copy: &Copy| partition.is_deleted() || copy.target.id != wanted.id;
        if let Some(old) = copy.take_if(|copy| useless(copy) || here.id == wanted.id) {
            self.discard(partition, old)?;
            self.tell_directory(partition, None);
        }
        if partition.is_deleted() || here.id == wanted.id {
            return Ok(Step::Over);
        }
        if wanted.offline().is_some() {
            return Err(std::io::Error::other("the directory is offline").into());
        }
        let copy = match copy {
            Some(copy) => copy,
            None => copy.insert(self.new_copy(partition, wanted)),
        };
        self.open_copy(partition, copy)?;
        match self.copy_some(partition, copy) {
            Ok(Some(wait_ms)) => return Ok(Step::After(wait_ms)),
            Ok(None) => {}
            Err(Stop::Copy(AppendError::Storage(error)) | Stop::Storage(error))
                if !error.is_fatal() =>
            {
                tracing::warn!(partition = %partition.name, "the move is tried again: {error}");
                return Ok(Step::After(RETRY_MS));
            }
            Err(stop) => return Err(stop),
        }
        if !self.is_assigned(partition, wanted) {
            self.tell_wanted(partition, copy);
            return Ok(Step::After(SOON_MS));
        }
        if self.switch(partition, copy)? { Ok(Step::Over) } else { Ok(Step::After(SOON_MS)) }
    }

    fn new_copy(&self, partition: &Partition, target: &Arc<Directory>) -> Copy {
        let name = &partition.name;
        Copy {
            target: Arc::clone(target),
            dir_name: dirs::future_dir_name(&name.topic, name.index, self.random_uuid()),
            log: None,
            end_max: None,
            unsynced: 0,
            told_at: None,
        }
    }

    /// Opens or creates the copy's log.
    fn open_copy(&self, partition: &Partition, copy: &mut Copy) -> Result<(), Stop> {
        if copy.log.is_some() {
            return Ok(());
        }
        let path = copy.target.path.join(&copy.dir_name);
        let found = self.directories.iter().position(|directory| directory.id == copy.target.id);
        let was_closed = found.and_then(|at| self.leftovers.get(at)).is_some_and(|left| left.clean);
        let is_new = copy.end_max.is_none();
        let (start, _, _) = partition.read_to_copy(Offset::ZERO, 0)?;
        let options = OpenLog {
            recovery_point: Offset::ZERO,
            log_start_offset: if is_new { start } else { Offset::ZERO },
            clean: !is_new && was_closed,
            now: self.env().now(),
        };
        let config = partition.log_config();
        let disk =
            LogDisk { disk: Arc::clone(&self.disk), open_files: Arc::clone(&self.open_files) };
        // What was recovered is synced before the copy counts, with all the rest.
        let (mut log, _) = Log::open(disk, path.clone(), config, options)
            .map_err(|error| self.copy_failed(&copy.target, error))?;
        if let Some(end) = copy.end_max {
            log.truncate_to(end)?;
        }
        PartitionMetadata { topic_id: partition.name.topic_id }
            .write_unsynced(self.disk(), &path)?;
        copy.log = Some(log);
        Ok(())
    }

    /// Copies some more. `None` if that was all there was; else how long the rate lets it wait.
    fn copy_some(&self, partition: &Partition, copy: &mut Copy) -> Result<Option<i64>, Stop> {
        let rate = self.config().text(RATE).and_then(|text| text.trim().parse::<f64>().ok());
        let rate = rate.unwrap_or(f64::INFINITY).max(1.0);
        let budget = (rate / STEPS_PER_SECOND).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let Some(log) = copy.log.as_mut() else { return Ok(None) };
        let begun = self.env().now();
        let end = log.log_end_offset();
        let (start, source_end, slice) = partition.read_to_copy(end, budget as u32)?;
        if start > log.log_start_offset() {
            // Retention or DeleteRecords went on.
            if start >= end {
                log.truncate_fully_and_start_at(start, begun.wall)?;
                return Ok(Some(0));
            }
            log.increase_log_start_offset(start);
        }
        if end > source_end {
            log.truncate_to(source_end)?;
        }
        let Some(slice) = slice else { return Ok(None) };
        let bytes = slice.read()?;
        if !slice.is_intact() {
            return Ok(Some(0));
        }
        log.append_as_follower(&bytes, begun)?;
        copy.unsynced += bytes.len() as u64;
        let is_all = log.log_end_offset() >= source_end;
        if copy.unsynced >= SYNC_BYTES {
            self.sync_copy(copy)?;
        }
        if is_all {
            return Ok(None);
        }
        let elapsed = self.env().now().monotonic.since(begun.monotonic).as_secs_f64();
        let wait_ms = (bytes.len() as f64 / rate - elapsed) * 1000.0;
        Ok(Some(wait_ms as i64))
    }

    fn sync_copy(&self, copy: &mut Copy) -> Result<(), Stop> {
        let Some(log) = copy.log.as_mut() else { return Ok(()) };
        let work = log.flush_work()?;
        work.run()?;
        log.flushed(work.covers, self.env().now());
        copy.unsynced = 0;
        Ok(())
    }

    /// Whether the metadata names the directory; metadata of old versions names none.
    fn is_assigned(&self, partition: &Partition, wanted: &Directory) -> bool {
        let image = self.image();
        if !image.metadata_version().has_directories() {
            return true;
        }
        let name = &partition.name;
        let found = image.partition(name.topic_id, name.index);
        found.and_then(|found| found.directory_of(self.node_id())) == Some(wanted.id)
    }

    fn tell_wanted(&self, partition: &Partition, copy: &mut Copy) {
        let now = self.env().now().monotonic;
        if copy.told_at.is_none_or(|at| now >= at.plus_millis(RETRY_MS)) {
            copy.told_at = Some(now);
            self.tell_directory(partition, Some(copy.target.id));
        }
    }

    /// Tells the controller where the replica is, or is about to be.
    fn tell_directory(&self, partition: &Partition, wanted: Option<Uuid>) {
        self.moves.assign(id(partition), wanted);
        let image = self.image();
        self.assign_directories(&image, image.topic_by_id(partition.name.topic_id));
    }

    /// Puts the copy in the replica's place. False if it has to be tried again.
    fn switch(&self, partition: &Arc<Partition>, copy: &mut Copy) -> Result<bool, Stop> {
        // First without holding anybody up.
        self.sync_copy(copy)?;
        if !partition.hold_flushes() {
            return Ok(false);
        }
        let old = partition.directory();
        let switched = self.switch_held(partition, copy);
        if !matches!(switched, Ok(true)) {
            if partition.release_flushes() {
                self.env().submit(Job::Flush(Arc::clone(partition)));
            }
            return switched;
        }
        self.env().submit(Job::Flush(Arc::clone(partition)));
        // The log is the old one now.
        if let Some(mut log) = copy.log.take() {
            log.leave_directory();
            log.go_offline();
        }
        let name = &partition.name;
        let target = partition.directory();
        target.changed.everything();
        old.changed.everything();
        if let Err(error) = self.disk().sync_dir(&target.path) {
            target.take_offline(&format!("{}: {error}", target.path.display()));
            return Ok(true);
        }
        let from = dirs::log_dir_name(&name.topic, name.index);
        if let Err(error) = self.mark_deleted(&old, &from, (&name.topic, name.index)) {
            old.take_offline(&format!("{name} was moved and cannot be deleted: {error}"));
        }
        tracing::info!(
            partition = %name, from = %old.path.display(), to = %target.path.display(),
            "the replica was moved"
        );
        Ok(true)
    }

    fn switch_held(&self, partition: &Arc<Partition>, copy: &mut Copy) -> Result<bool, Stop> {
        self.copy_some(partition, copy)?;
        self.sync_copy(copy)?;
        self.cleaner.forget(partition);
        let start = self.checkpoint_start(partition, copy)?;
        let name = log_name(partition);
        let (from, to) = (copy.target.path.join(&copy.dir_name), copy.target.path.join(name));
        if self.disk().exists(&to)? {
            let what = format!("{} is in the way; remove it", to.display());
            return Err(std::io::Error::other(what).into());
        }
        let now = self.env().now();
        let Some(log) = copy.log.as_mut() else { return Ok(false) };
        partition.switch_log(log, &copy.target, |log, current| -> Result<bool, Stop> {
            if current.log_start_offset() != start || !copy_rest(log, current, now)? {
                return Ok(false);
            }
            if log.flushed_offset() < current.flushed_offset() {
                return Ok(false);
            }
            self.disk().rename(&from, &to)?;
            log.moved_to(&to, current.flushed_offset());
            Ok(true)
        })
    }

    /// Writes the log starts of the copy's directory, with that of the copy: without it records that
    /// were deleted would be there again after a crash. Returns the log start.
    fn checkpoint_start(&self, partition: &Partition, copy: &Copy) -> Result<Offset, Stop> {
        let start = copy.log.as_ref().map_or(Offset::ZERO, Log::log_start_offset);
        let all = self.partitions.all();
        let here = all.iter().filter(|other| other.directory().id == copy.target.id);
        let entries = here.filter_map(|other| {
            Some((&*other.name.topic, other.name.index, other.log_start_to_checkpoint()?))
        });
        let own = (&*partition.name.topic, partition.name.index, start);
        let own = Some(own).filter(|_| start > Offset::ZERO);
        let path = &copy.target.path;
        checkpoint::write(self.disk(), path, checkpoint::LOG_START, entries.chain(own))?;
        Ok(start)
    }

    /// A copy that nobody wants.
    fn discard(&self, partition: &Partition, copy: Copy) -> Result<(), Stop> {
        drop(copy.log);
        if copy.target.offline().is_some() {
            return Ok(());
        }
        let path = copy.target.path.join(&copy.dir_name);
        if self.disk().exists(&path)? {
            let name = &partition.name;
            self.mark_deleted(&copy.target, &copy.dir_name, (&name.topic, name.index))?;
        }
        Ok(())
    }

    fn give_up_move(
        &self,
        partition: &Arc<Partition>,
        wanted: &Arc<Directory>,
        (copy, stop): (Option<Copy>, &Stop),
    ) {
        tracing::error!(
            partition = %partition.name, to = %wanted.path.display(),
            "the replica stays where it is: {stop}"
        );
        let fatal = match stop {
            Stop::Source(_) => false,
            Stop::Copy(AppendError::Storage(error)) | Stop::Storage(error) => error.is_fatal(),
            Stop::Copy(_) => false,
            Stop::Dirs(error) => !error.is_full(),
            Stop::Io(error) => !ottla_storage::is_temporary(error) && wanted.offline().is_none(),
        };
        if fatal {
            wanted.take_offline(&format!("a copy of {} failed: {stop}", partition.name));
        }
        if let Some(Err(error)) = copy.map(|copy| self.discard(partition, copy)) {
            tracing::warn!(partition = %partition.name, "the copy was left behind: {error}");
        }
        self.moves.put(id(partition), None, Some(wanted));
        self.tell_directory(partition, None);
    }

    fn copy_failed(&self, target: &Directory, error: StorageError) -> Stop {
        if error.is_fatal() {
            target.take_offline(&error.to_string());
        }
        error.into()
    }
}

fn log_name(partition: &Partition) -> String {
    dirs::log_dir_name(&partition.name.topic, partition.name.index)
}

/// Copies what was appended since, if it is little. Everybody who wants the partition waits.
fn copy_rest(copy: &mut Log, current: &Log, now: ottla_protocol::ids::Now) -> Result<bool, Stop> {
    let (from, end) = (copy.log_end_offset(), current.log_end_offset());
    if from == end {
        return Ok(true);
    }
    let slice = current.read(from, REST_BYTES_MAX, end, false).map_err(|error| match error {
        ottla_storage::ReadError::Storage(error) => Stop::Storage(error),
        error @ ottla_storage::ReadError::OutOfRange { .. } => {
            Stop::Io(std::io::Error::other(error.to_string()))
        }
    })?;
    copy.append_as_follower(&slice.read()?, now)?;
    Ok(copy.log_end_offset() == end)
}
