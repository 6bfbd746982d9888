//! Opening a log: after a clean stop, after a crash, or for the first time.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};

use crate::config::{LogConfig, OpenLog};
use crate::disk::{DirEntry, OpenMode};
use crate::epochs::EpochCache;
use crate::error::{Context, StorageError};
use crate::flush::epoch_path;
use crate::home::{Home, LogDisk, ext, parse_name};
use crate::index_file::OffsetEntry;
use crate::log::{Active, Log, Unsynced};
use crate::producers::{Producers, TxnEnd};
use crate::scan::{SEEK_CHUNK, Scanner, Step, WALK_CHUNK};
use crate::segment::{Indexing, Segment};
use crate::txn_index;

/// What opening a log found and changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes of records that were read and checked.
    pub scanned_bytes: u64,
    /// What was cut off, if the log did not end with a whole batch.
    pub cut: Option<Cut>,
    /// Segments whose indexes were made anew.
    pub rebuilt_indexes: Vec<Offset>,
    /// A crash may take away what was found, or bring back what was cut off: sync the log
    /// ([`Log::sync`], or [`crate::FlushWork::run_together`] for many) before it is served.
    pub must_sync: bool,
}

/// What recovery removed from the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The log file that was cut.
    pub path: PathBuf,
    /// Where.
    pub position: u32,
    /// The log's end now.
    pub end_offset: Offset,
    /// Why the bytes there are no batch.
    pub why: String,
    /// Bytes removed, later segments included.
    pub removed_bytes: u64,
    /// Where the removed bytes are kept, because valid batches are among them. Empty for a torn
    /// tail.
    pub kept: Vec<PathBuf>,
}

impl Log {
    /// Opens the log in `dir`, creating both when absent.
    ///
    /// After a clean stop only the end of the active segment is looked at. Otherwise everything at
    /// or above the recovery point is checked batch by batch, an invalid tail is cut, indexes and
    /// producer state are made anew from the newest producer snapshot on, and
    /// [`RecoveryReport::must_sync`] says whether the log is to be synced before it is served.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Corrupt`] for files that cannot be understood.
    pub fn open(
        disk: impl Into<LogDisk>,
        dir: PathBuf,
        config: impl Into<Arc<LogConfig>>,
        options: OpenLog,
    ) -> Result<(Self, RecoveryReport), StorageError> {
        let home = Home::new(disk.into(), dir);
        let (entries, new_dir) = list_or_create(&home)?;
        let files = Files::sort(&home, entries, options.clean)?;
        let mut log = Self::assemble(home, config.into(), &files, options)?;
        // Names that another process made may not be on the disk: it may have ended before a flush.
        log.unsynced.new_dir = new_dir || !options.clean;
        if !options.clean {
            log.unsynced.names.change();
        }
        let mut report = RecoveryReport::default();
        log.load_epochs(&files)?;
        if files.segments.is_empty() {
            log.create_first(options)?;
            // Only the segment's name tells from now on that offsets do not begin anew.
            report.must_sync = options.log_start_offset > Offset::ZERO;
            return Ok((log, report));
        }
        log.check_index_files(&files, &mut report)?;
        let rebuilt_from = if options.clean && log.find_clean_end()? {
            log.unsynced.flushed = log.next_offset;
            None
        } else {
            Some(log.recover(options.recovery_point, &mut report)?)
        };
        let first = log.segments.first().map_or(Offset::ZERO, |segment| segment.base);
        log.log_start = options.log_start_offset.max(first);
        let below_start = log.log_start > log.next_offset;
        if below_start {
            // Everything that is left lies below what was deleted on purpose.
            log.truncate_fully_and_start_at(log.log_start, options.now.wall)?;
        }
        log.settle_epochs();
        log.load_producers(rebuilt_from.map(|from| from.max(options.recovery_point)))?;
        log.expire_producers(options.now.wall);
        // Without records above the recovery point a flush has synced everything, names too.
        report.must_sync =
            log.unsynced.flushed < log.next_offset || report.cut.is_some() || below_start;
        Ok((log, report))
    }

