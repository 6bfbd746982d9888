//! What a flush makes durable, as a value that another thread runs.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::log::{Foreseen, Log};
use crate::names::NamesWork;
use crate::txn_index;

/// A flush that nobody waits for writes a producer snapshot after this part of
/// [`LogConfig::snapshot_bytes`](crate::LogConfig::snapshot_bytes).
const IN_BACKGROUND: u32 = 64;
const EPOCH_FILE: &str = "leader-epoch-checkpoint";

/// What a flush covers; hand it back to [`Log::flushed`] once [`FlushWork::run`] succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Every record below it.
    pub end_offset: Offset,
    names: u32,
    epochs: u32,
    truncations: u32,
    snapshot: Option<Offset>,
    /// Base offset of the active segment; those before it were sealed.
    active: Offset,
}

/// The syncs that make a log durable up to an offset. Holds the open files, so that it may run
/// without the partition's lock while the log goes on.
///
/// Of the active segment only the records are synced. Its indexes follow with every producer
/// snapshot, before that is written: a start after a crash trusts index entries below the newest
/// snapshot and makes the others anew. A sealed segment is synced as a whole.
pub struct FlushWork {
    files: Vec<Arc<dyn DiskFile>>,
    small: SmallFiles,
    sync_names: bool,
    sync_parent: bool,
    /// What will be durable.
    pub covers: Flushed,
}

/// A flush of one log among many, for [`SharedFlush::run`]: it needs no open file.
pub struct SharedFlush {
    small: SmallFiles,
    /// What will be durable.
    pub covers: Flushed,
}

/// What a flush does by name.
struct SmallFiles {
    home: Home,
    /// Segments that the log let go of: found again by a start, they are below those that count as
    /// durable, and may not be on the disk themselves.
    retiring: Option<NamesWork>,
    /// The text of `leader-epoch-checkpoint`, if it changed.
    epochs: Option<String>,
    snapshot: Option<(Offset, Vec<u8>)>,
}

/// What of the active segment a clean stop still has to make durable, beside records.
struct Closing {
    indexes: bool,
    snapshot: bool,
}

impl FlushWork {
    /// Whether everything is durable already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.small.is_empty() && !self.sync_names && !self.sync_parent
    }

    /// Makes it durable. Data is synced before the names that lead to it.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` when a small file could not be written: it may be tried
    /// again. After any other error, a failed sync above all, nothing may be assumed durable: the
    /// directory goes offline.
    pub fn run(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync().map_err(never_full)?;
        }
        self.small.retire()?;
        let home = &self.small.home;
        let ours = home.ours.lock();
        if !*ours {
            return Ok(());
        }
        if let Some(file) = self.small.write_epochs()? {
            file.sync().map_err(never_full)?;
        }
        let (snapshot, named) = self.small.name()?;
        if let Some(file) = snapshot {
            file.sync().map_err(never_full)?;
        }
        drop(ours);
        if self.sync_names || named {
            home.disk.sync_dir(&home.dir).map_err(never_full)?;
        }
        match home.dir.parent() {
            Some(parent) if self.sync_parent => home.disk.sync_dir(parent).map_err(never_full),
            _ => Ok(()),
        }
    }
}

impl SharedFlush {
    /// Makes many logs durable, which all live below `root`, with one or two syncs of all that is
    /// there instead of some for every log. `false` where [`Disk::sync_tree`] cannot do that: flush
    /// every log by itself then.
    ///
    /// # Errors
    /// As [`FlushWork::run`]; nothing may be assumed of any of the logs then.
    pub fn run(disk: &dyn Disk, root: &Path, flushes: &[Self]) -> io::Result<bool> {
        for SharedFlush { small, .. } in flushes {
            small.retire()?;
            if *small.home.ours.lock() {
                small.write_epochs()?;
            }
        }
        if !disk.sync_tree(root).map_err(never_full)? {
            return Ok(false);
        }
        let mut named = false;
        for SharedFlush { small, .. } in flushes {
            let ours = small.home.ours.lock();
            if *ours {
                named |= small.name()?.1;
            }
        }
        if named { disk.sync_tree(root).map_err(never_full) } else { Ok(true) }
    }
}

impl SmallFiles {
    const fn is_empty(&self) -> bool {
        self.retiring.is_none() && self.epochs.is_none() && self.snapshot.is_none()
    }

    fn retire(&self) -> io::Result<()> {
        self.retiring.as_ref().map_or(Ok(()), NamesWork::run_for_io)
    }

