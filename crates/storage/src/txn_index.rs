//! `.txnindex`: the aborted transactions that ended in a segment.

use std::io::IoSlice;
use std::path::Path;

use ottla_protocol::ids::{Offset, ProducerId};

use crate::disk::OpenMode;
use crate::error::{Context, StorageError};
use crate::home::{Home, ext};

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: u32 = 34;
const ENTRY_BYTES: usize = ENTRY_LEN as usize;

/// An aborted transaction, as read-committed consumers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose records are to be skipped.
    pub producer_id: ProducerId,
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Offset of the abort marker.
    pub last_offset: Offset,
    /// Last stable offset when the marker was written: a search for a range that ends at or below
    /// it is complete with this entry.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        // The first two bytes are the version, 0.
        let fields = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        for (slot, field) in out.split_at_mut(2).1.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first_chunk()?;
        if i16::from_be_bytes(*version) != 0 {
            return None;
        }
        let mut field = || {
            let (head, tail) = rest.split_first_chunk()?;
            rest = tail;
            Some(i64::from_be_bytes(*head))
        };
        Some(Self {
            producer_id: ProducerId(field()?),
            first_offset: Offset(field()?),
            last_offset: Offset(field()?),
            last_stable_offset: Offset(field()?),
        })
    }
}

/// Adds `txn` after the `len` bytes that segment `base` has already.
pub(crate) fn append(
    home: &Home,
    base: Offset,
    len: u32,
    txn: &AbortedTxn,
) -> Result<(), StorageError> {
    let path = home.path(base, ext::TXN_INDEX);
    let file = home.open(&path, OpenMode::Create)?;
    file.write_at(&[IoSlice::new(&txn.encode())], len.into()).context("write", &path)
}

/// Cuts what was written behind the `len` bytes of segment `base` and did not come to count.
pub(crate) fn cut(home: &Home, base: Offset, len: u32) -> Result<(), StorageError> {
    let path = home.path(base, ext::TXN_INDEX);
    let file = home.open(&path, OpenMode::Create)?;
    file.set_len(len.into()).context("truncate", &path)
}

/// Entries read at once by [`scan`].
const SCAN_ENTRIES: usize = 120;

/// Gives the entries of the segment whose base offset and bytes are `segment` to `each`, in the order
/// of their markers, from the first one whose marker is at or above `from`, while `each` returns
/// true. Returns whether it always did.
pub(crate) fn scan(
    home: &Home,
    segment: (Offset, u32),
    from: Offset,
    mut each: impl FnMut(AbortedTxn) -> bool,
) -> Result<bool, StorageError> {
    let (base, len) = segment;
    if len == 0 {
        return Ok(true);
    }
    let path = home.path(base, ext::TXN_INDEX);
    let file = home.open(&path, OpenMode::Read)?;
    let read = |first: usize, count: usize| {
        let mut bytes = vec![0; count * ENTRY_BYTES];
        let read = file.read_at(&mut bytes, (first * ENTRY_BYTES) as u64).context("read", &path)?;
        bytes.truncate(read);
        decode_all(&bytes, &path)
    };
    let count = len as usize / ENTRY_BYTES;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if read(middle, 1)?.first().is_some_and(|txn| txn.last_offset < from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for first in (low..count).step_by(SCAN_ENTRIES) {
        for txn in read(first, SCAN_ENTRIES.min(count - first))? {
            if !each(txn) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The whole entries of a file; `path` is for the error.
pub(crate) fn decode_all(bytes: &[u8], path: &Path) -> Result<Vec<AbortedTxn>, StorageError> {
    let entries = bytes.chunks_exact(ENTRY_BYTES).map(|entry| {
        AbortedTxn::decode(entry).ok_or_else(|| StorageError::Corrupt {
            path: path.to_path_buf(),
            what: "the version of an entry is not 0".to_owned(),
        })
    });
    entries.collect()
}

/// The entries of segment `base`, in the order of their markers.
pub(crate) fn read(home: &Home, base: Offset) -> Result<Vec<AbortedTxn>, StorageError> {
    let path = home.path(base, ext::TXN_INDEX);
    decode_all(&home.read(&path)?, &path)
}

/// Keeps the entries of markers below `end`, up to the first that is none: what a crash left of an
/// entry may be zeros. Returns the new length.
pub(crate) fn truncate(home: &Home, base: Offset, end: Offset) -> Result<u32, StorageError> {
    let entries = match read(home, base) {
        Ok(entries) => entries,
        Err(StorageError::Corrupt { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut previous = base.plus(-1);
    let keep = entries.iter().take_while(|txn| {
        let follows = txn.last_offset > previous.max(txn.first_offset);
        previous = txn.last_offset;
        follows && txn.last_offset < end
    });
    keep_first(home, base, keep.count())
}

/// Keeps the first `keep` entries, durably. Returns the new length.
pub(crate) fn keep_first(home: &Home, base: Offset, keep: usize) -> Result<u32, StorageError> {
    let len = keep * ENTRY_BYTES;
    let path = home.path(base, ext::TXN_INDEX);
    let file = home.open(&path, OpenMode::ReadWrite)?;
    file.set_len(len as u64).context("truncate", &path)?;
    file.sync().context("sync", &path)?;
    Ok(u32::try_from(len).unwrap_or(u32::MAX))
}