    fn assemble(
        home: Home,
        config: Arc<LogConfig>,
        files: &Files,
        options: OpenLog,
    ) -> Result<Self, StorageError> {
        let mut segments = Vec::with_capacity(files.segments.len().max(1));
        for (&base, found) in &files.segments {
            let size = u32::try_from(found.log).map_err(|_| StorageError::Corrupt {
                path: home.path(base, ext::LOG),
                what: format!("{} bytes are more than a segment may have", found.log),
            })?;
            let mut segment = Segment::cold(base, size, options.now.wall);
            segment.snapshot_durable = options.clean;
            segment.txn_len = u32::try_from(found.txn_index.unwrap_or(0)).unwrap_or(0);
            segments.push(segment);
        }
        Ok(Self {
            home,
            config,
            segments,
            log_start: options.log_start_offset,
            next_offset: options.log_start_offset,
            producers: Producers::default(),
            epochs: EpochCache::default(),
            snapshots: files.snapshots.clone(),
            active: Active::default(),
            unsynced: Unsynced {
                flushed: options.recovery_point,
                checkpointed: options.recovery_point,
                last_flush: options.now.monotonic,
                names: <_>::default(),
                epochs: <_>::default(),
                new_dir: false,
            },
            truncations: Arc::default(),
            offline: false,
            swap: None,
            retiring: None,
        })
    }

    fn create_first(&mut self, options: OpenLog) -> Result<(), StorageError> {
        let start = options.log_start_offset;
        self.segments.push(Segment::create(&self.home, start, &self.config, options.now.wall)?);
        self.unsynced.names.change();
        self.unsynced.flushed = start;
        self.unsynced.cap(start);
        self.settle_epochs();
        Ok(())
    }

    fn load_epochs(&mut self, files: &Files) -> Result<(), StorageError> {
        if !files.has_epochs {
            return Ok(());
        }
        let path = epoch_path(&self.home);
        let bytes = self.home.read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        self.epochs =
            EpochCache::parse(&text).map_err(|what| StorageError::Corrupt { path, what })?;
        Ok(())
    }

    fn settle_epochs(&mut self) {
        let end = self.epochs.truncate_from_end(self.next_offset.max(Offset(1)));
        let start = self.epochs.truncate_from_start(self.log_start);
        if end || start {
            self.unsynced.epochs.change();
        }
    }

    /// Makes the indexes of segments anew that have none or one of a wrong size.
    fn check_index_files(
        &mut self,
        files: &Files,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        for (at, found) in files.segments.values().enumerate() {
            let sane = found.index.is_some_and(|len| len % 8 == 0)
                && found.time_index.is_some_and(|len| len % 12 == 0);
            if sane {
                continue;
            }
            let config = Arc::clone(&self.config);
            let active = at + 1 == self.segments.len();
            let Some(segment) = self.segments.get_mut(at) else { continue };
            segment.index.reset(&self.home, config.segment_index_bytes)?;
            segment.time_index.reset(&self.home, config.segment_index_bytes)?;
            let size = segment.size;
            let walk =
                Walk { home: &self.home, interval: config.index_interval_bytes, check: false };
            walk.index(segment, 0, size, &mut Seen::new(segment.base))?;
            if !active {
                segment.seal(&self.home, &config)?;
            }
            segment.size = size;
            segment.durable = false;
            report.rebuilt_indexes.push(segment.base);
        }
        Ok(())
    }

