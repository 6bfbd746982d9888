//! One segment: a log file with its indexes. Files are opened when first needed.

use std::sync::{Arc, OnceLock};

use ottla_protocol::ids::{Offset, Timestamp};

use crate::config::LogConfig;
use crate::disk::{DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::index_file::{IndexFile, OffsetEntry, TimeEntry};
use crate::open_files::LazyFile;
use crate::scan::{Entry, SEEK_CHUNK, Scanner, Step};

/// One segment of a log.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    /// Bytes of valid entries in the log file.
    pub(crate) size: u32,
    pub(crate) index: IndexFile<OffsetEntry>,
    pub(crate) time_index: IndexFile<TimeEntry>,
    /// Bytes in the aborted transaction index.
    pub(crate) txn_len: u32,
    /// When it was created or, after a start, loaded: its age when records carry no timestamps.
    pub(crate) created: Timestamp,
    /// Sealed, and every file of it is known to be on the disk.
    pub(crate) durable: bool,
    /// The producer snapshot that it begins with, if there is one, is on the disk.
    pub(crate) snapshot_durable: bool,
    log: LazyFile,
    largest: OnceLock<TimeEntry>,
    /// The largest behind the last index entry, if opening the log walked there.
    tail_largest: Option<TimeEntry>,
    first_timestamp: OnceLock<Timestamp>,
}

impl Segment {
    /// Creates the files of a new segment, replacing what has their names.
    pub(crate) fn create(
        home: &Home,
        base: Offset,
        config: &LogConfig,
        created: Timestamp,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::cold(base, 0, created);
        let path = home.path(base, ext::LOG);
        let file = home.open(&path, OpenMode::Create)?;
        if file.len().context("stat", &path)? > 0 {
            file.set_len(0).context("empty", &path)?;
        }
        if config.preallocate {
            file.set_len(u64::from(config.segment_bytes)).context("allocate", &path)?;
        }
        segment.index = IndexFile::create(home, base, config.segment_index_bytes)?;
        segment.time_index = IndexFile::create(home, base, config.segment_index_bytes)?;
        (segment.durable, segment.snapshot_durable) = (false, false);
        Ok(segment)
    }

    /// An existing segment; nothing is read before it is needed.
    pub(crate) const fn cold(base: Offset, size: u32, created: Timestamp) -> Self {
        Self {
            base,
            size,
            index: IndexFile::cold(base),
            time_index: IndexFile::cold(base),
            txn_len: 0,
            created,
            durable: true,
            snapshot_durable: true,
            log: LazyFile::new(),
            largest: OnceLock::new(),
            tail_largest: None,
            first_timestamp: OnceLock::new(),
        }
    }

    /// The open log file.
    pub(crate) fn file(&self, home: &Home) -> Result<Arc<dyn DiskFile>, StorageError> {
        home.lazily(&self.log, (self.base, ext::LOG), OpenMode::ReadWrite)
    }

    /// Closes the files until they are needed again.
    pub(crate) fn release(&mut self) {
        self.log = LazyFile::new();
        self.index.release();
        self.time_index.release();
    }

    /// The first entry that ends at or after `target`, and where it starts.
    pub(crate) fn find(
        &self,
        home: &Home,
        target: Offset,
    ) -> Result<Option<(u32, Entry)>, StorageError> {
        let hint = self.index.last_where(home, |entry| entry.offset <= target)?;
        if let Some(hint) = hint.filter(|hint| hint.position < self.size) {
            // An index entry is a hint: pages of it may be lost or stale after a crash.
            if let Found::At(position, entry) = self.find_from(home, hint.position, target)?
                && (position > hint.position || entry.base_offset <= target)
            {
                return Ok(Some((position, entry)));
            }
        }
        match self.find_from(home, 0, target)? {
            Found::At(position, entry) => Ok(Some((position, entry))),
            Found::End => Ok(None),
            Found::Bad(what) => {
                Err(StorageError::Corrupt { path: home.path(self.base, ext::LOG), what })
            }
        }
    }

    fn find_from(&self, home: &Home, position: u32, target: Offset) -> Result<Found, StorageError> {
        let file = self.file(home)?;
        let mut scanner = Scanner::new(file.as_ref(), position, self.size, SEEK_CHUNK);
        let mut next = self.base;
        loop {
            match scanner.step().at("read", || home.path(self.base, ext::LOG))? {
                Step::Entry { position, entry } => {
                    if let Some(what) = entry.misplaced(self.base, next) {
                        return Ok(Found::Bad(what));
                    }
                    if entry.last_offset >= target {
                        return Ok(Found::At(position, entry));
                    }
                    next = entry.next_offset();
                }
                Step::End => return Ok(Found::End),
                Step::Bad(what) => return Ok(Found::Bad(what)),
            }
        }
    }

    /// The base offset of the batch that `indexed` tells of; `None` if another one is there, because
    /// pages of the index are stale after a crash.
    pub(crate) fn base_offset_at(
        &self,
        home: &Home,
        indexed: OffsetEntry,
    ) -> Result<Option<Offset>, StorageError> {
        let file = self.file(home)?;
        let mut scanner = Scanner::new(file.as_ref(), indexed.position, self.size, SEEK_CHUNK);
        Ok(match scanner.step().at("read", || home.path(self.base, ext::LOG))? {
            Step::Entry { entry, .. } if entry.last_offset == indexed.offset => {
                Some(entry.base_offset)
            }
            Step::Entry { .. } | Step::End | Step::Bad(_) => None,
        })
    }

