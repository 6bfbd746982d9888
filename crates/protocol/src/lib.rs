//! Kafka's wire protocol and log record formats: bytes only, no I/O.
//!
//! - [`records`]: record batches on disk and on the wire.
//! - [`ids`], [`Uuid`]: the units every crate speaks.
//! - [`messages`]: every message and internal log record, generated from `schemas/`.
//! - [`codec`]: the traits and functions that turn messages into bytes and back.
//! - [`frame`]: requests and responses with their headers.
//! - [`log_record`]: records of the internal logs in their envelopes.
//! - [`ApiKey`], [`ErrorCode`].

mod api_key;
pub mod codec;
mod error_code;
pub mod frame;
pub mod ids;
pub mod log_record;
pub mod messages;
pub mod records;
mod uuid;

pub use api_key::ApiKey;
pub use bytestring::ByteString;
pub use codec::Records;
pub use error_code::ErrorCode;
pub use log_record::MetadataRecord;
pub use records::{crc32c, crc32c_append, crc32c_combine};
pub use uuid::{InvalidUuid, Uuid};