    /// Finds the log end after a clean stop. `false` if the active segment does not end with whole
    /// batches after all, or its index is of other ones.
    fn find_clean_end(&mut self) -> Result<bool, StorageError> {
        let Some(segment) = self.segments.last_mut() else { return Ok(false) };
        let mut end = segment.base;
        if segment.size > 0 {
            let hint = segment.index.last(&self.home)?;
            let start = hint.as_ref().map_or(0, |hint| hint.position);
            if start >= segment.size {
                return Ok(false); // An index of other records.
            }
            let file = segment.file(&self.home)?;
            let path = self.home.path(segment.base, ext::LOG);
            let mut scanner = Scanner::new(file.as_ref(), start, segment.size, SEEK_CHUNK);
            loop {
                match scanner.step().context("read", &path)? {
                    Step::Entry { position, entry } => {
                        let other = |hint: &OffsetEntry| entry.last_offset != hint.offset;
                        if entry.misplaced(segment.base, end).is_some()
                            || (position == start && hint.as_ref().is_some_and(other))
                        {
                            return Ok(false);
                        }
                        end = entry.next_offset();
                        segment.on_tail_entry(&entry);
                    }
                    Step::End => break,
                    Step::Bad(_) => return Ok(false),
                }
            }
        }
        self.next_offset = end;
        Ok(true)
    }

    /// Checks what lies at or above the recovery point. Returns from where on.
    fn recover(
        &mut self,
        recovery_point: Offset,
        report: &mut RecoveryReport,
    ) -> Result<Offset, StorageError> {
        // A segment that ends at the recovery point may have been sealed after the flush: its last
        // time index entry is then not on the disk.
        let first = self.segment_at(recovery_point.plus(-1));
        let mut from = self.segments.get(first).map_or(recovery_point, |segment| segment.base);
        let interval = self.config.index_interval_bytes;
        let indexed_to = self.indexes_synced_to(first, recovery_point);
        let mut at = first;
        while at < self.segments.len() {
            if let Some(why) = self.gap_before(at).filter(|_| at > first) {
                let end = self.segments.get(at - 1).map_or(0, |segment| segment.size);
                self.cut_at(at - 1, end, why, report)?;
                break;
            }
            let active = at + 1 == self.segments.len();
            let Some(segment) = self.segments.get_mut(at) else { break };
            segment.durable = false;
            let file_size = segment.size;
            if segment.txn_len > 0 {
                // Below the recovery point it was synced with the log; the rest is replayed.
                segment.txn_len = txn_index::truncate(&self.home, segment.base, recovery_point)?;
            }
            let walk = Walk { home: &self.home, interval, check: true };
            let mut seen = Seen::new(segment.base);
            let start = if at == first {
                walk.trusted_start(segment, indexed_to)?
            } else {
                walk.forget_from(segment, segment.base)?;
                0
            };
            let bad = walk.index(segment, start, file_size, &mut seen)?;
            walk.check_aborted(segment)?;
            report.scanned_bytes += u64::from(segment.size - start);
            if at == first && start > 0 {
                from = seen.first.unwrap_or(from);
            }
            self.active.since_index = seen.since_index;
            self.next_offset = seen.next.max(segment.base);
            self.take_epochs(&seen);
            if let Some(why) = bad {
                self.cut_at(at, file_size, why, report)?;
            } else if !active {
                let config = Arc::clone(&self.config);
                if let Some(segment) = self.segments.get_mut(at) {
                    segment.seal(&self.home, &config)?;
                }
            }
            at += 1;
        }
        self.unsynced.cap(self.next_offset);
        Ok(from)
    }

    /// Below it the indexes of segment `at` were synced, as the newest producer snapshot inside the
    /// segment tells that a flush wrote; see [`crate::FlushWork`].
    fn indexes_synced_to(&self, at: usize, recovery_point: Offset) -> Option<Offset> {
        let base = self.segments.get(at)?.base;
        let next = self.segments.get(at + 1).map(|next| next.base);
        let inside = |&&snapshot: &&Offset| {
            snapshot > base && snapshot <= recovery_point && next.is_none_or(|next| snapshot < next)
        };
        self.snapshots.iter().rfind(inside).copied()
    }

