//! Kafka's wire protocol and log record formats: bytes only, no I/O.
//!
//! - [`ids`], [`Uuid`]: the units every crate speaks.

pub mod ids;
mod uuid;

pub use uuid::{InvalidUuid, Uuid};
