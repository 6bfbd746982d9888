//! Batches in a buffer, without decoding their records.

use super::crc::crc32c;
use super::header::{
    BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchError, BatchHeader, CRC_START, Fields, MAGIC_END,
};
use super::legacy::LEGACY_LENGTH_LEAST;
use crate::ids::Offset;

/// One record batch (magic 2) whose bytes are all there. Nothing beyond bounds and magic is checked.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    header_bytes: &'a [u8; BATCH_HEADER_LEN],
    bytes: &'a [u8],
    payload: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// See [`BatchHeader::parse`]; [`BatchError::Truncated`] when `bytes` ends inside the batch.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.size_in_bytes();
        let cut = BatchError::Truncated { need, have: bytes.len() };
        let bytes = bytes.get(..need).ok_or(cut.clone())?;
        let (header_bytes, payload) = bytes.split_first_chunk().ok_or(cut)?;
        Ok(Self { header, header_bytes, bytes, payload })
    }

    /// The header's fields.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes.
    #[must_use]
    pub const fn header_bytes(&self) -> &'a [u8; BATCH_HEADER_LEN] {
        self.header_bytes
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Everything after the header: the records, compressed if a codec is set.
    #[must_use]
    pub const fn records_payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Checks that the bytes are those the CRC was made of.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (_, covered) = self.bytes.split_at_checked(CRC_START).unwrap_or_default();
        let computed = crc32c(covered);
        let stored = self.header.crc;
        if computed != stored {
            let base_offset = self.header.base_offset;
            return Err(BatchError::Crc { base_offset, stored, computed });
        }
        Ok(())
    }
}

/// The batches of a buffer one after the other: see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// Iterates over the batches in `bytes`.
///
/// Ends without an error where too few bytes are left for another whole batch (a fetch answer or a
/// log's tail may be cut anywhere); [`Batches::remaining`] then gives those bytes. Ends after the
/// first error.
#[must_use]
pub const fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, failed: false }
}

impl<'a> Batches<'a> {
    /// The bytes not yet iterated over; after the end, those of an incomplete or invalid batch.
    #[must_use]
    pub const fn remaining(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match BatchView::parse(self.rest) {
            Ok(batch) => {
                self.rest = self.rest.get(batch.size()..).unwrap_or_default();
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

/// Where an entry of any format begins and ends: a batch, or a message of format 0 or 1 (which may
/// wrap a compressed message set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryBounds {
    /// The first field: a batch's base offset; an old message's own offset (the **last** of the
    /// set it wraps when compressed).
    pub offset: Offset,
    /// Bytes of the whole entry, also when not all of them are there.
    pub size: usize,
    /// 0, 1 or 2.
    pub magic: i8,
}

/// The bounds of the entry at the start of `bytes`, `None` with fewer than 17 bytes.
///
/// # Errors
/// [`BatchError::Length`] and [`BatchError::Magic`].
pub fn entry_bounds(bytes: &[u8]) -> Result<Option<EntryBounds>, BatchError> {
    let mut f = Fields(bytes);
    let (Some(offset), Some(length)) = (f.i64(), f.i32()) else { return Ok(None) };
    let base_offset = Offset(offset);
    if length < LEGACY_LENGTH_LEAST {
        return Err(BatchError::Length { base_offset, length, least: LEGACY_LENGTH_LEAST });
    }
    let Some(magic) = magic_of(bytes) else { return Ok(None) };
    match magic {
        0 | 1 => {
            let size = usize::try_from(length).unwrap_or(0) + BATCH_OVERHEAD;
            Ok(Some(EntryBounds { offset: base_offset, size, magic }))
        }
        2 => {
            let least = (BATCH_HEADER_LEN - BATCH_OVERHEAD) as i32;
            if length < least {
                return Err(BatchError::Length { base_offset, length, least });
            }
            let size = usize::try_from(length).unwrap_or(0) + BATCH_OVERHEAD;
            Ok(Some(EntryBounds { offset: base_offset, size, magic }))
        }
        _ => Err(BatchError::Magic(magic)),
    }
}

/// The magic byte of the entry at the start of `bytes`, whatever it is. It has the same place in
/// every format.
#[must_use]
pub fn magic_of(bytes: &[u8]) -> Option<i8> {
    bytes.get(MAGIC_END - 1).map(|&byte| byte.cast_signed())
}
