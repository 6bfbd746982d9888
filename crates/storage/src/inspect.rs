//! The small files beside a segment decoded, for those who look into a data directory.

use std::path::Path;

use ottla_protocol::ids::{Offset, Timestamp};

use crate::error::StorageError;
use crate::index_file::{Entry, OffsetEntry, TimeEntry};
use crate::producers::{ProducerState, Producers};
use crate::txn_index::{self, AbortedTxn};

/// The entries of an `.index` file of the segment at `base`: last offset of a batch, and the position
/// in the log where the batch starts. Ends at the first unused entry.
#[must_use]
pub fn offset_index(bytes: &[u8], base: Offset) -> Vec<(Offset, u32)> {
    entries::<OffsetEntry>(bytes, base).map(|entry| (entry.offset, entry.position)).collect()
}

/// The entries of a `.timeindex` file of the segment at `base`: the largest timestamp so far, and the
/// last offset of its batch. Ends at the first unused entry.
#[must_use]
pub fn time_index(bytes: &[u8], base: Offset) -> Vec<(Timestamp, Offset)> {
    entries::<TimeEntry>(bytes, base).map(|entry| (entry.timestamp, entry.offset)).collect()
}

/// The entries of a `.txnindex` file; `path` is for the error.
///
/// # Errors
/// An entry has an unknown version.
pub fn txn_index(bytes: &[u8], path: &Path) -> Result<Vec<AbortedTxn>, StorageError> {
    txn_index::decode_all(bytes, path)
}

/// The producers in a `.snapshot` file.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn producer_snapshot(bytes: &[u8]) -> Result<Vec<ProducerState>, String> {
    Ok(Producers::from_snapshot(bytes)?.iter().cloned().collect())
}

fn entries<E: Entry>(bytes: &[u8], base: Offset) -> impl Iterator<Item = E> {
    bytes.chunks_exact(E::SIZE as usize).map_while(move |entry| E::decode(entry, base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_was_not_trimmed_ends_at_its_zeros() {
        let base = Offset(100);
        let mut bytes = Vec::new();
        let entry = OffsetEntry { offset: Offset(107), position: 4096 };
        entry.encode(base, &mut bytes);
        bytes.resize(800, 0);
        assert_eq!(offset_index(&bytes, base), [(Offset(107), 4096)]);
        let mut bytes = Vec::new();
        let entry = TimeEntry { timestamp: Timestamp(5), offset: Offset(101) };
        entry.encode(base, &mut bytes);
        bytes.resize(1200, 0);
        assert_eq!(time_index(&bytes, base), [(Timestamp(5), Offset(101))]);
    }

    #[test]
    fn bytes_that_are_no_such_file_are_refused() {
        assert!(txn_index(&[1; 34], Path::new("x")).is_err());
        assert!(producer_snapshot(&[0; 9]).is_err());
        assert_eq!(producer_snapshot(&Producers::default().to_snapshot()), Ok(Vec::new()));
    }
}
