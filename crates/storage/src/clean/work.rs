//! The part of a cleaning that needs no lock: reading the dirty part, writing new segments.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ottla_protocol::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::{BatchView, records};

use super::filter::{Filter, Filtered, LIMITS, Left};
use super::offset_map::OffsetMap;
use super::output::Output;
use super::plan::CleanProgress;
use super::transactions::Transactions;
use crate::disk::{DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::scan::{Entry, Scanner, Step, WALK_CHUNK};
use crate::txn_index::AbortedTxn;

/// Why a cleaning stopped. The log is what it was before, or cleaned up to some segment.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// A file is gone: the log was truncated or deleted meanwhile. Nothing is wrong.
    #[error("the log changed while it was compacted")]
    Changed,
    /// A batch cannot be read. The log is served as it is, but not compacted.
    #[error("{path} cannot be compacted: at position {position}: {what}")]
    Unreadable {
        /// The log file.
        path: PathBuf,
        /// Where the batch starts.
        position: u32,
        /// What is wrong with it.
        what: String,
    },
    /// The disk.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<StorageError> for CleanError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Offline { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::Changed
            }
            StorageError::Corrupt { path, what } => {
                Self::Unreadable { path: path.clone(), position: 0, what: what.clone() }
            }
            _ => Self::Storage(error),
        }
    }
}

/// Where a cleaning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaning {
    /// Call [`CleanWork::step`] again.
    Working,
    /// A new segment is complete: call [`crate::Log::install_cleaned`] under the lock.
    Ready,
    /// Everything is done: note [`CleanWork::progress`].
    Finished,
}

/// A segment as it was when the cleaning began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) base: Offset,
    pub(super) next_base: Offset,
    pub(super) size: u32,
    pub(super) txn_len: u32,
    pub(super) created: Timestamp,
}

/// What must stay of a producer that is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastRecord {
    /// Last offset of its last batch; `None` if a marker came last.
    pub(super) offset: Option<Offset>,
    pub(super) epoch: ProducerEpoch,
}

pub(super) struct Settings {
    pub(super) segment_bytes: u32,
    pub(super) index_bytes: u32,
    pub(super) index_interval: u32,
    pub(super) now: Timestamp,
    pub(super) horizon: Timestamp,
    pub(super) buffer_bytes: u64,
    pub(super) load_factor: f64,
}

pub(super) struct Snapshot {
    pub(super) sources: Vec<Source>,
    pub(super) first_dirty: Offset,
    pub(super) upper_bound: Offset,
    pub(super) aborted: Vec<AbortedTxn>,
    pub(super) last_records: BTreeMap<ProducerId, LastRecord>,
    pub(super) truncations: Arc<AtomicU32>,
    pub(super) truncations_seen: u32,
}

/// Where the next batch is read.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    source: usize,
    position: u32,
}

enum Phase {
    /// The dirty part is read into the map.
    Map(Cursor),
    /// The sources of a group are copied.
    Copy { group: Range<usize>, at: Cursor, output: Output },
    /// The output of a group is complete.
    Ready { group: Range<usize>, output: Output },
    /// The next group is to be begun, if there is one.
    Next,
}

/// One cleaning of one log.
pub struct CleanWork {
    home: Home,
    settings: Settings,
    pub(super) snapshot: Snapshot,
    map: OffsetMap,
    /// Newest offset that the map covers.
    latest: Offset,
    transactions: Transactions,
    phase: Phase,
    groups: VecDeque<Range<usize>>,
    moved_bytes: u64,
    file: Option<(usize, Arc<dyn DiskFile>)>,
}