    /// Why segment `at` does not continue what was recovered before it: the end of the one before was
    /// lost, though this one's bytes reached the disk. In a compacted log such gaps are normal.
    fn gap_before(&self, at: usize) -> Option<String> {
        let base = self.segments.get(at)?.base;
        (base != self.next_offset && !self.config.cleanup_compact).then(|| {
            format!("the records from {} to the next segment, {base}, are lost", self.next_offset)
        })
    }

    /// The records say which epochs there are from the first one on; what the checkpoint says of
    /// that range may be of records that were lost. Going by it, an epoch that it knows to begin
    /// later would hide that this one began earlier.
    fn take_epochs(&mut self, seen: &Seen) {
        let known = |&&(epoch, _): &&(LeaderEpoch, Offset)| epoch >= LeaderEpoch(0);
        let Some(&(_, first)) = seen.epochs.iter().find(known) else { return };
        let mut changed = self.epochs.truncate_from_end(first);
        for &(epoch, offset) in &seen.epochs {
            changed |= self.epochs.assign(epoch, offset);
        }
        if changed {
            self.unsynced.epochs.change();
        }
    }

    /// Cuts segment `at` behind its last valid batch and drops the segments after it. If valid
    /// batches are among what goes, it is kept under another name first.
    fn cut_at(
        &mut self,
        at: usize,
        file_size: u32,
        why: String,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        let later = self.segments.split_off(at + 1);
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let path = self.home.path(segment.base, ext::LOG);
        let position = segment.size;
        let file = segment.file(&self.home)?;
        let mut tail = vec![0; (file_size - position) as usize];
        let read = file.read_at(&mut tail, u64::from(position)).context("read", &path)?;
        tail.truncate(read);
        let mut valuable = holds_batch(&tail);
        for segment in &later {
            let file = segment.file(&self.home)?;
            let mut scanner = Scanner::new(file.as_ref(), 0, segment.size, WALK_CHUNK);
            let step = scanner.step().context("read", &path)?;
            if let Step::Entry { position, entry } = step {
                valuable |= scanner.verify(position, &entry).context("read", &path)?.is_ok();
            }
        }
        let mut kept = Vec::new();
        if valuable {
            let keep = suffixed(&path, &format!(".{position}.corrupt"));
            let copy = self.home.open(&keep, OpenMode::Create)?;
            copy.write_at(&[IoSlice::new(&tail)], 0).context("write", &keep)?;
            copy.set_len(tail.len() as u64).context("write", &keep)?;
            copy.sync().context("sync", &keep)?;
            kept.push(keep);
        }
        let mut removed_bytes = u64::from(file_size - position);
        for segment in &later {
            removed_bytes += u64::from(segment.size);
            if valuable && segment.size > 0 {
                let log = self.home.path(segment.base, ext::LOG);
                let keep = suffixed(&log, ".corrupt");
                self.home.rename(&log, &keep)?;
                kept.push(keep);
            }
            self.remove_segment_files(segment)?;
        }
        // What is kept has its name before it is cut off; the cut is synced with all that was
        // recovered, as `must_sync` says.
        self.home.sync_dir()?;
        file.set_len(u64::from(position)).context("truncate", &path)?;
        let end_offset = self.next_offset;
        report.cut = Some(Cut { path, position, end_offset, why, removed_bytes, kept });
        Ok(())
    }

