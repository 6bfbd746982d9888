//! Log compaction over all partitions: one log at a time, the one with most to gain first, in small
//! steps on the background lane, so that deletes and checkpoints get their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_config::{BrokerConfig, TopicConfig, keys};
use ottla_protocol::Uuid;
use ottla_protocol::ids::{Now, Offset, PartitionIndex};
use ottla_storage::checkpoint;
use ottla_storage::{
    CleanError, CleanProgress, CleanRules, CleanWork, Cleanable, Cleaning, DeleteWork, Installing,
    StorageError,
};
use parking_lot::{Mutex, MutexGuard};

use crate::Broker;
use crate::jobs::Job;
use crate::partition::{Partition, PartitionError};

/// Most bytes read in one step.
const STEP_BYTES_MAX: f64 = 4_194_304.0;
/// Bytes of a step however low `log.cleaner.io.max.bytes.per.second` is.
const STEP_BYTES_MIN: f64 = 65_536.0;
/// Steps a second that the limit on I/O is spread over.
const STEPS_PER_SECOND: f64 = 10.0;

/// Topic id and index.
type Id = (Uuid, PartitionIndex);

/// What is compacted, and how far everything is. Its maps hold partitions of this broker only.
#[derive(Default)]
pub(crate) struct Cleaner {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: bool,
    stopped: bool,
    progress: BTreeMap<Id, CleanProgress>,
    /// Logs with batches that cannot be compacted; tried again after a restart.
    uncleanable: BTreeSet<Id>,
    current: Option<Current>,
}

struct Current {
    partition: Arc<Partition>,
    work: CleanWork,
}

impl Cleaner {
    /// Ends a cleaning that is under way and begins no other. Waits for a step that runs.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.abandon();
    }
}

impl Cleaner {
    /// Forgets what is known of a partition's log: another one takes its place.
    pub(crate) fn forget(&self, partition: &Arc<Partition>) {
        let mut state = self.state.lock();
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.partition, partition))
        {
            state.abandon();
        }
        state.progress.remove(&id(partition));
    }
}

impl State {
    fn abandon(&mut self) {
        if let Some(current) = self.current.take() {
            current.work.abandon();
        }
    }
}

impl Broker {
    /// One step of compaction, and when the next one is due.
    pub(crate) fn run_cleaner(&self) {
        let wait_ms = {
            let mut state = self.cleaner.state.lock();
            if state.stopped {
                return;
            }
            self.clean_some(&mut state)
        };
        if wait_ms <= 0 {
            self.env().submit(Job::Clean);
        } else {
            let at = self.env().now().monotonic.plus_millis(wait_ms);
            self.run_at(at, Job::Clean);
        }
    }

    /// Returns after how many milliseconds to go on.
    fn clean_some(&self, state: &mut MutexGuard<'_, State>) -> i64 {
        let config = self.config();
        let backoff_ms = config.get(keys::LOG_CLEANER_BACKOFF_MS).max(1);
        if !config.get(keys::LOG_CLEANER_ENABLE) {
            state.abandon();
            return backoff_ms;
        }
        let now = self.env().now();
        if state.current.is_none() {
            self.load_progress(state);
            state.current = self.begin(state, &config, now);
        }
        let Some(mut current) = state.current.take() else { return backoff_ms };
        let bytes_per_second = config.get(keys::LOG_CLEANER_IO_MAX_BYTES_PER_SECOND).max(1.0);
        let budget = (bytes_per_second / STEPS_PER_SECOND).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let moved = |work: &mut CleanWork| work.take_moved_bytes() as f64;
        match self.step(&mut current, budget as u64, now) {
            Ok(Cleaning::Working | Cleaning::Ready) => {
                let due_ms = moved(&mut current.work) / bytes_per_second * 1000.0;
                state.current = Some(current);
                due_ms as i64 - self.elapsed_ms(now)
            }
            Ok(Cleaning::Finished) => {
                let Current { partition, work } = current;
                let progress = work.progress();
                tracing::debug!(partition = %partition.name, "compacted below {}", progress.first_dirty);
                state.progress.insert(id(&partition), progress);
                self.checkpoint_progress(state);
                0
            }
            Err(stop) => {
                current.work.abandon();
                if let Stop::Uncleanable(error) = stop {
                    give_up(state, &current.partition, &error);
                }
                backoff_ms
            }
        }
    }

    fn elapsed_ms(&self, since: Now) -> i64 {
        let elapsed = self.env().now().monotonic.since(since.monotonic);
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }

    fn step(&self, current: &mut Current, budget: u64, now: Now) -> Result<Cleaning, Stop> {
        let Current { partition, work } = current;
        // One that was deleted is not read on.
        if work.is_stale() || partition.with_log(None, |_, _| ()).is_err() {
            return Err(Stop::Quietly);
        }
        let done = match work.step(budget) {
            Ok(done) => done,
            Err(_) if work.is_stale() || partition.with_log(None, |_, _| ()).is_err() => {
                return Err(Stop::Quietly);
            }
            Err(CleanError::Changed) => return Err(Stop::Quietly),
            Err(error @ CleanError::Unreadable { .. }) => {
                return Err(Stop::Uncleanable(error.to_string()));
            }
            Err(CleanError::Storage(error)) => {
                let error = partition.storage_failed(&error);
                tracing::warn!(partition = %partition.name, "compaction stopped: {error}");
                return Err(Stop::Quietly);
            }
        };
        if done == Cleaning::Ready {
            match install(partition, work, now) {
                Ok(Some(replaced)) => self.run_at(replaced.due, Job::Delete(replaced)),
                Ok(None) | Err(PartitionError::NotLeader) => return Err(Stop::Quietly),
                Err(error) => {
                    tracing::warn!(partition = %partition.name, "compaction failed: {error}");
                    return Err(Stop::Quietly);
                }
            }
        }
        Ok(done)
    }

