//! The shipped broker, unchanged, on a virtual clock, a faulty network and a faulty disk.
//!
//! [`run`] plays one seed: clients produce, fetch, commit and change topics; connections break, jobs
//! stall, disks fill up and fail, the machine loses power and comes up again with any subset of what
//! was not synced. Checkers compare what clients are told with everything they were told before.
//! A run is a function of its seed: the same seed gives the same events, which is also the proof
//! that the broker has no clock, thread, randomness or map order of its own.
//!
//! Every second seed is about transactions: producers that write in transactions, a bank, workers
//! that consume and produce, and readers of what is committed. All topics wait for fsync there, so
//! that exactly-once is demanded whatever fails.
//!
//! What is absent: threads, clocks, files (the binary of this crate plays many seeds on threads).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test tool: a wrong use should stop the run where it happens"
)]

mod audit;
mod clients;
mod env;
mod model;
mod node;
mod plan;
mod records;
mod sim;
mod trace;
mod wire;

pub use env::SimEnv;
pub use model::Counts;
pub use sim::{Failure, Options, Outcome, run};

/// A defect put in on purpose, outside of the broker: the checkers must see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mutation {
    /// No defect.
    #[default]
    None,
    /// Syncs of files that match (`*` stands for any text) do nothing.
    IgnoreSyncs(&'static str),
    /// Syncs of directories that match do nothing.
    IgnoreDirSyncs(&'static str),
    /// Producers send a batch again under a new sequence.
    NewSequenceOnRetry,
    /// One served batch has another byte, under a correct CRC.
    ChangeServedRecord,
    /// One answer is never written.
    LoseAnswer,
    /// Readers of committed records ignore the list of aborted transactions.
    IgnoreAborted,
    /// Readers believe that the last stable offset went back.
    LastStableGoesBack,
    /// What a transactional producer wrote so far is committed before it is done.
    CommitInPart,
    /// A transfer takes money from one account and gives it to nobody.
    HalfTransfer,
    /// Workers commit positions outside of their transactions.
    OffsetsOutside,
    /// Transactions may stay open for an hour, and one is left so.
    NoTimeout,
}