impl CleanWork {
    pub(super) fn new(home: Home, settings: Settings, snapshot: Snapshot) -> Self {
        let first_dirty = snapshot.first_dirty;
        let span = u64::try_from(snapshot.upper_bound.0 - first_dirty.0).unwrap_or(0);
        let source =
            snapshot.sources.partition_point(|source| source.base <= first_dirty).saturating_sub(1);
        Self {
            map: OffsetMap::new(settings.buffer_bytes, settings.load_factor, span),
            latest: first_dirty.plus(-1),
            transactions: Transactions::new(&snapshot.aborted, first_dirty),
            phase: Phase::Map(Cursor { source, position: 0 }),
            groups: VecDeque::new(),
            moved_bytes: 0,
            file: None,
            home,
            settings,
            snapshot,
        }
    }

    /// Goes on until about `budget` bytes were read, or a segment is complete. Blocks on the disk;
    /// without the partition's lock.
    ///
    /// # Errors
    /// See [`CleanError`]; call [`Self::abandon`] then.
    pub fn step(&mut self, budget: u64) -> Result<Cleaning, CleanError> {
        let until = self.moved_bytes.saturating_add(budget.max(1));
        while self.moved_bytes < until {
            match std::mem::replace(&mut self.phase, Phase::Next) {
                Phase::Map(at) => self.map_some(at, until)?,
                Phase::Copy { group, at, output } => self.copy_some(group, at, output, until)?,
                Phase::Ready { group, output } => {
                    self.phase = Phase::Ready { group, output };
                    return Ok(Cleaning::Ready);
                }
                Phase::Next => match self.groups.pop_front() {
                    Some(group) => self.begin_group(group)?,
                    None => return Ok(Cleaning::Finished),
                },
            }
        }
        Ok(match self.phase {
            Phase::Ready { .. } => Cleaning::Ready,
            _ => Cleaning::Working,
        })
    }

