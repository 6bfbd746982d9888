//! Wires a node together: the only crate with the real clock, disk, threads and signals.
//!
//! - [`run`]: a whole process, from the configuration to the last clean byte.
//! - [`Node`]: a node inside another program, such as a test.
//! - [`format`]: what `ottla storage format` does.
//!
//! Start, in order: configuration, refusals, listeners bound (not served), directories identified
//! and locked, metadata, logs, served. Stop: the reverse.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the edge: it hands clocks, files and threads to the others"
)]

mod adapter;
mod admin;
mod clock;
mod descriptors;
mod disk;
mod env;
mod error;
mod format;
mod lanes;
mod latency;
mod listen;
mod load;
mod logging;
mod metrics;
mod opening;
mod server;
mod signals;
mod timer;

pub use adapter::BrokerAcceptor;
pub use clock::Clock;
pub use disk::RealDisk;
pub use env::RealEnv;
pub use error::StartError;
pub use format::{Format, format, random_uuid};
pub use load::{Loaded, Options};
pub use server::{Node, run, runtime};