    /// Begins with the log of which the largest part is dirty.
    fn begin(&self, state: &mut State, config: &BrokerConfig, now: Now) -> Option<Current> {
        let all = self.partitions.all();
        let known: BTreeSet<Id> = all.iter().map(|partition| id(partition)).collect();
        state.progress.retain(|id, _| known.contains(id));
        state.uncleanable.retain(|id| known.contains(id));
        let mut best: Option<(Arc<Partition>, CleanRules, Cleanable)> = None;
        for partition in all {
            let topic = partition.topic_config();
            let left_alone = |id: Id| state.uncleanable.contains(&id) || self.moves.has(id);
            if !topic.compact || left_alone(id(&partition)) {
                continue;
            }
            let rules = rules(&topic, config);
            let progress = state.progress.get(&id(&partition)).copied();
            let found = partition.with_log(None, |log, offsets| {
                log.cleanable(&rules, progress, offsets.high_watermark, now)
            });
            match found {
                Ok(Ok(Some(found))) if best.as_ref().is_none_or(|b| filthier(&found, &b.2)) => {
                    best = Some((partition, rules, found));
                }
                Ok(Err(error)) => refused(state, &partition, &error),
                _ => {}
            }
        }
        let (partition, rules, cleanable) = best?;
        match partition.replace_segments(|log| Ok(log.start_cleaning(&rules, &cleanable, now))) {
            Ok(Ok(work)) => Some(Current { partition, work }),
            Ok(Err(error)) => {
                refused(state, &partition, &error);
                None
            }
            Err(_) => None,
        }
    }

    /// Reads `cleaner-offset-checkpoint` of every directory, once.
    fn load_progress(&self, state: &mut State) {
        if std::mem::replace(&mut state.loaded, true) {
            return;
        }
        let all = self.partitions.all();
        for directory in self.directories.iter().filter(|d| d.offline().is_none()) {
            let found = match checkpoint::read(self.disk(), &directory.path, checkpoint::CLEANER) {
                Ok(found) => found,
                Err(error) => {
                    directory.take_offline(&error.to_string());
                    continue;
                }
            };
            if let Some(damage) = found.damage {
                tracing::warn!("{damage}");
            }
            for partition in all.iter().filter(|p| p.directory().id == directory.id) {
                let key = (partition.name.topic.to_string(), partition.name.index);
                if let Some(&first_dirty) = found.offsets.get(&key) {
                    let progress = CleanProgress::from_checkpoint(first_dirty);
                    state.progress.insert(id(partition), progress);
                }
            }
        }
    }

    fn checkpoint_progress(&self, state: &State) {
        let first_dirty = |partition: &Partition| -> Option<Offset> {
            Some(state.progress.get(&id(partition))?.first_dirty)
        };
        for directory in &self.directories {
            let _written = self.write_checkpoint(directory, checkpoint::CLEANER, first_dirty);
        }
    }
}

/// Why a cleaning does not go on.
enum Stop {
    /// The log changed, or its directory has trouble that was reported already.
    Quietly,
    /// The log cannot be compacted, for this reason.
    Uncleanable(String),
}

/// Puts a compacted segment in its place. The partition's lock is not held while names change, which
/// waits for the disk. `None` if the log changed.
fn install(
    partition: &Partition,
    work: &mut CleanWork,
    now: Now,
) -> Result<Option<DeleteWork>, PartitionError> {
    loop {
        match partition.replace_segments(|log| log.install_step(work, now))? {
            Installing::Names(names) => {
                names.run().map_err(|error| partition.storage_failed(&error))?;
            }
            Installing::Done(replaced) => return Ok(Some(replaced)),
            Installing::Abandoned => return Ok(None),
        }
    }
}

fn id(partition: &Partition) -> Id {
    (partition.name.topic_id, partition.name.index)
}

/// Logs that are overdue come first, then those of which more is dirty.
fn filthier(a: &Cleanable, b: &Cleanable) -> bool {
    (a.overdue, a.dirty_ratio) > (b.overdue, b.dirty_ratio)
}

fn rules(topic: &TopicConfig, config: &BrokerConfig) -> CleanRules {
    let buffer = config.get(keys::LOG_CLEANER_DEDUPE_BUFFER_SIZE);
    CleanRules {
        min_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_lag_ms: topic.min_compaction_lag_ms,
        max_lag_ms: topic.max_compaction_lag_ms,
        delete_retention_ms: topic.delete_retention_ms,
        buffer_bytes: u64::try_from(buffer).unwrap_or(0),
        load_factor: config.get(keys::LOG_CLEANER_IO_BUFFER_LOAD_FACTOR),
    }
}

fn refused(state: &mut State, partition: &Partition, error: &StorageError) {
    if matches!(error, StorageError::Corrupt { .. }) {
        give_up(state, partition, &error.to_string());
    } else {
        partition.storage_failed(error);
    }
}

fn give_up(state: &mut State, partition: &Partition, error: &str) {
    tracing::warn!(partition = %partition.name, "the log is not compacted until a restart: {error}");
    state.uncleanable.insert(id(partition));
}
