//! What can go wrong between bytes and messages, with the place and the values.

/// Bytes that are not a message of the expected type and version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, field {field}, byte {position}: {kind}")]
pub struct DecodeError {
    /// The message being decoded.
    pub message: &'static str,
    /// The schema's field name; `Struct.Field` inside a nested struct.
    pub field: &'static str,
    /// Bytes from the start of what the decoder was given.
    pub position: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// See [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end inside the field.
    #[error("{needed} bytes are needed, {left} are left")]
    Truncated {
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes up to the end of the message or of the enclosing tagged field.
        left: usize,
    },
    /// Null where this version requires a value.
    #[error("null is not allowed in this version")]
    Null,
    /// A string longer than Kafka's limit.
    #[error("a string of {length} bytes is longer than {MAX_STRING}")]
    StringTooLong {
        /// The length found.
        length: usize,
    },
    /// An array that claims more elements than the bytes left can hold.
    #[error("{count} elements of at least {element} bytes do not fit in the {left} bytes left")]
    ArrayTooLong {
        /// Elements claimed.
        count: usize,
        /// The least an element takes on the wire.
        element: usize,
        /// Bytes left.
        left: usize,
    },
    /// A variable-length integer of more than five bytes.
    #[error("a variable-length integer does not end within five bytes")]
    VarintTooLong,
    /// A tagged field whose content does not fill the size in front of it.
    #[error("tagged field {tag} leaves {left} bytes of its size unread")]
    TagSize {
        /// The field's tag.
        tag: u32,
        /// Bytes not read.
        left: usize,
    },
    /// Decoding would take far more memory than the input: see [`Decoder`](super::Decoder).
    #[error(
        "{needed} more bytes of memory are needed, {left} are left of the limit for this input"
    )]
    TooMuchMemory {
        /// Bytes of memory needed next.
        needed: usize,
        /// Bytes left of the limit.
        left: usize,
    },
    /// A version that the message does not have.
    #[error("version {version} is not one of {min} to {max}")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
        /// The lowest that exists.
        min: i16,
        /// The highest that exists.
        max: i16,
    },
    /// Bytes after a complete message, where none may follow.
    #[error("{left} bytes follow the complete message")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
}

/// The longest string, in bytes. Kafka has this limit in flexible versions too, although their
/// lengths could be larger.
pub const MAX_STRING: usize = i16::MAX as usize;

/// A message that cannot be written in the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version}, field {field}: {kind}")]
pub struct EncodeError {
    /// The message being encoded.
    pub message: &'static str,
    /// The schema's field name; `Struct.Field` inside a nested struct.
    pub field: &'static str,
    /// The version asked for.
    pub version: i16,
    /// What is wrong.
    pub kind: EncodeErrorKind,
}

/// See [`EncodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeErrorKind {
    /// A field that this version does not have, set to something else than its default.
    #[error("this version cannot carry the value; leave the field at its default")]
    NotInVersion,
    /// Null where this version requires a value.
    #[error("null is not allowed in this version")]
    Null,
    /// A string longer than Kafka's limit.
    #[error("a string of {0} bytes is longer than {MAX_STRING}")]
    StringTooLong(usize),
    /// More elements or bytes than a length on the wire can say.
    #[error("a length of {0} does not fit in 31 bits")]
    TooLong(usize),
    /// Records kept elsewhere, where plain bytes are wanted.
    #[error("{0} splices of external records cannot become plain bytes; use `encode`")]
    ExternalRecords(usize),
    /// A version that the message does not have.
    #[error("the message has versions {min} to {max}")]
    UnsupportedVersion {
        /// The lowest that exists.
        min: i16,
        /// The highest that exists.
        max: i16,
    },
}
