//! Fuzz targets: a function per target that takes any bytes and must not panic.
//!
//! Two drivers call them: libFuzzer (`fuzz_targets/`, nightly) and a seeded mutator (`driver.rs`,
//! stable). [`TARGETS`] names each with the inputs that both start from; those are made from the
//! golden vectors and from a broker's own files, so none is kept in the repository.

mod batches;
mod broker;
mod config;
mod files;
mod input;
mod log;
mod messages;
mod node;
#[path = "../../crates/broker/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the broker")]
mod node_support;
#[path = "../../crates/protocol/tests/support/second_codec.rs"]
mod second_codec;
#[path = "../../crates/protocol/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the protocol")]
mod support;

pub use batches::batches;
pub use broker::broker;
pub use config::config;
pub use files::files;
pub use log::log;
pub use messages::{message, request};
pub use node::node;

/// One fuzz target.
pub struct Target {
    /// The name of its libFuzzer binary.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Inputs tried in a short run: a few seconds.
    pub rounds: u64,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "request", run: request, seeds: messages::request_seeds, rounds: 500_000 },
    Target { name: "message", run: message, seeds: messages::message_seeds, rounds: 800_000 },
    Target { name: "batches", run: batches, seeds: batches::seeds, rounds: 300_000 },
    Target { name: "log", run: log, seeds: log::seeds, rounds: 20_000 },
    Target { name: "files", run: files, seeds: files::seeds, rounds: 500_000 },
    Target { name: "node", run: node, seeds: node::seeds, rounds: 6_000 },
    Target { name: "broker", run: broker, seeds: broker::seeds, rounds: 3_000 },
    Target { name: "config", run: config, seeds: config::seeds, rounds: 6_000 },
];
