//! Cutting a log at either end: truncation, DeleteRecords, retention.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_protocol::ids::{Monotonic, Now, Offset, Timestamp};

use crate::disk::Disk;
use crate::error::{Context, StorageError};
use crate::home::ext;
use crate::index_file::TimeEntry;
use crate::log::{Active, Log};
use crate::names::{Change, NamesWork, retired};
use crate::scan::{Scanner, Step, WALK_CHUNK};
use crate::segment::Segment;
use crate::txn_index;

/// Files that were renamed to `.deleted` and are to be removed later.
pub struct DeleteWork {
    pub(crate) disk: Arc<dyn Disk>,
    /// What gives them those names, if that may not have been done yet.
    pub(crate) names: Option<NamesWork>,
    /// When [`DeleteWork::run`] may run: `file.delete.delay.ms` after the log let go of them.
    pub due: Monotonic,
    /// The files.
    pub files: Vec<PathBuf>,
}

impl DeleteWork {
    /// Removes the files; those that are gone already are fine.
    ///
    /// # Errors
    /// What the disk says; the files that are left are removed by another call, or at the next start.
    pub fn run(&self) -> std::io::Result<()> {
        self.names.as_ref().map_or(Ok(()), NamesWork::run_for_io)?;
        for file in &self.files {
            match self.disk.remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Segments that retention took out of the log.
pub struct Retired {
    /// Gives their files names that say so; to be run first, without the partition's lock.
    pub names: NamesWork,
    /// Removes the files later.
    pub files: DeleteWork,
}

impl Log {
    /// Removes all records at or above `end`. A batch that contains it goes as a whole, and the log
    /// then ends where that batch began. What is left is synced, so that the removed records cannot
    /// come back behind other ones; the caller writes the recovery point before it appends again.
    ///
    /// # Errors
    /// What the disk says; any error but a full disk takes the log offline.
    pub fn truncate_to(&mut self, end: Offset) -> Result<(), StorageError> {
        self.check_online()?;
        if end >= self.next_offset {
            return Ok(());
        }
        let first = self.segments.first().map_or(end, |segment| segment.base);
        if end < first {
            return self.truncate_fully_and_start_at(end, Timestamp::NONE);
        }
        let cut = self.try_truncate(end);
        self.watch(cut)
    }

    fn try_truncate(&mut self, end: Offset) -> Result<(), StorageError> {
        self.settle_names()?;
        self.begin_truncation(end);
        let keep = self.segment_at(end) + 1;
        while self.segments.len() > keep {
            if let Some(segment) = self.segments.pop() {
                self.drop_segment(&segment)?;
            }
        }
        let mut end = end;
        if let Some(segment) = self.segments.last_mut() {
            end = truncate_segment(segment, &self.home, end)?;
        }
        self.next_offset = end;
        self.log_start = self.log_start.min(end);
        self.unsynced.cap(end);
        self.finish_truncation(end)
    }

    /// Removes everything; the next record gets offset `start`.
    ///
    /// # Errors
    /// What the disk says; any error but a full disk takes the log offline.
    pub fn truncate_fully_and_start_at(
        &mut self,
        start: Offset,
        created: Timestamp,
    ) -> Result<(), StorageError> {
        self.check_online()?;
        let cut = self.try_truncate_fully(start, created);
        self.watch(cut)
    }

    fn try_truncate_fully(
        &mut self,
        start: Offset,
        created: Timestamp,
    ) -> Result<(), StorageError> {
        self.settle_names()?;
        self.begin_truncation(start);
        self.log_start = start;
        // What they say of producers must not outlive the records.
        while let Some(snapshot) = self.snapshots.pop() {
            self.remove_snapshot(snapshot)?;
        }
        while let Some(segment) = self.segments.pop() {
            self.drop_segment(&segment)?;
        }
        self.segments.push(Segment::create(&self.home, start, &self.config, created)?);
        self.unsynced.names.change();
        self.epochs.clear();
        self.unsynced.epochs.change();
        self.unsynced.flushed = start;
        self.finish_truncation(start)
    }

    fn begin_truncation(&mut self, end: Offset) {
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.active = Active::default();
        self.unsynced.cap(end);
        self.next_offset = end;
    }

    fn finish_truncation(&mut self, end: Offset) -> Result<(), StorageError> {
        while let Some(snapshot) = self.snapshots.pop_if(|snapshot| *snapshot > end) {
            self.remove_snapshot(snapshot)?;
        }
        if self.epochs.truncate_from_end(end) {
            self.unsynced.epochs.change();
        }
        self.write_epochs()?;
        self.load_producers(None)
    }

    /// Raises the first offset that is served (DeleteRecords, or a leader's log start). Segments
    /// below it go with the next [`Log::enforce_retention`]. Returns whether it moved.
    pub fn increase_log_start_offset(&mut self, start: Offset) -> bool {
        let start = start.min(self.next_offset);
        if start <= self.log_start {
            return false;
        }
        self.log_start = start;
        if self.epochs.truncate_from_start(start) {
            self.unsynced.epochs.change();
        }
        true
    }

    /// Takes out the segments that retention does not keep, oldest first: those wholly below the log
    /// start always, the others by age and size if `cleanup.policy` has `delete`. Nothing above the
    /// high watermark goes. `None` if all are kept.
    ///
    /// # Errors
    /// What the disk says.
    pub fn enforce_retention(
        &mut self,
        high_watermark: Offset,
        now: Now,
    ) -> Result<Option<Retired>, StorageError> {
        self.check_online()?;
        let done = self.try_retention(high_watermark, now);
        self.watch(done)
    }

    fn try_retention(
        &mut self,
        high_watermark: Offset,
        now: Now,
    ) -> Result<Option<Retired>, StorageError> {
        let count = self.deletable(high_watermark, now)?;
        if count == 0 {
            return Ok(None);
        }
        self.settle_names()?;
        if count == self.segments.len() {
            self.roll_at(self.next_offset, now)?;
        }
        let mut changes = Vec::new();
        if self.unsynced.names.pending() {
            // What stays must be there before what goes is gone.
            changes.push(Change::Sync);
        }
        let mut files = Vec::new();
        let doomed: Vec<Segment> = self.segments.drain(..count).collect();
        let first = self.segments.first().map_or(self.next_offset, |segment| segment.base);
        self.increase_log_start_offset(first);
        for (at, segment) in doomed.iter().enumerate() {
            let next = doomed.get(at + 1).map_or(first, |next| next.base);
            for path in self.forget(segment, next) {
                files.push(retired(&path));
                changes.push(Change::Retire(path));
            }
            // Before the next one goes: a crash must not leave an older segment behind a gap, where
            // recovery would take all that follows for lost.
            changes.push(Change::Sync);
        }
        let names = NamesWork::new(&self.home, changes);
        self.retiring = Some(names.clone());
        let due = now.monotonic.plus_millis(self.config.file_delete_delay_ms);
        let (disk, late) = (Arc::clone(&self.home.disk), Some(names.clone()));
        Ok(Some(Retired { names, files: DeleteWork { disk, names: late, due, files } }))
    }

    /// How many of the oldest segments go.
    fn deletable(&self, high_watermark: Offset, now: Now) -> Result<usize, StorageError> {
        let config = &self.config;
        let mut surplus = match u64::try_from(config.retention_bytes) {
            Ok(keep) if config.cleanup_delete => self.size_bytes().saturating_sub(keep),
            _ => 0,
        };
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base);
            let end = next.unwrap_or(self.next_offset);
            if end > high_watermark || (next.is_none() && segment.size == 0) {
                return Ok(at);
            }
            let below_start = next.is_some_and(|next| next <= self.log_start);
            let too_much = surplus > 0 && surplus >= u64::from(segment.size);
            if !(below_start || too_much || self.too_old(segment, now)?) {
                return Ok(at);
            }
            surplus = surplus.saturating_sub(u64::from(segment.size));
        }
        Ok(self.segments.len())
    }

    fn too_old(&self, segment: &Segment, now: Now) -> Result<bool, StorageError> {
        if !self.config.cleanup_delete || self.config.retention_ms < 0 {
            return Ok(false);
        }
        let largest = segment.largest(&self.home)?.timestamp;
        let newest = if largest < Timestamp(0) { segment.created } else { largest };
        Ok(now.wall.0.saturating_sub(newest.0) > self.config.retention_ms)
    }

    /// The files of a segment that is gone, and the producer snapshots before the `next` one: they do
    /// not know of records that are gone then.
    fn forget(&mut self, segment: &Segment, next: Offset) -> Vec<PathBuf> {
        let mut paths = self.segment_files(segment);
        let old = self.snapshots.partition_point(|&snapshot| snapshot < next);
        let old = self.snapshots.drain(..old);
        paths.extend(old.map(|snapshot| self.home.path(snapshot, ext::SNAPSHOT)));
        paths
    }

    pub(crate) fn segment_files(&self, segment: &Segment) -> Vec<PathBuf> {
        ext::SEGMENT
            .into_iter()
            .filter(|ext| *ext != ext::TXN_INDEX || segment.txn_len > 0)
            .map(|ext| self.home.path(segment.base, ext))
            .collect()
    }

    /// Removes a producer snapshot; the next flush makes it durable. One that came back later, when
    /// the log has grown beyond its offset again, would tell of other records.
    pub(crate) fn remove_snapshot(&mut self, offset: Offset) -> Result<(), StorageError> {
        self.unsynced.names.change();
        self.home.remove(&self.home.path(offset, ext::SNAPSHOT))
    }

    /// Removes the last segment. Its records are durably gone before its indexes, which recovery
    /// would miss, before the segment before it, which would leave a gap, and before anything is
    /// written where they would continue.
    fn drop_segment(&self, segment: &Segment) -> Result<(), StorageError> {
        self.home.remove(&self.home.path(segment.base, ext::LOG))?;
        self.home.sync_dir()?;
        self.remove_segment_files(segment)
    }

    /// Removes a segment's files at once.
    pub(crate) fn remove_segment_files(&self, segment: &Segment) -> Result<(), StorageError> {
        for path in self.segment_files(segment) {
            match self.home.disk.remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.context("remove", &path)?,
            }
        }
        Ok(())
    }
}

