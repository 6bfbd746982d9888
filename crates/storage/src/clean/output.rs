//! A segment that compaction writes: its files have the suffix `.cleaned` until it is complete.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ids::{Offset, Timestamp};

use crate::disk::{DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext, file_name};
use crate::index_file::{Entry as _, OffsetEntry, TimeEntry};
use crate::scan::Entry;
use crate::txn_index::AbortedTxn;

/// Bytes gathered before they are written.
const GATHER: usize = 256 << 10;

/// One file that only grows.
struct Part {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    written: u64,
    gathered: Vec<u8>,
}

impl Part {
    fn create(path: PathBuf, home: &Home) -> Result<Self, StorageError> {
        let file = home.open(&path, OpenMode::Create)?;
        // One of an earlier attempt may be there.
        file.set_len(0).context("empty", &path)?;
        Ok(Self { path, file, written: 0, gathered: Vec::new() })
    }

    fn len(&self) -> u64 {
        self.written + self.gathered.len() as u64
    }

    fn flush_beyond(&mut self, most: usize) -> Result<(), StorageError> {
        if self.gathered.len() > most {
            self.file
                .write_at(&[IoSlice::new(&self.gathered)], self.written)
                .context("write", &self.path)?;
            self.written += self.gathered.len() as u64;
            self.gathered.clear();
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StorageError> {
        self.flush_beyond(0)?;
        self.gathered = Vec::new();
        self.file.sync().context("sync", &self.path)
    }
}

/// A segment being written. Entries come in order of their offsets.
pub(crate) struct Output {
    pub(crate) base: Offset,
    /// A batch was left out or changed.
    pub(crate) changed: bool,
    home: Home,
    interval: u32,
    index_bytes: u32,
    log: Part,
    index: Part,
    time_index: Part,
    txn_index: Option<Part>,
    since_index: u32,
    largest: Option<TimeEntry>,
    indexed: Timestamp,
}

/// Ends the names of the files until all of them are complete.
pub(crate) const CLEANED: &str = ".cleaned";

impl Output {
    /// Creates the files. `txn_index` creates that one, too, because one that exists is to be
    /// replaced even if no entry stays.
    pub(crate) fn create(
        home: &Home,
        base: Offset,
        (interval, index_bytes): (u32, u32),
        txn_index: bool,
    ) -> Result<Self, StorageError> {
        let part = |ext| Part::create(Self::name(home, base, ext, CLEANED), home);
        Ok(Self {
            base,
            changed: false,
            home: home.clone(),
            interval,
            index_bytes,
            log: part(ext::LOG)?,
            index: part(ext::INDEX)?,
            time_index: part(ext::TIME_INDEX)?,
            txn_index: txn_index.then(|| part(ext::TXN_INDEX)).transpose()?,
            since_index: 0,
            largest: None,
            indexed: Timestamp::NONE,
        })
    }

    /// The path of one of the files while it has `suffix`.
    pub(crate) fn name(home: &Home, base: Offset, ext: &str, suffix: &str) -> PathBuf {
        home.dir.join(format!("{}{suffix}", file_name(base, ext)))
    }

    /// The suffixes of the files there are, the log last.
    pub(crate) fn files(&self) -> impl Iterator<Item = &'static str> + use<> {
        let txn_index = self.txn_index.is_some().then_some(ext::TXN_INDEX);
        [ext::INDEX, ext::TIME_INDEX].into_iter().chain(txn_index).chain([ext::LOG])
    }

    /// Bytes of the log file.
    pub(crate) fn size(&self) -> u64 {
        self.log.len()
    }

    /// Bytes of the transaction index.
    pub(crate) fn txn_len(&self) -> u32 {
        self.txn_index.as_ref().map_or(0, |part| u32::try_from(part.len()).unwrap_or(u32::MAX))
    }

    /// Adds a batch; the indexes get the entries they would have got if it had been appended.
    pub(crate) fn push(&mut self, entry: &Entry, bytes: &[u8]) -> Result<(), StorageError> {
        let position = self.log.len();
        if position + bytes.len() as u64 > i32::MAX as u64 {
            return Err(StorageError::Corrupt {
                path: self.log.path.clone(),
                what: format!("a compacted segment would have more than {} bytes", i32::MAX),
            });
        }
        let newest = self.largest.map_or(Timestamp::NONE, |largest| largest.timestamp);
        if entry.max_timestamp > newest {
            self.largest =
                Some(TimeEntry { timestamp: entry.max_timestamp, offset: entry.last_offset });
        }
        let room = self.index.len() + 8 <= u64::from(self.index_bytes);
        if self.since_index > self.interval && position > 0 && room {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            let indexed = OffsetEntry { offset: entry.last_offset, position };
            indexed.encode(self.base, &mut self.index.gathered);
            self.index_time();
            self.since_index = 0;
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.since_index = self.since_index.saturating_add(len);
        self.log.gathered.extend_from_slice(bytes);
        self.log.flush_beyond(GATHER)?;
        self.index.flush_beyond(GATHER)?;
        self.time_index.flush_beyond(GATHER)
    }

    /// Adds an entry to the transaction index.
    pub(crate) fn push_aborted(&mut self, txn: &AbortedTxn) -> Result<(), StorageError> {
        if self.txn_index.is_none() {
            let path = Self::name(&self.home, self.base, ext::TXN_INDEX, CLEANED);
            self.txn_index = Some(Part::create(path, &self.home)?);
        }
        if let Some(part) = &mut self.txn_index {
            part.gathered.extend_from_slice(&txn.encode());
            part.flush_beyond(GATHER)?;
        }
        Ok(())
    }

    /// Makes the contents durable, so that the files may replace others. Their names are made durable
    /// when they have the suffix `.swap`.
    pub(crate) fn finish(&mut self) -> Result<(), StorageError> {
        self.index_time();
        let parts = [&mut self.log, &mut self.index, &mut self.time_index];
        for part in parts.into_iter().chain(self.txn_index.as_mut()) {
            part.finish()?;
        }
        Ok(())
    }

    /// Removes the files. What cannot be removed goes at the next start.
    pub(crate) fn remove(&self) {
        for ext in self.files() {
            let _ = self.home.remove(&Self::name(&self.home, self.base, ext, CLEANED));
        }
    }

    fn index_time(&mut self) {
        if let Some(largest) = self.largest.filter(|largest| largest.timestamp > self.indexed) {
            largest.encode(self.base, &mut self.time_index.gathered);
            self.indexed = largest.timestamp;
        }
    }
}
