//! Log compaction: of every key the newest record stays, deleted keys and ended transactions go in
//! time (`cleanup.policy=compact`, KIP-58, KIP-280's plain offset strategy, KIP-354, KIP-534).
//!
//! One cleaning is a value that goes through three places:
//!
//! 1. [`Log::cleanable`] and [`Log::start_cleaning`], under the partition's lock, say what is worth
//!    it and take a snapshot of what may be read: sealed segments below everything undecided.
//! 2. [`CleanWork::step`], without the lock and some bytes at a time, first maps the keys of the
//!    dirty part to their newest offsets, then copies group after group of segments into one new
//!    segment each (`.cleaned` files).
//! 3. [`Log::install_step`], some times under the lock, puts a new segment where its group was, unless
//!    the log was truncated or the group deleted meanwhile.
//!
//! Readers that hold a slice of a replaced segment keep its open file.

mod filter;
mod install;
mod offset_map;
mod output;
mod plan;
mod transactions;
mod work;

pub use install::Installing;
pub(crate) use install::Swap;
pub use plan::{CleanProgress, CleanRules, Cleanable};
pub use work::{CleanError, CleanWork, Cleaning};

#[cfg(doc)]
use crate::Log;