    /// Writes the leader epochs under a temporary name, to be synced before [`Self::name`].
    fn write_epochs(&self) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let Some(text) = &self.epochs else { return Ok(None) };
        let path = temporary(&epoch_path(&self.home));
        write_whole(self.home.disk.as_ref(), &path, text.as_bytes()).map(Some)
    }

    /// Gives the files their names, once what they rely on is synced: the leader epochs themselves,
    /// and for the producer snapshot the indexes, since it says that they are. Returns the snapshot,
    /// to be synced, and whether there is a new name.
    fn name(&self) -> io::Result<(Option<Arc<dyn DiskFile>>, bool)> {
        let disk = self.home.disk.as_ref();
        if self.epochs.is_some() {
            let path = epoch_path(&self.home);
            disk.rename(&temporary(&path), &path)?;
        }
        let Some((offset, bytes)) = &self.snapshot else {
            return Ok((None, self.epochs.is_some()));
        };
        let path = self.home.path(*offset, ext::SNAPSHOT);
        let written = write_whole(disk, &path, bytes);
        if written.is_err() {
            let _ = disk.remove_file(&path);
        }
        Ok((Some(written?), true))
    }
}

impl Log {
    /// Captures what makes every record of now durable.
    ///
    /// # Errors
    /// What the disk says when a file must be opened for it.
    pub fn flush_work(&mut self) -> Result<FlushWork, StorageError> {
        self.flush_work_with(self.snapshot_due(1))
    }

    /// As [`Log::flush_work`] for a flush that nobody waits for: it bounds also what a start after a
    /// crash reads below the recovery point.
    ///
    /// # Errors
    /// As [`Log::flush_work`].
    pub fn background_flush_work(&mut self) -> Result<FlushWork, StorageError> {
        self.flush_work_with(self.snapshot_due(IN_BACKGROUND))
    }

