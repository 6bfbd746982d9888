//! What a flush makes durable, as a value that another thread runs.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::ids::{Now, Offset};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::log::Log;
use crate::segment::Segment;

/// Bytes between two producer snapshots inside a segment. They bound what a start after a crash
/// reads to know the producers again.
const SNAPSHOT_EVERY: u32 = 4 << 20;
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
    /// Index entries below it are covered, too.
    recovery: Option<Offset>,
    /// Base offset of the active segment; those before it were sealed.
    active: Offset,
}

/// The syncs that make a log durable up to an offset. Holds the open files, so that it may run
/// without the partition's lock while the log goes on.
pub struct FlushWork {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    files: Vec<Arc<dyn DiskFile>>,
    /// Small files that are written, synced and renamed: leader epochs.
    epochs: Option<String>,
    snapshot: Option<Vec<u8>>,
    sync_names: bool,
    sync_parent: bool,
    /// What will be durable.
    pub covers: Flushed,
}

impl FlushWork {
    /// Whether everything is durable already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.epochs.is_none() && !self.sync_names && !self.sync_parent
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
        let mut names = self.sync_names;
        if let Some(text) = &self.epochs {
            replace(self.disk.as_ref(), &self.dir.join(EPOCH_FILE), text.as_bytes())?;
            names = true;
        }
        if let (Some(bytes), Some(offset)) = (&self.snapshot, self.covers.snapshot) {
            let path = self.dir.join(crate::home::file_name(offset, ext::SNAPSHOT));
            let file = write_whole(self.disk.as_ref(), &path, bytes)?;
            file.sync().map_err(never_full)?;
            names = true;
        }
        if names {
            self.disk.sync_dir(&self.dir).map_err(never_full)?;
        }
        match self.dir.parent() {
            Some(parent) if self.sync_parent => self.disk.sync_dir(parent).map_err(never_full),
            _ => Ok(()),
        }
    }
}

impl Log {
    /// Captures what makes every record of now durable.
    ///
    /// # Errors
    /// What the disk says when a file must be opened for it.
    pub fn flush_work(&self) -> Result<FlushWork, StorageError> {
        // A shared fsync per message cannot afford three of them: the recovery point then moves
        // with every snapshot only.
        self.flush_work_with(self.config.flush_messages > 1 || self.snapshot_due())
    }

    pub(crate) fn flush_work_with(&self, indexes: bool) -> Result<FlushWork, StorageError> {
        let unsynced = &self.unsynced;
        let snapshot = self.snapshot_due().then_some(self.next_offset);
        Ok(FlushWork {
            disk: Arc::clone(&self.home.disk),
            dir: Arc::clone(&self.home.dir),
            files: self.files_to_sync(indexes)?,
            epochs: unsynced.epochs.pending().then(|| self.epochs.to_text()),
            snapshot: snapshot.map(|_| self.producers.to_snapshot()),
            sync_names: unsynced.names.pending(),
            sync_parent: unsynced.new_dir,
            covers: Flushed {
                end_offset: self.next_offset,
                names: unsynced.names.made,
                epochs: unsynced.epochs.made,
                truncations: self.truncations.load(std::sync::atomic::Ordering::Acquire),
                snapshot,
                recovery: indexes.then(|| self.written_end()),
                active: self.active_segment_base(),
            },
        })
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
        self.unsynced.recovery =
            done.recovery.map_or(self.unsynced.recovery, |end| end.max(self.unsynced.recovery));
        if let Some(offset) = done.snapshot {
            self.note_snapshot(offset);
            self.active.since_snapshot = 0;
        }
        // A segment that was sealed since then has new index entries that are not on the disk.
        for segment in self.segments.iter_mut().take_while(|segment| segment.base < done.active) {
            segment.durable = true;
        }
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
        let config = Arc::clone(&self.config);
        if self.next_offset > self.active_segment_base() {
            self.write_snapshot(self.next_offset)?;
        }
        if let Some(active) = self.segments.last_mut() {
            if active.needs_seal(&self.home)? {
                active.seal(&self.home, &config)?;
                let path = self.home.dir.to_path_buf();
                active.index.handle(&self.home)?.sync().context("sync", &path)?;
                active.time_index.handle(&self.home)?.sync().context("sync", &path)?;
            } else if self.active.dirty_end {
                active.cut_log(&self.home)?;
            }
        }
        let work = self.flush_work_with(true)?;
        if !work.is_empty() {
            work.run().context("sync", &self.home.dir)?;
            self.flushed(work.covers, now);
        }
        self.release_files();
        Ok(())
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

    /// Adds a snapshot; the one before it goes unless it belongs to a segment.
    fn note_snapshot(&mut self, offset: Offset) {
        if self.snapshots.last().is_some_and(|&last| last >= offset) {
            return;
        }
        let between =
            |&last: &Offset| self.segments.binary_search_by_key(&last, |s| s.base).is_err();
        if let Some(old) = self.snapshots.last().copied().filter(between)
            && self.home.remove(&self.home.path(old, ext::SNAPSHOT)).is_ok()
        {
            self.snapshots.pop();
        }
        self.snapshots.push(offset);
    }

    fn snapshot_due(&self) -> bool {
        self.active.since_snapshot >= SNAPSHOT_EVERY
    }

    /// Index entries of batches below it are in the files; the others are gathered.
    fn written_end(&self) -> Offset {
        let gathered = self.segments.last().and_then(Segment::first_gathered);
        gathered.map_or(self.next_offset, |first| first.min(self.next_offset))
    }

    fn files_to_sync(&self, indexes: bool) -> Result<Vec<Arc<dyn DiskFile>>, StorageError> {
        let home = &self.home;
        let mut files = Vec::new();
        let active = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter().enumerate().rev() {
            if segment.durable && at != active {
                continue;
            }
            let indexed = !indexes || self.unsynced.recovery >= self.written_end();
            if at == active && self.unsynced.flushed >= self.next_offset && indexed {
                continue;
            }
            files.push(Arc::clone(segment.file(home)?));
            if at != active || indexes {
                files.push(segment.index.handle(home)?);
                files.push(segment.time_index.handle(home)?);
            }
            if segment.txn_len > 0 {
                files.push(
                    home.open(&home.path(segment.base, ext::TXN_INDEX), OpenMode::ReadWrite)?,
                );
            }
            if self.snapshots.binary_search(&segment.base).is_ok() {
                files
                    .push(home.open(&home.path(segment.base, ext::SNAPSHOT), OpenMode::ReadWrite)?);
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
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    write_whole(disk, &temporary, bytes)?.sync().map_err(never_full)?;
    disk.rename(&temporary, path)
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