    /// The largest timestamp of the segment and where it is; -1 at the base if there is none.
    pub(crate) fn largest(&self, home: &Home) -> Result<TimeEntry, StorageError> {
        if let Some(largest) = self.largest.get() {
            return Ok(*largest);
        }
        let none = TimeEntry { timestamp: Timestamp::NONE, offset: self.base };
        let last = if self.size == 0 { None } else { self.time_index.last(home)? };
        let last = last.unwrap_or(none);
        let tail = self.tail_largest.filter(|tail| tail.timestamp > last.timestamp);
        Ok(*self.largest.get_or_init(|| tail.unwrap_or(last)))
    }

    /// Sets the largest timestamp.
    pub(crate) fn set_largest(&mut self, largest: Option<TimeEntry>) {
        self.largest = largest.map_or_else(OnceLock::new, OnceLock::from);
        self.tail_largest = None;
    }

    /// Notes an entry behind the last index entry while the log is opened.
    pub(crate) fn on_tail_entry(&mut self, entry: &Entry) {
        if self.tail_largest.is_none_or(|tail| entry.max_timestamp > tail.timestamp) {
            self.tail_largest =
                Some(TimeEntry { timestamp: entry.max_timestamp, offset: entry.last_offset });
        }
    }

    /// Whether [`Self::seal`] would change anything.
    pub(crate) fn needs_seal(&self, home: &Home) -> Result<bool, StorageError> {
        if self.index.is_open_end() || self.time_index.is_open_end() {
            return Ok(true);
        }
        let Some(largest) = self.largest.get().or(self.tail_largest.as_ref()) else {
            return Ok(false);
        };
        let indexed = self.time_index.last(home)?;
        Ok(largest.timestamp > indexed.map_or(Timestamp::NONE, |last| last.timestamp))
    }

    /// Largest timestamp of the first batch, from which time-based rolling counts.
    pub(crate) fn first_timestamp(&self, home: &Home) -> Result<Timestamp, StorageError> {
        if let Some(first) = self.first_timestamp.get() {
            return Ok(*first);
        }
        let first = match self.find(home, self.base)? {
            Some((_, entry)) => entry.max_timestamp,
            None => return Ok(Timestamp::NONE),
        };
        Ok(*self.first_timestamp.get_or_init(|| first))
    }

    /// Forgets the first timestamp, because the start may have changed.
    pub(crate) fn forget_first_timestamp(&mut self) {
        self.first_timestamp = OnceLock::new();
    }

    /// Takes in an appended or recovered entry: size, timestamps, and an entry in both indexes when
    /// more than the interval lies between `since_index` and now. Returns the new `since_index`.
    pub(crate) fn on_entry(
        &mut self,
        home: &Home,
        position: u32,
        entry: &Entry,
        indexing: Indexing,
    ) -> Result<u32, StorageError> {
        if position == 0 {
            self.first_timestamp = OnceLock::from(entry.max_timestamp);
        }
        let mut largest = self.largest(home)?;
        if entry.max_timestamp > largest.timestamp {
            largest = TimeEntry { timestamp: entry.max_timestamp, offset: entry.last_offset };
            self.set_largest(Some(largest));
        }
        self.size = position + entry.size;
        let mut since = indexing.since;
        if since > indexing.interval && position > 0 {
            self.index.push(OffsetEntry { offset: entry.last_offset, position });
            self.push_largest(home)?;
            since = 0;
        }
        Ok(since.saturating_add(entry.size))
    }

    /// Adds the largest timestamp to the time index unless it is there.
    pub(crate) fn push_largest(&mut self, home: &Home) -> Result<(), StorageError> {
        let largest = self.largest(home)?;
        let indexed = self.time_index.last(home)?.map_or(Timestamp::NONE, |last| last.timestamp);
        if largest.timestamp > indexed {
            self.time_index.push(largest);
        }
        Ok(())
    }

    /// Cuts the files to what is used, after the last append or before a close.
    pub(crate) fn seal(&mut self, home: &Home, config: &LogConfig) -> Result<(), StorageError> {
        self.push_largest(home)?;
        self.index.trim(home, config.segment_index_bytes)?;
        self.time_index.trim(home, config.segment_index_bytes)?;
        self.cut_log(home)
    }

    /// Whether the index files were changed since they were opened.
    pub(crate) const fn has_changed_indexes(&self) -> bool {
        self.index.is_changed() || self.time_index.is_changed()
    }

    /// Cuts what a failed append or preallocation left behind the valid entries.
    pub(crate) fn cut_log(&self, home: &Home) -> Result<(), StorageError> {
        let path = home.path(self.base, ext::LOG);
        let file = self.file(home)?;
        if file.len().context("stat", &path)? > u64::from(self.size) {
            file.set_len(u64::from(self.size)).context("truncate", &path)?;
        }
        Ok(())
    }
}

/// When index entries are added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexing {
    /// Bytes appended since the last index entry.
    pub(crate) since: u32,
    /// `index.interval.bytes`.
    pub(crate) interval: u32,
}

enum Found {
    At(u32, Entry),
    End,
    Bad(String),
}
