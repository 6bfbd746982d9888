//! Messages of format 0 and 1: found in old logs, served as they are, no longer written (KIP-724).

use super::crc::crc32;
use super::header::{BATCH_OVERHEAD, BatchError, Compression, Fields};
use super::view::entry_bounds;
use crate::ids::{Offset, Timestamp};

/// The smallest length field of an old message: CRC, magic, attributes, key and value lengths.
pub(super) const LEGACY_LENGTH_LEAST: i32 = 14;
/// First byte the CRC covers: the magic, after offset, length and the CRC itself.
const LEGACY_CRC_START: usize = BATCH_OVERHEAD + 4;

/// A message of format 0 or 1 whose bytes are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    /// Its offset; the last offset of the wrapped set when compressed.
    pub offset: Offset,
    /// 0 or 1.
    pub magic: i8,
    /// How its value, then a message set, is compressed.
    pub compression: Compression,
    /// Only in format 1.
    pub timestamp: Option<Timestamp>,
    /// The whole message.
    pub bytes: &'a [u8],
    stored_crc: u32,
}

impl<'a> LegacyMessage<'a> {
    /// The message at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// [`BatchError::Magic`] also for a batch of magic 2, [`BatchError::Truncated`],
    /// [`BatchError::Length`], [`BatchError::Compression`] (zstd came after these formats).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let bounds = entry_bounds(bytes)?;
        let cut = |need| BatchError::Truncated { need, have: bytes.len() };
        let bounds = bounds.ok_or_else(|| cut(BATCH_OVERHEAD + LEGACY_LENGTH_LEAST as usize))?;
        if bounds.magic > 1 {
            return Err(BatchError::Magic(bounds.magic));
        }
        let whole = bytes.get(..bounds.size).ok_or_else(|| cut(bounds.size))?;
        let mut f = Fields(whole.get(BATCH_OVERHEAD..).unwrap_or_default());
        let (Some(crc), Some(magic), Some(attributes)) = (f.i32(), f.i8(), f.i8()) else {
            return Err(cut(bounds.size));
        };
        let codec = i16::from(attributes & 7);
        let compression = Compression::from_id(codec)
            .filter(|codec| *codec != Compression::Zstd)
            .ok_or(BatchError::Compression(codec))?;
        let timestamp = if magic == 1 { f.i64().map(Timestamp) } else { None };
        let stored_crc = crc.cast_unsigned();
        Ok(Self { offset: bounds.offset, magic, compression, timestamp, bytes: whole, stored_crc })
    }

    /// Checks the CRC-32 of the message.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32(self.bytes.get(LEGACY_CRC_START..).unwrap_or_default());
        if computed != self.stored_crc {
            let (base_offset, stored) = (self.offset, self.stored_crc);
            return Err(BatchError::Crc { base_offset, stored, computed });
        }
        Ok(())
    }
}
