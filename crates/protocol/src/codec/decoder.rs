//! Reading a message from a frame.

use bytes::Bytes;
use bytestring::ByteString;

use super::element::Element;
use super::error::{DecodeError, DecodeErrorKind, MAX_STRING};
use super::types::{UnknownTaggedField, UnknownTaggedFields};

/// Decoded structs may take this many times the input's bytes. Real messages stay below five; only
/// lists of empty strings and the like come near.
const MEMORY_FACTOR: usize = 16;
/// Memory that any input may take, however short.
const MEMORY_BASE: usize = 64 * 1024;

/// A position in a frame. Strings, bytes and records are slices of the frame, never copies.
///
/// For any input at most 16 times its length plus 64 KiB are kept (for a moment twice that, when an
/// array moves to grow): every length is checked against the bytes left, arrays grow as elements
/// arrive, and what they reserve is counted.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    /// Where reading must stop: the frame's end, or the end of the tagged field being read.
    end: usize,
    /// Bytes that arrays and unknown tagged fields may still reserve.
    memory: usize,
    message: &'static str,
}

/// A tagged field being read.
#[derive(Debug)]
pub struct Tag {
    /// Its tag number.
    pub id: u32,
    outer_end: usize,
}

macro_rules! integers {
    ($($name:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
            ///
            /// # Errors
            /// Too few bytes are left.
            pub fn $name(&mut self, field: &'static str) -> Result<$type, DecodeError> {
                self.array(field).map(<$type>::from_be_bytes)
            }
        )*
    };
}

