//! Walks the batches of a log file, reading headers and, when asked, whole batches.

use std::io;

use ottla_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::{
    BATCH_HEADER_LEN, BatchHeader, BatchView, LegacyMessage, entry_bounds,
};

use crate::disk::DiskFile;

/// Read at once when looking for a batch near an index entry.
pub(crate) const SEEK_CHUNK: usize = 4096;
/// Read at once when a whole file is walked.
pub(crate) const WALK_CHUNK: usize = 256 << 10;
/// Batches larger than this are skipped rather than read when only headers are needed.
const HEADERS_ONLY: u32 = 8 << 10;
/// Read at once when they are skipped.
const SEEK_HEADER: usize = 512;

/// What storage needs to know of an entry of any record format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) size: u32,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Absent in formats 0 and 1.
    pub(crate) header: Option<BatchHeader>,
}

impl From<&BatchHeader> for Entry {
    fn from(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            size: u32::try_from(header.size_in_bytes()).unwrap_or(u32::MAX),
            max_timestamp: header.max_timestamp,
            leader_epoch: header.partition_leader_epoch,
            header: Some(*header),
        }
    }
}

impl Entry {
    pub(crate) const fn next_offset(&self) -> Offset {
        self.last_offset.plus(1)
    }

    /// Why the entry cannot be where it is: behind offset `expected` in the segment that begins at
    /// `base`. No CRC covers its offset.
    pub(crate) fn misplaced(&self, base: Offset, expected: Offset) -> Option<String> {
        // Old compressed message sets carry only their last offset.
        if self.base_offset < expected {
            return Some(format!("offset {} after {expected}", self.base_offset));
        }
        let distance = self.last_offset.0.saturating_sub(base.0);
        (distance > i64::from(i32::MAX))
            .then(|| format!("offset {} is too far from base {base}", self.last_offset))
    }

    /// Reads the start of an entry; only as many bytes as a batch header has are looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bounds = entry_bounds(bytes)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("{} bytes are no entry", bytes.len()))?;
        if bounds.offset < Offset::ZERO {
            return Err(format!("offset {} is negative", bounds.offset));
        }
        if bounds.magic == 2 {
            let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
            if header.last_offset_delta < 0 {
                return Err(format!("last offset delta {} is negative", header.last_offset_delta));
            }
            return Ok(Self::from(&header));
        }
        // Offset, length, CRC, magic and attributes come before the timestamp of format 1.
        let timestamp = bytes.get(18..26).and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
        Ok(Self {
            base_offset: bounds.offset,
            last_offset: bounds.offset,
            size: u32::try_from(bounds.size).unwrap_or(u32::MAX),
            max_timestamp: timestamp
                .filter(|_| bounds.magic == 1)
                .map_or(Timestamp::NONE, Timestamp),
            leader_epoch: LeaderEpoch::NONE,
            header: None,
        })
    }
}

/// What is at the scanner's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// An entry that lies wholly before the end. The scanner has moved past it.
    Entry {
        /// Where it starts.
        position: u32,
        /// What its header says.
        entry: Entry,
    },
    /// The end.
    End,
    /// Bytes that are no entry, or one cut short.
    Bad(String),
}

/// A cursor over the entries of a file.
pub(crate) struct Scanner<'f> {
    file: &'f dyn DiskFile,
    next: u32,
    end: u32,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_at: u32,
}

impl<'f> Scanner<'f> {
    /// Starts at `position`, which must be the start of an entry.
    pub(crate) const fn new(file: &'f dyn DiskFile, position: u32, end: u32, chunk: usize) -> Self {
        Self { file, next: position, end, chunk, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Moves past the next entry.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if self.next >= self.end {
            return Ok(Step::End);
        }
        let left = self.end - self.next;
        let want = BATCH_HEADER_LEN.min(left as usize);
        let parsed = Entry::parse(self.bytes(self.next, want)?);
        Ok(match parsed {
            Ok(entry) if entry.size > left => {
                Step::Bad(format!("the batch has {} bytes, {left} are left", entry.size))
            }
            Ok(entry) => {
                let position = self.next;
                self.next += entry.size;
                Step::Entry { position, entry }
            }
            Err(why) => Step::Bad(why),
        })
    }

    /// As [`Self::step`] for a walk that needs headers only: between large batches little more than
    /// the headers is read.
    pub(crate) fn step_headers(&mut self) -> io::Result<Step> {
        let step = self.step()?;
        if let Step::Entry { entry, .. } = &step {
            self.chunk = if entry.size > HEADERS_ONLY { SEEK_HEADER } else { WALK_CHUNK };
        }
        Ok(step)
    }

    /// All bytes of the entry at `position`.
    pub(crate) fn whole(&mut self, position: u32, entry: &Entry) -> io::Result<&[u8]> {
        self.bytes(position, entry.size as usize)
    }

    /// Whether the entry at `position` is what its producer sent.
    pub(crate) fn verify(
        &mut self,
        position: u32,
        entry: &Entry,
    ) -> io::Result<Result<(), String>> {
        let bytes = self.whole(position, entry)?;
        let checked = match entry.header {
            Some(_) => BatchView::parse(bytes).and_then(|batch| batch.verify_crc()),
            None => LegacyMessage::parse(bytes).and_then(|message| message.verify_crc()),
        };
        Ok(checked.map_err(|error| error.to_string()))
    }

    fn bytes(&mut self, position: u32, len: usize) -> io::Result<&[u8]> {
        let held = position
            .checked_sub(self.buffer_at)
            .is_some_and(|skip| skip as usize + len <= self.buffer.len());
        if !held {
            let want = len.max(self.chunk.min((self.end - position) as usize));
            self.buffer.resize(want, 0);
            let read = self.file.read_at(&mut self.buffer, u64::from(position))?;
            self.buffer.truncate(read);
            self.buffer_at = position;
        }
        let skip = (position - self.buffer_at) as usize;
        let end = (skip + len).min(self.buffer.len());
        Ok(self.buffer.get(skip..end).unwrap_or_default())
    }
}
