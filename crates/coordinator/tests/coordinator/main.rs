//! The shards with their logs, driven from outside: scripts, tables, and a seeded simulation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it goes wrong"
)]

mod log_bytes;
mod node;
mod scripts;
mod simulation;
mod transaction;
