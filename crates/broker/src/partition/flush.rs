//! When a partition's log is synced: asked for by acknowledgements, in the background, held while the log
//! is replaced, and at the end.

use ottla_protocol::ids::{Now, Offset};
use ottla_storage::{FlushWork, Flushed, SharedFlush, StorageError};

use super::{Partition, State};
use crate::wait::Wakes;

/// Whether a flush job of the partition is under way: at most one is, and it covers all that was
/// appended before it began (group commit).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    Idle,
    Running,
    /// None may begin: the log is about to be replaced by its copy in another directory.
    Held,
}

/// What of a log is not synced, for the flush in the background.
pub(crate) enum Unsynced {
    /// Everything is, or its acknowledgements see to it.
    Nothing,
    /// `flush.ms` or `flush.messages` ask for a flush.
    Asked,
    /// Records wait for so many milliseconds.
    Since(i64),
}

impl Partition {
    /// The work of a flush; it covers everything appended so far.
    ///
    /// # Errors
    /// The log is offline.
    pub fn flush_work(&self) -> Result<FlushWork, StorageError> {
        self.state.lock().log.flush_work()
    }

    /// Begins a flush that is run together with those of other logs. `None` if one is under way, or
    /// the topic was deleted. To be ended by [`Partition::flushed`], [`Partition::flush_failed`] or
    /// [`Partition::end_flush`].
    pub(crate) fn begin_shared_flush(&self) -> Option<Result<SharedFlush, StorageError>> {
        let mut state = self.state.lock();
        if state.deleted || !state.begin_flush() {
            return None;
        }
        Some(state.log.shared_flush())
    }

    /// A flush that was begun did not happen.
    pub(crate) fn end_flush(&self) {
        self.state.lock().flush = Flush::Idle;
    }

    /// What of the log is not synced.
    pub(crate) fn unsynced(&self, now: Now) -> Unsynced {
        let state = self.state.lock();
        let all = state.log.flushed_offset() >= state.log.log_end_offset();
        match state.unsynced_since {
            Some(since) if !all && !state.deleted && !state.synced_acks => {
                if state.log.needs_flush(now) {
                    return Unsynced::Asked;
                }
                let waited = now.monotonic.since(since).as_millis();
                Unsynced::Since(i64::try_from(waited).unwrap_or(i64::MAX))
            }
            _ => Unsynced::Nothing,
        }
    }

    /// Whether the partition is to be in the directory's list again, after a look at `now` that may
    /// have flushed it.
    pub(crate) fn stays_unsynced(&self, now: Now) -> bool {
        let mut state = self.state.lock();
        let left = state.log.flushed_offset() < state.log.log_end_offset() && !state.deleted;
        state.unsynced_since = match state.unsynced_since {
            Some(since) if left && state.log.last_flush() < since => Some(since),
            _ => left.then_some(now.monotonic),
        };
        left
    }

    /// Notes what the checkpoint durably says.
    pub(crate) fn checkpointed(&self, recovery_point: Offset) {
        self.state.lock().log.checkpointed(recovery_point);
    }

    /// Takes the result of a flush. Returns whether more was appended meanwhile that waits for the
    /// next one.
    pub fn flushed(&self, result: std::io::Result<Flushed>, now: Now) -> bool {
        let covers = match result {
            Ok(covers) => covers,
            Err(error) => {
                self.flush_failed(&error.to_string());
                return false;
            }
        };
        let mut wakes = Wakes::default();
        let again = {
            let mut state = self.state.lock();
            state.flush = Flush::Idle;
            if state.deleted {
                return false;
            }
            state.log.flushed(covers, now);
            state.advance_high_watermark(&mut wakes);
            if state.is_held() {
                // Some wait for this replica alone.
                state.committed.take_into(&mut wakes);
            }
            state.awaits_sync() && state.begin_flush()
        };
        self.directory.load().changed.recovery_point();
        wakes.deliver();
        again
    }

    /// A flush failed: nothing may be assumed about what is on the disk. One of a partition that was
    /// deleted meanwhile has no meaning: its files were renamed under it.
    pub fn flush_failed(&self, reason: &str) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.flush = Flush::Idle;
            if state.deleted {
                return;
            }
            let directory = self.directory.load();
            directory.take_offline(&format!("fsync of {} failed: {reason}", self.name));
            state.log.go_offline();
            state.appended.take_into(&mut wakes);
            state.committed.take_into(&mut wakes);
        }
        wakes.deliver();
    }

    /// Marks a flush as wanted. True if the caller must submit the job.
    #[must_use]
    pub fn request_flush(&self) -> bool {
        self.state.lock().begin_flush()
    }

    /// Lets no flush begin until [`Partition::release_flushes`] or [`Partition::switch_log`]. False if
    /// one is running.
    pub(crate) fn hold_flushes(&self) -> bool {
        let mut state = self.state.lock();
        if state.flush == Flush::Running {
            return false;
        }
        state.flush = Flush::Held;
        true
    }

    /// Lets flushes begin again. True if the caller must submit one.
    pub(crate) fn release_flushes(&self) -> bool {
        let mut state = self.state.lock();
        if state.flush == Flush::Held {
            state.flush = Flush::Idle;
        }
        state.awaits_sync() && state.begin_flush()
    }

    /// Closes the log for a clean stop.
    ///
    /// # Errors
    /// An I/O error; the next start will recover the log.
    pub fn close(&self, now: Now) -> Result<(), StorageError> {
        self.state.lock().log.close(now)
    }

    /// As [`Partition::close`], without the syncs, which are to be run together with those of other
    /// logs; `None` if there is nothing to sync.
    ///
    /// # Errors
    /// As [`Partition::close`].
    pub(crate) fn shared_close(&self) -> Result<Option<SharedFlush>, StorageError> {
        self.state.lock().log.shared_close()
    }
}

impl State {
    /// Whether somebody may wait for a sync of what is in the log.
    pub(super) fn awaits_sync(&self) -> bool {
        self.synced_acks && self.log.flushed_offset() < self.log.log_end_offset()
    }

    pub(super) fn begin_flush(&mut self) -> bool {
        let idle = self.flush == Flush::Idle;
        if idle {
            self.flush = Flush::Running;
        }
        idle
    }
}
