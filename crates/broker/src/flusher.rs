//! Syncing what nobody waits for: what has been written for some time, so that a start after a crash
//! reads little, and what a start has recovered, before it is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_config::keys;
use ottla_protocol::ids::{Monotonic, Now};
use ottla_storage::{SharedFlush, is_temporary};

use crate::Broker;
use crate::jobs::{Due, FLUSH_CHECK_MS, Job};
use crate::partition::{Directory, Partition, Unsynced};

/// Recovery points that moved by other flushes are written at most so often, in milliseconds.
const CHECKPOINT_MS: i64 = 5000;

/// When it did what.
#[derive(Default)]
pub(crate) struct Flusher {
    /// Recovery points were written, in microseconds.
    checkpointed: AtomicU64,
}

impl Broker {
    /// Submits the job that flushes what is old enough, which sets the next look, or looks again
    /// later.
    pub(crate) fn look_for_unsynced(&self, now: Now) {
        let work = |d: &Arc<Directory>| d.has_unsynced() || d.changed.has_recovery_points();
        if self.directories.iter().any(work) {
            self.env().submit(Job::FlushAged);
        } else {
            self.timers.add(now.monotonic.plus_millis(FLUSH_CHECK_MS), Due::FlushAged);
        }
    }

    /// Looks at the logs that have unsynced records: those whose `flush.ms` passed are flushed, and
    /// if any has waited for `ottla.log.background.flush.ms`, all of them are, together.
    pub(crate) fn flush_aged(&self) {
        let now = self.env().now();
        let mut flushed = false;
        for directory in self.directories.iter().filter(|d| d.offline().is_none()) {
            let listed = directory.take_unsynced();
            let all: Vec<_> = listed
                .into_iter()
                .filter_map(|(id, index)| self.partitions.get(id, index.0))
                .collect();
            if self.look_at(&all, now) {
                self.flush_together(directory, &all);
                flushed = true;
            }
            all.iter().filter(|partition| partition.stays_unsynced(now)).for_each(|partition| {
                let id = (partition.name.topic_id, partition.name.index);
                partition.directory().add_unsynced(id);
            });
        }
        let last = Monotonic(self.flusher.checkpointed.load(Ordering::Relaxed));
        if flushed || now.monotonic >= last.plus_millis(CHECKPOINT_MS) {
            self.flusher.checkpointed.store(now.monotonic.0, Ordering::Relaxed);
            self.checkpoint_recovery_points();
        }
        // A busy disk is left alone for three times as long as this took.
        let end = self.env().now().monotonic;
        let took = i64::try_from(end.since(now.monotonic).as_millis()).unwrap_or(i64::MAX);
        let pause = took.saturating_mul(3).max(FLUSH_CHECK_MS);
        self.timers.add(end.plus_millis(pause), Due::FlushAged);
        self.env().schedule(end.plus_millis(pause));
    }

    /// Asks for the flushes that are due. Returns whether one in the background is.
    fn look_at(&self, all: &[Arc<Partition>], now: Now) -> bool {
        let age_ms = self.config().get(keys::OTTLA_LOG_BACKGROUND_FLUSH_MS);
        let mut due = false;
        for partition in all {
            match partition.unsynced(now) {
                Unsynced::Asked if partition.request_flush() => {
                    self.env().submit(Job::Flush(Arc::clone(partition)));
                }
                Unsynced::Since(waited_ms) => due |= age_ms >= 0 && waited_ms >= age_ms,
                Unsynced::Asked | Unsynced::Nothing => {}
            }
        }
        due
    }

    /// Flushes many logs of one directory at once, where the disk can do that.
    pub(crate) fn flush_together(&self, directory: &Arc<Directory>, all: &[Arc<Partition>]) {
        let mut begun = Vec::with_capacity(all.len());
        let mut flushes = Vec::with_capacity(all.len());
        for partition in all {
            match partition.begin_shared_flush() {
                // It was moved to another directory, maybe on another disk.
                Some(Ok(_)) if partition.directory().id != directory.id => {
                    partition.end_flush();
                    let id = (partition.name.topic_id, partition.name.index);
                    partition.directory().add_unsynced(id);
                }
                Some(Ok(flush)) => {
                    begun.push((partition, flush.covers));
                    flushes.push(flush);
                }
                Some(Err(error)) if error.is_fatal() => partition.flush_failed(&error.to_string()),
                Some(Err(_)) => partition.end_flush(),
                None => {}
            }
        }
        if begun.is_empty() {
            return;
        }
        let done = SharedFlush::run(self.disk(), &directory.path, &flushes);
        match done {
            Ok(true) => {
                for (partition, covers) in begun {
                    if partition.flushed(Ok(covers), self.env().now()) {
                        self.env().submit(Job::Flush(Arc::clone(partition)));
                    }
                }
            }
            Ok(false) => begun.iter().for_each(|(partition, _)| self.flush(partition)),
            Err(error) if is_temporary(&error) => {
                tracing::warn!("a flush in the background is tried again: {error}");
                begun.iter().for_each(|(partition, _)| partition.end_flush());
            }
            Err(error) => {
                let reason = error.to_string();
                begun.iter().for_each(|(partition, _)| partition.flush_failed(&reason));
            }
        }
    }

    /// Syncs what opening the logs recovered, before any of it is served.
    pub(crate) fn sync_recovered(&self) {
        for directory in self.directories.iter().filter(|d| d.offline().is_none()) {
            let recovered = std::mem::take(&mut *self.recovered.lock());
            let (here, rest) = recovered
                .into_iter()
                .partition(|partition| partition.directory().id == directory.id);
            *self.recovered.lock() = rest;
            self.flush_together(directory, &here);
            let is_left = |log: &Arc<Partition>| log.recovery_point() < log.log_end_offset();
            if here.iter().any(is_left) {
                self.sync_unflushed(directory);
            }
        }
        self.recovered.lock().clear();
    }

    /// A full disk refused the small files of a flush: makes durable what is there all the same. The
    /// recovery points stay, so that a start after a crash reads it again.
    fn sync_unflushed(&self, directory: &Arc<Directory>) {
        match self.disk().sync_tree(&directory.path) {
            Ok(_) => {}
            Err(error) if is_temporary(&error) => {
                tracing::warn!("{} was not synced: {error}", directory.path.display());
            }
            Err(error) => {
                directory.take_offline(&format!("{}: {error}", directory.path.display()));
            }
        }
    }
}
