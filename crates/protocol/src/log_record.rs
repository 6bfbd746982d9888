//! The records of the internal logs in their envelopes.
//!
//! `__cluster_metadata`: a value is frame version 1, type and version as unsigned varints, then the
//! body; keys are null. Coordinator logs (`__consumer_offsets`, `__transaction_state`,
//! `__share_group_state`): a key is the type as int16, then the body in version 0; a value is the
//! version as int16, then the body, and a null value is a tombstone.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::codec::{
    DecodeError, Decoder, EncodeError, Encoder, Inspect, Inspector, LogRecord, Message,
};
use crate::messages::*;

include!(concat!(env!("OUT_DIR"), "/metadata_records.rs"));
include!(concat!(env!("OUT_DIR"), "/coordinator_records.rs"));

/// A key or value of an internal log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The body, or the envelope, is malformed, or the version does not exist: then a newer release
    /// wrote it ([`DecodeErrorKind::UnsupportedVersion`](crate::codec::DecodeErrorKind)).
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// No such type: a newer release wrote it.
    #[error("record type {record_type} is unknown")]
    UnknownType {
        /// The type found.
        record_type: i64,
    },
    /// An envelope of another layout.
    #[error("frame version {0} is unknown, 1 is expected")]
    UnknownFrame(u32),
}

const METADATA_FRAME: u32 = 1;

impl MetadataRecord {
    /// Reads a value of the metadata log: the record and its version.
    ///
    /// # Errors
    /// The type or version is unknown, or the bytes are malformed or go on after the record.
    pub fn decode(value: Bytes) -> Result<(Self, i16), RecordError> {
        let mut d = Decoder::new(value);
        d.set_message("MetadataRecord");
        let frame = d.uvarint("(frame version)")?;
        if frame != METADATA_FRAME {
            return Err(RecordError::UnknownFrame(frame));
        }
        let number = d.uvarint("(type)")?;
        let version = i16::try_from(d.uvarint("(version)")?).unwrap_or(i16::MAX);
        let unknown = || RecordError::UnknownType { record_type: number.into() };
        let record_type = i16::try_from(number).map_err(|_| unknown())?;
        let record = Self::decode_body(record_type, &mut d, version)?.ok_or_else(unknown)?;
        d.finish()?;
        Ok((record, version))
    }

    /// Writes a value of the metadata log.
    ///
    /// # Errors
    /// The record has no form in this version.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let (record_type, _) = self.type_and_versions();
        let encoded = Encoder::run(&|e| {
            e.uvarint(METADATA_FRAME);
            e.uvarint(record_type as u32);
            e.uvarint(version as u32);
            self.encode_body(e, version)
        })?;
        Ok(encoded.bytes)
    }
}

macro_rules! coordinator_log {
    ($key:ident, $value:ident) => {
        impl $key {
            /// Reads a key.
            ///
            /// # Errors
            /// The type is unknown or the bytes are malformed.
            pub fn decode(key: Bytes) -> Result<Self, RecordError> {
                let mut d = Decoder::new(key);
                d.set_message(stringify!($key));
                let record_type = d.i16("(type)")?;
                Self::decode_body(record_type, &mut d, KEY_VERSION)?
                    .ok_or(RecordError::UnknownType { record_type: record_type.into() })
            }

            /// Writes the key.
            ///
            /// # Errors
            /// A string is too long.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                let (record_type, _) = self.type_and_versions();
                let encoded = Encoder::run(&|e| {
                    e.i16(record_type);
                    self.encode_body(e, KEY_VERSION)
                })?;
                Ok(encoded.bytes)
            }
        }

        impl $value {
            /// Reads the value of a key of type `record_type`: the record and its version.
            ///
            /// # Errors
            /// The type or version is unknown or the bytes are malformed.
            pub fn decode(record_type: i16, value: Bytes) -> Result<(Self, i16), RecordError> {
                let mut d = Decoder::new(value);
                d.set_message(stringify!($value));
                let version = d.i16("(version)")?;
                let value = Self::decode_body(record_type, &mut d, version)?
                    .ok_or(RecordError::UnknownType { record_type: record_type.into() })?;
                Ok((value, version))
            }

            /// Writes the value.
            ///
            /// # Errors
            /// The record has no form in this version.
            pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
                let encoded = Encoder::run(&|e| {
                    e.i16(version);
                    self.encode_body(e, version)
                })?;
                Ok(encoded.bytes)
            }
        }
    };
}

/// Every key has exactly this version; a change would be a new type.
const KEY_VERSION: i16 = 0;

coordinator_log!(ConsumerOffsetsKey, ConsumerOffsetsValue);
coordinator_log!(TransactionStateKey, TransactionStateValue);
coordinator_log!(ShareGroupStateKey, ShareGroupStateValue);

/// The type number in front of a coordinator log's key, known or not.
///
/// # Errors
/// Fewer than two bytes.
pub fn key_type(key: &Bytes) -> Result<i16, DecodeError> {
    Decoder::new(key.clone()).i16("(type)")
}

/// Writes the key of a coordinator log.
///
/// # Errors
/// A string is too long.
pub fn encode_key<K: LogRecord>(key: &K) -> Result<Bytes, EncodeError> {
    let encoded = Encoder::run(&|e| {
        e.i16(K::TYPE);
        key.encode(e, KEY_VERSION)
    })?;
    Ok(encoded.bytes)
}

/// Writes the value of a coordinator log.
///
/// # Errors
/// The record has no form in this version.
pub fn encode_value<V: LogRecord>(value: &V, version: i16) -> Result<Bytes, EncodeError> {
    let encoded = Encoder::run(&|e| {
        e.i16(version);
        value.encode(e, version)
    })?;
    Ok(encoded.bytes)
}

/// Reads a value known to be a `V`: the record and its version.
///
/// # Errors
/// The version is unknown or the bytes are malformed.
pub fn decode_value<V: LogRecord>(value: Bytes) -> Result<(V, i16), DecodeError> {
    let mut d = Decoder::new(value);
    d.set_message(V::NAME);
    let version = d.i16("(version)")?;
    Ok((V::decode(&mut d, version)?, version))
}
