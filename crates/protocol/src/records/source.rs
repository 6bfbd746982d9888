//! Where record bytes come from: a slice, or an [`Inflater`]'s chunks.

use std::borrow::Cow;

use super::inflate::{InflateError, Inflater};
use super::varint::{unzigzag, unzigzag_long};

/// What is wrong with a record's bytes; small, so that the hot loop stays in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end inside a record.
    End,
    /// A varint of more than 5 or 10 bytes.
    Varint,
    /// The record's length is negative.
    RecordLength,
    /// The parts need more or fewer bytes than the record's length.
    Parts,
    /// A key length below -1.
    KeyLength,
    /// A value length below -1.
    ValueLength,
    /// A negative number of headers, or more than there is room for.
    HeaderCount,
    /// A negative header key length.
    HeaderKeyLength,
    /// A header value length below -1.
    HeaderValueLength,
    /// The source keeps the details.
    Inflate,
}

/// A forward-only reader of record bytes.
pub(super) trait Source<'a> {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, Fault>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), Fault>;
    /// The next `count` bytes. Allocates no more than there are.
    fn take(&mut self, count: usize) -> Result<Cow<'a, [u8]>, Fault>;
    /// Bytes read and passed over.
    fn position(&self) -> u64;
    /// The next bytes that lie in memory one after the other; perhaps none.
    fn contiguous(&self) -> &[u8];
    /// Whether no byte is left.
    fn is_at_end(&mut self) -> Result<bool, Fault>;

    /// A zig-zag varint; bits beyond 32 are dropped, as Kafka does.
    #[inline]
    fn varint(&mut self) -> Result<i32, Fault> {
        let byte = self.byte()?;
        if byte < 0x80 {
            return Ok(unzigzag(u32::from(byte)));
        }
        let mut raw = u32::from(byte & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            raw |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag(raw));
            }
        }
        Err(Fault::Varint)
    }

    /// A zig-zag varlong; bits beyond 64 are dropped, as Kafka does.
    #[inline]
    fn varlong(&mut self) -> Result<i64, Fault> {
        let mut raw = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag_long(raw));
            }
        }
        Err(Fault::Varint)
    }
}

/// Uncompressed records.
#[derive(Debug)]
pub(super) struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Source<'a> for SliceSource<'a> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::End)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), Fault> {
        // `at` never passes the length, so the difference cannot underflow.
        if count > self.bytes.len() - self.at {
            return Err(Fault::End);
        }
        self.at += count;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<Cow<'a, [u8]>, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(Fault::End)?;
        self.at += count;
        Ok(Cow::Borrowed(taken))
    }

    #[inline]
    fn position(&self) -> u64 {
        self.at as u64
    }

    #[inline]
    fn contiguous(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn is_at_end(&mut self) -> Result<bool, Fault> {
        Ok(self.at == self.bytes.len())
    }
}

/// Compressed records, inflated as they are read.
#[derive(Debug)]
pub(super) struct InflateSource<'a> {
    inflater: Inflater<'a>,
    /// Position in the present chunk.
    at: usize,
    pub(super) error: Option<InflateError>,
}

impl<'a> InflateSource<'a> {
    pub(super) const fn new(inflater: Inflater<'a>) -> Self {
        Self { inflater, at: 0, error: None }
    }

    /// Moves to the next chunk; `End` when there is none.
    #[cold]
    fn refill(&mut self) -> Result<(), Fault> {
        self.at = 0;
        if let Err(error) = self.inflater.advance() {
            self.error = Some(error);
            return Err(Fault::Inflate);
        }
        if self.inflater.chunk().is_empty() { Err(Fault::End) } else { Ok(()) }
    }
}

impl<'a> Source<'a> for InflateSource<'a> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        loop {
            if let Some(&byte) = self.inflater.chunk().get(self.at) {
                self.at += 1;
                return Ok(byte);
            }
            self.refill()?;
        }
    }

    fn skip(&mut self, mut count: usize) -> Result<(), Fault> {
        loop {
            let left = self.contiguous().len();
            if count <= left {
                self.at += count;
                return Ok(());
            }
            count -= left;
            self.refill()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Cow<'a, [u8]>, Fault> {
        let mut out = Vec::with_capacity(count.min(self.contiguous().len()));
        loop {
            let left = self.contiguous();
            let part = left.get(..count - out.len()).unwrap_or(left);
            out.extend_from_slice(part);
            self.at += part.len();
            if out.len() == count {
                return Ok(Cow::Owned(out));
            }
            self.refill()?;
        }
    }

    #[inline]
    fn contiguous(&self) -> &[u8] {
        self.inflater.chunk().get(self.at..).unwrap_or_default()
    }

    fn position(&self) -> u64 {
        self.inflater.inflated() - self.contiguous().len() as u64
    }

    fn is_at_end(&mut self) -> Result<bool, Fault> {
        if !self.contiguous().is_empty() {
            return Ok(false);
        }
        match self.refill() {
            Ok(()) => Ok(false),
            Err(Fault::End) => Ok(true),
            Err(fault) => Err(fault),
        }
    }
}
