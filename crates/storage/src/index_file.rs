//! What offset and time index share: fixed-size big-endian entries in a file that is allocated to
//! `segment.index.bytes` while its segment is active and cut to the used size afterwards.
//!
//! Entries are gathered and written some at a time. Losing the gathered ones in a crash is
//! harmless: recovery rebuilds what lies after the last entry it can verify.

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};

use ottla_protocol::ids::{Offset, Timestamp};

use crate::disk::{DiskFile, OpenMode};
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};
use crate::open_files::LazyFile;

/// Gathered entries that are written at once.
const GATHER: usize = 32;

/// An entry of one of the two indexes.
pub(crate) trait Entry: Copy {
    /// Bytes of an entry.
    const SIZE: u32;
    /// Name suffix of the file.
    const EXT: &'static str;
    fn encode(self, base: Offset, out: &mut Vec<u8>);
    /// `None` for an entry that was never written (all zero).
    fn decode(bytes: &[u8], base: Offset) -> Option<Self>;
    fn offset(self) -> Offset;
}

/// `.index`: last offset of a batch and the position where that batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

/// `.timeindex`: the largest timestamp so far and the last offset of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: Offset,
}

impl Entry for OffsetEntry {
    const SIZE: u32 = 8;
    const EXT: &'static str = ext::INDEX;

    fn encode(self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&relative(self.offset, base).to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8], base: Offset) -> Option<Self> {
        let (relative, rest) = bytes.split_first_chunk()?;
        let (position, _) = rest.split_first_chunk()?;
        let position = u32::from_be_bytes(*position);
        // The first batch of a segment has no entry, so no entry has position 0.
        (position > 0)
            .then(|| Self { offset: base.plus(i64::from(i32::from_be_bytes(*relative))), position })
    }

    fn offset(self) -> Offset {
        self.offset
    }
}

impl Entry for TimeEntry {
    const SIZE: u32 = 12;
    const EXT: &'static str = ext::TIME_INDEX;

    fn encode(self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&relative(self.offset, base).to_be_bytes());
    }

    fn decode(bytes: &[u8], base: Offset) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let (relative, _) = rest.split_first_chunk()?;
        let (timestamp, relative) = (i64::from_be_bytes(*timestamp), i32::from_be_bytes(*relative));
        (timestamp != 0 || relative != 0)
            .then(|| Self { timestamp: Timestamp(timestamp), offset: base.plus(relative.into()) })
    }

    fn offset(self) -> Offset {
        self.offset
    }
}

/// One index file.
pub(crate) struct IndexFile<E> {
    base: Offset,
    file: LazyFile,
    /// Entries in the file, once known.
    written: OnceLock<u32>,
    /// Whether the file has its full size for an active segment.
    allocated: bool,
    /// Whether it was written since it was opened.
    changed: bool,
    gathered: Vec<E>,
    newest: OnceLock<Option<E>>,
}

impl<E: Entry> IndexFile<E> {
    /// The index of an existing segment; nothing is read before it is needed.
    pub(crate) const fn cold(base: Offset) -> Self {
        Self {
            base,
            file: LazyFile::new(),
            written: OnceLock::new(),
            allocated: false,
            changed: false,
            gathered: Vec::new(),
            newest: OnceLock::new(),
        }
    }

    /// A new, empty index at full size. What had its name before is emptied.
    pub(crate) fn create(home: &Home, base: Offset, bytes: u32) -> Result<Self, StorageError> {
        let mut index = Self::cold(base);
        index.reset(home, bytes)?;
        Ok(index)
    }

    /// Forgets all entries and allocates the file again.
    pub(crate) fn reset(&mut self, home: &Home, bytes: u32) -> Result<(), StorageError> {
        let path = home.path(self.base, E::EXT);
        let file = home.open(&path, OpenMode::Create)?;
        if file.len().context("stat", &path)? > 0 {
            file.set_len(0).context("empty", &path)?;
        }
        file.set_len(u64::from(bytes - bytes % E::SIZE)).context("allocate", &path)?;
        self.file = LazyFile::new();
        self.written = OnceLock::from(0);
        self.allocated = true;
        self.changed = true;
        self.gathered.clear();
        self.newest = OnceLock::from(None);
        Ok(())
    }