/// Cuts one segment and syncs its records. Its indexes are synced with the next producer snapshot: a
/// start after a crash makes entries above the newest one below the recovery point anew. Returns the log
/// end.
fn truncate_segment(
    segment: &mut Segment,
    home: &crate::home::Home,
    end: Offset,
) -> Result<Offset, StorageError> {
    let cut = segment.find(home, end)?;
    let size = cut.map_or(segment.size, |(position, _)| position);
    let end = cut.map_or(end, |(_, entry)| end.min(entry.base_offset));
    let path = home.path(segment.base, ext::LOG);
    let file = segment.file(home)?;
    file.set_len(u64::from(size)).context("truncate", &path)?;
    file.sync().context("sync", &path)?;
    segment.size = size;
    segment.durable = false;
    segment.index.truncate_to_offset(home, end)?;
    segment.time_index.truncate_to_offset(home, end)?;
    if segment.txn_len > 0 {
        segment.txn_len = txn_index::truncate(home, segment.base, end)?;
    }
    segment.set_largest(None);
    let mut largest: Option<TimeEntry> = None;
    let start = segment.index.last(home)?.map_or(0, |entry| entry.position);
    let mut scanner = Scanner::new(file.as_ref(), start, size, WALK_CHUNK);
    let mut next = segment.base;
    while let Step::Entry { entry, .. } = scanner.step().context("read", &path)? {
        if let Some(what) = entry.misplaced(segment.base, next) {
            return Err(StorageError::Corrupt { path, what });
        }
        next = entry.next_offset();
        if largest.is_none_or(|largest| entry.max_timestamp > largest.timestamp) {
            largest = Some(TimeEntry { timestamp: entry.max_timestamp, offset: entry.last_offset });
        }
    }
    let indexed = segment.time_index.last(home)?;
    segment.set_largest(match (indexed, largest) {
        (Some(a), Some(b)) if a.timestamp >= b.timestamp => Some(a),
        (a, b) => b.or(a),
    });
    if size == 0 {
        segment.set_largest(None);
    }
    segment.forget_first_timestamp();
    Ok(end)
}