    /// Loads the producers from the newest usable snapshot and what follows it in the log. Aborted
    /// transactions that ended at or above `rebuilt_from` go into the index again.
    pub(crate) fn load_producers(
        &mut self,
        rebuilt_from: Option<Offset>,
    ) -> Result<(), StorageError> {
        self.producers = Producers::default();
        let newest_usable = rebuilt_from.unwrap_or(self.next_offset).min(self.next_offset);
        // From the first record there is, though it may lie below the log start: a marker there ends
        // a transaction that the snapshot has open.
        let first = self.segments.first().map_or(self.next_offset, |segment| segment.base);
        let mut start = first.min(self.next_offset);
        while let Some(&snapshot) = self.snapshots.last() {
            let path = self.home.path(snapshot, ext::SNAPSHOT);
            // One that is older than the first segment lacks what was deleted since.
            if snapshot <= newest_usable
                && snapshot >= first
                && let Ok(producers) = Producers::from_snapshot(&self.home.read(&path)?)
            {
                self.producers = producers;
                start = start.max(snapshot);
                break;
            }
            self.remove_snapshot(snapshot)?;
            self.snapshots.pop();
        }
        self.active.since_snapshot = 0;
        if start >= self.next_offset {
            return Ok(());
        }
        for at in self.segment_at(start)..self.segments.len() {
            self.replay_producers(at, start, rebuilt_from)?;
        }
        Ok(())
    }

    fn replay_producers(
        &mut self,
        at: usize,
        start: Offset,
        rebuilt_from: Option<Offset>,
    ) -> Result<(), StorageError> {
        let Some(segment) = self.segments.get(at).filter(|segment| segment.size > 0) else {
            return Ok(());
        };
        let (size, path) = (segment.size, self.home.path(segment.base, ext::LOG));
        let Some((position, _)) = segment.find(&self.home, start)? else { return Ok(()) };
        self.active.since_snapshot = size - position;
        let file = segment.file(&self.home)?;
        let mut scanner = Scanner::new(file.as_ref(), position, size, WALK_CHUNK);
        while let Step::Entry { position, entry } = scanner.step_headers().context("read", &path)? {
            let Some(header) = entry.header.filter(|header| header.has_producer_id()) else {
                continue;
            };
            if !header.is_control() {
                self.producers.on_batch(&header);
                continue;
            }
            let bytes = scanner.whole(position, &entry).context("read", &path)?;
            let payload =
                bytes.get(ottla_protocol::records::BATCH_HEADER_LEN..).unwrap_or_default();
            let Some(marker) = crate::marker::parse_marker(&header, payload) else { continue };
            let Some(txn) = self.producers.on_marker(&marker, header.base_offset) else { continue };
            let rebuild = rebuilt_from.is_some_and(|from| txn.last_offset >= from);
            if rebuild && txn.end == TxnEnd::Abort {
                self.on_completed(&txn)?;
            }
        }
        Ok(())
    }
}

/// Walks a segment and makes its indexes.
struct Walk<'a> {
    home: &'a Home,
    interval: u32,
    /// Check CRCs.
    check: bool,
}

/// What a walk learns beside the indexes.
struct Seen {
    next: Offset,
    first: Option<Offset>,
    since_index: u32,
    epochs: Vec<(LeaderEpoch, Offset)>,
}

impl Seen {
    const fn new(base: Offset) -> Self {
        Self { next: base, first: None, since_index: 0, epochs: Vec::new() }
    }
}