impl Decoder {
    /// A decoder at the start of `frame`.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        let end = frame.len();
        let memory = end.saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_BASE);
        Self { frame, position: 0, end, memory, message: "frame" }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes not read yet, as a slice of the frame.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.position..self.end)
    }

    /// Names the message in errors from here on.
    pub fn set_message(&mut self, message: &'static str) {
        self.message = message;
    }

    /// An error at the current position.
    #[cold]
    pub fn error(&self, field: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { message: self.message, field, position: self.position, kind }
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

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// Too few bytes are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.window().first_chunk::<N>() {
            Some(bytes) => {
                let bytes = *bytes;
                self.position += N;
                Ok(bytes)
            }
            None => Err(self.truncated(field, N)),
        }
    }

    /// Reads an unsigned variable-length integer of at most five bytes (KIP-482). As Kafka does, it
    /// accepts superfluous zero groups and drops bits above the 32nd.
    ///
    /// # Errors
    /// Too few bytes are left, or it does not end within five bytes.
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(field, DecodeErrorKind::VarintTooLong))
    }

    /// Reads `length` bytes as a slice of the frame.
    ///
    /// # Errors
    /// Too few bytes are left.
    pub fn slice(&mut self, length: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(field, length));
        }
        let start = self.position;
        self.position += length;
        Ok(if length == 0 { Bytes::new() } else { self.frame.slice(start..start + length) })
    }

    /// Reads a string; `None` is null.
    ///
    /// Kafka replaces bytes that are not UTF-8 and goes on; so do we, copying that one string.
    ///
    /// # Errors
    /// Too few bytes are left, or the string is longer than Kafka allows.
    pub fn string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<ByteString>, DecodeError> {
        let length =
            if flexible { self.compact_length(field)? } else { self.i16(field)?.try_into().ok() };
        let Some(length) = length else { return Ok(None) };
        if length > MAX_STRING {
            return Err(self.error(field, DecodeErrorKind::StringTooLong { length }));
        }
        let start = self.position;
        Ok(Some(match ByteString::try_from(self.slice(length, field)?) {
            Ok(string) => string,
            Err(_) => self.lossy(start),
        }))
    }

    /// Reads a length and that many bytes; `None` is null.
    ///
    /// # Errors
    /// Too few bytes are left.
    pub fn bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible, field)? {
            Some(length) => self.slice(length, field).map(Some),
            None => Ok(None),
        }
    }

    /// Reads an array; `None` is null.
    ///
    /// # Errors
    /// The elements claimed cannot fit in the bytes left, or an element is malformed.
    pub fn vec<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible, field)? else { return Ok(None) };
        let element = T::MIN_SIZE.max(1);
        let left = self.remaining();
        if count > left / element {
            return Err(self.error(field, DecodeErrorKind::ArrayTooLong { count, element, left }));
        }
        let mut items = Vec::new();
        for read in 0..count {
            if items.len() == items.capacity() {
                let more = (count - read).min(read.max(left / size_of::<T>().max(1)).max(1));
                self.charge(more.saturating_mul(size_of::<T>()), field)?;
                items.reserve_exact(more);
            }
            items.push(T::read(self, version, flexible, field)?);
        }
        Ok(Some(items))
    }

    /// Reads a nullable struct: one byte, negative for null, then the struct.
    ///
    /// # Errors
    /// The struct is malformed.
    pub fn nullable<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8(field)? < 0 {
            Ok(None)
        } else {
            T::read(self, version, flexible, field).map(Some)
        }
    }

    /// Reads a nullable struct of a tagged field, where the presence byte is an unsigned varint and 0
    /// means null.
    ///
    /// # Errors
    /// The struct is malformed.
    pub fn tagged_nullable<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        if self.uvarint(field)? == 0 {
            Ok(None)
        } else {
            T::read(self, version, flexible, field).map(Some)
        }
    }

    /// Unwraps a value that may not be null in this version.
    ///
    /// # Errors
    /// It is null.
    pub fn required<T>(&self, value: Option<T>, field: &'static str) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(field, DecodeErrorKind::Null))
    }

    /// Passes on a value that may be null only if `allowed`.
    ///
    /// # Errors
    /// It is null and may not be.
    pub fn null_if<T>(
        &self,
        allowed: bool,
        value: Option<T>,
        field: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        if value.is_none() && !allowed {
            Err(self.error(field, DecodeErrorKind::Null))
        } else {
            Ok(value)
        }
    }

    /// Starts a tagged field: reads tag and size, and limits reading to that size.
    ///
    /// # Errors
    /// Too few bytes are left for the size.
    pub fn begin_tag(&mut self) -> Result<Tag, DecodeError> {
        let id = self.uvarint(TAGS)?;
        let size = self.uvarint(TAGS)? as usize;
        if size > self.remaining() {
            return Err(self.truncated(TAGS, size));
        }
        let outer_end = self.end;
        self.end = self.position + size;
        Ok(Tag { id, outer_end })
    }

    /// Ends a tagged field.
    ///
    /// # Errors
    /// Its content did not fill its size.
    pub fn end_tag(&mut self, tag: Tag) -> Result<(), DecodeError> {
        let left = self.remaining();
        if left > 0 {
            return Err(self.error(TAGS, DecodeErrorKind::TagSize { tag: tag.id, left }));
        }
        self.end = tag.outer_end;
        Ok(())
    }

    /// Keeps the content of a tagged field that this version does not know.
    ///
    /// # Errors
    /// So many that they exceed the memory for this input.
    pub fn keep_tag(
        &mut self,
        tag: &Tag,
        unknown: &mut UnknownTaggedFields,
    ) -> Result<(), DecodeError> {
        // The list doubles as it grows, and is boxed.
        self.charge(3 * size_of::<UnknownTaggedField>(), TAGS)?;
        let data = self.slice(self.remaining(), TAGS)?;
        unknown.push(UnknownTaggedField { tag: tag.id, data });
        Ok(())
    }

    /// Reads the tagged fields of a struct that has none of its own.
    ///
    /// # Errors
    /// They are malformed.
    pub fn unknown_tags(&mut self) -> Result<UnknownTaggedFields, DecodeError> {
        let mut unknown = UnknownTaggedFields::default();
        for _ in 0..self.uvarint(TAGS)? {
            let tag = self.begin_tag()?;
            self.keep_tag(&tag, &mut unknown)?;
            self.end_tag(tag)?;
        }
        Ok(unknown)
    }

    /// Makes sure that nothing follows.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error("(end)", DecodeErrorKind::TrailingBytes { left })),
        }
    }

    /// Array and byte lengths; negative (plain) or 0 (compact) is null, as in Kafka.
    fn length(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length(field) } else { Ok(self.i32(field)?.try_into().ok()) }
    }

    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint(field)?.checked_sub(1).map(|length| length as usize))
    }

    /// What was read since `start`, with U+FFFD for what is not UTF-8.
    #[cold]
    fn lossy(&self, start: usize) -> ByteString {
        let bytes = self.frame.get(start..self.position).unwrap_or_default();
        ByteString::from(String::from_utf8_lossy(bytes).into_owned())
    }

    fn charge(&mut self, needed: usize, field: &'static str) -> Result<(), DecodeError> {
        match self.memory.checked_sub(needed) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => {
                Err(self.error(field, DecodeErrorKind::TooMuchMemory { needed, left: self.memory }))
            }
        }
    }

    fn window(&self) -> &[u8] {
        self.frame.get(self.position..self.end).unwrap_or_default()
    }

    #[cold]
    fn truncated(&self, field: &'static str, needed: usize) -> DecodeError {
        self.error(field, DecodeErrorKind::Truncated { needed, left: self.remaining() })
    }
}

const TAGS: &str = "(tagged fields)";
