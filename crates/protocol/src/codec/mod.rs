//! The machinery under the generated messages: readers, writers, errors, and the functions that
//! turn a whole message into bytes and back.

mod decoder;
mod element;
mod encoder;
mod error;
mod inspect;
mod types;

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

pub use decoder::{Decoder, Tag};
pub use element::Element;
pub use encoder::{Encoder, OpenTag};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, MAX_STRING};
pub use inspect::{Inspect, Inspector};
pub use types::{Encoded, Records, Splice, UnknownTaggedField, UnknownTaggedFields};

use crate::ApiKey;

/// A top-level message: a request, response, header, log record or file structure.
pub trait Message: Element + Debug + Clone + PartialEq + Default {
    /// The schema's name.
    const NAME: &'static str;
    /// The versions that exist; empty for the messages of removed APIs.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields (KIP-482).
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads a message and leaves the decoder behind it.
    ///
    /// # Errors
    /// The bytes are no such message, or the version does not exist.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        d.set_message(Self::NAME);
        check_version(&Self::VERSIONS, version).map_err(|(min, max)| {
            d.error("(version)", DecodeErrorKind::UnsupportedVersion { version, min, max })
        })?;
        Self::read(d, version, false, "")
    }

    /// `ThrottleTimeMs` of a response, if it has one.
    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
        None
    }

    /// Writes the message.
    ///
    /// # Errors
    /// A field that the version does not have is set, or the version does not exist.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        e.set_message(Self::NAME, version);
        check_version(&Self::VERSIONS, version).map_err(|(min, max)| {
            e.error("(version)", EncodeErrorKind::UnsupportedVersion { min, max })
        })?;
        self.write(e, version, false, "")
    }
}

/// A request: knows its API and its answer.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// What answers it, in the same version.
    type Response: Message;
}

/// A record of an internal log: knows the type number that stands in front of it.
pub trait LogRecord: Message {
    /// The type number, unique within its log.
    const TYPE: i16;
}

/// Decodes a message that must fill `bytes`.
///
/// # Errors
/// The bytes are no such message, or more follow.
pub fn decode_exact<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut d = Decoder::new(bytes);
    let message = M::decode(&mut d, version)?;
    d.finish()?;
    Ok(message)
}

/// Decodes a message at the start of `bytes`; what follows is ignored, as Kafka does with requests.
///
/// # Errors
/// The bytes do not start with such a message.
pub fn decode_prefix<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    M::decode(&mut Decoder::new(bytes), version)
}

/// Encodes a message.
///
/// # Errors
/// The message has no form in this version.
pub fn encode<M: Message>(message: &M, version: i16) -> Result<Encoded, EncodeError> {
    Encoder::run(&|e| message.encode(e, version))
}

/// Encodes a message without external records.
///
/// # Errors
/// The message has no form in this version, or holds external records.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let encoded = encode(message, version)?;
    if !encoded.splices.is_empty() {
        let kind = EncodeErrorKind::ExternalRecords(encoded.splices.len());
        return Err(EncodeError { message: M::NAME, field: "(records)", version, kind });
    }
    Ok(encoded.bytes)
}

fn check_version(versions: &RangeInclusive<i16>, version: i16) -> Result<(), (i16, i16)> {
    if versions.contains(&version) { Ok(()) } else { Err((*versions.start(), *versions.end())) }
}