    /// Bytes read and written since the last call, for the limit on I/O.
    pub fn take_moved_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.moved_bytes)
    }

    /// How far the log is compacted once the cleaning has finished.
    #[must_use]
    pub fn progress(&self) -> CleanProgress {
        CleanProgress {
            first_dirty: self.latest.plus(1),
            truncations: self.snapshot.truncations_seen,
        }
    }

    /// Removes what was not installed.
    pub fn abandon(self) {
        if let Phase::Copy { output, .. } | Phase::Ready { output, .. } = &self.phase {
            output.remove();
        }
    }

    /// Whether the log was truncated since the cleaning began.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.snapshot.truncations.load(Ordering::Acquire) != self.snapshot.truncations_seen
    }

    /// Whether a segment is complete and not installed yet.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// Takes the complete segment and the sources it replaces.
    pub(super) fn take_ready(&mut self) -> Option<(Vec<Source>, Output)> {
        match std::mem::replace(&mut self.phase, Phase::Next) {
            Phase::Ready { group, output } => {
                Some((self.snapshot.sources.get(group)?.to_vec(), output))
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn map_some(&mut self, mut at: Cursor, until: u64) -> Result<(), CleanError> {
        let Some(source) = self.snapshot.sources.get(at.source).copied() else {
            self.plan_groups();
            return Ok(());
        };
        let file = self.open(at.source)?;
        let mut scanner = Scanner::new(file.as_ref(), at.position, source.size, WALK_CHUNK);
        while self.moved_bytes < until {
            let Some((position, entry)) = self.next_entry(&mut scanner, &source)? else {
                self.latest = self.latest.max(source.next_base.plus(-1));
                self.phase = Phase::Map(Cursor { source: at.source + 1, position: 0 });
                return Ok(());
            };
            self.moved_bytes += u64::from(entry.size);
            at.position = position + entry.size;
            if entry.last_offset < self.snapshot.first_dirty {
                continue;
            }
            let bytes = scanner.whole(position, &entry).at("read", || self.path(&source))?;
            let full =
                self.map_batch(bytes).map_err(|what| self.unreadable(&source, position, what))?;
            if full {
                self.plan_groups();
                return Ok(());
            }
            self.latest = self.latest.max(entry.last_offset);
        }
        self.phase = Phase::Map(at);
        Ok(())
    }

    /// Puts the keys of a batch into the map. Returns whether there is no room for them.
    fn map_batch(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let batch = checked(bytes)?;
        let header = batch.header();
        if header.is_control() {
            self.transactions.on_control(&batch);
            return Ok(false);
        }
        let count = usize::try_from(header.records_count).unwrap_or(0);
        if count > self.map.room() && !self.map.is_empty() {
            return Ok(true);
        }
        if self.transactions.on_data(header) {
            return Ok(false);
        }
        for record in records(&batch, &LIMITS).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            if let Some(key) = record.key.filter(|_| record.offset >= self.snapshot.first_dirty) {
                self.map.put(&key, record.offset);
            }
        }
        Ok(false)
    }

    /// Groups the segments that the map covers, as many into one as fit.
    fn plan_groups(&mut self) {
        let sources = &self.snapshot.sources;
        let end = sources.partition_point(|source| source.base <= self.latest);
        let interval = u64::from(self.settings.index_interval.max(1));
        let mut group = 0..0;
        let mut size = 0;
        for (at, source) in sources.iter().take(end).enumerate() {
            let first = sources.get(group.start).map_or(source.base, |first| first.base);
            let larger = size + u64::from(source.size);
            let fits = larger <= u64::from(self.settings.segment_bytes)
                && (larger / interval + 1) * 12 <= u64::from(self.settings.index_bytes)
                && source.next_base.0 - first.0 <= i64::from(i32::MAX);
            if group.is_empty() || fits {
                size = larger;
            } else {
                self.groups.push_back(group.clone());
                group.start = at;
                size = u64::from(source.size);
            }
            group.end = at + 1;
        }
        if !group.is_empty() {
            self.groups.push_back(group);
        }
        let first = sources.first().map_or(Offset::ZERO, |source| source.base);
        self.transactions = Transactions::new(&self.snapshot.aborted, first);
        self.phase = Phase::Next;
    }

    fn begin_group(&mut self, group: Range<usize>) -> Result<(), CleanError> {
        let Some(first) = self.snapshot.sources.get(group.start) else { return Ok(()) };
        let index = (self.settings.index_interval, self.settings.index_bytes);
        let output = Output::create(&self.home, first.base, index, first.txn_len > 0)?;
        let at = Cursor { source: group.start, position: 0 };
        self.phase = Phase::Copy { group, at, output };
        Ok(())
    }

    fn copy_some(
        &mut self,
        group: Range<usize>,
        mut at: Cursor,
        mut output: Output,
        until: u64,
    ) -> Result<(), CleanError> {
        let copied = if at.source < group.end {
            self.copy_source(&group, &mut at, &mut output, until)
        } else {
            self.end_group(&group, &mut output)
        };
        // The output stays with the work in any case: whoever abandons it removes the files.
        let (same, done) = match copied {
            Ok(Copied::More) => (false, false),
            Ok(Copied::Changed) => (false, true),
            Ok(Copied::Same) => (true, true),
            Err(error) => {
                self.phase = Phase::Copy { group, at, output };
                return Err(error);
            }
        };
        if same {
            output.remove();
        } else if done {
            self.phase = Phase::Ready { group, output };
        } else {
            self.phase = Phase::Copy { group, at, output };
        }
        Ok(())
    }

    fn copy_source(
        &mut self,
        group: &Range<usize>,
        at: &mut Cursor,
        output: &mut Output,
        until: u64,
    ) -> Result<Copied, CleanError> {
        let Some(source) = self.snapshot.sources.get(at.source).copied() else {
            return Ok(Copied::More);
        };
        let rest = self.snapshot.sources.get(at.source + 1..group.end).unwrap_or_default();
        let last = rest.iter().all(|later| later.size == 0);
        let file = self.open(at.source)?;
        let mut scanner = Scanner::new(file.as_ref(), at.position, source.size, WALK_CHUNK);
        while self.moved_bytes < until {
            let Some((position, entry)) = self.next_entry(&mut scanner, &source)? else {
                *at = Cursor { source: at.source + 1, position: 0 };
                break;
            };
            self.moved_bytes += u64::from(entry.size);
            at.position = position + entry.size;
            let keep_empty = last && at.position == source.size;
            let bytes = scanner.whole(position, &entry).at("read", || self.path(&source))?;
            let Filtered { left, aborted } = self
                .filter_batch(bytes, keep_empty)
                .map_err(|what| self.unreadable(&source, position, what))?;
            match left {
                Left::Nothing => output.changed = true,
                Left::Same => self.write(output, &entry, bytes)?,
                Left::Changed(bytes) => {
                    let entry = Entry::parse(&bytes)
                        .map_err(|what| self.unreadable(&source, position, what))?;
                    output.changed = true;
                    self.write(output, &entry, &bytes)?;
                }
            }
            if let Some(txn) = aborted {
                output.push_aborted(&txn)?;
            }
        }
        Ok(Copied::More)
    }

    fn write(
        &mut self,
        output: &mut Output,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<(), CleanError> {
        self.moved_bytes += bytes.len() as u64;
        Ok(output.push(entry, bytes)?)
    }

    /// Every source is copied: what equals its only source need not replace it.
    fn end_group(&self, group: &Range<usize>, output: &mut Output) -> Result<Copied, CleanError> {
        let sources = self.snapshot.sources.get(group.clone()).unwrap_or_default();
        if let [only] = sources
            && !output.changed
            && output.txn_len() == only.txn_len
        {
            return Ok(Copied::Same);
        }
        output.finish()?;
        Ok(Copied::Changed)
    }

    fn filter_batch(&mut self, bytes: &[u8], keep_empty: bool) -> Result<Filtered, String> {
        let batch = checked(bytes)?;
        let last_record = self.snapshot.last_records.get(&batch.header().producer_id);
        let filter = Filter {
            map: &self.map,
            latest: self.latest,
            now: self.settings.now,
            horizon: self.settings.horizon,
        };
        filter
            .batch(&batch, &mut self.transactions, last_record, keep_empty)
            .map_err(|error| error.to_string())
    }

    fn next_entry(
        &self,
        scanner: &mut Scanner<'_>,
        source: &Source,
    ) -> Result<Option<(u32, Entry)>, CleanError> {
        match scanner.step().at("read", || self.path(source))? {
            Step::Entry { position, entry } => Ok(Some((position, entry))),
            Step::End => Ok(None),
            Step::Bad(what) => Err(self.unreadable(source, 0, what)),
        }
    }

    fn open(&mut self, at: usize) -> Result<Arc<dyn DiskFile>, CleanError> {
        if let Some((open, file)) = &self.file
            && *open == at
        {
            return Ok(Arc::clone(file));
        }
        let Some(source) = self.snapshot.sources.get(at) else { return Err(CleanError::Changed) };
        let file = self.home.open(&self.path(source), OpenMode::Read)?;
        self.file = Some((at, Arc::clone(&file)));
        Ok(file)
    }

    fn path(&self, source: &Source) -> PathBuf {
        self.home.path(source.base, ext::LOG)
    }

    fn unreadable(&self, source: &Source, position: u32, what: String) -> CleanError {
        CleanError::Unreadable { path: self.path(source), position, what }
    }
}

/// What became of a group.
enum Copied {
    /// There is more to copy.
    More,
    /// The new segment is complete.
    Changed,
    /// It is what its only source is.
    Same,
}

/// A batch that is what its producer sent. Old formats are not compacted: a deleted key's old
/// values might stay in them.
fn checked(bytes: &[u8]) -> Result<BatchView<'_>, String> {
    let batch = BatchView::parse(bytes).map_err(|error| error.to_string())?;
    batch.verify_crc().map_err(|error| error.to_string())?;
    Ok(batch)
}