impl Walk<'_> {
    /// Indexes the entries from `start` on and sets the segment's size to the end of the last valid
    /// one. Returns why the bytes after that are not valid.
    fn index(
        &self,
        segment: &mut Segment,
        start: u32,
        end: u32,
        seen: &mut Seen,
    ) -> Result<Option<String>, StorageError> {
        let path = self.home.path(segment.base, ext::LOG);
        segment.size = start;
        if start >= end {
            return Ok(None);
        }
        let file = segment.file(self.home)?;
        let mut scanner = Scanner::new(file.as_ref(), start, end, WALK_CHUNK);
        // The batch at a trusted start has an index entry, which was dropped with what follows.
        let mut since = if start > 0 { u32::MAX } else { 0 };
        loop {
            let (position, entry) = match scanner.step().context("read", &path)? {
                Step::Entry { position, entry } => (position, entry),
                Step::End => return Ok(None),
                Step::Bad(why) => return Ok(Some(why)),
            };
            if let Some(why) = entry.misplaced(segment.base, seen.next) {
                return Ok(Some(why));
            }
            if self.check
                && let Err(why) = scanner.verify(position, &entry).context("read", &path)?
            {
                return Ok(Some(why));
            }
            let indexing = Indexing { since, interval: self.interval };
            since = segment.on_entry(self.home, position, &entry, indexing)?;
            seen.since_index = since;
            seen.first.get_or_insert(entry.base_offset);
            seen.next = entry.next_offset();
            if seen.epochs.last().is_none_or(|&(last, _)| last < entry.leader_epoch) {
                seen.epochs.push((entry.leader_epoch, entry.base_offset));
            }
        }
    }

    /// Where checking may begin: at the last batch below `indexed_to` that the index knows, if the
    /// indexes up to there are what they must be, else at 0. Index pages beyond may be lost or stale
    /// after a crash.
    fn trusted_start(
        &self,
        segment: &mut Segment,
        indexed_to: Option<Offset>,
    ) -> Result<u32, StorageError> {
        let hint = match indexed_to {
            Some(end) => self.verified_hint(segment, end)?,
            None => None,
        };
        let Some((position, offset)) = hint else {
            self.forget_from(segment, segment.base)?;
            return Ok(0);
        };
        self.forget_from(segment, offset)?;
        Ok(position)
    }

    fn verified_hint(
        &self,
        segment: &Segment,
        indexed_to: Offset,
    ) -> Result<Option<(u32, Offset)>, StorageError> {
        if segment.size == 0 {
            return Ok(None);
        }
        let offsets = segment.index.read_all(self.home)?;
        let times = segment.time_index.read_all(self.home)?;
        let below = offsets.partition_point(|entry| entry.offset < indexed_to);
        let (offsets, _) = offsets.split_at_checked(below).unwrap_or_default();
        let Some(hint) = offsets.last() else { return Ok(None) };
        let ordered = offsets.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position)
            && times.is_sorted_by(|a, b| a.timestamp < b.timestamp && a.offset <= b.offset);
        if !ordered || hint.position >= segment.size || hint.offset <= segment.base {
            return Ok(None);
        }
        let path = self.home.path(segment.base, ext::LOG);
        let file = segment.file(self.home)?;
        let mut scanner = Scanner::new(file.as_ref(), hint.position, segment.size, SEEK_CHUNK);
        let Step::Entry { position, entry } = scanner.step().context("read", &path)? else {
            return Ok(None);
        };
        let newest = times.iter().take_while(|time| time.offset <= hint.offset).last();
        let timed = newest.map_or(Timestamp::NONE, |time| time.timestamp) >= entry.max_timestamp;
        let same = entry.last_offset == hint.offset;
        let intact = scanner.verify(position, &entry).context("read", &path)?.is_ok();
        Ok((same && timed && intact).then_some((hint.position, hint.offset)))
    }

    /// Drops entries of the transaction index that no marker belongs to: a torn entry may pass for
    /// one of another offset.
    fn check_aborted(&self, segment: &mut Segment) -> Result<(), StorageError> {
        if segment.txn_len == 0 {
            return Ok(());
        }
        let entries = txn_index::read(self.home, segment.base)?;
        for (at, txn) in entries.iter().enumerate() {
            let found = segment.find(self.home, txn.last_offset)?;
            let marker = found.and_then(|(_, entry)| entry.header).is_some_and(|header| {
                header.is_control()
                    && header.base_offset == txn.last_offset
                    && header.producer_id == txn.producer_id
            });
            if !marker {
                segment.txn_len = txn_index::keep_first(self.home, segment.base, at)?;
                break;
            }
        }
        Ok(())
    }

    /// Drops index entries at or above `offset`.
    fn forget_from(&self, segment: &mut Segment, offset: Offset) -> Result<(), StorageError> {
        if offset == segment.base {
            segment.index.truncate(self.home, 0)?;
            segment.time_index.truncate(self.home, 0)?;
        } else {
            segment.index.truncate_to_offset(self.home, offset)?;
            segment.time_index.truncate_to_offset(self.home, offset)?;
        }
        segment.set_largest(None);
        Ok(())
    }
}

