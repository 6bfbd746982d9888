//! Reads: file ranges for Fetch, and searches by timestamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ottla_protocol::ids::Offset;

use crate::disk::DiskFile;
use crate::error::{ReadError, StorageError};
use crate::log::Log;
use crate::segment::Segment;
use crate::txn_index::{self, AbortedTxn};

/// A range of one segment file. It pins the file: renames and removals do not disturb it.
#[derive(Clone)]
pub struct LogSlice {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// First byte.
    pub position: u64,
    /// Number of bytes; 0 when there is nothing to read.
    pub len: u32,
    /// Base offset of the first batch; it may lie below the offset asked for.
    pub base_offset: Offset,
    /// The range ends inside its first batch, because `max_bytes` is smaller than that.
    pub first_batch_incomplete: bool,
    truncations: Arc<AtomicU32>,
    truncations_seen: u32,
}

impl LogSlice {
    /// Whether the log was not truncated since the slice was made. Check it after the bytes were
    /// read: bytes of a slice that is not intact may belong to other batches by now.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.truncations.load(Ordering::Acquire) == self.truncations_seen
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// What the disk says; a file that ends early is `UnexpectedEof`.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let read = self.file.read_at(&mut bytes, self.position)?;
        if read < bytes.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

impl std::fmt::Debug for LogSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSlice")
            .field("position", &self.position)
            .field("len", &self.len)
            .field("base_offset", &self.base_offset)
            .finish_non_exhaustive()
    }
}

/// What a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    from: Offset,
    max_bytes: u32,
    upper_bound: Offset,
    at_least_one_batch: bool,
}

impl Log {
    /// The batches from the one that contains `from`, all of one segment, up to `max_bytes` and not
    /// beyond `upper_bound` (exclusive: high watermark, last stable offset or log end). The range
    /// may end inside a batch; with `at_least_one_batch` the first one is whole.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside of log start and log end, or what the disk says.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u32,
        upper_bound: Offset,
        at_least_one_batch: bool,
    ) -> Result<LogSlice, ReadError> {
        if from < self.log_start || from > self.next_offset {
            return Err(ReadError::OutOfRange {
                got: from,
                log_start: self.log_start,
                log_end: self.next_offset,
            });
        }
        let upper_bound = upper_bound.min(self.next_offset);
        let want = Want { from, max_bytes, upper_bound, at_least_one_batch };
        let mut at = self.segment_at(from);
        while let Some(segment) = self.segments.get(at).filter(|_| from < upper_bound) {
            let last = at + 1 == self.segments.len();
            if let Some(slice) = self.read_segment(segment, last, &want)? {
                return Ok(slice);
            }
            // Compaction may have left the end of a segment's range empty.
            at += 1;
        }
        let segment = self.active_segment()?;
        Ok(self.slice(segment, segment.size, 0, from)?)
    }

    fn read_segment(
        &self,
        segment: &Segment,
        last: bool,
        want: &Want,
    ) -> Result<Option<LogSlice>, StorageError> {
        let hot = if last { self.active.tail.find(want.from, segment.size) } else { None };
        let (position, first_end, base) = match hot {
            Some(hot) => (hot.position, hot.end, hot.base_offset),
            None => match segment.find(&self.home, want.from)? {
                Some((position, entry)) => (position, position + entry.size, entry.base_offset),
                None => return Ok(None),
            },
        };
        let end = self.end_position(segment, last, want.upper_bound)?;
        if position >= end {
            return Ok(Some(self.slice(segment, position, 0, base)?));
        }
        let first_len = first_end - position;
        let max =
            if want.at_least_one_batch { want.max_bytes.max(first_len) } else { want.max_bytes };
        let mut slice = self.slice(segment, position, max.min(end - position), base)?;
        slice.first_batch_incomplete = slice.len < first_len;
        Ok(Some(slice))
    }

    /// Where the first batch at or above `bound` starts in `segment`, or where the segment ends.
    fn end_position(
        &self,
        segment: &Segment,
        last: bool,
        bound: Offset,
    ) -> Result<u32, StorageError> {
        let next = self.segments.get(self.segment_at(segment.base) + 1);
        let past =
            if last { bound >= self.next_offset } else { next.is_some_and(|n| n.base <= bound) };
        if past {
            return Ok(segment.size);
        }
        if last && let Some(hot) = self.active.tail.find(bound, segment.size) {
            return Ok(hot.position);
        }
        let found = segment.find(&self.home, bound)?;
        Ok(found.map_or(segment.size, |(position, _)| position))
    }

    fn slice(
        &self,
        segment: &Segment,
        position: u32,
        len: u32,
        base_offset: Offset,
    ) -> Result<LogSlice, StorageError> {
        Ok(LogSlice {
            file: segment.file(&self.home)?,
            position: u64::from(position),
            len,
            base_offset,
            first_batch_incomplete: false,
            truncations: Arc::clone(&self.truncations),
            truncations_seen: self.truncations.load(Ordering::Acquire),
        })
    }

    /// The aborted transactions that a read-committed consumer needs to read from `from` up to
    /// `upper_bound` (exclusive), in the order of their markers.
    ///
    /// # Errors
    /// What the disk says.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upper_bound: Offset,
    ) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut found = Vec::new();
        for segment in self.segments.iter().skip(self.segment_at(from)) {
            let entries = (segment.base, segment.txn_len);
            let whole = txn_index::scan(&self.home, entries, from, |txn| {
                if txn.first_offset < upper_bound {
                    found.push(txn);
                }
                txn.last_stable_offset < upper_bound
            })?;
            if !whole {
                break;
            }
        }
        Ok(found)
    }

    /// The aborted transactions that a consumer of `slice`, which was read up to `upper_bound`, needs:
    /// those that overlap the slice, and perhaps some that begin a little behind it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn aborted_in(
        &self,
        slice: &LogSlice,
        upper_bound: Offset,
    ) -> Result<Vec<AbortedTxn>, StorageError> {
        let first = self.segment_at(slice.base_offset);
        if self.segments.iter().skip(first).all(|segment| segment.txn_len == 0) {
            return Ok(Vec::new());
        }
        let bound = match self.segments.get(first) {
            Some(segment) => {
                self.end_of(slice, segment)?.map_or(upper_bound, |end| end.min(upper_bound))
            }
            None => upper_bound,
        };
        self.aborted_transactions(slice.base_offset, bound)
    }

    /// An offset that is not below the records of `slice`, from the index of its segment.
    fn end_of(&self, slice: &LogSlice, segment: &Segment) -> Result<Option<Offset>, StorageError> {
        let end = slice.position + u64::from(slice.len);
        let slot =
            segment.index.partition_point(&self.home, |entry| u64::from(entry.position) < end)?;
        match segment.index.get(&self.home, slot)? {
            Some(entry) => segment.base_offset_at(&self.home, entry),
            None => Ok(None),
        }
    }
}