    /// Number of entries.
    pub(crate) fn len(&self, home: &Home) -> Result<u32, StorageError> {
        Ok(self.written(home)? + u32::try_from(self.gathered.len()).unwrap_or(0))
    }

    /// Adds an entry to the gathered ones; [`Self::write_gathered`] brings them to the file.
    pub(crate) fn push(&mut self, entry: E) {
        self.gathered.push(entry);
        self.newest = OnceLock::from(Some(entry));
    }

    /// Whether the file was changed since it was opened.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether enough entries are gathered for a write.
    pub(crate) fn wants_write(&self) -> bool {
        self.gathered.len() >= GATHER
    }

    /// Whether the file is not cut to its entries yet.
    pub(crate) fn is_open_end(&self) -> bool {
        self.allocated || !self.gathered.is_empty()
    }

    /// Writes the gathered entries; they stay gathered on an error.
    pub(crate) fn write_gathered(&mut self, home: &Home, bytes: u32) -> Result<(), StorageError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let written = self.written(home)?;
        let path = home.path(self.base, E::EXT);
        let file = self.handle(home)?;
        if !self.allocated {
            let used = u64::from(written) * u64::from(E::SIZE);
            file.set_len(u64::from(bytes - bytes % E::SIZE).max(used))
                .context("allocate", &path)?;
        }
        let mut encoded = Vec::with_capacity(self.gathered.len() * E::SIZE as usize);
        for entry in &self.gathered {
            entry.encode(self.base, &mut encoded);
        }
        let at = u64::from(written) * u64::from(E::SIZE);
        file.write_at(&[IoSlice::new(&encoded)], at).context("write", &path)?;
        self.allocated = true;
        self.changed = true;
        self.written = OnceLock::from(self.len(home)?);
        self.gathered.clear();
        Ok(())
    }

    /// Cuts the file to its entries: the segment is not active any more, or the log closes.
    pub(crate) fn trim(&mut self, home: &Home, bytes: u32) -> Result<(), StorageError> {
        self.write_gathered(home, bytes)?;
        let used = u64::from(self.written(home)?) * u64::from(E::SIZE);
        let path = home.path(self.base, E::EXT);
        let file = self.handle(home)?;
        if file.len().context("stat", &path)? != used {
            file.set_len(used).context("trim", &path)?;
            self.changed = true;
        }
        self.allocated = false;
        Ok(())
    }

    /// Keeps the first `keep` entries and zeroes the rest of the file.
    pub(crate) fn truncate(&mut self, home: &Home, keep: u32) -> Result<(), StorageError> {
        let written = self.written(home)?;
        self.gathered.truncate(keep.saturating_sub(written) as usize);
        self.newest = OnceLock::new();
        if keep >= written {
            return Ok(());
        }
        let path = home.path(self.base, E::EXT);
        let file = self.handle(home)?;
        file.set_len(u64::from(keep) * u64::from(E::SIZE)).context("truncate", &path)?;
        self.written = OnceLock::from(keep);
        self.allocated = false;
        self.changed = true;
        Ok(())
    }

    /// Keeps the entries of offsets below `end`.
    pub(crate) fn truncate_to_offset(
        &mut self,
        home: &Home,
        end: Offset,
    ) -> Result<(), StorageError> {
        let keep = self.partition_point(home, |entry| entry.offset() < end)?;
        self.truncate(home, keep)
    }

    /// The last entry for which `before` holds, when it holds for a prefix of the entries.
    pub(crate) fn last_where(
        &self,
        home: &Home,
        before: impl Fn(E) -> bool,
    ) -> Result<Option<E>, StorageError> {
        match self.partition_point(home, before)?.checked_sub(1) {
            Some(slot) => self.get(home, slot),
            None => Ok(None),
        }
    }

    /// The newest entry.
    pub(crate) fn last(&self, home: &Home) -> Result<Option<E>, StorageError> {
        if let Some(newest) = self.newest.get() {
            return Ok(*newest);
        }
        let newest = match self.len(home)?.checked_sub(1) {
            Some(slot) => self.get(home, slot)?,
            None => None,
        };
        Ok(*self.newest.get_or_init(|| newest))
    }

    /// Number of leading entries for which `before` holds.
    pub(crate) fn partition_point(
        &self,
        home: &Home,
        before: impl Fn(E) -> bool,
    ) -> Result<u32, StorageError> {
        let written = self.written(home)?;
        if self.gathered.first().is_some_and(|&entry| before(entry)) {
            let gathered = self.gathered.partition_point(|&entry| before(entry));
            return Ok(written + u32::try_from(gathered).unwrap_or(0));
        }
        let (mut low, mut high) = (0, written);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(home, middle)?.is_some_and(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The entry in `slot`.
    pub(crate) fn get(&self, home: &Home, slot: u32) -> Result<Option<E>, StorageError> {
        let written = self.written(home)?;
        if let Some(gathered) = slot.checked_sub(written) {
            return Ok(self.gathered.get(gathered as usize).copied());
        }
        read_slot(self.handle(home)?.as_ref(), self.base, slot)
            .at("read", || home.path(self.base, E::EXT))
    }

    /// All entries in the file, for the checks of recovery.
    pub(crate) fn read_all(&self, home: &Home) -> Result<Vec<E>, StorageError> {
        let len = self.written(home)? as usize * E::SIZE as usize;
        let path = home.path(self.base, E::EXT);
        let mut bytes = vec![0; len];
        self.handle(home)?.read_at(&mut bytes, 0).context("read", &path)?;
        Ok(bytes
            .chunks_exact(E::SIZE as usize)
            .map_while(|chunk| E::decode(chunk, self.base))
            .collect())
    }

    /// The open file.
    pub(crate) fn handle(&self, home: &Home) -> Result<Arc<dyn DiskFile>, StorageError> {
        home.lazily(&self.file, (self.base, E::EXT), OpenMode::Create)
    }

    /// Closes the file until it is needed again.
    pub(crate) fn release(&mut self) {
        self.file = LazyFile::new();
    }

    fn written(&self, home: &Home) -> Result<u32, StorageError> {
        if let Some(&written) = self.written.get() {
            return Ok(written);
        }
        let path = home.path(self.base, E::EXT);
        let file = self.handle(home)?;
        let slots = file.len().context("stat", &path)? / u64::from(E::SIZE);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let used = used_slots::<E>(file.as_ref(), self.base, slots).context("read", &path)?;
        Ok(*self.written.get_or_init(|| used))
    }
}

/// Entries before the unused zeroes of a file that was not trimmed. In a trimmed file the last
/// slot is used, which is looked at first; then the search gallops from the front, because most
/// files that were not trimmed are almost empty.
fn used_slots<E: Entry>(file: &dyn DiskFile, base: Offset, slots: u32) -> std::io::Result<u32> {
    let used = |slot| Ok::<_, std::io::Error>(read_slot::<E>(file, base, slot)?.is_some());
    if slots == 0 || used(slots - 1)? {
        return Ok(slots);
    }
    let (mut low, mut high) = (0, 1);
    while high < slots && used(high - 1)? {
        low = high;
        high *= 2;
    }
    high = high.min(slots) - 1;
    while low < high {
        let middle = low + (high - low) / 2;
        if used(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn read_slot<E: Entry>(file: &dyn DiskFile, base: Offset, slot: u32) -> std::io::Result<Option<E>> {
    let mut bytes = [0; 12];
    let Some(entry) = bytes.get_mut(..E::SIZE as usize) else { return Ok(None) };
    let read = file.read_at(entry, u64::from(slot) * u64::from(E::SIZE))?;
    Ok((read == entry.len()).then(|| E::decode(entry, base)).flatten())
}

/// Segments are rolled before an offset is 2^31 past the base, see `Log::must_roll`.
fn relative(offset: Offset, base: Offset) -> i32 {
    let relative = i32::try_from(offset.0 - base.0);
    debug_assert!(relative.is_ok(), "offset {offset} is too far from base {base}");
    relative.unwrap_or(i32::MAX)
}