/// Whether a valid batch starts anywhere in `bytes`.
fn holds_batch(bytes: &[u8]) -> bool {
    use ottla_protocol::records::{BatchView, MAGIC_END};
    let mut start = 0;
    while let Some(window) = bytes.get(start + MAGIC_END - 1..) {
        // The magic byte is rare in what is not a batch, so most positions cost one comparison.
        let Some(skip) = window.iter().position(|&byte| byte == 2) else { return false };
        start += skip;
        let valid =
            bytes.get(start..).and_then(|rest| BatchView::parse(rest).ok()).is_some_and(|batch| {
                batch.header().base_offset >= Offset::ZERO && batch.verify_crc().is_ok()
            });
        if valid {
            return true;
        }
        start += 1;
    }
    false
}

fn suffixed(path: &std::path::Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn list_or_create(home: &Home) -> Result<(Vec<DirEntry>, bool), StorageError> {
    match home.disk.list(&home.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            home.disk.create_dir_all(&home.dir).context("create", &home.dir)?;
            Ok((Vec::new(), true))
        }
        listed => Ok((listed.context("list", &home.dir)?, false)),
    }
}

/// Sizes of a segment's files.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    log: u64,
    index: Option<u64>,
    time_index: Option<u64>,
    txn_index: Option<u64>,
}

/// The files of a log's directory.
#[derive(Debug, Default)]
struct Files {
    segments: BTreeMap<Offset, Found>,
    snapshots: Vec<Offset>,
    has_epochs: bool,
}

impl Files {
    /// Sorts the entries, finishes or undoes what a crash interrupted, and removes leftovers.
    fn sort(home: &Home, entries: Vec<DirEntry>, clean: bool) -> Result<Self, StorageError> {
        let leftover = |name: &str| {
            [".swap", ".cleaned", ".deleted", ".tmp"].iter().any(|suffix| name.ends_with(suffix))
        };
        let entries = if entries.iter().any(|entry| leftover(&entry.name)) {
            crate::swap::tidy(home, &entries)?;
            home.disk.list(&home.dir).context("list", &home.dir)?
        } else {
            entries
        };
        let mut files = Self::default();
        let mut orphans = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            files.has_epochs |= entry.name == "leader-epoch-checkpoint";
            match parse_name(&entry.name) {
                Some((base, ext::LOG)) => files.segments.entry(base).or_default().log = entry.len,
                Some((offset, ext::SNAPSHOT)) => files.snapshots.push(offset),
                Some((base, ext)) if ext::SEGMENT.contains(&ext) => {
                    orphans.push((base, ext, entry))
                }
                _ => {}
            }
        }
        for (base, ext, entry) in orphans {
            match files.segments.get_mut(&base) {
                Some(found) if ext == ext::INDEX => found.index = Some(entry.len),
                Some(found) if ext == ext::TIME_INDEX => found.time_index = Some(entry.len),
                Some(found) => found.txn_index = Some(entry.len),
                // An index without its log describes nothing.
                None => home.remove(&home.path(base, ext))?,
            }
        }
        files.drop_stray_snapshots(home, clean)?;
        Ok(files)
    }

    /// Keeps the snapshots of segments and the newest one.
    fn drop_stray_snapshots(&mut self, home: &Home, clean: bool) -> Result<(), StorageError> {
        let newest = self.snapshots.last().copied();
        let mut kept = Vec::with_capacity(self.snapshots.len());
        for &offset in &self.snapshots {
            // After a crash the newest may be ahead of the log, so older ones may still be needed.
            if !clean || self.segments.contains_key(&offset) || Some(offset) == newest {
                kept.push(offset);
            } else {
                home.remove(&home.path(offset, ext::SNAPSHOT))?;
            }
        }
        self.snapshots = kept;
        Ok(())
    }
}
