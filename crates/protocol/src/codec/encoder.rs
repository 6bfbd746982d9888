//! Writing a message: a counting pass, then one write into memory of exactly that size.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::element::Element;
use super::error::{EncodeError, EncodeErrorKind, MAX_STRING};
use super::types::{Encoded, Records, Splice, UnknownTaggedFields};

/// Counts the bytes of a message, or writes them.
///
/// Each message's `encode` runs twice, so that it needs no separate size function. The counting pass
/// remembers the size of every tagged field in order (they stand in front of the content), the
/// writing pass takes them from there.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Written bytes; stays empty while counting.
    buffer: Vec<u8>,
    writing: bool,
    /// Counted bytes, external ones included.
    counted: usize,
    /// The external bytes among `counted`.
    external: usize,
    tag_sizes: Vec<u32>,
    next_tag: usize,
    splices: Vec<Splice>,
    message: &'static str,
    version: i16,
}

/// A tagged field being counted; see [`Encoder::begin_tag`].
#[derive(Debug)]
pub struct OpenTag {
    slot: usize,
    start: usize,
}

macro_rules! integers {
    ($($name:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
            pub fn $name(&mut self, value: $type) {
                self.raw(&value.to_be_bytes());
            }
        )*
    };
}

impl Encoder {
    /// Runs `write` twice, to count and to write.
    ///
    /// # Errors
    /// Those of `write`, which may only fail while counting.
    pub fn run(
        write: &dyn Fn(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<Encoded, EncodeError> {
        Self::run_with_size(false, write)
    }

    /// As [`Encoder::run`], with the total size as four bytes in front.
    ///
    /// # Errors
    /// Those of `write`; a size of 2 GiB or more.
    pub fn run_framed(
        write: &dyn Fn(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<Encoded, EncodeError> {
        Self::run_with_size(true, write)
    }

    fn run_with_size(
        framed: bool,
        write: &dyn Fn(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<Encoded, EncodeError> {
        let mut e = Self::default();
        write(&mut e)?;
        let size = i32::try_from(e.counted)
            .map_err(|_| e.error("(size)", EncodeErrorKind::TooLong(e.counted)))?;
        let prefix = if framed { size_of::<i32>() } else { 0 };
        e.buffer.reserve_exact(e.counted - e.external + prefix);
        e.writing = true;
        if framed {
            e.i32(size);
        }
        write(&mut e)?;
        debug_assert_eq!(e.buffer.len(), e.counted - e.external + prefix, "{}", e.message);
        Ok(Encoded { bytes: Bytes::from(e.buffer), splices: e.splices })
    }

    /// Names the message and version in errors from here on.
    pub fn set_message(&mut self, message: &'static str, version: i16) {
        self.message = message;
        self.version = version;
    }

    /// An error of the message being written.
    #[cold]
    pub fn error(&self, field: &'static str, kind: EncodeErrorKind) -> EncodeError {
        EncodeError { message: self.message, field, version: self.version, kind }
    }

    /// The error of a field that this version does not have but that is set.
    #[cold]
    pub fn not_in_version(&self, field: &'static str) -> EncodeError {
        self.error(field, EncodeErrorKind::NotInVersion)
    }

    integers! {
        i8: i8,
        u8: u8,
        i16: i16,
        u16: u16,
        i32: i32,
        u32: u32,
        i64: i64,
        f64: f64,
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.writing {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.counted += bytes.len();
        }
    }

    /// Writes an unsigned variable-length integer (KIP-482).
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// Writes a string.
    ///
    /// # Errors
    /// It is longer than Kafka allows.
    pub fn string(
        &mut self,
        flexible: bool,
        value: &str,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        let length = value.len();
        if length > MAX_STRING {
            return Err(self.error(field, EncodeErrorKind::StringTooLong(length)));
        }
        if flexible {
            self.uvarint(length as u32 + 1);
        } else {
            self.i16(length as i16);
        }
        self.raw(value.as_bytes());
        Ok(())
    }

    /// Writes a null string.
    pub fn null_string(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i16(-1);
        }
    }

    /// Writes a length and the bytes.
    ///
    /// # Errors
    /// 2 GiB or more.
    pub fn bytes(
        &mut self,
        flexible: bool,
        value: &[u8],
        field: &'static str,
    ) -> Result<(), EncodeError> {
        self.length(flexible, value.len(), field)?;
        self.raw(value);
        Ok(())
    }

    /// Writes the null of bytes, records and arrays.
    pub fn null(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    /// Writes a length and the records, or leaves a [`Splice`] where they belong.
    ///
    /// # Errors
    /// 2 GiB or more.
    pub fn records(
        &mut self,
        flexible: bool,
        value: &Records,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match *value {
            Records::Bytes(ref bytes) => self.bytes(flexible, bytes, field),
            Records::External { token, len } => {
                self.length(flexible, len as usize, field)?;
                if self.writing {
                    self.splices.push(Splice { position: self.buffer.len(), token, len });
                } else {
                    self.counted += len as usize;
                    self.external += len as usize;
                }
                Ok(())
            }
        }
    }

    /// Writes an array.
    ///
    /// # Errors
    /// Those of an element.
    pub fn vec<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        items: &[T],
        field: &'static str,
    ) -> Result<(), EncodeError> {
        self.length(flexible, items.len(), field)?;
        items.iter().try_for_each(|item| item.write(self, version, flexible, field))
    }

    /// Refuses null unless `allowed`.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn allow_null(&self, allowed: bool, field: &'static str) -> Result<(), EncodeError> {
        if allowed { Ok(()) } else { Err(self.error(field, EncodeErrorKind::Null)) }
    }

    /// Starts a tagged field that is going to be written.
    pub fn begin_tag(&mut self, tag: u32) -> OpenTag {
        self.uvarint(tag);
        let slot = if self.writing { self.next_tag } else { self.tag_sizes.len() };
        if self.writing {
            self.next_tag += 1;
            self.uvarint(self.tag_sizes.get(slot).copied().unwrap_or_default());
        } else {
            self.tag_sizes.push(0);
        }
        OpenTag { slot, start: self.counted }
    }

    /// Ends a tagged field.
    pub fn end_tag(&mut self, open: &OpenTag) {
        if !self.writing {
            // Above 4 GiB the whole message is refused for its size anyway.
            let size = (self.counted - open.start) as u32;
            if let Some(slot) = self.tag_sizes.get_mut(open.slot) {
                *slot = size;
            }
            self.uvarint(size);
        }
    }

    /// Writes the number of tagged fields: `known` ones and the unknown ones that are kept.
    pub fn tag_count(&mut self, known: u32, unknown: &UnknownTaggedFields) {
        self.uvarint(known + unknown.as_slice().len() as u32);
    }

    /// Writes the kept unknown tagged fields whose tags are among `tags`: tags ascend on the wire, so
    /// known and unknown ones take turns.
    pub fn unknown_tags(&mut self, unknown: &UnknownTaggedFields, tags: RangeInclusive<u32>) {
        for field in unknown.as_slice().iter().filter(|field| tags.contains(&field.tag)) {
            self.uvarint(field.tag);
            self.uvarint(field.data.len() as u32);
            self.raw(&field.data);
        }
    }

    fn length(
        &mut self,
        flexible: bool,
        length: usize,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        let plain = i32::try_from(length)
            .map_err(|_| self.error(field, EncodeErrorKind::TooLong(length)))?;
        if flexible {
            self.uvarint(plain as u32 + 1);
        } else {
            self.i32(plain);
        }
        Ok(())
    }
}