    /// Makes everything durable, on this thread.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&mut self, now: Now) -> Result<(), StorageError> {
        let work = self.background_flush_work()?;
        work.run().context("sync", &self.home.dir)?;
        self.flushed(work.covers, now);
        Ok(())
    }

    /// As [`Log::background_flush_work`], to be run together with those of other logs.
    ///
    /// # Errors
    /// As [`Log::flush_work`].
    pub fn shared_flush(&mut self) -> Result<SharedFlush, StorageError> {
        let snapshot = self.snapshot_due(IN_BACKGROUND);
        self.write_indexes_before(snapshot)?;
        let (small, covers) = self.small_files(snapshot);
        Ok(SharedFlush { small, covers })
    }

    fn flush_work_with(&mut self, snapshot: bool) -> Result<FlushWork, StorageError> {
        self.write_indexes_before(snapshot)?;
        let files = self.files_to_sync(snapshot)?;
        let small = self.small_files(snapshot);
        Ok(self.flush_of(files, small))
    }

    /// The entries of everything below a producer snapshot must be in the files that are synced
    /// before it.
    fn write_indexes_before(&mut self, snapshot: bool) -> Result<(), StorageError> {
        let bytes = self.config.segment_index_bytes;
        match self.segments.last_mut().filter(|_| snapshot) {
            Some(active) => {
                active.time_index.write_gathered(&self.home, bytes)?;
                active.index.write_gathered(&self.home, bytes)
            }
            None => Ok(()),
        }
    }

    fn flush_of(
        &self,
        files: Vec<Arc<dyn DiskFile>>,
        (small, covers): (SmallFiles, Flushed),
    ) -> FlushWork {
        let (sync_names, sync_parent) = (self.unsynced.names.pending(), self.unsynced.new_dir);
        FlushWork { files, small, sync_names, sync_parent, covers }
    }

    fn small_files(&mut self, snapshot: bool) -> (SmallFiles, Flushed) {
        self.retiring.take_if(|names| names.is_done());
        let unsynced = &self.unsynced;
        let end_offset = self.next_offset;
        let small = SmallFiles {
            home: self.home.clone(),
            retiring: self.retiring.clone(),
            epochs: unsynced.epochs.pending().then(|| self.epochs.to_text()),
            snapshot: snapshot.then(|| (end_offset, self.producers.to_snapshot())),
        };
        let covers = Flushed {
            end_offset,
            names: unsynced.names.made,
            epochs: unsynced.epochs.made,
            truncations: self.truncations.load(std::sync::atomic::Ordering::Acquire),
            snapshot: snapshot.then_some(end_offset),
            active: self.active_segment_base(),
        };
        (small, covers)
    }

    /// Notes that a flush succeeded.
    pub fn flushed(&mut self, done: Flushed, now: Now) {
        self.unsynced.last_flush = now.monotonic;
        self.unsynced.names.synced = done.names;
        self.unsynced.epochs.synced = done.epochs;
        self.unsynced.new_dir = false;
        if done.truncations != self.truncations.load(std::sync::atomic::Ordering::Acquire) {
            // What was written again below the covered end since then is not on the disk, and the
            // snapshot is of producers that may be gone.
            if let Some(offset) =
                done.snapshot.filter(|at| self.snapshots.binary_search(at).is_err())
            {
                let _ = self.home.remove(&self.home.path(offset, ext::SNAPSHOT));
            }
            return;
        }
        self.unsynced.flushed = self.unsynced.flushed.max(done.end_offset);
        if let Some(offset) = done.snapshot {
            self.note_snapshot(offset);
            self.active.since_snapshot = 0;
        }
        // A segment that was sealed since then has new index entries that are not on the disk.
        for segment in self.segments.iter_mut().take_while(|segment| segment.base <= done.active) {
            segment.durable |= segment.base < done.active;
            segment.snapshot_durable = true;
        }
        self.drop_old_snapshots();
    }

    /// Whether `flush.messages` or `flush.ms` asks for a flush.
    #[must_use]
    pub fn needs_flush(&self, now: Now) -> bool {
        let unflushed = self.next_offset.0 - self.unsynced.flushed.0;
        if unflushed <= 0 {
            return false;
        }
        let waited = now.monotonic.since(self.unsynced.last_flush).as_millis();
        unflushed >= self.config.flush_messages
            || i64::try_from(waited).unwrap_or(i64::MAX) >= self.config.flush_ms
    }

    /// Cuts the active segment's files to what is used, writes the producer snapshot and makes
    /// everything durable: a clean stop. The log must not be changed afterwards.
    ///
    /// # Errors
    /// What the disk says.
    pub fn close(&mut self, now: Now) -> Result<(), StorageError> {
        self.check_online()?;
        let closed = self.try_close(now);
        self.watch(closed)
    }

    fn try_close(&mut self, now: Now) -> Result<(), StorageError> {
        let last = self.cut_to_size()?;
        let small = self.small_files(last.snapshot);
        let work = self.flush_of(self.files_to_sync(last.indexes)?, small);
        if !work.is_empty() {
            work.run().context("sync", &self.home.dir)?;
            self.flushed(work.covers, now);
        }
        self.release_files();
        Ok(())
    }

    /// As [`Log::close`], with the syncs as a value to be run together with those of other logs;
    /// `None` if there is nothing to sync.
    ///
    /// # Errors
    /// What the disk says.
    pub fn shared_close(&mut self) -> Result<Option<SharedFlush>, StorageError> {
        self.check_online()?;
        let cut = self.cut_to_size();
        let last = self.watch(cut)?;
        self.release_files();
        let (small, covers) = self.small_files(last.snapshot);
        let unsynced = &self.unsynced;
        let durable = small.is_empty()
            && !last.indexes
            && unsynced.flushed >= self.next_offset
            && !unsynced.names.pending()
            && !unsynced.new_dir
            && self.segments.iter().rev().skip(1).all(|segment| segment.durable)
            && self.segments.last().is_none_or(|active| active.snapshot_durable);
        Ok((!durable).then_some(SharedFlush { small, covers }))
    }

    fn cut_to_size(&mut self) -> Result<Closing, StorageError> {
        self.settle_names()?;
        let config = Arc::clone(&self.config);
        let mut indexes = false;
        if let Some(active) = self.segments.last_mut() {
            if active.needs_seal(&self.home)? {
                active.seal(&self.home, &config)?;
            } else if self.active.dirty_end {
                active.cut_log(&self.home)?;
            }
            if self.active.foreseen != Foreseen::Nothing {
                txn_index::cut(&self.home, active.base, active.txn_len)?;
                self.active.foreseen = Foreseen::Nothing;
            }
            // Those of a segment without records may be lost.
            indexes = active.size > 0 && active.has_changed_indexes();
        }
        let end = self.next_offset;
        let snapshot = end > self.active_segment_base() && self.snapshots.last() < Some(&end);
        Ok(Closing { indexes, snapshot })
    }

    /// Writes the producer snapshot of everything below `offset`, which is the log end.
    pub(crate) fn write_snapshot(&mut self, offset: Offset) -> Result<(), StorageError> {
        if self.snapshots.last().is_some_and(|&last| last >= offset) {
            return Ok(());
        }
        let path = self.home.path(offset, ext::SNAPSHOT);
        write_whole(self.home.disk.as_ref(), &path, &self.producers.to_snapshot())
            .context("write", &path)?;
        self.note_snapshot(offset);
        self.unsynced.names.change();
        self.active.since_snapshot = 0;
        Ok(())
    }

    fn note_snapshot(&mut self, offset: Offset) {
        if self.snapshots.last().is_none_or(|&last| last < offset) {
            self.snapshots.push(offset);
        }
    }

    /// Notes what `recovery-point-offset-checkpoint` durably says: the snapshots that are older than
    /// the newest one below it are not needed any more.
    pub fn checkpointed(&mut self, recovery_point: Offset) {
        self.unsynced.checkpointed = recovery_point.min(self.unsynced.flushed);
        self.drop_old_snapshots();
    }

    /// Whether a flush is to write a producer snapshot, because the given part of
    /// `snapshot_bytes` was written since the last one. A start after a crash uses the newest one
    /// below the checkpoint: there is at most one beyond that.
    fn snapshot_due(&self, part: u32) -> bool {
        let last = self.snapshots.last().copied().unwrap_or(Offset::NONE);
        self.active.since_snapshot >= (self.config.snapshot_bytes / part).max(1)
            && last < self.next_offset
            && last <= self.unsynced.checkpointed
    }

    /// Removes snapshots inside of segments, but for the newest, and the newest one that a start
    /// after a crash would use.
    fn drop_old_snapshots(&mut self) {
        let newest = self.snapshots.last().copied();
        let below = self.snapshots.partition_point(|&at| at <= self.unsynced.checkpointed);
        let usable = below.checked_sub(1).and_then(|at| self.snapshots.get(at)).copied();
        let (home, segments) = (&self.home, &self.segments);
        self.snapshots.retain(|&at| {
            let kept = Some(at) == newest
                || Some(at) == usable
                || segments.binary_search_by_key(&at, |segment| segment.base).is_ok();
            kept || home.remove(&home.path(at, ext::SNAPSHOT)).is_err()
        });
    }

    fn files_to_sync(&self, indexes: bool) -> Result<Vec<Arc<dyn DiskFile>>, StorageError> {
        let home = &self.home;
        let mut files = Vec::new();
        let active = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter().enumerate().rev() {
            let is_active = at == active;
            if segment.durable && !is_active {
                continue;
            }
            let open = |ext| home.open(&home.path(segment.base, ext), OpenMode::ReadWrite);
            if !is_active || self.unsynced.flushed < self.next_offset {
                files.push(segment.file(home)?);
                if segment.txn_len > 0 {
                    files.push(open(ext::TXN_INDEX)?);
                }
            }
            if !is_active || indexes {
                files.push(segment.index.handle(home)?);
                files.push(segment.time_index.handle(home)?);
            }
            if !segment.snapshot_durable && self.snapshots.binary_search(&segment.base).is_ok() {
                files.push(open(ext::SNAPSHOT)?);
            }
        }
        Ok(files)
    }

    /// Writes the leader epochs if they changed.
    pub(crate) fn write_epochs(&mut self) -> Result<(), StorageError> {
        if self.unsynced.epochs.pending() {
            let path = self.home.dir.join(EPOCH_FILE);
            replace(self.home.disk.as_ref(), &path, self.epochs.to_text().as_bytes())
                .context("write", &path)?;
            self.home.sync_dir()?;
            self.unsynced.epochs.synced = self.unsynced.epochs.made;
        }
        Ok(())
    }
}

/// Path of the leader epochs.
pub(crate) fn epoch_path(home: &Home) -> PathBuf {
    home.dir.join(EPOCH_FILE)
}

/// Writes a temporary file, syncs it and renames it. The directory is the caller's to sync.
fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    write_whole(disk, &temporary, bytes)?.sync().map_err(never_full)?;
    disk.rename(&temporary, path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// A sync that found no room has lost the pages it was to write, as after any other error: it must
/// not look like a write that may be tried again.
fn never_full(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(error),
        _ => error,
    }
}

fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(path, OpenMode::Create)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    file.set_len(bytes.len() as u64)?;
    Ok(file)
}
