//! What tests of several crates share: a deterministic in-memory disk with faults and crashes, a
//! runner for scripted tests, and seeded numbers. Nothing here is linked into the broker.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test support: a wrong use should stop the test where it happens"
)]

pub mod mem_disk;
mod rng;
mod script;

pub use mem_disk::{Errno, Fault, MemDisk, OpKind, OpRecord};
pub use rng::Rng;
pub use script::run_script;
